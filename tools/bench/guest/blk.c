/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random reads of 4 KiB from a block device, past the guest's page cache: phase 0 one at a time,
 * phase 1 with 32 under way, each completion replaced at once in the batch it came in.
 *
 * usage: blk DEVICE COUNT_DEPTH_1 COUNT_DEPTH_32
 *
 * The kernel's own asynchronous interface is called directly: no library is needed in the guest.
 */
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "mark.h"

enum { BLOCK_BYTES = 4096, DEPTH_MAX = 32 };

struct disk {
	int fd;
	uint64_t blocks;
	uint64_t random;
	aio_context_t aio;
	unsigned char *buffers;
	unsigned int depth;
};

/* xorshift64: the same sequence in every run. */
static uint64_t next_offset(struct disk *d)
{
	d->random ^= d->random << 13;
	d->random ^= d->random >> 7;
	d->random ^= d->random << 17;
	return d->random % d->blocks * BLOCK_BYTES;
}

static void prepare_read(struct disk *d, struct iocb *request, unsigned int slot)
{
	*request = (struct iocb){
		.aio_data = slot,
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = d->fd,
		.aio_buf = (uintptr_t)(d->buffers + slot * BLOCK_BYTES),
		.aio_nbytes = BLOCK_BYTES,
		.aio_offset = (int64_t)next_offset(d),
	};
}

static void submit(struct disk *d, struct iocb **requests, long count)
{
	long done;

	for (; count; count -= done, requests += done) {
		done = syscall(SYS_io_submit, d->aio, count, requests);
		if (done <= 0)
			fail("io_submit");
	}
}

/* COUNT reads with d->depth of them under way. */
static void read_random(void *context, unsigned long count)
{
	static struct iocb requests[DEPTH_MAX];
	struct io_event events[DEPTH_MAX];
	struct iocb *batch[DEPTH_MAX];
	struct disk *d = context;
	unsigned long started = 0, done = 0;
	long length, ready;

	for (length = 0; length < d->depth; length++, started++) {
		prepare_read(d, &requests[length], length);
		batch[length] = &requests[length];
	}
	submit(d, batch, length);
	while (done < count) {
		ready = syscall(SYS_io_getevents, d->aio, 1, DEPTH_MAX, events, NULL);
		if (ready <= 0)
			fail("io_getevents");
		done += ready;
		length = 0;
		for (long i = 0; i < ready; i++) {
			if (events[i].res != BLOCK_BYTES) {
				fprintf(stderr, "blk: a read ended with %lld\n",
					(long long)events[i].res);
				exit(1);
			}
			if (started == count)
				continue;
			started++;
			batch[length++] = &requests[events[i].data];
			prepare_read(d, &requests[events[i].data], events[i].data);
		}
		if (length)
			submit(d, batch, length);
	}
}

int main(int argc, char **argv)
{
	struct disk disk = { .random = 88172645463325252ULL };
	uint64_t bytes = 0;

	if (argc != 4)
		return 2;
	disk.fd = open(argv[1], O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (disk.fd < 0 || ioctl(disk.fd, BLKGETSIZE64, &bytes))
		fail(argv[1]);
	disk.blocks = bytes / BLOCK_BYTES;
	disk.buffers = mmap(NULL, DEPTH_MAX * BLOCK_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (disk.buffers == MAP_FAILED || syscall(SYS_io_setup, DEPTH_MAX, &disk.aio))
		fail("io_setup");
	disk.depth = 1;
	phase(0, read_random, &disk, strtoul(argv[2], NULL, 0));
	disk.depth = DEPTH_MAX;
	phase(1, read_random, &disk, strtoul(argv[3], NULL, 0));
	mark(MARK_LAST);
	pause();
	return 0;
}
