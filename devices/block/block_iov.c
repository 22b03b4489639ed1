/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of iovecs. */
#include <string.h>

#include "devices/block/node.h"
#include "vmm/base/checked.h"

unsigned int blk_iov_slice_some(const struct iovec *iov, unsigned int niov, uint64_t skip,
				uint64_t len, struct iovec *out, unsigned int max)
{
	unsigned int used = 0;
	for (unsigned int i = 0; i < niov && len && used < max; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		size_t part = MIN((uint64_t)iov[i].iov_len - skip, len);
		out[used++] = (struct iovec){ (char *)iov[i].iov_base + skip, part };
		skip = 0;
		len -= part;
	}
	return used;
}

unsigned int blk_iov_slice(const struct iovec *iov, unsigned int niov, uint64_t skip, uint64_t len,
			   struct iovec *out, unsigned int max)
{
	unsigned int used = blk_iov_slice_some(iov, niov, skip, len, out, max);
	uint64_t sum = 0;
	for (unsigned int i = 0; i < used; i++)
		sum += out[i].iov_len;
	return sum == len ? used : 0;
}

/* Calls @fn for each piece of the part [skip, skip + len), with its place in the part. */
static void iov_each(const struct iovec *iov, unsigned int niov, uint64_t skip, uint64_t len,
		     void (*fn)(void *piece, size_t bytes, char *at), char *buf)
{
	for (unsigned int i = 0; i < niov && len; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		size_t part = MIN((uint64_t)iov[i].iov_len - skip, len);
		fn((char *)iov[i].iov_base + skip, part, buf);
		skip = 0;
		len -= part;
		if (buf)
			buf += part;
	}
}

static void piece_zero(void *piece, size_t bytes, char *at)
{
	(void)at;
	memset(piece, 0, bytes);
}

static void piece_read(void *piece, size_t bytes, char *at)
{
	memcpy(at, piece, bytes);
}

static void piece_write(void *piece, size_t bytes, char *at)
{
	memcpy(piece, at, bytes);
}

void blk_iov_zero(const struct iovec *iov, unsigned int niov, uint64_t skip, uint64_t len)
{
	iov_each(iov, niov, skip, len, piece_zero, NULL);
}

void blk_iov_read(const struct iovec *iov, unsigned int niov, uint64_t skip, void *buf,
		  uint64_t len)
{
	iov_each(iov, niov, skip, len, piece_read, buf);
}

void blk_iov_write(const struct iovec *iov, unsigned int niov, uint64_t skip, const void *buf,
		   uint64_t len)
{
	iov_each(iov, niov, skip, len, piece_write, (char *)(uintptr_t)buf);
}
