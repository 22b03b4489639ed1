/* SPDX-License-Identifier: Apache-2.0 */
/* Mapping --kernel and --initrd. */
#include "vmm/boot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "firmware/blob.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

/* Smaller ones are not worth a mapping of their own; it also bounds how many there are. */
#define HOLE_BYTES_MIN ((size_t)1 << 20)

static enum exit_status complain(const char *path, const char *why)
{
	log_error("%s: %s", path, why);
	return EXIT_STATUS_FILE;
}

static void map_zeroes(uint8_t *map, size_t from, size_t to)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	from = (size_t)align_up(from, page);
	to = (size_t)align_down(to, page);
	if (to > from && to - from >= HOLE_BYTES_MIN)
		/* On failure the file is still there. */
		(void)mmap(map + from, to - from, PROT_READ,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

/*
 * An uncompressed kernel is to a third zeroes, holes in a file that was written well. Looked at through the
 * file, each page of a hole is allocated and cleared in the page cache; anonymous memory has the host's one
 * page of zeroes for all of them.
 */
static void map_holes(int fd, uint8_t *map, size_t len)
{
	off_t data = 0, hole;
	while ((hole = lseek(fd, data, SEEK_HOLE)) >= 0 && (size_t)hole < len) {
		data = lseek(fd, hole, SEEK_DATA);
		if (data < 0 || (size_t)data > len)
			data = (off_t)len;
		map_zeroes(map, (size_t)hole, (size_t)data);
		if (data == hole)
			return;
	}
}

static enum exit_status map_fd(const char *path, int fd, struct boot_file *out)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return complain(path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return complain(path, "not a regular file");
	if (!st.st_size)
		return complain(path, "the file is empty");
	if ((uint64_t)st.st_size > BLOB_BYTES_MAX)
		return complain(path, "too large to be booted (more than 512 MiB)");
	size_t len = (size_t)st.st_size;
	void *p = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return complain(path, strerror(errno));
	map_holes(fd, p, len);
	/* It is copied from end to end at once: one call instead of a fault for every few pages. */
	(void)madvise(p, len, MADV_POPULATE_READ);
	*out = (struct boot_file){ .data = p, .len_bytes = len };
	return EXIT_STATUS_OK;
}

enum exit_status boot_file_map(const char *path, struct boot_file *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return complain(path, strerror(errno));
	enum exit_status status = map_fd(path, fd, out);
	close(fd);
	return status;
}

void boot_file_unmap(struct boot_file *f)
{
	if (f->data)
		munmap(f->data, f->len_bytes);
	*f = (struct boot_file){ .data = NULL };
}
