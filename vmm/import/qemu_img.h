/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qemu-img(1), for the formats that are not our own. It runs as a child that is told to follow no other file, has bounded
 * memory, and ends when we do. Main thread, no other one running.
 */
#ifndef VMM_QEMU_IMG_H
#define VMM_QEMU_IMG_H

#include <stdint.h>

/* An image: an open file, its format as qemu-img calls it, and what messages call it. */
struct qemu_img_source {
	int fd;
	const char *format;
	const char *shown;
};

/* How large the disk in it is. -> 0; -ENOPKG: qemu-img is not installed; -EINVAL, -errno; after one line. */
int qemu_img_size(const struct qemu_img_source *s, uint64_t *bytes);
/*
 * Copies it into the qcow2 image @to, which is empty and as large; with a bar on a terminal. Ends it when a signal waits
 * (output_interrupted()). -> 0; -EINTR (not logged); -EINVAL, -errno after one line.
 */
int qemu_img_convert(const struct qemu_img_source *s, int to);

#endif
