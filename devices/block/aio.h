/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libaio for all files of a loop: what a turn collects goes to the kernel in one io_submit(2),
 * completions are read from the ring in memory. For file.c only.
 */
#ifndef BLOCK_AIO_H
#define BLOCK_AIO_H

#include <libaio.h>
#include <stdbool.h>

#include "vmm/base/list.h"

struct aio;
struct loop;

struct aio_op {
	struct iocb iocb; /* filled in with io_prep_*() */
	/* @res bytes or -errno; on the loop's thread, never from aio_queue(). */
	void (*done)(struct aio_op *op, long res);
	bool quiet; /* completes inside io_submit(2): needs no eventfd */
	struct list link;
};

/* -> 0 or -ENOMEM. Where the kernel gives no context, every op is answered with -ENOSYS. */
int aio_create(struct loop *l, struct aio **out);
/* Nothing is in flight. NULL is fine. */
void aio_destroy(struct aio *a);
/* Queues @op, the caller's memory until done. */
void aio_queue(struct aio *a, struct aio_op *op);

#endif
