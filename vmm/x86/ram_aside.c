/* SPDX-License-Identifier: Apache-2.0 */
/* What RAM held, on its way back to the host. */
#include "vmm/x86/ram_aside.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/base/checked.h"

enum {
	/* A move of less costs as much as freeing it. */
	TAKE_MIN_BYTES = 256 * 1024,
	/* Each is a mapping, of which a process has 65,530. */
	TAKE_MAX = 4096,
	/* Freed at a time: who changes the address space meanwhile waits that long at most. */
	FREE_BYTES = 16 * 1024 * 1024,
	/* Page tables are moved whole where both addresses agree modulo what one maps. */
	TABLE_BYTES = 2 * 1024 * 1024,
	/* The guest and the loop come first where processors are few; a tenth of one is left for it. */
	FREE_NICE = 10,
};

static void free_area(const struct ram_aside *a)
{
	for (uint64_t off = 0; off < a->area_bytes; off += FREE_BYTES)
		munmap(a->area + off, MIN(a->area_bytes - off, (uint64_t)FREE_BYTES));
}

static void *free_main(void *arg)
{
	setpriority(PRIO_PROCESS, (id_t)gettid(), FREE_NICE);
	free_area(arg);
	return NULL;
}

void ram_aside_wait(struct ram_aside *a)
{
	if (a->freeing)
		pthread_join(a->thread, NULL);
	*a = (struct ram_aside){ .area = NULL };
}

void ram_aside_begin(struct ram_aside *a, uint64_t len_bytes)
{
	ram_aside_wait(a);
	uint64_t span = len_bytes + TABLE_BYTES;
	void *p = mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return;
	a->area = p;
	a->area_bytes = span;
}

bool ram_aside_take(struct ram_aside *a, uint8_t *hva, uint64_t off, uint64_t len_bytes)
{
	if (!a->area || len_bytes < TAKE_MIN_BYTES || a->n_taken == TAKE_MAX)
		return false;
	uint64_t skip = ((uintptr_t)hva - (uintptr_t)a->area) % TABLE_BYTES;
	if (mremap(hva + off, len_bytes, len_bytes,
		   MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MREMAP_FIXED,
		   a->area + skip + off) == MAP_FAILED)
		return false;
	a->n_taken++;
	return true;
}

/* A thread for each time: where processors are few, a new one runs after the guest, and one that waits before it. */
static bool start(struct ram_aside *a)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the loop's thread */
	int err = pthread_create(&a->thread, NULL, free_main, a);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return !err;
}

void ram_aside_end(struct ram_aside *a)
{
	if (!a->area)
		return;
	/* A save forks, and its child has no use for it. */
	madvise(a->area, a->area_bytes, MADV_DONTFORK);
	a->freeing = start(a);
	if (!a->freeing)
		free_area(a);
}
