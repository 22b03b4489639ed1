/* SPDX-License-Identifier: Apache-2.0 */
/* Copies bytes from one descriptor to another. It reads no more until the last
 * was written. */
#include "lab_pump.h"

#include <errno.h>
#include <unistd.h>

static void drop(struct lab_pump *p)
{
	p->total_bytes += p->len_bytes;
	p->len_bytes = 0;
}

static void pump_write(struct lab_pump *p)
{
	size_t chunk_bytes = p->len_bytes < p->chunk_bytes ? p->len_bytes : p->chunk_bytes;
	ssize_t done = write(p->to, p->buf + p->off, chunk_bytes);

	if (done < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (done < 0) {
		p->to = -1;
		drop(p);
		return;
	}
	p->off += (size_t)done;
	p->len_bytes -= (size_t)done;
	p->total_bytes += (uint64_t)done;
}

static void pump_read(struct lab_pump *p)
{
	ssize_t got = read(p->from, p->buf, sizeof(p->buf));

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) { /* a terminal says EIO when its last user has gone */
		p->from = -1;
		return;
	}
	p->off = 0;
	p->len_bytes = (size_t)got;
	if (p->to < 0)
		drop(p);
}

struct pollfd lab_pump_poll(const struct lab_pump *p)
{
	if (p->len_bytes)
		return (struct pollfd){ .fd = p->to, .events = POLLOUT };
	return (struct pollfd){ .fd = p->from, .events = POLLIN };
}

bool lab_pump_turn(struct lab_pump *p, const struct pollfd *pfd)
{
	if (pfd->fd < 0 || !pfd->revents)
		return false;
	if (p->len_bytes)
		pump_write(p);
	else
		pump_read(p);
	return true;
}

bool lab_pump_is_empty(const struct lab_pump *p)
{
	return p->from < 0 && !p->len_bytes;
}
