/* SPDX-License-Identifier: Apache-2.0 */
/* A port that remembers. */
#include "tests/unit/chardev/fake_port.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/clock.h"

enum { STEP_MS = 2, GIVE_UP_S = 10 };

static size_t fake_input(struct chardev_port *base, const uint8_t *buf, size_t len)
{
	struct fake_port *p = container_of(base, struct fake_port, base);
	size_t limit = MIN(p->limit, sizeof(p->got));
	size_t n = MIN(len, limit - p->len);
	memcpy(p->got + p->len, buf, n);
	p->len += n;
	p->calls++;
	return n;
}

static void fake_connected(struct chardev_port *base, bool on)
{
	struct fake_port *p = container_of(base, struct fake_port, base);
	p->connected = on;
	p->times_connected += on;
}

static void fake_output_ready(struct chardev_port *base)
{
	container_of(base, struct fake_port, base)->room_calls++;
}

static void fake_resized(struct chardev_port *base, unsigned int cols, unsigned int rows)
{
	struct fake_port *p = container_of(base, struct fake_port, base);
	p->cols = cols;
	p->rows = rows;
}

void fake_port_init(struct fake_port *p)
{
	memset(p, 0, sizeof(*p));
	pthread_mutex_init(&p->lock, NULL);
	p->limit = sizeof(p->got);
	p->base.input = fake_input;
	p->base.connected = fake_connected;
	p->base.output_ready = fake_output_ready;
	p->base.resized = fake_resized;
}

void fake_port_quit(void *opaque)
{
	((struct fake_port *)opaque)->quit = true;
}

struct wait {
	struct loop *loop;
	struct loop_timer timer;
	bool (*cond)(void *arg);
	void *arg;
	uint64_t deadline_ns;
	bool done;
	bool result;
};

static void look(void *opaque)
{
	struct wait *w = opaque;
	w->result = w->cond && w->cond(w->arg);
	w->done = w->result || clock_now_ns() >= w->deadline_ns;
	if (!w->done)
		loop_timer_arm(w->loop, &w->timer, clock_now_ns() + STEP_MS * NS_PER_MS);
}

static bool run(struct loop *l, bool (*cond)(void *arg), void *arg, uint64_t ns)
{
	struct wait w = { .loop = l, .cond = cond, .arg = arg, .deadline_ns = clock_now_ns() + ns };
	w.timer.fn = look;
	w.timer.opaque = &w;
	loop_timer_arm(l, &w.timer, clock_now_ns());
	loop_run_until(l, &w.done);
	return w.result;
}

bool run_until(struct loop *l, bool (*cond)(void *arg), void *arg)
{
	return run(l, cond, arg, GIVE_UP_S * NS_PER_S);
}

void run_for_ms(struct loop *l, unsigned int ms)
{
	run(l, NULL, NULL, ms * NS_PER_MS);
}

struct expected {
	struct fake_port *port;
	int fd;
	char *buf;
	size_t len;
	size_t want;
};

static bool port_has(void *arg)
{
	struct expected *e = arg;
	return e->port->len >= e->want;
}

bool port_gets(struct loop *l, struct fake_port *p, const char *text)
{
	struct expected e = { .port = p, .want = strlen(text) };
	return run_until(l, port_has, &e) && p->len == e.want && !memcmp(p->got, text, e.want);
}

static bool fd_has(void *arg)
{
	struct expected *e = arg;
	struct pollfd pfd = { .fd = e->fd, .events = POLLIN };
	while (e->len < e->want && poll(&pfd, 1, 0) == 1) {
		ssize_t n = read(e->fd, e->buf + e->len, e->want - e->len);
		if (n <= 0)
			break;
		e->len += (size_t)n;
	}
	return e->len == e->want;
}

bool fd_gives(struct loop *l, int fd, char *buf, size_t len)
{
	struct expected e = { .fd = fd, .buf = buf, .want = len };
	return run_until(l, fd_has, &e);
}
