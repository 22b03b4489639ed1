/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest of the guest kit is handed: who it is, who may log in. At a boot as systemd credentials through SMBIOS, and by the
 * agent where it goes on from a snapshot that was saved as nobody's machine (guest-kit/README.md has the list).
 */
#ifndef VMM_CREDENTIALS_H
#define VMM_CREDENTIALS_H

#include "vmm/agent/agent.h"

struct backends;

enum { CREDENTIALS_MAX = 8 };

struct credentials {
	struct agent_credential v[CREDENTIALS_MAX];
	unsigned int n;
	char code[12]; /* one of the values */
};

/* Points into @hosts and @out itself, which stays where it is. @hosts has name, ports and keys by now. */
void credentials_of(const struct backends *hosts, struct credentials *out);

#endif
