/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lab_host (outside) and lab_guest (inside the lab) say to each other on
 * the control port.
 *
 * Both ends are built from this header on the same machine and are of the same
 * byte order, so a message is its head followed by plain structs. Standard
 * input, output and error have virtio ports of their own and carry nothing but
 * the command's bytes; TCP connections go over one more (lab_net.h).
 */
#ifndef LAB_WIRE_H
#define LAB_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	LAB_MSG_MAX = 8 << 20, /* largest payload accepted, in bytes: argv and environment */
};

enum lab_msg_type {
	/* to the lab */
	LAB_MSG_JOB = 1, /* as lab_job_pack() makes it */
	LAB_MSG_SIGNAL,	 /* uint32_t: deliver to the command's process group */
	LAB_MSG_WINSIZE, /* struct lab_winsize */
	LAB_MSG_HANGUP,	 /* uint32_t: 1 or 2, nobody reads that output any more */
	/* from the lab */
	LAB_MSG_HELLO,	  /* nothing: ready for a job */
	LAB_MSG_EXIT,	  /* struct lab_exit: the last message */
	LAB_MSG_LISTEN,	  /* struct lab_listen: a TCP port began to listen */
	LAB_MSG_UNLISTEN, /* struct lab_listen: and ceased */
};

enum lab_job_flag {
	LAB_JOB_TTY = 1,       /* the command gets a terminal for 0, 1 and (unless ERR_OWN) 2 */
	LAB_JOB_ERR_OWN = 2,   /* standard error travels separately */
	LAB_JOB_WATCH_TCP = 4, /* send LISTEN and UNLISTEN */
};

struct lab_msg_head {
	uint32_t type;
	uint32_t len_bytes;
};

struct lab_winsize {
	uint16_t rows;
	uint16_t cols;
};

/* Followed by ngroups gid_t, then the strings, each with its NUL: cwd, argv,
 * environment. */
struct lab_job_head {
	uint32_t flags;
	uint32_t uid;
	uint32_t gid;
	uint32_t umask;
	uint32_t ngroups;
	uint32_t argc;
	uint32_t envc;
	struct lab_winsize win;
	int64_t now_s; /* the host's wall clock */
	int64_t now_ns;
};

struct lab_exit {
	uint32_t status; /* as a shell would report it: 128 + signal for a killed
			    command */
	uint32_t reserved;
	uint64_t out_bytes; /* all that was ever written to the two output ports */
	uint64_t err_bytes;
};

/* Unused bytes are zero: compared as a whole. */
struct lab_listen {
	uint8_t addr[16]; /* network byte order; IPv4: the first four */
	uint32_t is_v6;
	uint32_t port;
};

/* Bytes gathered until a whole message is there. Zero-initialise; free(buf) at
 * the end. */
struct lab_rx {
	uint8_t *buf;
	size_t len_bytes;
	size_t cap_bytes;
};

/* Sends one message, waiting for room as long as it takes. Returns 0 or -errno.
 */
int lab_wire_send(int fd, enum lab_msg_type type, const void *payload, size_t len_bytes);

/* Reads what is there. Returns the bytes read, 0 at the end of the stream,
 * -EAGAIN, or -errno. */
int lab_wire_fill(struct lab_rx *rx, int fd);

/* The first whole message, or NULL; payload follows the head. Valid until the
 * next call. */
const struct lab_msg_head *lab_wire_peek(const struct lab_rx *rx);

/* Forgets the message that lab_wire_peek() returned. */
void lab_wire_drop(struct lab_rx *rx);

#endif
