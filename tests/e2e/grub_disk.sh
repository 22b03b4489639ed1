#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes the disk that tests/e2e/test_bios.sh boots, and prints its path: grub_disk.sh KERNEL INITRD
# It is laid out as grub-install does it: boot code in the first sector, GRUB's core behind that, and then a partition,
# of FAT, with kernel and initrd: nothing that charmvm itself would find a kernel in.
set -eu
kernel=$1 initrd=$2
modules=/usr/lib/grub/i386-pc
out=$PWD/${BUILD:-build}/grub.qcow2
first=2048 sectors=131072 # of the partition, of the disk
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
PATH=$PATH:/usr/sbin:/sbin

# No menu: GRUB comes up with its prompt, where ". /l" boots. A menu is thousands of characters for a slow screen.
echo 'linux /vmlinuz console=ttyS0 quiet panic=1 tiny.do=poweroff
initrd /initrd
boot' >"$dir/l"
truncate -s $((sectors * 512)) "$dir/disk"
printf 'label: dos\nstart=%d, type=c, bootable\n' $first | sfdisk -q "$dir/disk"
mkfs.vfat -F 32 --offset $first "$dir/disk" $(((sectors - first) / 2)) >"$dir/log" || { cat "$dir/log" >&2; exit 1; }
mcopy -i "$dir/disk@@$((first * 512))" "$kernel" ::/vmlinuz
mcopy -i "$dir/disk@@$((first * 512))" "$initrd" ::/initrd
mcopy -i "$dir/disk@@$((first * 512))" "$dir/l" ::/l
grub-mkimage -O i386-pc -d "$modules" -p '(hd0,msdos1)/' -o "$dir/core" \
	biosdisk part_msdos fat normal configfile linux halt reboot
[ "$(stat -c %s "$dir/core")" -le $(((first - 1) * 512)) ]
dd if="$modules/boot.img" of="$dir/disk" bs=440 count=1 conv=notrunc status=none
dd if="$dir/core" of="$dir/disk" bs=512 seek=1 conv=notrunc status=none
mkdir -p "${out%/*}"
qemu-img convert -O qcow2 "$dir/disk" "$out"
echo "$out"
