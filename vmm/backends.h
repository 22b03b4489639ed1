/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine stands on in the host, and what outlives its resets: disks, network, console, keys, name and
 * the event loop that serves them.
 */
#ifndef VMM_BACKENDS_H
#define VMM_BACKENDS_H

#include <stdbool.h>

#include "devices/net/forward.h"
#include "devices/net/ports.h"
#include "vmm/config.h"
#include "vmm/credentials.h"
#include "vmm/exit_status.h"
#include "vmm/keys.h"
#include "vmm/record.h"

struct agent;
struct blk_node;
struct chardev;
struct chardev_quit;
struct loop;
struct net_backend;
struct snapshot;

struct backends {
	struct loop *loop; /* the caller's */
	struct blk_node *disks[CONFIG_DISKS_MAX];
	unsigned int ndisks;
	struct blk_node *cdrom; /* in the drive; NULL: no drive */
	struct blk_node *seed;	/* for the guest's cloud-init; NULL: none */
	struct blk_node
		*fork_base; /* with --throw-away: the image as of the snapshot; disks[0]'s */
	struct snapshot
		*from; /* what the machine is to start from: read once, until it has started */
	int fork_fd;   /* holds the snapshot against deletion; or -1 */
	struct record record;
	struct keys keys;
	bool have_keys;
	char keys_name[CONFIG_NAME_MAX +
		       1]; /* the machine that the guest's host key was made for */
	/* What it starts from was not asked for, but is there (vmm/snapshot/ready.h). */
	enum ready_state { READY_NONE, READY_CHOSEN, READY_REFUSED } ready;
	bool unclaimed; /* it starts from a snapshot that was saved as nobody's: it gets keys of its own */
	struct credentials credentials; /* for the guest; since backends_connect() */
	struct forward_list forwards;
	struct ports_result ports;
	struct net_backend *net; /* NULL: --net none */
	struct chardev *console;
	char console_spec[PATH_MAX + 16]; /* what it was opened as */
	struct agent *agent;		  /* the way to the agent in the guest; NULL: --agent off */
	struct chardev *channels[CONFIG_CHANNELS_MAX]; /* as many as the configuration has */
};

/*
 * Opens and locks the disks, takes the name. Between this and backends_connect(), a snapshot on the first disk may say
 * what else the machine has. -> EXIT_STATUS_OK, or what the process is to end with; one line was logged and nothing
 * stays behind.
 */
enum exit_status backends_open(struct backends *b, const struct machine_config *cfg,
			       struct loop *loop);
/*
 * The rest: network and its ports, keys, the record that tells others, and last, so that the terminal is not touched before
 * everything else is there, console and channels. @quit: the user leaves by the console's escape. -> as backends_open(), but
 * what there is stays, for backends_close().
 */
enum exit_status backends_connect(struct backends *b, const struct machine_config *cfg,
				  const struct chardev_quit *quit);

/* Flushes and closes the disks, restores the terminal, forgets the rest. -> EXIT_STATUS_OK, or _FILE when a
 * last flush failed (logged). */
enum exit_status backends_close(struct backends *b);

/*
 * Adds a forward, or closes those of a host port, while the machine runs. Loop thread. -> 0; -ENOTSUP: no network;
 * -ENOSPC: too many; -ENOENT: none has that port; or -errno of forward_try(). Not logged.
 */
int backends_add_forward(struct backends *b, const struct forward_spec *spec);
int backends_remove_forward(struct backends *b, bool udp, uint16_t host_port);

/* The host's port that leads to the guest's port 22, or 0. */
uint16_t backends_ssh_port(const struct backends *b);

#endif
