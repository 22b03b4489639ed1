/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and ports: which host ports lead to a machine, from its name. charmed34 has the code 34,
 * and with it 2234 for SSH, 8834 for the notebook, and 9034 to 9934 for the user's own servers. If
 * one of them is taken, the whole set moves to another code.
 */
#ifndef NET_PORTS_H
#define NET_PORTS_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/net/holder.h"

struct forward_list;

enum { PORTS_FREE = 10, PORTS_SET_MAX = 2 + PORTS_FREE };

/* Which of the ports listen on all addresses and not on loopback only. */
struct ports_exposed {
	bool free; /* the ten free ones */
	bool ssh;
	bool notebook;
	uint16_t ports[PORTS_SET_MAX]; /* and these host ports of the set */
	unsigned int nports;
};

struct ports_config {
	const char *name;  /* the image's: "charmed311", or with ".qcow2" behind */
	unsigned int code; /* --code: this one or none; 0: by name, or a free one */
	bool ssh_suffices; /* where no whole set is free, SSH alone will do: one of very many machines */
	struct ports_exposed exposed;
};

struct ports_result {
	unsigned int code;	   /* what the guest is to be told; 0 if nothing is forwarded */
	unsigned int wanted;	   /* the code of the name; 0: the name has none */
	uint16_t taken_port;	   /* code != wanted: the port that was in the way */
	char taken_by[HOLDER_STR]; /* and who has it */
	bool full_set;		   /* notebook and free ports too, not only SSH */
};

/* The code of "charmed" and a Python's version, whatever follows a dot or a hyphen ("charmed311-scientific"). 0: the name
 * has none. */
unsigned int ports_code_of_name(const char *name);

/*
 * Binds the default forwards of a machine behind those that @l already has; a host port that one of
 * these has is left to it. -> 0, or -errno with one line logged and @l as it was.
 */
int ports_bind(const struct ports_config *cfg, struct forward_list *l, struct ports_result *out);

#endif
