/* SPDX-License-Identifier: Apache-2.0 */
/* What the block layer's unit tests share: a directory, images in it, a loop, and what was logged. */
#ifndef TESTS_UNIT_BLOCK_SCRATCH_H
#define TESTS_UNIT_BLOCK_SCRATCH_H

#include "devices/block/block.h"
#include "devices/block/qcow2/create.h"
#include "tests/unit/test.h"
#include "vmm/core/loop.h"

/* Goes to a fresh directory, removed at exit; once for each program. */
void scratch(void);
/* A file of this name with these bytes, and of this length (a hole behind the bytes). */
void make_file(const char *name, const void *bytes, size_t n, uint64_t length);
/* An empty qcow2 image. @o NULL: 1 MiB with the defaults. */
void make_qcow2(const char *name, const struct qcow2_create *o);
/* Changes bytes of a file. */
void poke(const char *name, uint64_t off, const void *bytes, size_t n);
void poke_be64(const char *name, uint64_t off, uint64_t v);
void poke_be32(const char *name, uint64_t off, uint32_t v);

/* Opens with a loop of its own and closes again. -> what blk_open() said; *message: what was logged. */
int try_open(const char *name, const char *format, unsigned int flags);
/* The last thing logged by try_open(). */
const char *logged(void);

/* A loop for a test, made once. */
struct loop *the_loop(void);

#endif
