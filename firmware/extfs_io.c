/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_manager under libext2fs.
 *
 * libext2fs reads metadata block by block. Each request to a block node costs several system calls,
 * so reads go through a few windows of 64 KiB: one request brings a directory, or the part of an
 * inode table that the next look-ups need as well. File contents do not pass here: extfs.c reads
 * them in whole extents.
 *
 * Whatever a hostile file system makes libext2fs do, it has to read blocks for it. The budget
 * bounds that, and with it the time of every operation.
 */
#include "firmware/extfs_io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/block.h"
#include "firmware/extfs.h"
#include "vmm/base/checked.h"

enum { WINDOW_BYTES = 65536 };

static bool spend(struct extfs_io *io, uint32_t cost)
{
	if (io->budget < cost)
		return false;
	io->budget -= cost;
	return true;
}

int extfs_io_read(struct extfs_io *io, uint64_t off, void *buf, uint64_t len)
{
	if (!ck_range(off, len, io->len) || !spend(io, EXTFS_READ_COST))
		return -EIO;
	int err = blk_pread(io->node, buf, len, io->off + off);
	if (err)
		io->err = err;
	return err;
}

static struct extfs_window *oldest(struct extfs_io *io)
{
	struct extfs_window *w = &io->windows[0];
	for (unsigned int i = 1; i < EXTFS_IO_WINDOWS; i++)
		if (io->windows[i].used < w->used)
			w = &io->windows[i];
	return w;
}

/* The window that holds byte @off, read if need be; NULL on error. */
static struct extfs_window *window_at(struct extfs_io *io, uint64_t off)
{
	for (unsigned int i = 0; i < EXTFS_IO_WINDOWS; i++) {
		struct extfs_window *w = &io->windows[i];
		if (off >= w->off && off - w->off < w->len) {
			w->used = ++io->clock;
			return w;
		}
	}
	struct extfs_window *w = oldest(io);
	if (!w->data)
		w->data = malloc(WINDOW_BYTES);
	if (!w->data || off >= io->len)
		return NULL;
	w->len = 0;
	w->off = align_down(off, WINDOW_BYTES);
	uint64_t len = MIN((uint64_t)WINDOW_BYTES, io->len - w->off);
	if (extfs_io_read(io, w->off, w->data, len))
		return NULL;
	w->len = len;
	w->used = ++io->clock;
	return w;
}

static int cached_read(struct extfs_io *io, uint64_t off, uint8_t *buf, uint64_t len)
{
	if (!spend(io, 1))
		return -EIO;
	while (len) {
		struct extfs_window *w = window_at(io, off);
		if (!w)
			return -EIO;
		uint64_t n = MIN(len, w->off + w->len - off);
		memcpy(buf, w->data + (off - w->off), n);
		buf += n;
		off += n;
		len -= n;
	}
	return 0;
}

/* A negative count is in bytes (libext2fs's convention). */
static errcode_t read_blk64(io_channel ch, unsigned long long block, int count, void *data)
{
	struct extfs_io *io = ch->private_data;
	uint64_t off, len = count < 0 ? (uint64_t) - (int64_t)count
				      : (uint64_t)count * (uint64_t)ch->block_size;
	if (!ck_mul((uint64_t)block, (uint64_t)ch->block_size, &off) ||
	    !ck_range(off, len, io->len))
		return EXT2_ET_SHORT_READ;
	return cached_read(io, off, data, len) ? EXT2_ET_SHORT_READ : 0;
}

static errcode_t read_blk(io_channel ch, unsigned long block, int count, void *data)
{
	return read_blk64(ch, block, count, data);
}

static errcode_t write_blk64(io_channel ch, unsigned long long block, int count, const void *data)
{
	(void)ch, (void)block, (void)count, (void)data;
	return EXT2_ET_RO_FILSYS;
}

static errcode_t write_blk(io_channel ch, unsigned long block, int count, const void *data)
{
	return write_blk64(ch, block, count, data);
}

static errcode_t set_blksize(io_channel ch, int block_size)
{
	ch->block_size = block_size;
	return 0;
}

static errcode_t io_flush(io_channel ch)
{
	(void)ch;
	return 0;
}

static errcode_t io_close(io_channel ch)
{
	/* May be shared inside libext2fs. */
	if (--ch->refcount > 0)
		return 0;
	free(ch->name);
	free(ch);
	return 0;
}

/* The name is the address of our struct: nothing else reaches this callback. */
static errcode_t io_open(const char *name, int flags, io_channel *out)
{
	(void)flags;
	struct extfs_io *io = (struct extfs_io *)(uintptr_t)strtoull(name, NULL, 16);
	io_channel ch = calloc(1, sizeof(*ch));
	if (!ch)
		return EXT2_ET_NO_MEMORY;
	ch->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	ch->manager = &io->manager;
	ch->name = strdup(name);
	ch->block_size = 1024;
	ch->refcount = 1;
	ch->private_data = io;
	*out = ch;
	return 0;
}

void extfs_io_init(struct extfs_io *io)
{
	io->manager = (struct struct_io_manager){
		.magic = EXT2_ET_MAGIC_IO_MANAGER,
		.name = "block node",
		.open = io_open,
		.close = io_close,
		.set_blksize = set_blksize,
		.read_blk = read_blk,
		.read_blk64 = read_blk64,
		.write_blk = write_blk,
		.write_blk64 = write_blk64,
		.flush = io_flush,
	};
	snprintf(io->name, sizeof(io->name), "%" PRIxPTR, (uintptr_t)io);
}

void extfs_io_clear(struct extfs_io *io)
{
	for (unsigned int i = 0; i < EXTFS_IO_WINDOWS; i++)
		free(io->windows[i].data);
}
