/* SPDX-License-Identifier: Apache-2.0 */
/* Where a running machine's notebook is, for a browser on this host. */
#ifndef VMM_NOTEBOOK_FIND_H
#define VMM_NOTEBOOK_FIND_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/exit_status.h"
#include "vmm/notebook_token.h"

struct record;

enum { NOTEBOOK_URL_MAX = 512 };

struct notebook {
	unsigned int guest_port;
	char token[NOTEBOOK_TOKEN_MAX + 1];
	char url[NOTEBOOK_URL_MAX]; /* with the token */
};

/* Waits up to @time_s until the server of machine @vm answers. -> EXIT_STATUS_OK, or what went wrong, logged. */
enum exit_status notebook_find(const char *vm, uint64_t time_s, struct notebook *nb);

/* Whether the machine has an agent that answers now, and a notebook server of the guest kit. */
bool notebook_is_there(const struct record *r);

#endif
