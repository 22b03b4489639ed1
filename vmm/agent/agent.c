/* SPDX-License-Identifier: Apache-2.0 */
/* The session with the agent in the guest. */
/*
 *             device attaches, READY                 WELCOME with our nonce
 *     (down) -----------------------> hello sent -----------------------------> up
 *        ^                             |     ^                                   |
 *        +------- device detaches -----+     +-------- READY, a reset -----------+
 *
 * begin_session() begins each session with a fresh nonce and hunts for its WELCOME: whatever an older guest or an older agent
 * had on the way is skipped. A guest that sends what is no frame ends the session; only its READY begins another.
 * A HELLO costs us 16 KiB of padding and the guest a few bytes to ask for, so none is queued while one waits.
 *
 * Everything runs under the port's lock: chardev calls come with it, and our sources carry it.
 */
#include "vmm/agent/agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "vmm/agent/agent_priv.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

/* ---- to the guest ---- */

bool agent_has_room(const struct agent *a)
{
	return ring_room(&a->to_guest) >= FRAME_MAX;
}

bool agent_to_guest(struct agent *a, enum frame_type type, uint32_t stream, const void *payload,
		    uint16_t len)
{
	uint8_t header[FRAME_HEADER_BYTES];
	const struct frame f = {
		.type = type,
		.session = type == FRAME_HELLO ? 0 : a->session,
		.stream = stream,
		.len = len,
	};
	if (ring_room(&a->to_guest) < sizeof(header) + len)
		return false;
	frame_put_header(header, &f);
	ring_push(&a->to_guest, header, sizeof(header));
	if (len)
		ring_push(&a->to_guest, payload, len);
	loop_task_post(a->loop, &a->pump);
	return true;
}

static void deliver(struct agent *a)
{
	uint32_t len, taken = 1;
	while (ring_used(&a->to_guest) && taken) {
		const uint8_t *p = ring_front(&a->to_guest, &len);
		taken = (uint32_t)chardev_deliver(&a->base, p, len);
		ring_drop(&a->to_guest, taken);
		a->hello_left -= MIN(a->hello_left, taken);
	}
}

static void pump(void *opaque)
{
	struct agent *a = opaque;
	struct list *pos, *next;
	deliver(a);
	if (!a->up)
		return;
	list_for_each_safe (pos, next, &a->conns)
		agent_conn_resume(list_entry(pos, struct agent_conn, link));
}

/* ---- sessions ---- */

static void end_session(struct agent *a)
{
	struct list *pos, *next;
	if (!a->up)
		return;
	a->up = false;
	log_info("the agent's session ended");
	list_for_each_safe (pos, next, &a->conns)
		agent_conn_session_ended(list_entry(pos, struct agent_conn, link));
}

/* What can begin one: the answer to our HELLO, or an agent that asks for another. */
static void hunt(struct agent *a)
{
	const struct frame ready = { .type = FRAME_READY };
	const struct frame welcome = {
		.type = FRAME_WELCOME,
		.session = a->session,
	};
	frame_hunt(&a->decoder, &welcome, &ready);
}

static void begin_session(struct agent *a)
{
	static const uint8_t padding[FRAME_MAX];
	uint8_t hello[FRAME_HELLO_BYTES];
	end_session(a);
	do {
		if (getrandom(a->nonce, sizeof(a->nonce), 0) != sizeof(a->nonce))
			return; /* not for so few bytes, says getrandom(2) */
		a->session = get_le32(a->nonce);
	} while (!a->session);
	frame_set_u32(hello, AGENT_PROTOCOL);
	memcpy(hello + 4, a->nonce, sizeof(a->nonce));
	/* What waits there is of an older session; the padding ends a frame that is half out. */
	ring_drop(&a->to_guest, ring_used(&a->to_guest));
	ring_push(&a->to_guest, padding, sizeof(padding));
	agent_to_guest(a, FRAME_HELLO, 0, hello, sizeof(hello));
	a->hello_left = ring_used(&a->to_guest);
	hunt(a);
}

static void send_time(struct agent *a)
{
	struct timespec now;
	uint8_t payload[12];
	clock_gettime(CLOCK_REALTIME, &now);
	put_le64(payload, (uint64_t)now.tv_sec);
	frame_set_u32(payload + 8, (uint32_t)now.tv_nsec);
	agent_to_guest(a, FRAME_TIME, 0, payload, sizeof(payload));
}

static void send_seed(struct agent *a)
{
	uint8_t bytes[FRAME_SEED_BYTES];
	if (getrandom(bytes, sizeof(bytes), 0) == sizeof(bytes))
		agent_to_guest(a, FRAME_SEED, 0, bytes, sizeof(bytes));
	explicit_bzero(bytes, sizeof(bytes));
}

/* "name\0value". One that is too long for a frame is not sent; none of ours is. */
static void send_credential(struct agent *a, const struct agent_credential *c)
{
	uint8_t payload[FRAME_PAYLOAD_MAX];
	size_t name = strlen(c->name) + 1, value = strlen(c->value);
	if (name + value > sizeof(payload))
		return;
	memcpy(payload, c->name, name);
	memcpy(payload + name, c->value, value);
	agent_to_guest(a, FRAME_CREDENTIAL, 0, payload, (uint16_t)(name + value));
	explicit_bzero(payload, name + value);
}

static void send_credentials(struct agent *a)
{
	for (unsigned int i = 0; i < a->ncredentials; i++)
		send_credential(a, &a->credentials[i]);
}

static void send_identity(struct agent *a)
{
	uint8_t payload[FRAME_IDENTITY_BYTES + AGENT_NAME_MAX];
	size_t len = strlen(a->name);
	if (a->event == AGENT_FIRST)
		send_credentials(a);
	frame_set_u32(payload, a->event);
	frame_set_u32(payload + 4, a->code);
	memcpy(payload + FRAME_IDENTITY_BYTES, a->name, len);
	if (agent_to_guest(a, FRAME_IDENTITY, 0, payload, (uint16_t)(FRAME_IDENTITY_BYTES + len)))
		a->event = AGENT_BOOTED; /* once */
}

static void on_welcome(struct agent *a, const struct frame *f)
{
	struct list *pos, *next;
	if (a->up || f->len < FRAME_HELLO_BYTES ||
	    memcmp(f->payload + 4, a->nonce, sizeof(a->nonce)))
		return;
	if (frame_u32(f, 0) != AGENT_PROTOCOL) {
		log_guest(&a->limit, "the guest's agent speaks version %u of the protocol, not %d",
			  frame_u32(f, 0), AGENT_PROTOCOL);
		return;
	}
	a->up = true;
	a->welcome_len = MIN(f->len, (uint16_t)sizeof(a->welcome));
	memcpy(a->welcome, f->payload, a->welcome_len);
	log_info("the guest's agent answers");
	send_time(a);
	send_seed(a);
	send_identity(a);
	list_for_each_safe (pos, next, &a->conns)
		agent_conn_session_began(list_entry(pos, struct agent_conn, link));
}

/* ---- from the guest ---- */

static struct agent_conn *find_conn(struct agent *a, uint32_t stream)
{
	struct list *pos;
	list_for_each (pos, &a->conns) {
		struct agent_conn *c = list_entry(pos, struct agent_conn, link);
		if (c->stream && c->stream == stream)
			return c;
	}
	return NULL;
}

static void take(struct agent *a, const struct frame *f)
{
	if (f->type == FRAME_READY && !f->session) {
		/* One that is still whole will be read by this agent as well. */
		if (a->hello_left < FRAME_HEADER_BYTES + FRAME_HELLO_BYTES)
			begin_session(a);
		return;
	}
	if (f->session != a->session)
		return;
	if (f->type == FRAME_WELCOME) {
		on_welcome(a, f);
		return;
	}
	/* One that has just been closed may still talk. */
	struct agent_conn *c = a->up ? find_conn(a, f->stream) : NULL;
	if (c)
		agent_conn_frame(c, f);
}

static size_t agent_write(struct chardev *base, const uint8_t *buf, size_t len)
{
	struct agent *a = container_of(base, struct agent, base);
	size_t left = len;
	struct frame f;
	while (left) {
		int got = frame_get(&a->decoder, &buf, &left, &f);
		if (got > 0) {
			take(a, &f);
		} else if (got < 0) {
			log_guest(&a->limit, "the guest's agent sent what is no frame");
			end_session(a);
			hunt(a);
		}
	}
	return len;
}

/* ---- the stream ---- */

static void agent_input_ready(struct chardev *base)
{
	struct agent *a = container_of(base, struct agent, base);
	loop_task_post(a->loop, &a->pump);
}

static void agent_attached(struct chardev *base)
{
	struct agent *a = container_of(base, struct agent, base);
	struct list *pos;
	a->pump.lock = base->lock;
	list_for_each (pos, &a->conns)
		agent_conn_set_lock(list_entry(pos, struct agent_conn, link), base->lock);
	chardev_tell_connected(base, true);
	if (base->port)
		begin_session(a);
	else
		end_session(a);
}

void agent_guest_reset(struct agent *a)
{
	if (!a || !a->base.port)
		return;
	pthread_mutex_lock(a->base.lock);
	begin_session(a);
	pthread_mutex_unlock(a->base.lock);
}

void agent_set_identity(struct agent *a, enum agent_event event, const char *name,
			unsigned int code)
{
	a->event = event;
	a->code = code;
	snprintf(a->name, sizeof(a->name), "%s", name);
}

void agent_set_credentials(struct agent *a, const struct agent_credential *v, unsigned int n)
{
	a->credentials = v;
	a->ncredentials = n;
}

void agent_set_event(struct agent *a, enum agent_event event)
{
	if (a)
		a->event = event;
}

struct chardev *agent_chardev(struct agent *a)
{
	return &a->base;
}

bool agent_is_up(const struct agent *a)
{
	return a->up;
}

int agent_create(struct loop *loop, struct agent **out)
{
	static const struct chardev_ops ops = {
		.name = "agent",
		.write = agent_write,
		.input_ready = agent_input_ready,
		.attached = agent_attached,
	};
	struct agent *a = calloc(1, sizeof(*a));
	if (a)
		a->to_guest_buf = malloc(AGENT_TO_GUEST_BYTES);
	if (!a || !a->to_guest_buf) {
		free(a);
		return -ENOMEM;
	}
	a->base.ops = &ops;
	a->loop = loop;
	a->pump = (struct loop_task){ .fn = pump, .opaque = a };
	list_init(&a->conns);
	ring_init(&a->to_guest, a->to_guest_buf, AGENT_TO_GUEST_BYTES);
	hunt(a);
	*out = a;
	return 0;
}

void agent_destroy(struct agent *a)
{
	if (!a)
		return;
	while (!list_empty(&a->conns))
		agent_conn_destroy(list_entry(a->conns.next, struct agent_conn, link));
	loop_task_cancel(a->loop, &a->pump);
	free(a->to_guest_buf);
	free(a);
}
