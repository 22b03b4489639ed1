/* SPDX-License-Identifier: Apache-2.0 */
/* Images that name other files. */
#include "vmm/import/disk_check.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/block/probe.h"
#include "vmm/base/endian.h"

enum {
	HEAD_BYTES = 512,
	/* qcow2, docs/interop/qcow2 "Header" */
	QCOW2_VERSION = 4,
	QCOW2_BACKING_OFFSET = 8,
	QCOW2_INCOMPATIBLE = 72,
	QCOW2_DATA_FILE_BIT = 1 << 2,
	/* VMware, "Virtual Disk Format 5.0", hosted sparse extent header */
	VMDK_VERSION = 4,
	VMDK_CAPACITY = 12,
	VMDK_VERSION_MAX = 3,
	VMDK_DESCRIPTOR_BYTES = 64 * 1024, /* where its descriptor is, and more */
};

/* -> how many bytes there were, or -1. */
static ssize_t read_head(int fd, void *buf, size_t bytes)
{
	size_t done = 0;
	while (done < bytes) {
		ssize_t n = pread(fd, (char *)buf + done, bytes - done, (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (!n)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

const char *disk_format(int fd)
{
	uint8_t head[HEAD_BYTES];
	ssize_t n = read_head(fd, head, sizeof(head));
	if (n < 0)
		return NULL;
	const char *format = probe_format(head, (size_t)n);
	return format ? format : "raw";
}

static const char *why_not_qcow2(const uint8_t *head)
{
	if (get_be64(head + QCOW2_BACKING_OFFSET))
		return "it stands on a backing file, which is not in it";
	if (get_be32(head + QCOW2_VERSION) >= 3 &&
	    (get_be64(head + QCOW2_INCOMPATIBLE) & QCOW2_DATA_FILE_BIT))
		return "it has its data in another file";
	return NULL;
}

static bool is_delta(int fd)
{
	static const char hint[] = "parentFileNameHint";
	char *text = malloc(VMDK_DESCRIPTOR_BYTES);
	ssize_t n = text ? read_head(fd, text, VMDK_DESCRIPTOR_BYTES) : -1;
	bool delta = n < 0 || memmem(text, (size_t)n, hint, sizeof(hint) - 1);
	free(text);
	return delta;
}

/* A capacity of 0 says that the descriptor in it names the extents. */
static const char *why_not_vmdk(int fd, const uint8_t *head)
{
	if (memcmp(head, "KDMV", 4) || !get_le64(head + VMDK_CAPACITY))
		return "it has its data in other files; qemu-img convert makes one file of them";
	if (get_le32(head + VMDK_VERSION) > VMDK_VERSION_MAX)
		return "it is of a version that is not known";
	return is_delta(fd) ? "it has what differs from another disk, which is not in it" : NULL;
}

const char *disk_why_not(int fd, const char *format)
{
	uint8_t head[HEAD_BYTES] = { 0 };
	ssize_t n = read_head(fd, head, sizeof(head));
	if (n < 0)
		return strerror(errno);
	if (!n)
		return "it is empty";
	if (!strcmp(format, "qcow2"))
		return why_not_qcow2(head);
	return strcmp(format, "vmdk") ? NULL : why_not_vmdk(fd, head);
}
