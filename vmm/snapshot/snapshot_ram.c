/* SPDX-License-Identifier: Apache-2.0 */
/* RAM as a private mapping of the image. */
/*
 * Rules. (1) A cluster that RAM is mapped from belongs to a snapshot that is there as long as the mapping:
 * whoever deletes it detaches RAM before. (2) The clusters of a snapshot never change. So the mapping shows the
 * same for ever, and a page that was not written needs no saving.
 */
#include "vmm/snapshot/snapshot_ram.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "devices/block/qcow2/qcow2.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

enum {
	PAGE_BYTES = 4096,
	/* A process has 65,530 mappings unless the administrator says otherwise; a hole takes one, too. */
	MAPPINGS_MAX = 20000,
	DETACH_BYTES = 2 * 1024 * 1024,
};

/* ---- what is known ---- */

void snapshot_ram_forget_saved(struct snapshot_ram *r)
{
	free(r->saved);
	r->saved = NULL;
	r->saved_id[0] = '\0';
}

void snapshot_ram_saved(struct snapshot_ram *r, struct snapshot_plan *p, const char *id)
{
	snapshot_ram_forget_saved(r);
	r->saved = p->host;
	p->host = NULL;
	snprintf(r->saved_id, sizeof(r->saved_id), "%s", id);
}

void snapshot_ram_forget(struct snapshot_ram *r)
{
	snapshot_ram_forget_saved(r);
	free(r->mapped);
	*r = (struct snapshot_ram){ .unit = 0 };
}

/* ---- a snapshot's RAM ---- */

/* The part of an extent that is RAM: where in RAM, where in the file. False: none of it. */
static bool ram_part(const struct snapshot *s, const struct qcow2_vm_extent *x, uint64_t *off,
		     uint64_t *host, uint64_t *bytes)
{
	uint64_t skip = x->vm_off < s->ram_off ? s->ram_off - x->vm_off : 0;
	if (skip >= x->bytes)
		return false;
	*off = x->vm_off + skip - s->ram_off;
	*host = x->host_off + skip;
	*bytes = x->bytes - skip;
	return true;
}

/* The length of the image's file, or 0 where it is none that can be mapped. */
static uint64_t file_bytes(int fd)
{
	struct stat st;
	return fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

int snapshot_ram_check(struct blk_node *n, const struct snapshot *s, uint64_t mem_bytes)
{
	uint64_t end = align_up(mem_bytes, s->ram_unit), off, host, bytes, stored = 0, want = 0;
	uint64_t file = file_bytes(qcow2_vm_fd(n));
	for (uint32_t i = 0; i < s->n_extents; i++) {
		if (!ram_part(s, &s->extents[i], &off, &host, &bytes))
			continue;
		if (!ck_range(off, bytes, end) || off % s->ram_unit || bytes % s->ram_unit ||
		    (file && !ck_range(host, bytes, file)))
			return -EINVAL;
		stored += bytes / s->ram_unit;
	}
	return state_get_u64(s->root, "ram-units", &want) || want != stored ? -EINVAL : 0;
}

struct read_job {
	const struct snapshot *s;
	uint8_t *to;
	uint64_t off, bytes;
};

static int co_read(struct blk_node *n, void *arg)
{
	const struct read_job *j = arg;
	return qcow2_co_vm_read(n, j->s->extents, j->s->n_extents, j->to, j->bytes,
				j->s->ram_off + j->off);
}

/* One run of RAM: mapped where that is possible, else read. */
static int restore_run(struct snapshot_ram *r, struct x86_ram *ram, struct blk_node *n,
		       const struct snapshot *s, uint64_t off, uint64_t host, uint64_t bytes,
		       bool map)
{
	uint64_t len = MIN(bytes, ram->len_bytes - off);
	if (!map || (host | off | len) % PAGE_BYTES) {
		struct read_job job = { s, (uint8_t *)ram->hva + off, off, len };
		r->some_read = true;
		return qcow2_run(n, co_read, &job);
	}
	for (uint64_t at = 0; at < bytes; at += s->ram_unit)
		r->mapped[(off + at) / s->ram_unit] = host + at;
	return x86_ram_map(ram, off, len, qcow2_vm_fd(n), host);
}

int snapshot_ram_restore(struct snapshot_ram *r, struct x86_ram *ram, struct blk_node *n,
			 const struct snapshot *s)
{
	snapshot_ram_forget(r);
	r->unit = s->ram_unit;
	r->n_units = div_round_up(ram->len_bytes, s->ram_unit);
	r->mapped = calloc(r->n_units, sizeof(*r->mapped));
	int err = r->mapped ? 0 : -ENOMEM;
	bool can_map = file_bytes(qcow2_vm_fd(n));
	uint64_t off, host, bytes;
	for (uint32_t i = 0; i < s->n_extents && !err; i++)
		if (ram_part(s, &s->extents[i], &off, &host, &bytes))
			err = restore_run(r, ram, n, s, off, host, bytes,
					  can_map && i < MAPPINGS_MAX);
	snprintf(r->mapped_id, sizeof(r->mapped_id), "%s", s->id);
	return err;
}

/* ---- back to one ---- */

/* Whether the piece of the file that unit @i shows goes on in the one behind it. */
static bool goes_on(const struct snapshot_ram *r, uint64_t i)
{
	return r->mapped[i + 1] == (r->mapped[i] ? r->mapped[i] + r->unit : 0);
}

/* What was written since RAM was mapped goes. */
static void drop_written(const struct snapshot_ram *r, struct x86_ram *ram)
{
	x86_ram_drop_begin(ram);
	for (uint64_t i = 0, first = 0; i < r->n_units; i++) {
		if (i + 1 < r->n_units && goes_on(r, i))
			continue;
		uint64_t off = first * r->unit;
		x86_ram_drop(ram, off, MIN((i + 1) * r->unit, ram->len_bytes) - off);
		first = i + 1;
	}
	x86_ram_drop_end(ram);
}

int snapshot_ram_revert(struct snapshot_ram *r, struct x86_ram *ram, struct blk_node *n,
			const struct snapshot *s)
{
	if (r->mapped)
		drop_written(r, ram);
	if (r->mapped && !r->some_read && strcmp(r->mapped_id, s->id) == 0) {
		snapshot_ram_forget_saved(r);
		return 0;
	}
	int err = x86_ram_clear(ram);
	return err ? err : snapshot_ram_restore(r, ram, n, s);
}

/* ---- leaving the image ---- */

/* A copy of the range in memory of our own takes its place. */
static int detach_range(struct x86_ram *ram, uint64_t off, uint64_t bytes)
{
	uint8_t *at = (uint8_t *)ram->hva + off;
	void *copy = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (copy == MAP_FAILED)
		return -errno;
	memcpy(copy, at, bytes);
	if (mremap(copy, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED) {
		int err = -errno;
		munmap(copy, bytes);
		return err;
	}
	return 0;
}

int snapshot_ram_detach(struct snapshot_ram *r, struct x86_ram *ram)
{
	uint64_t step = MAX((uint64_t)r->unit, (uint64_t)DETACH_BYTES);
	int err = 0;
	for (uint64_t off = 0; r->mapped && off < ram->len_bytes && !err; off += step) {
		uint64_t bytes = MIN(step, ram->len_bytes - off);
		bool any = false;
		for (uint64_t at = off; at < off + bytes; at += r->unit)
			any |= r->mapped[at / r->unit] != 0;
		err = any ? detach_range(ram, off, bytes) : 0;
	}
	if (!err)
		snapshot_ram_forget(r);
	return err;
}
