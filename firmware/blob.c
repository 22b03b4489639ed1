/* SPDX-License-Identifier: Apache-2.0 */
/* Large buffers, each a mapping of its own. */
#include "firmware/blob.h"

#include <errno.h>
#include <sys/mman.h>

#include "vmm/base/checked.h"

#define HUGE_PAGE_BYTES ((size_t)2 << 20)

int blob_alloc(struct blob *b, size_t len_bytes)
{
	*b = (struct blob){ .data = NULL };
	if (len_bytes > BLOB_BYTES_MAX)
		return -EFBIG;
	size_t mapped = align_up(MAX(len_bytes, (size_t)1), HUGE_PAGE_BYTES);
	void *p = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	madvise(p, mapped, MADV_HUGEPAGE); /* only a wish */
	*b = (struct blob){ p, len_bytes, mapped };
	return 0;
}

void blob_free(struct blob *b)
{
	if (b->data)
		munmap(b->data, b->mapped_bytes);
	*b = (struct blob){ .data = NULL };
}
