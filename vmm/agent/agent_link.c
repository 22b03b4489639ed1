/* SPDX-License-Identifier: Apache-2.0 */
/* A command's end of a connection to the agent. */
#include "vmm/agent/agent_link.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "vmm/base/checked.h"
#include "vmm/base/clock.h"

enum { WAIT_MAX_MS = 60 * 60 * 1000 };

void agent_link_init(struct agent_link *l, int fd, uint64_t timeout_s)
{
	memset(l, 0, sizeof(*l));
	l->fd = fd;
	l->deadline_ns = timeout_s ? clock_now_ns() + timeout_s * NS_PER_S : 0;
}

int agent_link_left_ms(const struct agent_link *l)
{
	uint64_t now = clock_now_ns();
	if (!l->deadline_ns)
		return -1;
	if (l->deadline_ns <= now)
		return 0;
	return (int)MIN((l->deadline_ns - now) / NS_PER_MS + 1, (uint64_t)WAIT_MAX_MS);
}

/* -> 0 or -ETIMEDOUT; woken early is fine. */
static int wait_for(const struct agent_link *l, short events)
{
	struct pollfd p = { .fd = l->fd, .events = events };
	int left = agent_link_left_ms(l);
	if (!left)
		return -ETIMEDOUT;
	poll(&p, 1, left);
	return 0;
}

static int send_all(struct agent_link *l, const void *buf, size_t len, int more)
{
	const uint8_t *p = buf;
	while (len) {
		ssize_t n = send(l->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL | more);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -EPIPE;
		int err = n < 0 ? wait_for(l, POLLOUT) : 0;
		if (err)
			return err;
		p += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int agent_link_send(struct agent_link *l, enum frame_type type, const void *payload, size_t len)
{
	uint8_t header[FRAME_HEADER_BYTES];
	const struct frame f = { .type = type, .session = l->session, .len = (uint16_t)len };
	frame_put_header(header, &f);
	int err = send_all(l, header, sizeof(header), len ? MSG_MORE : 0);
	return err ? err : send_all(l, payload, len, 0);
}

/* -> 1: there is something to decode; 0: nothing now; -errno. */
static int receive(struct agent_link *l, bool wait)
{
	for (;;) {
		ssize_t n = recv(l->fd, l->in, sizeof(l->in), MSG_DONTWAIT);
		if (n > 0) {
			l->pos = 0;
			l->len = (size_t)n;
			return 1;
		}
		if (!n || (errno != EAGAIN && errno != EINTR))
			return -EPIPE;
		int err = wait ? wait_for(l, POLLIN) : 0;
		if (err || !wait)
			return err;
	}
}

int agent_link_next(struct agent_link *l, bool wait, struct frame *f)
{
	for (;;) {
		const uint8_t *p = l->in + l->pos;
		size_t left = l->len - l->pos;
		int got = frame_get(&l->decoder, &p, &left, f);
		l->pos = (size_t)(p - l->in);
		if (got < 0)
			return -EPROTO;
		if (got > 0 && f->type == FRAME_WELCOME) {
			l->up = true;
			l->session = f->session;
		}
		if (got > 0)
			return 1;
		got = receive(l, wait);
		if (got <= 0)
			return got;
	}
}

int agent_link_wait(struct agent_link *l)
{
	struct frame f;
	while (!l->up) {
		int got = agent_link_next(l, true, &f);
		if (got < 0)
			return got;
	}
	return 0;
}
