/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel inside stock cloud images: their partition tables and file systems, made by sfdisk and mke2fs. Partitions
 * are found by what they are, so the numbers here are as odd as the distributions'. */
#include "firmware/image_boot.h"

#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/firmware/fake_blk.h"
#include "tests/unit/test.h"

#define ROOT_UUID "aaaaaaaa-0000-4000-8000-000000000001"
#define BOOT_UUID "bbbbbbbb-0000-4000-8000-000000000002"
#define BIOS_BOOT "type=21686148-6449-6E6F-744E-656564454649"
#define ESP	  "type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
#define XBOOTLDR  "type=BC13C2FF-59E6-4262-A352-B275FD6F7172"
#define LINUX	  "type=0FC63DAF-8483-4772-8E79-3D69D8477DE4"
#define ROOT_X86  "type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"

/* How a disk is made: a table for sfdisk, and shell for what is in it, with fs OFFSET-MIB SIZE-MIB DIR OPTION... */
#define MAKE                                                                                       \
	"PATH=$PATH:/usr/sbin:/sbin; set -e; cd %s; exec >log 2>&1; truncate -s 40M img;"          \
	"printf '%s' | sfdisk -q img;"                                                             \
	"fs() { at=$1 mib=$2 dir=$3; shift 3;"                                                     \
	" mke2fs -q -F -t ext4 -O ^has_journal -E offset=$((at << 20)) -d $dir \"$@\" img "        \
	"$((mib << 10))k; };"                                                                      \
	"mkdir -p root/etc root/boot/grub root/usr/bin boot/grub; touch root/usr/bin/env; %s"

static struct blk_node *disk(const char *table, const char *script)
{
	char dir[] = "/tmp/charmvm-cloud-XXXXXX", path[64], *cmd;
	if (system("PATH=$PATH:/usr/sbin:/sbin; command -v sfdisk mke2fs >/dev/null"))
		SKIP("sfdisk or mke2fs is not installed (fdisk, e2fsprogs)");
	CHECK(mkdtemp(dir) != NULL);
	CHECK(asprintf(&cmd, MAKE, dir, table, script) > 0);
	int made = system(cmd);
	free(cmd);
	snprintf(path, sizeof(path), "%s/img", dir);
	struct blk_node *d = made ? NULL : fake_blk_file(path);
	snprintf(path, sizeof(path), "rm -rf %s", dir);
	CHECK_EQ(system(path), 0);
	CHECK(d);
	return d;
}

static void check_boot(struct blk_node *d, const char *kernel, const char *initrd,
		       const char *cmdline, const char *where)
{
	const struct image_boot_config cfg = { .console = "ttyS0" };
	struct image_boot b;
	int err = image_boot_find(d, &cfg, &b);
	fake_blk_free(d);
	CHECK_EQ(err, 0);
	CHECK_EQ(b.kernel.len_bytes, strlen(kernel));
	CHECK(!memcmp(b.kernel.data, kernel, strlen(kernel)));
	CHECK_EQ(b.initrd.len_bytes, strlen(initrd));
	CHECK(!memcmp(b.initrd.data, initrd, strlen(initrd)));
	CHECK_STR(b.cmdline, cmdline);
	if (!strstr(b.description, where))
		printf("  %s\n", b.description);
	CHECK(strstr(b.description, where));
	image_boot_release(&b);
}

/* Ubuntu 22.04: /boot in the root partition, number 1, which comes last on the disk. */
static const char jammy_table[] = "label: gpt\\n"
				  "img14 : start=1MiB, size=1MiB, " BIOS_BOOT "\\n"
				  "img15 : start=2MiB, size=4MiB, " ESP "\\n"
				  "img1 : start=6MiB, size=30MiB, " LINUX "\\n";

#define JAMMY_FILES                                                                                \
	"echo \"LABEL=cloudimg-rootfs / ext4 discard,errors=remount-ro 0 1\" > root/etc/fstab;"    \
	"echo \"LABEL=UEFI /boot/efi vfat umask=0077 0 1\" >> root/etc/fstab;"                     \
	"printf kernel > root/boot/vmlinuz-5.15.0-112-generic;"                                    \
	"printf initrd > root/boot/initrd.img-5.15.0-112-generic;"

TEST(ubuntu_22_04_has_its_kernel_in_the_root_partition)
{
	check_boot(disk(jammy_table, JAMMY_FILES
			"cat > root/boot/grub/grub.cfg <<EOF\n"
			"set default=0\n"
			"search --no-floppy --fs-uuid --set=root " ROOT_UUID "\n"
			"menuentry Ubuntu {\n"
			"linux /boot/vmlinuz-5.15.0-112-generic root=LABEL=cloudimg-rootfs ro "
			"console=tty1 console=ttyS0\n"
			"initrd /boot/initrd.img-5.15.0-112-generic\n}\nEOF\n"
			"fs 6 30 root -L cloudimg-rootfs -U " ROOT_UUID),
		   "kernel", "initrd", "root=LABEL=cloudimg-rootfs ro console=tty1 console=ttyS0",
		   "GPT partition 1 ");
}

TEST(ubuntu_22_04_without_a_grub_configuration_boots_its_newest_kernel)
{
	check_boot(disk(jammy_table, JAMMY_FILES "fs 6 30 root -L cloudimg-rootfs -U " ROOT_UUID),
		   "kernel", "initrd", "ro root=UUID=" ROOT_UUID " console=ttyS0",
		   "GPT partition 1 ");
}

/* Ubuntu 24.04: a boot partition of its own. */
#define NOBLE_TABLE(boot)                                                                          \
	"label: gpt\\n"                                                                            \
	"img14 : start=1MiB, size=1MiB, " BIOS_BOOT "\\n"                                          \
	"img15 : start=2MiB, size=4MiB, " ESP "\\n"                                                \
	"img" boot " : start=6MiB, size=10MiB, " XBOOTLDR "\\n"                                    \
	"img1 : start=16MiB, size=20MiB, " LINUX "\\n"

#define NOBLE_FILES                                                                                \
	"echo \"LABEL=cloudimg-rootfs / ext4 discard,commit=30 0 1\" > root/etc/fstab;"            \
	"echo \"LABEL=BOOT /boot ext4 defaults 0 2\" >> root/etc/fstab;"                           \
	"echo \"LABEL=UEFI /boot/efi vfat umask=0077 0 1\" >> root/etc/fstab;"                     \
	"printf kernel > boot/vmlinuz-6.8.0-36-generic;"                                           \
	"printf initrd > boot/initrd.img-6.8.0-36-generic;"

#define NOBLE_GRUB                                                                                 \
	"cat > boot/grub/grub.cfg <<EOF\n"                                                         \
	"search --no-floppy --fs-uuid --set=root " BOOT_UUID "\n"                                  \
	"menuentry Ubuntu {\n"                                                                     \
	"linux /vmlinuz-6.8.0-36-generic root=LABEL=cloudimg-rootfs ro console=tty1 "              \
	"console=ttyS0\n"                                                                          \
	"initrd /initrd.img-6.8.0-36-generic\n}\nEOF\n"

#define NOBLE_DISK                                                                                 \
	"fs 6 10 boot -L BOOT -U " BOOT_UUID ";fs 16 20 root -L cloudimg-rootfs -U " ROOT_UUID

TEST(ubuntu_24_04_has_its_kernel_in_partition_16)
{
	check_boot(disk(NOBLE_TABLE("16"), NOBLE_FILES NOBLE_GRUB NOBLE_DISK), "kernel", "initrd",
		   "root=LABEL=cloudimg-rootfs ro console=tty1 console=ttyS0", "GPT partition 16 ");
}

TEST(ubuntu_24_04_has_its_kernel_in_partition_13_too)
{
	check_boot(disk(NOBLE_TABLE("13"), NOBLE_FILES NOBLE_GRUB NOBLE_DISK), "kernel", "initrd",
		   "root=LABEL=cloudimg-rootfs ro console=tty1 console=ttyS0", "GPT partition 13 ");
}

TEST(ubuntu_24_04_without_a_grub_configuration_finds_the_root_beside_the_boot_partition)
{
	check_boot(disk(NOBLE_TABLE("16"), NOBLE_FILES NOBLE_DISK), "kernel", "initrd",
		   "ro root=UUID=" ROOT_UUID " console=ttyS0", "GPT partition 16 ");
}

TEST(debian_12_cloud_image_has_its_root_typed_and_unlabelled)
{
	check_boot(disk("label: gpt\\n"
			"img14 : start=1MiB, size=3MiB, " BIOS_BOOT "\\n"
			"img15 : start=4MiB, size=4MiB, " ESP "\\n"
			"img1 : start=8MiB, size=30MiB, " ROOT_X86 "\\n",
			"echo \"UUID=" ROOT_UUID " / ext4 rw,discard 0 1\" > root/etc/fstab;"
			"printf kernel > root/boot/vmlinuz-6.1.0-21-cloud-amd64;"
			"printf initrd > root/boot/initrd.img-6.1.0-21-cloud-amd64;"
			"fs 8 30 root -U " ROOT_UUID),
		   "kernel", "initrd", "ro root=UUID=" ROOT_UUID " console=ttyS0",
		   "GPT partition 1 ");
}

static bool has_cloud_init(const char *files)
{
	static const char kernel[] = "mkdir -p root/etc/cloud; printf k > root/boot/vmlinuz-6.1;"
				     "printf i > root/boot/initrd.img-6.1; %s fs 6 30 root";
	const struct image_boot_config cfg = { .console = "ttyS0" };
	struct image_boot b;
	char script[512];
	snprintf(script, sizeof(script), kernel, files);
	struct blk_node *d = disk(jammy_table, script);
	int err = image_boot_find(d, &cfg, &b);
	fake_blk_free(d);
	CHECK_EQ(err, 0);
	bool has = b.cloud_init;
	image_boot_release(&b);
	return has;
}

TEST(cloud_init_is_seen_unless_it_is_switched_off)
{
	CHECK(has_cloud_init("echo x > root/usr/bin/cloud-init;"));
	CHECK(!has_cloud_init("echo x > root/usr/bin/cloud-init;"
			      "touch root/etc/cloud/cloud-init.disabled;"));
	/* A package that was removed leaves its configuration behind. */
	CHECK(!has_cloud_init("echo x > root/etc/cloud/cloud.cfg;"));
}

TEST(cloud_init_is_seen_beside_a_boot_partition)
{
	const struct image_boot_config cfg = { .console = "ttyS0" };
	struct image_boot b;
	struct blk_node *d =
		disk(NOBLE_TABLE("16"), NOBLE_FILES NOBLE_GRUB
		     "mkdir root/etc/cloud; echo x > root/usr/bin/cloud-init;" NOBLE_DISK);
	int err = image_boot_find(d, &cfg, &b);
	fake_blk_free(d);
	CHECK_EQ(err, 0);
	CHECK(b.cloud_init);
	image_boot_release(&b);
}

TEST_MAIN(T(ubuntu_22_04_has_its_kernel_in_the_root_partition),
	  T(ubuntu_22_04_without_a_grub_configuration_boots_its_newest_kernel),
	  T(ubuntu_24_04_has_its_kernel_in_partition_16),
	  T(ubuntu_24_04_has_its_kernel_in_partition_13_too),
	  T(ubuntu_24_04_without_a_grub_configuration_finds_the_root_beside_the_boot_partition),
	  T(debian_12_cloud_image_has_its_root_typed_and_unlabelled),
	  T(cloud_init_is_seen_unless_it_is_switched_off),
	  T(cloud_init_is_seen_beside_a_boot_partition))
