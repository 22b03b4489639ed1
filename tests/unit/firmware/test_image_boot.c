/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel inside an image: whole disks as distributions lay them out. */
#include "firmware/image_boot.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/unit/firmware/capture.h"
#include "tests/unit/firmware/fake_fs.h"
#include "tests/unit/test.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

#define ROOT_UUID "aaaaaaaa-0000-4000-8000-000000000001"
#define BOOT_UUID "bbbbbbbb-0000-4000-8000-000000000002"

/* Kernels and initrds are their own names; the script has no single quotes. */
#define KERNELS                                                                                    \
	"mkdir -p boot etc usr/bin; for v in 6.1.0-9-amd64 6.1.0-13-amd64 6.1.0-13-amd64.old; do " \
	"printf kernel-$v > boot/vmlinuz-$v; printf initrd-$v > boot/initrd.img-$v; done;"         \
	"echo \"UUID=" ROOT_UUID " / ext4 defaults 0 1\" > etc/fstab;"

static struct blk_node *part(const char *uuid, const char *script)
{
	char options[128];
	if (!fake_fs_can())
		SKIP("mke2fs is not installed (e2fsprogs)");
	snprintf(options, sizeof(options), "-t ext4 -O ^has_journal -U %s", uuid);
	struct blk_node *d = fake_fs_new(4096, options, script, "");
	CHECK(d);
	return d;
}

static struct blk_node *disk1(const char *script)
{
	struct blk_node *p = part(ROOT_UUID, script);
	return fake_fs_join(&p, 1, 0x1234abcd);
}

static const struct image_boot_config serial = { .console = "ttyS0" };

/* Takes the kernel and frees the disk. */
static struct image_boot found(struct blk_node *d, const struct image_boot_config *cfg)
{
	struct image_boot b;
	CHECK_EQ(image_boot_find(d, cfg, &b), 0);
	fake_blk_free(d);
	return b;
}

static void check_blob(const struct blob *b, const char *want)
{
	CHECK_EQ(b->len_bytes, strlen(want));
	CHECK(!want[0] || !memcmp(b->data, want, strlen(want)));
}

TEST(newest_kernel_is_taken_with_its_initrd_and_root_by_uuid)
{
	struct image_boot b = found(disk1(KERNELS), &serial);
	check_blob(&b.kernel, "kernel-6.1.0-13-amd64");
	check_blob(&b.initrd, "initrd-6.1.0-13-amd64");
	CHECK_STR(b.cmdline, "ro root=UUID=" ROOT_UUID " console=ttyS0");
	CHECK_STR(b.kernel_name, "/boot/vmlinuz-6.1.0-13-amd64 of fake.img");
	CHECK_STR(b.description,
		  "kernel /boot/vmlinuz-6.1.0-13-amd64 from MBR partition 1 (ext4, UUID " ROOT_UUID
		  "), initrd /boot/initrd.img-6.1.0-13-amd64, chosen by the newest version");
	image_boot_release(&b);
}

TEST(grub_configuration_goes_before_names_and_its_root_stays)
{
	struct image_boot b = found(
		disk1(KERNELS
		      "mkdir boot/grub; printf \"set default=1\\nmenuentry a { linux /boot/none; "
		      "}\\n"
		      "menuentry old { search --fs-uuid --set=root " ROOT_UUID "\\n"
		      "linux /boot/vmlinuz-6.1.0-9-amd64 root=UUID=keep ro quiet console=tty0\\n"
		      "initrd /boot/initrd.img-6.1.0-9-amd64\\n}\\n\" > boot/grub/grub.cfg"),
		&serial);
	check_blob(&b.kernel, "kernel-6.1.0-9-amd64");
	CHECK_STR(b.cmdline, "root=UUID=keep ro quiet console=tty0 console=ttyS0");
	CHECK(strstr(b.description, "chosen by /boot/grub/grub.cfg: old"));
	image_boot_release(&b);
}

TEST(kernel_that_grub_names_and_that_is_not_there_falls_back_to_the_newest)
{
	struct capture c;
	struct blk_node *d = disk1(
		KERNELS "mkdir boot/grub; echo linux /boot/vmlinuz-gone > boot/grub/grub.cfg");
	capture_begin(&c);
	struct image_boot b = found(d, &serial);
	CHECK_EQ(capture_end(&c), 1);
	check_blob(&b.kernel, "kernel-6.1.0-13-amd64");
	image_boot_release(&b);
}

TEST(boot_partition_of_its_own_finds_the_root_beside_it)
{
	struct blk_node *parts[3] = {
		part(BOOT_UUID, "printf k > vmlinuz-6.12; printf i > initramfs-6.12.img"),
		part("cccccccc-0000-4000-8000-000000000003", "mkdir home; echo x > home/x"),
		part(ROOT_UUID, "mkdir -p etc boot; echo / > etc/fstab;"
				"echo UUID=" BOOT_UUID " /boot ext4 >> etc/fstab"),
	};
	struct image_boot b = found(fake_fs_join(parts, 3, 1), &serial);
	check_blob(&b.kernel, "k");
	check_blob(&b.initrd, "i");
	CHECK_STR(b.cmdline, "ro root=UUID=" ROOT_UUID " console=ttyS0");
	CHECK(strstr(b.description, "partition 1 (ext4, UUID " BOOT_UUID));
	image_boot_release(&b);
}

TEST(of_two_systems_the_one_that_mounts_the_boot_partition_is_the_root)
{
	struct blk_node *parts[3] = {
		part("cccccccc-0000-4000-8000-000000000003", "mkdir etc; echo / > etc/fstab"),
		part(ROOT_UUID, "mkdir etc; echo UUID=" BOOT_UUID " /boot ext4 > etc/fstab"),
		part(BOOT_UUID, "printf k > vmlinuz-6.12"),
	};
	struct image_boot b = found(fake_fs_join(parts, 3, 0x55), &serial);
	/* No initrd: the kernel has to find it by itself, and knows no UUID=. */
	CHECK_STR(b.cmdline, "ro root=PARTUUID=00000055-02 console=ttyS0");
	CHECK(!b.initrd.data);
	image_boot_release(&b);
}

TEST(fedora_with_boot_partition_and_loader_entries)
{
	struct blk_node *parts[2] = {
		part(BOOT_UUID,
		     "mkdir -p loader/entries grub2; for v in 6.2.9 6.2.15; do printf k$v > "
		     "vmlinuz-$v;"
		     "printf \"title F\\nlinux /vmlinuz-$v\\noptions root=UUID=x quiet\\n\" > "
		     "loader/entries/m-$v.conf; done;"
		     "printf \"set root=hd0,msdos2\\nsearch --fs-uuid --set=root " BOOT_UUID
		     "\\nblscfg\\n\" > grub2/grub.cfg"),
		part(ROOT_UUID, "mkdir etc; echo x > etc/fstab"),
	};
	struct image_boot b = found(fake_fs_join(parts, 2, 1), &serial);
	check_blob(&b.kernel, "k6.2.15");
	CHECK_STR(b.cmdline, "root=UUID=x quiet console=ttyS0");
	CHECK(strstr(b.description, "/grub2/grub.cfg: F"));
	image_boot_release(&b);
}

TEST(loader_entries_without_grub)
{
	struct image_boot b =
		found(disk1("mkdir -p boot/loader/entries; printf k > boot/k;"
			    "printf 123 > boot/i1; printf 45 > boot/i2;"
			    "printf \"linux /boot/k\\ninitrd /boot/i1\\ninitrd /boot/i2\\n"
			    "options root=/dev/sda1\\n\" > boot/loader/entries/e.conf"),
		      &serial);
	check_blob(&b.kernel, "k");
	/* Each of several initrds starts at a multiple of four. */
	CHECK_EQ(b.initrd.len_bytes, 8);
	CHECK(!memcmp(b.initrd.data,
		      "123\0"
		      "45\0\0",
		      8));
	/* The first disk of another machine is this one's. */
	CHECK_STR(b.cmdline, "root=UUID=" ROOT_UUID " console=ttyS0");
	image_boot_release(&b);
}

TEST(disk_without_partitions_and_kernel_by_symlink)
{
	struct blk_node *d =
		part(ROOT_UUID, "mkdir -p images; printf k > images/k; ln -s images/k vmlinuz");
	struct image_boot b = found(d, &serial);
	check_blob(&b.kernel, "k");
	CHECK_STR(b.cmdline, "ro root=/dev/vda console=ttyS0");
	CHECK(strstr(b.description, "kernel /vmlinuz from the whole disk"));
	image_boot_release(&b);
}

TEST(console_quiet_and_append_are_the_callers)
{
	static const char script[] = "mkdir -p boot/grub; printf k > boot/k;"
				     "echo linux /boot/k root=/dev/mapper/x quiet "
				     "console=hvc0,115200 > boot/grub/grub.cfg";
	static const struct {
		struct image_boot_config cfg;
		const char *want;
	} cases[] = {
		{ { .console = "hvc0" }, "root=/dev/mapper/x quiet console=hvc0,115200" },
		{ { .console = "hvc" },
		  "root=/dev/mapper/x quiet console=hvc0,115200 console=hvc" },
		{ { .quiet = IMAGE_BOOT_QUIET_OFF }, "root=/dev/mapper/x console=hvc0,115200" },
		{ { .quiet = IMAGE_BOOT_QUIET_ON, .append = " single  x=1" },
		  "root=/dev/mapper/x console=hvc0,115200 quiet single x=1" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct image_boot b = found(disk1(script), &cases[i].cfg);
		CHECK_STR(b.cmdline, cases[i].want);
		image_boot_release(&b);
	}
}

/* The error, told in one line that contains @text. */
static void check_error(struct blk_node *d, const struct image_boot_config *cfg, int want,
			const char *text)
{
	struct capture c;
	struct image_boot b;
	capture_begin(&c);
	int err = image_boot_find(d, cfg, &b);
	unsigned int lines = capture_end(&c);
	CHECK_EQ(err, want);
	CHECK_EQ(lines, 1);
	if (!strstr(c.text, text))
		printf("  %s", c.text);
	CHECK(strstr(c.text, text));
	CHECK(!b.kernel.data && !b.initrd.data);
	fake_blk_free(d);
}

TEST(image_without_a_kernel_says_what_was_looked_for_and_names_the_option)
{
	check_error(disk1("mkdir boot etc; echo x > etc/fstab; echo > boot/vmlinuz-1.old"), &serial,
		    -ENOENT,
		    "no kernel inside: no grub.cfg, loader/entries or vmlinuz-* in /boot or / on "
		    "MBR partition 1 (ext4, UUID " ROOT_UUID "); name one with --kernel");
	check_error(fake_blk_new(1 << 20), &serial, -ENOENT, "no ext2/3/4 file system in it");
	check_error(fake_blk_new(0), &serial, -ENOENT, "no ext2/3/4 file system in it");
}

TEST(what_cannot_be_read_or_is_too_long_is_told_once)
{
	struct blk_node *d = disk1(KERNELS);
	static char big[5000];
	d->fail_at = 0;
	check_error(d, &serial, -EIO, "cannot be read");
	memset(big, 'x', sizeof(big) - 1);
	struct image_boot_config cfg = { .append = big };
	check_error(disk1(KERNELS), &cfg, -E2BIG, "longer than 4095");
}

TEST(kernel_larger_than_any_is_refused_without_memory_for_it)
{
	struct capture c;
	struct image_boot b;
	struct blk_node *d = disk1("mkdir boot; truncate -s 600M boot/vmlinuz-1");
	capture_begin(&c);
	int err = image_boot_find(d, &serial, &b);
	capture_end(&c);
	CHECK_EQ(err, -EFBIG);
	fake_blk_free(d);
}

TEST(few_requests_are_made_for_it_all)
{
	struct blk_node *d =
		disk1(KERNELS "head -c 2000000 /dev/zero | tr \"\\0\" x > boot/vmlinuz-9");
	struct image_boot b;
	CHECK_EQ(image_boot_find(d, &serial, &b), 0);
	CHECK_EQ(b.kernel.len_bytes, 2000000);
	CHECK(d->nreads < 30);
	image_boot_release(&b);
	fake_blk_free(d);
}

TEST_MAIN(T(newest_kernel_is_taken_with_its_initrd_and_root_by_uuid),
	  T(grub_configuration_goes_before_names_and_its_root_stays),
	  T(kernel_that_grub_names_and_that_is_not_there_falls_back_to_the_newest),
	  T(boot_partition_of_its_own_finds_the_root_beside_it),
	  T(of_two_systems_the_one_that_mounts_the_boot_partition_is_the_root),
	  T(fedora_with_boot_partition_and_loader_entries), T(loader_entries_without_grub),
	  T(disk_without_partitions_and_kernel_by_symlink),
	  T(console_quiet_and_append_are_the_callers),
	  T(image_without_a_kernel_says_what_was_looked_for_and_names_the_option),
	  T(what_cannot_be_read_or_is_too_long_is_told_once),
	  T(kernel_larger_than_any_is_refused_without_memory_for_it),
	  T(few_requests_are_made_for_it_all))
