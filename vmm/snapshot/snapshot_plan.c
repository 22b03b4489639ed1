/* SPDX-License-Identifier: Apache-2.0 */
/* Which units of RAM a save writes, and which it shares with what is in the image already. */
/*
 * How it works. /proc/self/pagemap (Linux Documentation/admin-guide/mm/pagemap.rst) tells of each page whether
 * it is ours alone (present or swapped, and not the file's), and whether it was written since the
 * soft-dirty bits were cleared. For a unit, then:
 *
 *   no page is ours         it still shows what it was mapped from: shared with it, or zeroes
 *   no page of ours was written since the last save      shared with that save, where it stored the unit
 *   anything else           it is written
 *
 * Where pagemap or soft-dirty bits cannot be had, more is written, never less. A page that was given back to
 * the host (balloon) counts as unwritten: what it held is the guest's to forget.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/snapshot/snapshot_ram.h"

#define PM_SOFT_DIRTY (UINT64_C(1) << 55)
#define PM_FILE	      (UINT64_C(1) << 61)
#define PM_SWAP	      (UINT64_C(1) << 62)
#define PM_PRESENT    (UINT64_C(1) << 63)

enum { PAGE_BYTES = 4096, PAGEMAP_BATCH = 8192 };

/* ---- pagemap, in batches ---- */

struct pagemap {
	int fd;
	uint64_t first, n; /* pages in the batch */
	uint64_t entries[PAGEMAP_BATCH];
};

/* The entry of the page with this number; what cannot be told counts as ours and written. */
static uint64_t entry_of(struct pagemap *pm, uint64_t page)
{
	if (page < pm->first || page >= pm->first + pm->n) {
		ssize_t got = pm->fd < 0 ? -1
					 : pread(pm->fd, pm->entries, sizeof(pm->entries),
						 (off_t)(page * sizeof(uint64_t)));
		pm->first = page;
		pm->n = got > 0 ? (uint64_t)got / sizeof(uint64_t) : 0;
	}
	return pm->n ? pm->entries[page - pm->first] : PM_PRESENT | PM_SOFT_DIRTY;
}

static bool is_ours(uint64_t entry)
{
	return (entry & (PM_PRESENT | PM_SWAP)) && !(entry & PM_FILE);
}

/* ---- the plan ---- */

enum unit_state { UNIT_UNTOUCHED, UNIT_AS_SAVED, UNIT_WRITTEN };

static enum unit_state look_at(struct pagemap *pm, uint64_t first_page, uint64_t n)
{
	enum unit_state state = UNIT_UNTOUCHED;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t entry = entry_of(pm, first_page + i);
		if (!is_ours(entry))
			continue;
		if (entry & PM_SOFT_DIRTY)
			return UNIT_WRITTEN;
		state = UNIT_AS_SAVED;
	}
	return state;
}

static void plan_unit(const struct snapshot_ram *r, struct snapshot_plan *p, uint64_t i,
		      enum unit_state state)
{
	/* Without a last save to compare with, what is ours is written. */
	p->write[i] = state == UNIT_WRITTEN || (state == UNIT_AS_SAVED && !r->saved);
	if (!p->write[i] && state == UNIT_AS_SAVED)
		p->host[i] = r->saved[i];
	else if (!p->write[i])
		p->host[i] = r->mapped ? r->mapped[i] : 0;
	p->n_write += p->write[i];
	p->n_stored += p->write[i] || p->host[i];
}

int snapshot_plan_make(const struct snapshot_ram *r, const struct x86_ram *ram, uint32_t unit,
		       struct snapshot_plan *p)
{
	*p = (struct snapshot_plan){ .unit = unit, .n_units = div_round_up(ram->len_bytes, unit) };
	p->host = calloc(p->n_units, sizeof(*p->host));
	p->write = calloc(p->n_units, sizeof(*p->write));
	struct pagemap *pm = calloc(1, sizeof(*pm));
	if (!p->host || !p->write || !pm) {
		free(pm);
		return -ENOMEM;
	}
	pm->fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t base = (uintptr_t)ram->hva / PAGE_BYTES;
	for (uint64_t i = 0; i < p->n_units; i++) {
		uint64_t bytes = MIN((uint64_t)unit, ram->len_bytes - i * unit);
		plan_unit(r, p, i, look_at(pm, base + i * unit / PAGE_BYTES, bytes / PAGE_BYTES));
	}
	if (pm->fd >= 0)
		close(pm->fd);
	free(pm);
	return 0;
}

void snapshot_plan_free(struct snapshot_plan *p)
{
	free(p->host);
	free(p->write);
	*p = (struct snapshot_plan){ .unit = 0 };
}

void snapshot_plan_place(struct snapshot_plan *p, uint64_t host_off)
{
	for (uint64_t i = 0; i < p->n_units; i++) {
		if (!p->write[i])
			continue;
		p->host[i] = host_off;
		host_off += p->unit;
	}
}

int snapshot_plan_extents(const struct snapshot_plan *p, uint64_t front_host, uint64_t front_bytes,
			  struct qcow2_vm_extent **v, uint32_t *n)
{
	*v = calloc(p->n_stored + 1, sizeof(**v));
	if (!*v)
		return -ENOMEM;
	struct qcow2_vm_extent *last = *v;
	*last = (struct qcow2_vm_extent){ 0, front_host, front_bytes };
	for (uint64_t i = 0; i < p->n_units; i++) {
		uint64_t vm_off = front_bytes + i * p->unit;
		if (!p->host[i])
			continue;
		if (last->vm_off + last->bytes == vm_off &&
		    last->host_off + last->bytes == p->host[i])
			last->bytes += p->unit;
		else
			*++last = (struct qcow2_vm_extent){ vm_off, p->host[i], p->unit };
	}
	*n = (uint32_t)(last - *v) + 1;
	return 0;
}

/* ---- what is written from now on ---- */

static bool page_is_soft_dirty(const void *p)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1
			     : pread(fd, &entry, sizeof(entry),
				     (off_t)((uintptr_t)p / PAGE_BYTES * sizeof(entry)));
	if (fd >= 0)
		close(fd);
	return got == sizeof(entry) && (entry & PM_SOFT_DIRTY);
}

static bool clear_soft_dirty(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, "4", 1) == 1;
	if (fd >= 0)
		close(fd);
	return ok;
}

bool snapshot_ram_track(struct snapshot_ram *r)
{
	snapshot_ram_forget_saved(r);
	/* A kernel without soft-dirty bits takes the request and shows none: a page of our own tells. */
	volatile uint8_t *probe =
		mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (probe == MAP_FAILED)
		return false;
	*probe = 1;
	bool ok = clear_soft_dirty() && !page_is_soft_dirty((const void *)probe);
	*probe = 2;
	ok = ok && page_is_soft_dirty((const void *)probe);
	munmap((void *)probe, PAGE_BYTES);
	return ok;
}
