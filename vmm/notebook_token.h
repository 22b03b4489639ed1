/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token of a machine's notebook server: what whoever opens a notebook has to know. Made once for each machine, kept
 * beside its keys in a file of mode 0600, handed to the guest as the credential charmvm.notebook_token. A guest that goes
 * on from a snapshot makes another one for itself (guest-kit/README.md).
 */
#ifndef VMM_NOTEBOOK_TOKEN_H
#define VMM_NOTEBOOK_TOKEN_H

#include <stdbool.h>

enum {
	NOTEBOOK_TOKEN_BYTES = 24, /* of randomness; two digits each */
	NOTEBOOK_TOKEN_MIN = 16,   /* characters of one that is taken from elsewhere */
	NOTEBOOK_TOKEN_MAX = 128,
};

/* Is @text fit to be a token: that many of 0-9, a-z, A-Z, '-' and '_', so that it is itself in a URL? */
bool notebook_token_ok(const char *text);

/*
 * The token kept in the directory @dir, made where there is none or what is there is none; two processes at once get the
 * same one. -> 0 or -errno, and then *token is empty.
 */
int notebook_token_ensure(const char *dir, char token[NOTEBOOK_TOKEN_MAX + 1]);
/* Removes it; fine where there is none. */
void notebook_token_forget(const char *dir);

#endif
