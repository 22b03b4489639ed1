/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the shared console: shared.c, shared_seat.c, shared_join.c. The port's lock is held. */
#ifndef CHARDEV_SHARED_INT_H
#define CHARDEV_SHARED_INT_H

#include "devices/chardev/chardev.h"
#include "devices/chardev/listener.h"
#include "devices/chardev/shared.h"
#include "devices/chardev/stream.h"

/* The machine's own words on the console. */
#define SAY_BEGIN "\r\n[charmvm: "
#define SAY_END	  "]\r\n"
#define SAY_READ_ONLY                                                                              \
	SAY_BEGIN                                                                                  \
	"another client writes here, and this one reads; "                                         \
	"Ctrl-] f or charmvm console --force takes over" SAY_END
#define SAY_WATCHES SAY_BEGIN "this client reads only" SAY_END
#define SAY_TAKEN   SAY_BEGIN "another client has taken over; this one reads from now on" SAY_END
#define SAY_YOURS   SAY_BEGIN "the one who wrote has left; this client writes from now on" SAY_END
#define SAY_SLOW    SAY_BEGIN "this client reads too slowly and is let go; come again" SAY_END
#define SAY_FULL    "charmvm: as many as can be are at this console already; come again\r\n"

struct shared_client {
	struct shared_stream *shared;
	struct stream_in in;
	struct stream_out out;
	uint64_t number; /* in the order of their coming */
	bool watches;
	bool told;    /* that its keys go nowhere */
	bool leaving; /* was let go: reads its last line */
};

struct shared_stream {
	struct chardev base;
	struct loop *loop;
	struct listener listener;
	struct ring history;
	bool history_is_cut; /* its first line may lack its beginning */
	struct shared_client clients[SHARED_CLIENTS_MAX];
	struct shared_client *writer; /* or NULL */
	struct loop_timer stall;      /* armed while the writer holds the guest up */
	uint32_t stall_head;	      /* of the writer's queue at that time */
	uint64_t last_number;
	bool connected;
};

#define for_each_client(cl, s)                                                                     \
	for (struct shared_client *cl = (s)->clients; cl < (s)->clients + SHARED_CLIENTS_MAX; cl++)

static inline bool shared_is_there(const struct shared_client *cl)
{
	return cl->in.fd >= 0 || cl->out.fd >= 0;
}

static inline bool shared_reads(const struct shared_client *cl)
{
	return cl->out.fd >= 0 && !cl->leaving;
}

/* shared_seat.c */
/* Tells one client alone. */
void shared_say(struct shared_client *cl, const char *text);
/* The writer's place goes to @cl (NULL: it is free). What held the guest up, if anything did, does so no more. */
void shared_set_writer(struct shared_stream *s, struct shared_client *cl);
/* Draws the conclusions from who has come and gone: who writes, and whether anybody is there. */
void shared_settle(struct shared_stream *s);
/* At once, whatever it has not read. */
void shared_hang_up(struct shared_client *cl);
/* Too slow. Its place is free when it has read the line that says so, when it hangs up, or when somebody needs it. */
void shared_let_go(struct shared_client *cl);

/* shared_join.c: chardev_ops.join */
int shared_join(struct chardev *c, int fd, const struct chardev_join *how);

#endif
