/* SPDX-License-Identifier: Apache-2.0 */
/* The session with the host: its beginning, its frames, what is queued for it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "guest-kit/agent/agent.h"

enum { CLOCK_SLACK_MS = 100 };

/* ---- to the host ---- */

size_t agent_room(const struct agent *a)
{
	return OUT_BYTES - (a->out_len - a->out_pos);
}

/* -> where @len bytes may be written; they are there by the caller's care. */
static uint8_t *reserve(struct agent *a, size_t len)
{
	if (OUT_BYTES - a->out_len < len) {
		memmove(a->out, a->out + a->out_pos, a->out_len - a->out_pos);
		a->out_len -= a->out_pos;
		a->out_pos = 0;
	}
	if (OUT_BYTES - a->out_len < len)
		return NULL;
	a->out_len += len;
	return a->out + a->out_len - len;
}

void agent_send(struct agent *a, enum frame_type type, uint32_t stream, const void *payload,
		size_t len)
{
	const struct frame f = { .type = type,
				 .session = type == FRAME_READY ? 0 : a->session,
				 .stream = stream,
				 .len = (uint16_t)len,
				 .payload = payload };
	uint8_t *p = reserve(a, FRAME_HEADER_BYTES + len);
	if (p)
		frame_put(p, &f);
}

static void wait_for_hello(struct agent *a)
{
	const struct frame hello = { .type = FRAME_HELLO, .len = FRAME_HELLO_BYTES };
	frame_hunt(&a->decoder, &hello, NULL);
}

void session_announce(struct agent *a)
{
	uint8_t *padding = reserve(a, FRAME_MAX);
	memset(padding, 0, FRAME_MAX);
	agent_send(a, FRAME_READY, 0, NULL, 0);
	wait_for_hello(a);
}

void session_end(struct agent *a)
{
	for (int i = 0; i < AGENT_STREAMS_MAX; i++)
		stream_drop(&a->streams[i]);
	a->up = false;
	a->out_pos = a->out_len = 0;
}

/* ---- from the host ---- */

static void welcome(struct agent *a, const struct frame *f)
{
	static const char version[] = CHARMVM_VERSION;
	uint8_t answer[FRAME_HELLO_BYTES + sizeof(version)];
	if (f->len != FRAME_HELLO_BYTES)
		return;
	session_end(a);
	a->up = true;
	a->came_through = a->session;
	a->session = frame_u32(f, 4);
	uint32_t theirs = frame_u32(f, 0);
	frame_set_u32(answer, theirs < AGENT_PROTOCOL ? theirs : AGENT_PROTOCOL);
	memcpy(answer + 4, f->payload + 4, FRAME_NONCE_BYTES);
	memcpy(answer + FRAME_HELLO_BYTES, version, sizeof(version) - 1);
	agent_send(a, FRAME_WELCOME, 0, answer, FRAME_HELLO_BYTES + sizeof(version) - 1);
}

static void set_time(const struct frame *f)
{
	struct timespec now, then = {
		.tv_sec = (time_t)((uint64_t)frame_u32(f, 4) << 32 | frame_u32(f, 0)),
		.tv_nsec = (long)(frame_u32(f, 8) % 1000000000U),
	};
	if (f->len != 12 || clock_gettime(CLOCK_REALTIME, &now) < 0)
		return;
	/* In double: a host's word for the time may be any number. */
	double off_ms = ((double)now.tv_sec - (double)then.tv_sec) * 1e3 +
			((double)now.tv_nsec - (double)then.tv_nsec) / 1e6;
	if (off_ms > CLOCK_SLACK_MS || off_ms < -CLOCK_SLACK_MS)
		clock_settime(CLOCK_REALTIME, &then);
}

/* Mixed in alone, the bytes would not be felt before the kernel's next reseeding, up to a minute later. */
static void seed(const struct frame *f)
{
	union {
		struct rand_pool_info info;
		uint8_t room[sizeof(struct rand_pool_info) + FRAME_SEED_BYTES];
	} pool = { .info = { .entropy_count = FRAME_SEED_BYTES * 8,
			     .buf_size = FRAME_SEED_BYTES } };
	if (f->len != FRAME_SEED_BYTES)
		return;
	int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* nothing that the host or a command could do about it */
	memcpy(pool.info.buf, f->payload, FRAME_SEED_BYTES);
	if (!ioctl(fd, RNDADDENTROPY, &pool))
		ioctl(fd, RNDRESEEDCRNG);
	explicit_bzero(&pool, sizeof(pool));
	close(fd);
}

static void take(struct agent *a, const struct frame *f)
{
	if (f->type == FRAME_HELLO && !f->session) {
		welcome(a, f);
		return;
	}
	if (!a->up || f->session != a->session)
		return;
	struct stream *s = stream_find(a, f->stream);
	if (f->type == FRAME_TIME)
		set_time(f);
	else if (f->type == FRAME_SEED)
		seed(f);
	else if (f->type == FRAME_CREDENTIAL && a->came_through)
		credentials_take(f);
	else if (f->type == FRAME_IDENTITY && a->came_through)
		hooks_run(f);
	else if (f->type == FRAME_EXEC && !s)
		stream_open(a, f);
	else if (s)
		stream_frame(a, s, f);
}

void session_input(struct agent *a, const uint8_t *p, size_t len)
{
	struct frame f;
	while (len) {
		int got = frame_get(&a->decoder, &p, &len, &f);
		if (got > 0) {
			take(a, &f);
		} else if (got < 0) {
			/* Not a host that we know. Only a new session helps. */
			session_end(a);
			session_announce(a);
		}
	}
}
