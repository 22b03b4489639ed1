/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may log in, and to whom: a key pair of this user on this host, which every machine trusts, and of each machine a
 * host key, by which it is known, and the token of its notebook server. Made when they are first needed, kept below
 * $XDG_DATA_HOME/charmvm (~/.local/share/charmvm). There is no well-known key and no password.
 *
 * The guest gets them as systemd credentials (guest-kit/README.md says which file they end in).
 */
#ifndef VMM_KEYS_H
#define VMM_KEYS_H

#include <limits.h>
#include <stdbool.h>

#include "vmm/notebook_token.h"

struct keys {
	char user_key[PATH_MAX];    /* path of the user's private key */
	char known_hosts[PATH_MAX]; /* path of the file that names this machine's host key */
	char *user_public;	    /* "ssh-ed25519 AAAA... charmvm\n" */
	char *host_private;	    /* the machine's, as OpenSSH writes it */
	char *host_public;
	char notebook_token[NOTEBOOK_TOKEN_MAX + 1];
};

/*
 * The keys for the machine called @name; made where they are missing (two processes at once get
 * the same ones). -> 0, or -errno with one warning logged; then *k is empty. keys_free() in any case.
 */
int keys_ensure(struct keys *k, const char *name);
void keys_free(struct keys *k);

/* Is there a host key of a machine called @name? */
bool keys_exist(const char *name);
/* Where the host key of the machine @name is. out: PATH_MAX. -> 0 or -errno. */
int keys_machine_dir(const char *name, char *out);
/* The host key of @name goes with the machine that is called @to from now on; one of an earlier machine of that name is
 * forgotten. -> 0 (also where there is none), or -errno. */
int keys_rename(const char *name, const char *to);
/* The machine @name is no more: so is its host key, and its login (login.h). -> 0 (also where there is none), or -errno. */
int keys_forget(const char *name);

#endif
