/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the VM state into its clusters. */
#include "vmm/snapshot/snapshot_write.h"

#include <errno.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/zero.h"

enum { PAGE_BYTES = 4096, WRITE_BYTES_MAX = 1024 * 1024 };

static int write_all(int fd, const uint8_t *p, uint64_t bytes, uint64_t at)
{
	while (bytes) {
		ssize_t n = pwrite(fd, p, MIN(bytes, (uint64_t)WRITE_BYTES_MAX), (off_t)at);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n)
			return -EIO;
		if (n < 0)
			continue;
		p += n;
		at += (uint64_t)n;
		bytes -= (uint64_t)n;
	}
	return 0;
}

/* A run of pages that are next to each other in RAM and in the file. */
struct run {
	uint64_t off, host, bytes;
};

static int flush_run(const struct snapshot_write *w, struct run *r)
{
	int err = r->bytes ? write_all(w->fd, w->ram + r->off, r->bytes, r->host) : 0;
	r->bytes = 0;
	return err;
}

static int add_page(const struct snapshot_write *w, struct run *r, uint64_t off, uint64_t host)
{
	if (w->fresh && mem_is_zero(w->ram + off, PAGE_BYTES))
		return 0;
	int err = 0;
	if (r->bytes == WRITE_BYTES_MAX || r->off + r->bytes != off || r->host + r->bytes != host)
		err = flush_run(w, r);
	if (!r->bytes)
		*r = (struct run){ off, host, 0 };
	r->bytes += PAGE_BYTES;
	return err;
}

static int write_ram(const struct snapshot_write *w)
{
	const struct snapshot_plan *p = w->plan;
	struct run r = { 0, 0, 0 };
	int err = 0;
	for (uint64_t i = 0; i < p->n_units && !err; i++) {
		if (!p->write[i])
			continue;
		uint64_t first = i * p->unit, end = MIN(first + p->unit, w->ram_bytes);
		for (uint64_t off = first; off < end && !err; off += PAGE_BYTES)
			err = add_page(w, &r, off, p->host[i] + (off - first));
	}
	return err ? err : flush_run(w, &r);
}

int snapshot_write(const struct snapshot_write *w)
{
	int err = write_ram(w);
	if (!err && fdatasync(w->fd) < 0)
		err = -errno;
	err = err ? err : write_all(w->fd, w->front, w->front_bytes, w->front_host);
	if (!err && fdatasync(w->fd) < 0)
		err = -errno;
	return err;
}
