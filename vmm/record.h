/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of a running machine: NAME.json in the run directory, locked as long as the machine runs,
 * gone after. Other commands find a machine by it and never guess a port; a record that nobody has locked
 * was left by a process that was killed, and does not count.
 */
#ifndef VMM_RECORD_H
#define VMM_RECORD_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum { RECORD_NAME_MAX = 64 };
/* What `charmvm open` leaves beside the record for a browser; removed with it. */
#define RECORD_NOTEBOOK ".notebook.html"

struct record {
	char name[RECORD_NAME_MAX + 1];
	int64_t pid;
	int64_t started_s; /* the wall clock then */
	uint16_t ssh_port; /* 0: none */
	char user_key[PATH_MAX];
	char known_hosts[PATH_MAX];
	char box[PATH_MAX]; /* login_dir() of an imported machine, else "" */
	/* Of the owner: */
	int fd; /* -1: not ours */
	char path[PATH_MAX];
};

/*
 * Takes the name @wanted; where a running machine has it and @exact is false, the first free one of
 * wanted-2, wanted-3, ... r->name tells. -> 0, -EEXIST (logged) or -errno (logged).
 */
int record_claim(struct record *r, const char *wanted, bool exact);
/* What lies beside the record: its path with @end, as ".log", and not ".json". -> 0 or -ENAMETOOLONG. */
int record_beside(const struct record *r, const char *end, char out[PATH_MAX]);
/* Where the machine's control socket is. -> 0 or -ENAMETOOLONG. */
int record_socket_path(const struct record *r, char out[PATH_MAX]);
/* Writes what r says, for others to read. -> 0 or -errno. */
int record_publish(struct record *r);
/* Removes it. Fine on one that was not claimed (fd -1). */
void record_release(struct record *r);

/* The running machine called @name; NULL: the only one there is. -> 0, -ENOENT, -EINVAL (several); logged. */
int record_find(struct record *r, const char *name);
/* Every running machine of this user's, in the order of their names. */
void record_each(void (*fn)(void *opaque, const struct record *r), void *opaque);
/* Does the process that wrote @r still run? */
bool record_is_running(const struct record *r);

#endif
