#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes the disk and the CD that tests/e2e/test_bios.sh boots, and prints their paths in one line: grub_disk.sh KERNEL INITRD
# The disk is laid out as grub-install does it: boot code in the first sector, GRUB's core behind that, and then a partition,
# of FAT, with kernel and initrd: nothing that charmvm itself would find a kernel in. A second one, ext2, looks as if cloud-init
# were installed there. The CD is one that GRUB boots, too.
set -eu
kernel=$1 initrd=$2
modules=/usr/lib/grub/i386-pc
out=$PWD/${BUILD:-build}/grub.qcow2 cd=$PWD/${BUILD:-build}/grub.iso
first=2048 second=129024 sectors=131072 # of the partitions, of the disk
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
PATH=$PATH:/usr/sbin:/sbin
mkdir -p "${out%/*}" "$dir/cd"

# No menu: GRUB comes up with its prompt, where ". /l" boots. A menu is thousands of characters for a slow screen.
echo 'linux /vmlinuz console=ttyS0 quiet panic=1 tiny.do=script
initrd /initrd
boot' >"$dir/l"
truncate -s $((sectors * 512)) "$dir/disk"
printf 'label: dos\nstart=%d, size=%d, type=c, bootable\nstart=%d, type=83\n' $first $((second - first)) $second | sfdisk -q "$dir/disk"
mkfs.vfat -F 32 --offset $first "$dir/disk" $(((second - first) / 2)) >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
mcopy -i "$dir/disk@@$((first * 512))" "$kernel" ::/vmlinuz
mcopy -i "$dir/disk@@$((first * 512))" "$initrd" ::/initrd
mcopy -i "$dir/disk@@$((first * 512))" "$dir/l" ::/l
mkdir -p "$dir/root/etc/cloud" "$dir/root/usr/bin" && echo '#!/bin/sh' >"$dir/root/usr/bin/cloud-init"
mke2fs -q -F -t ext2 -d "$dir/root" -E offset=$((second * 512)) "$dir/disk" $(((sectors - second) / 2))k 2>"$dir/log" ||
	{ cat "$dir/log" >&2; exit 1; }
grub-mkimage -O i386-pc -d "$modules" -p '(hd0,msdos1)/' -o "$dir/core" \
	biosdisk part_msdos fat normal configfile linux halt reboot
[ "$(stat -c %s "$dir/core")" -le $(((first - 1) * 512)) ]
dd if="$modules/boot.img" of="$dir/disk" bs=440 count=1 conv=notrunc status=none
dd if="$dir/core" of="$dir/disk" bs=512 seek=1 conv=notrunc status=none
qemu-img convert -O qcow2 "$dir/disk" "$out"

echo halt >"$dir/cd/h"
echo THIS-IS-THE-CD >"$dir/cd/name"
grub-mkimage -O i386-pc-eltorito -d "$modules" -p '(cd)/' -o "$dir/cd/boot.img" \
	biosdisk iso9660 fat normal configfile halt reboot ls
xorriso -as mkisofs -quiet -R -o "$cd" -b boot.img -no-emul-boot -boot-load-size 4 -boot-info-table "$dir/cd" >"$dir/log" 2>&1 ||
	{ cat "$dir/log" >&2; exit 1; }
echo "$out $cd"
