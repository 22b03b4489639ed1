/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that can tell what is on it: for tests that end a machine in the middle of its writes.
 *
 * usage: diskload DEVICE ROUNDS DURABLE...
 *
 * One writer for each DURABLE, each with an area of its own. A round writes every sector of the area once, in random
 * order and in pieces of random length, past the guest's cache; then it flushes, and says
 * "durable WRITER ROUND". In the last quarter of the area some pieces are discarded before they are written. Every sector holds its place, its round and a checksum over all of it. First of
 * all, each area is read: every sector must be whole, from its own place, and of the round DURABLE
 * or a later one; where DURABLE is 0, or a discard may have come last, it may be zeroes as well. Writers go on with the rounds after those.
 *
 * Exit status: 0 all ROUNDS done, 1 a sector is wrong or a call failed (said), 2 wrong usage.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	SECTOR_BYTES = 512,
	BLOCK_BYTES = 4096,
	BLOCKS = 1024,	   /* of an area */
	KEPT_BLOCKS = 768, /* never discarded */
	PIECE_BLOCKS = 24,
	AREA_BYTES = BLOCKS * BLOCK_BYTES,
	SECTOR_WORDS = SECTOR_BYTES / 8,
	DISCARD_EVERY = 8,
};

struct writer {
	unsigned int index;
	int fd;
	uint64_t start; /* byte of the device */
	uint64_t random;
	unsigned char *area;
};

static void fail(const struct writer *w, const char *what)
{
	printf("diskload: writer %u: %s: %s\n", w->index, what, strerror(errno));
	fflush(stdout);
	_exit(1);
}

/* xorshift64* */
static unsigned int next_random(struct writer *w, unsigned int below)
{
	w->random ^= w->random >> 12;
	w->random ^= w->random << 25;
	w->random ^= w->random >> 27;
	return (unsigned int)((w->random * 0x2545f4914f6cdd1dull >> 33) % below);
}

/* ---- sectors ---- */

static uint64_t checksum(const uint64_t *words)
{
	uint64_t sum = 0xcbf29ce484222325ull;
	for (unsigned int i = 0; i < SECTOR_WORDS - 1; i++)
		sum = (sum ^ words[i]) * 0x100000001b3ull;
	return sum;
}

static void fill_sector(uint64_t *words, uint64_t place, uint64_t round)
{
	words[0] = place;
	words[1] = round;
	for (unsigned int i = 2; i < SECTOR_WORDS - 1; i++)
		words[i] = (place ^ round << 40) * (i * 2 + 1);
	words[SECTOR_WORDS - 1] = checksum(words);
}

static int is_zero(const uint64_t *words)
{
	for (unsigned int i = 0; i < SECTOR_WORDS; i++)
		if (words[i])
			return 0;
	return 1;
}

/* -> the newest round that is there. */
static uint64_t verify(struct writer *w, uint64_t durable)
{
	uint64_t newest = durable;
	if (pread(w->fd, w->area, AREA_BYTES, (off_t)w->start) != AREA_BYTES)
		fail(w, "read");
	for (unsigned int at = 0; at < AREA_BYTES; at += SECTOR_BYTES) {
		const uint64_t *words = (const uint64_t *)(w->area + at);
		if ((!durable || at >= KEPT_BLOCKS * BLOCK_BYTES) && is_zero(words))
			continue;
		if (words[0] != w->start + at || words[SECTOR_WORDS - 1] != checksum(words) ||
		    words[1] < durable) {
			printf("diskload: WRONG: writer %u, byte %llu: place %llu, round %llu, but "
			       "%llu is durable\n",
			       w->index, (unsigned long long)(w->start + at),
			       (unsigned long long)words[0], (unsigned long long)words[1],
			       (unsigned long long)durable);
			fflush(stdout);
			_exit(1);
		}
		if (words[1] > newest)
			newest = words[1];
	}
	return newest;
}

/* ---- rounds ---- */

static void write_piece(struct writer *w, unsigned int block, unsigned int blocks, uint64_t round)
{
	unsigned int at = block * BLOCK_BYTES, len = blocks * BLOCK_BYTES;
	uint64_t range[2] = { w->start + at, len };
	if (block >= KEPT_BLOCKS && !next_random(w, DISCARD_EVERY) &&
	    ioctl(w->fd, BLKDISCARD, range) < 0)
		fail(w, "discard");
	for (unsigned int i = at; i < at + len; i += SECTOR_BYTES)
		fill_sector((uint64_t *)(w->area + i), w->start + i, round);
	if (pwrite(w->fd, w->area + at, len, (off_t)(w->start + at)) != (ssize_t)len)
		fail(w, "write");
}

static void do_round(struct writer *w, uint64_t round)
{
	unsigned int first[BLOCKS], blocks[BLOCKS], n = 0;
	for (unsigned int block = 0; block < BLOCKS; block += blocks[n++]) {
		unsigned int most = BLOCKS - block < PIECE_BLOCKS ? BLOCKS - block : PIECE_BLOCKS;
		first[n] = block;
		blocks[n] = 1 + next_random(w, most);
	}
	while (n) {
		unsigned int i = next_random(w, n--);
		write_piece(w, first[i], blocks[i], round);
		first[i] = first[n];
		blocks[i] = blocks[n];
	}
	if (fdatasync(w->fd) < 0)
		fail(w, "flush");
	printf("durable %u %llu\n", w->index, (unsigned long long)round);
	fflush(stdout);
}

static void run_writer(unsigned int index, const char *device, uint64_t rounds, uint64_t durable)
{
	struct writer w = { .index = index, .start = (uint64_t)index * AREA_BYTES };
	w.fd = open(device, O_RDWR | O_DIRECT);
	if (w.fd < 0 || posix_memalign((void **)&w.area, BLOCK_BYTES, AREA_BYTES))
		fail(&w, device);
	uint64_t newest = verify(&w, durable);
	w.random = (newest + 1) * 0x9e3779b97f4a7c15ull + index;
	printf("diskload: writer %u: all is there, up to round %llu\n", index,
	       (unsigned long long)newest);
	fflush(stdout);
	for (uint64_t i = 1; i <= rounds; i++)
		do_round(&w, newest + i);
	_exit(0);
}

int main(int argc, char **argv)
{
	int status, bad = 0;
	if (argc < 4) {
		fputs("usage: diskload DEVICE ROUNDS DURABLE...\n", stderr);
		return 2;
	}
	for (int i = 3; i < argc; i++)
		if (!fork())
			run_writer((unsigned int)i - 3, argv[1], strtoull(argv[2], NULL, 10),
				   strtoull(argv[i], NULL, 10));
	while (wait(&status) > 0)
		bad |= status;
	return bad ? 1 : 0;
}
