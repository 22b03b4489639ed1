/* SPDX-License-Identifier: Apache-2.0 */
/* How OpenSSH's client is told where a machine is and who it must be: on its command line, or in a configuration file. */
#ifndef VMM_SSH_ARGS_H
#define VMM_SSH_ARGS_H

#include <limits.h>

#include "vmm/record.h"

enum { SSH_SETTINGS_MAX = 11, SSH_VALUE_MAX = PATH_MAX + 32 };

struct ssh_setting {
	const char *key; /* as ssh_config(5) has it */
	char value[SSH_VALUE_MAX];
};

/*
 * Every setting that reaches the machine @r as @user; NULL: as charm, or the user that an imported one has recorded (login.h).
 * Until its own key is replaced, that one comes first of two of IdentityFile. The first is HostName. -> how many there are.
 */
unsigned int ssh_settings(const struct record *r, const char *user,
			  struct ssh_setting out[SSH_SETTINGS_MAX]);
/* Can SSH reach it? -> 0, or -ENOENT: it has no port, logged. */
int ssh_check(const struct record *r);

#endif
