/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A damaged image: mke2fs makes a small one with a kernel once, and the input changes bytes of it, four for each
 * change: three of place, one of value. The image is a file under the real block layer. Whatever comes of it, it
 * ends, and what is called a kernel has all its bytes.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "devices/block/block.h"
#include "firmware/image_boot.h"
#include "vmm/core/loop.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { CHANGE_BYTES = 4, CHANGES_MAX = 64, IMAGE_BYTES = 1 << 20 };

static struct loop *loop;
static struct blk_node *disk;
static int image_fd;
static volatile unsigned long contents_sum; /* every byte is looked at */

static void set_up(const char *dir)
{
	char cmd[1024], path[64];
	snprintf(cmd, sizeof(cmd),
		 "PATH=$PATH:/usr/sbin:/sbin; cd %s && mkdir -p t/boot/grub && cd t && "
		 "head -c 20000 /dev/zero > boot/vmlinuz-1 && echo i > boot/initrd.img-1 && "
		 "echo linux /boot/vmlinuz-1 root=/dev/sda1 > boot/grub/grub.cfg && cd .. && "
		 "mke2fs -q -F -t ext4 -b 1024 -O ^has_journal,^metadata_csum -N 64 -d t img 1024k",
		 dir);
	snprintf(path, sizeof(path), "%s/img", dir);
	if (system(cmd) || (image_fd = open(path, O_RDWR | O_CLOEXEC)) < 0 || loop_create(&loop) ||
	    blk_open(loop, path, "raw", BLK_OPEN_BUFFERED | BLK_OPEN_NO_LOCK, &disk)) {
		fprintf(stderr, "the image cannot be made: is mke2fs installed?\n");
		exit(1);
	}
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	if (system(cmd))
		perror(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	static char dir[] = "/tmp/charmvm-fuzz-XXXXXX";
	if (!mkdtemp(dir))
		abort();
	set_up(dir);
	return 0;
}

static off_t place(const uint8_t *change)
{
	return (change[0] | change[1] << 8 | change[2] << 16) % IMAGE_BYTES;
}

/* Bytes that were there, in @was, so that they can be put back in the opposite order. */
static void change(const uint8_t *data, size_t n, uint8_t *was)
{
	for (size_t i = 0; i < n; i++) {
		const uint8_t *c = data + i * CHANGE_BYTES;
		if (pread(image_fd, &was[i], 1, place(c)) != 1 ||
		    pwrite(image_fd, c + 3, 1, place(c)) != 1)
			abort();
	}
}

static void change_back(const uint8_t *data, size_t n, const uint8_t *was)
{
	while (n--)
		if (pwrite(image_fd, &was[n], 1, place(data + n * CHANGE_BYTES)) != 1)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct image_boot b;
	const struct image_boot_config cfg = { .console = "ttyS0" };
	uint8_t was[CHANGES_MAX];
	size_t n = len / CHANGE_BYTES < CHANGES_MAX ? len / CHANGE_BYTES : CHANGES_MAX;
	change(data, n, was);
	if (!image_boot_find(disk, &cfg, &b)) {
		contents_sum = crc32(0, b.kernel.data, (uInt)b.kernel.len_bytes);
		contents_sum = crc32(0, b.initrd.data, (uInt)b.initrd.len_bytes);
		if (!strstr(b.cmdline, "root="))
			abort();
		image_boot_release(&b);
	} else if (!n) {
		abort(); /* the sound image boots */
	}
	change_back(data, n, was);
	return 0;
}
