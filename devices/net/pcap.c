/* SPDX-License-Identifier: Apache-2.0 */
/* A capture of all that passes between a card and its backend. */
/*
 * How it works. It is a backend to the card and a sink to the backend behind it. Records are
 * gathered and written once a turn, before the sleep. The file is not waited for: if it is a FIFO
 * whose reader is slow, records are left out, and how many is told at the end. If it cannot be
 * written, the capture ends and the machine goes on.
 *
 * Format: libpcap's, microseconds, of the byte order of this host (the reader finds out by the
 * magic number), link type 1. A frame to the guest is recorded when the card has taken it; a
 * checksum that the guest left open is filled in.
 */
#include "devices/net/pcap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "devices/net/csum.h"
#include "devices/net/net.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"

#define PCAP_MAGIC UINT32_C(0xa1b2c3d4)

enum {
	PCAP_MAJOR = 2,
	PCAP_MINOR = 4,
	PCAP_SNAPLEN = 262144,
	PCAP_LINKTYPE_ETHERNET = 1,
	PCAP_RECORD_HEADER = 16,
	PCAP_BUFFER = 1 << 18,
};

struct net_pcap {
	struct net_backend base;
	struct net_sink from_inner;
	struct loop *loop;
	struct loop_hook hook;
	int fd; /* -1: the capture has ended */
	uint64_t left_out;
	size_t filled;
	uint8_t buffer[PCAP_BUFFER];
};

static struct net_pcap *from_base(struct net_backend *b)
{
	return container_of(b, struct net_pcap, base);
}

/* ---- the file ---- */

static void end_capture(struct net_pcap *c)
{
	if (c->left_out)
		log_warn("--pcap: %llu packets were left out, the reader was too slow",
			 (unsigned long long)c->left_out);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static void flush(struct net_pcap *c)
{
	if (c->fd < 0 || !c->filled)
		return;
	ssize_t n = write(c->fd, c->buffer, c->filled);
	if (n >= 0) {
		c->filled -= (size_t)n;
		memmove(c->buffer, c->buffer + n, c->filled);
	} else if (errno != EAGAIN && errno != EINTR) {
		log_error("--pcap: %s; the capture ends here", strerror(errno));
		end_capture(c);
	}
}

static void before_sleep(void *opaque)
{
	flush(opaque);
}

static uint8_t *put_u32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static uint8_t *put_frame(uint8_t *p, const struct iovec *iov, unsigned int niov, size_t len)
{
	for (unsigned int i = 0; i < niov && len; i++) {
		size_t n = MIN(iov[i].iov_len, len);
		memcpy(p, iov[i].iov_base, n);
		p += n;
		len -= n;
	}
	memset(p, 0, len);
	return p + len;
}

static void record(struct net_pcap *c, const struct iovec *iov, unsigned int niov, size_t len,
		   const struct net_offload *off)
{
	size_t need = PCAP_RECORD_HEADER + len;
	if (c->fd < 0 || len > NET_FRAME_MAX)
		return;
	if (need > sizeof(c->buffer) - c->filled)
		flush(c);
	if (need > sizeof(c->buffer) - c->filled) {
		c->left_out++;
		return;
	}
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	uint8_t *p = c->buffer + c->filled;
	p = put_u32(p, (uint32_t)now.tv_sec);
	p = put_u32(p, (uint32_t)(now.tv_nsec / 1000));
	p = put_u32(p, (uint32_t)len);
	p = put_u32(p, (uint32_t)len);
	put_frame(p, iov, niov, len);
	if (off && off->needs_csum)
		csum_complete(p, len, off);
	c->filled += need;
}

/* ---- between the card and the backend ---- */

static void pcap_send(struct net_backend *b, const struct iovec *iov, unsigned int niov,
		      size_t len_bytes, const struct net_offload *off)
{
	record(from_base(b), iov, niov, len_bytes, off);
	b->inner->ops->send(b->inner, iov, niov, len_bytes, off);
}

static bool pcap_deliver(struct net_sink *sink, const struct iovec *iov, unsigned int niov,
			 size_t len_bytes)
{
	struct net_pcap *c = container_of(sink, struct net_pcap, from_inner);
	struct net_sink *card = c->base.sink;
	if (!card)
		return true; /* nobody is there to miss it */
	if (!card->deliver(card, iov, niov, len_bytes))
		return false;
	record(c, iov, niov, len_bytes, NULL);
	return true;
}

static void pcap_wake(struct net_backend *b)
{
	b->inner->ops->wake(b->inner);
}

static int pcap_forwards(struct net_backend *b, bool serve)
{
	return b->inner->ops->forwards ? b->inner->ops->forwards(b->inner, serve) : -ENOTSUP;
}

static void pcap_reset(struct net_backend *b)
{
	b->inner->ops->reset(b->inner);
}

static void pcap_destroy(struct net_backend *b)
{
	struct net_pcap *c = from_base(b);
	b->inner->ops->destroy(b->inner);
	loop_hook_remove(c->loop, &c->hook);
	flush(c);
	end_capture(c);
	free(c);
}

static const struct net_backend_ops pcap_ops = {
	.name = "pcap",
	.send = pcap_send,
	.wake = pcap_wake,
	.reset = pcap_reset,
	.forwards = pcap_forwards,
	.destroy = pcap_destroy,
};

static void put_header(struct net_pcap *c)
{
	uint16_t version[2] = { PCAP_MAJOR, PCAP_MINOR };
	uint8_t *p = put_u32(c->buffer, PCAP_MAGIC);
	memcpy(p, version, sizeof(version));
	p = put_u32(p + sizeof(version), 0); /* times are UTC */
	p = put_u32(p, 0);		     /* accuracy: not told */
	p = put_u32(p, PCAP_SNAPLEN);
	p = put_u32(p, PCAP_LINKTYPE_ETHERNET);
	c->filled = (size_t)(p - c->buffer);
}

int pcap_create(struct loop *loop, const char *path, struct net_backend *inner,
		struct net_backend **out)
{
	struct net_pcap *c = calloc(1, sizeof(*c));
	if (!c) {
		log_error("--pcap: no memory");
		return -ENOMEM;
	}
	c->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_CLOEXEC, 0600);
	if (c->fd < 0) {
		int err = -errno;
		log_error("--pcap %s: %s", path,
			  err == -ENXIO ? "nobody reads this FIFO yet; start the reader first"
					: strerror(errno));
		free(c);
		return err;
	}
	c->loop = loop;
	c->base = *inner;
	c->base.ops = &pcap_ops;
	c->base.inner = inner;
	c->from_inner.deliver = pcap_deliver;
	inner->sink = &c->from_inner;
	c->hook = (struct loop_hook){ .before_sleep = before_sleep, .opaque = c };
	loop_hook_add(loop, &c->hook);
	put_header(c);
	*out = &c->base;
	return 0;
}
