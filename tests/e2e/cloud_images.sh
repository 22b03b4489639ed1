#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Prints the path of a folder with disk images as distributions publish them for clouds, built if they are not there:
#
#   jammy.qcow2   Ubuntu 22.04: partitions 1 (root with /boot in it), 14 (BIOS boot), 15 (EFI)
#   noble.qcow2   Ubuntu 24.04: the same and 16, /boot, of type XBOOTLDR
#   debian.qcow2  Debian 12: 1 (a root by its type), 14, 15
#
# What is in them is Debian's, one tree for all: its kernel, initramfs-tools and cloud-init as they are; tables, types,
# labels, /etc/fstab and grub.cfg are as in the images that they stand for. What is done for speed: an initrd with
# the drivers of this machine only, and no locale to be made at the first boot.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export PATH=$PATH:/usr/sbin:/sbin
cache=${XDG_CACHE_HOME:-$HOME/.cache}/charmvm/images
key=$(sha256sum "$0" | cut -c1-12)
images=$cache/cloud-$key
packages="linux-image-cloud-amd64 initramfs-tools zstd systemd-sysv udev dbus cloud-init cloud-guest-utils openssh-server
	sudo e2fsprogs fdisk iproute2 netbase"
root_mib=1400 boot_mib=100

mkdir -p "$cache"
exec 8>"$cache/cloud.lock"
flock 8
if [ -d "$images" ]; then
	echo "$images"
	exit
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/charmvm-cloud.XXXXXXXX")
chmod 711 "$work"
as_owner() {
	if [ "$(id -u)" = 0 ]; then "$@"; else mmdebstrap --unshare-helper "$@"; fi
}
clean_up() {
	[ ! -d "$work/root" ] || as_owner rm -rf "$work/root" "$work/boot" 2>/dev/null || true
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# As guest-kit/make-base does it.
mode=(--mode=unshare)
if [ "$(id -u)" = 0 ] && ! unshare -m true 2>/dev/null; then
	mode=(--mode=root '--skip=check/canmount,chroot/mount')
fi
proxies=()
while read -r line; do
	proxies+=(--aptopt="$line")
done < <(apt-config dump --format '%F "%v";%n' Acquire | grep -iE '^Acquire::(http|https)::(Proxy|Proxy-Auto-Detect|CaInfo)[: ]' | grep -v ' "";$')

cat >"$work/before" <<'END'
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
echo MODULES=list >"$1/etc/initramfs-tools/conf.d/modules"
printf '%s\n' virtio_pci virtio_blk ext4 >"$1/usr/share/initramfs-tools/modules.d/virtio"
END
cat >"$work/after" <<'END'
echo 'locale: C.UTF-8' >"$1/etc/cloud/cloud.cfg.d/50_locale.cfg"
chroot "$1" systemctl enable --quiet systemd-networkd.service
ln -sf /dev/null "$1/etc/systemd/system/apt-daily.timer"
ln -sf /dev/null "$1/etc/systemd/system/apt-daily-upgrade.timer"
rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/hostname" "$1/etc/apt/apt.conf.d/99mmdebstrap"
: >"$1/etc/machine-id"
rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/usr/share/doc/* "$1"/usr/share/man/* "$1"/usr/share/locale/*
END
echo "cloud_images.sh: installing Debian with cloud-init (some 130 MB of packages)" >&2
"$here/../../guest-kit/make-base" --sources bookworm |
	mmdebstrap "${mode[@]}" "${proxies[@]}" --variant=apt --format=directory --include="$packages" \
		--dpkgopt=force-unsafe-io --aptopt='APT::Install-Recommends "false"' \
		--essential-hook="sh '$work/before' \"\$1\"" --customize-hook="sh '$work/after' \"\$1\"" \
		bookworm "$work/root" - >"$work/log" 2>&1 8>&- || {
	tail -n 30 "$work/log" >&2
	exit 1
}
release=$(basename "$(echo "$work"/root/boot/vmlinuz-*)")
release=${release#vmlinuz-}

bios_boot=21686148-6449-6E6F-744E-656564454649
esp=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
xbootldr=BC13C2FF-59E6-4262-A352-B275FD6F7172
linux=0FC63DAF-8483-4772-8E79-3D69D8477DE4
root_x86=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709

# shellcheck disable=SC2016 # the inner shell expands it
put() { as_owner sh -c 'mkdir -p "${1%/*}" && cat >"$1"' sh "$1"; } # FILE; what it holds comes from standard input

# The file is reached by descriptor: the namespace's root may not look into our folder.
ext4() { # DISK OFFSET-MIB SIZE-MIB TREE OPTION...
	local disk=$1 at=$2 mib=$3 tree=$4
	shift 4
	as_owner mke2fs -q -F -t ext4 -d "$tree" "$@" -E "offset=$((at << 20)),lazy_itable_init=0,nodiscard" \
		/proc/self/fd/9 "${mib}M" 9<>"$disk"
}

# image NAME ROOT-TYPE [BOOT-NUMBER]: 14, 15 and /boot come first on the disk, the root last, so that it can grow.
image() {
	local name=$1 type=$2 boot=${3:-} disk=$work/disk at=112
	[ -z "$boot" ] || at=$((at + boot_mib))
	rm -f "$disk" && truncate -s "$((root_mib + boot_mib + 120))M" "$disk" && chmod 666 "$disk"
	{
		echo 'label: gpt'
		echo "${disk}14 : start=1MiB, size=4MiB, type=$bios_boot"
		echo "${disk}15 : start=5MiB, size=106MiB, type=$esp"
		[ -z "$boot" ] || echo "$disk$boot : start=112MiB, size=${boot_mib}MiB, type=$xbootldr"
		echo "${disk}1 : start=${at}MiB, size=${root_mib}MiB, type=$type"
	} | sfdisk --quiet --no-reread --no-tell-kernel "$disk"
	mkfs.vfat -F 32 -s 1 -n UEFI --offset $((5 * 2048)) "$disk" $((106 * 1024)) >>"$work/log" 2>&1
	[ -z "$boot" ] || ext4 "$disk" 112 $boot_mib "$work/boot" -L BOOT -U "$boot_uuid"
	ext4 "$disk" "$at" $root_mib "$work/root" "${root_options[@]}" -U "$root_uuid"
	qemu-img convert -f raw -O qcow2 "$disk" "$work/images/$name.qcow2"
}

# grub_cfg FILE DIRECTORY UUID ROOT CONSOLES
grub_cfg() {
	put "$1" <<-END
		set default="0"
		insmod part_gpt
		insmod ext2
		search --no-floppy --fs-uuid --set=root $3
		menuentry 'GNU/Linux' --class os {
			linux $2/vmlinuz-$release root=$4 ro $5
			initrd $2/initrd.img-$release
		}
	END
}

mkdir "$work/images"
root_uuid=$(cat /proc/sys/kernel/random/uuid)
boot_uuid=$(cat /proc/sys/kernel/random/uuid)
fstab=$work/root/etc/fstab grub=$work/root/boot/grub/grub.cfg

echo "cloud_images.sh: writing the disks" >&2
root_options=()
echo "UUID=$root_uuid / ext4 rw,discard,errors=remount-ro 0 1" | put "$fstab"
grub_cfg "$grub" /boot "$root_uuid" "UUID=$root_uuid" 'console=tty0 console=ttyS0,115200'
image debian $root_x86

root_options=(-L cloudimg-rootfs)
put "$fstab" <<'END'
LABEL=cloudimg-rootfs	/	 ext4	discard,errors=remount-ro	0 1
LABEL=UEFI	/boot/efi	vfat	umask=0077	0 1
END
as_owner mkdir -p "$work/root/boot/efi"
grub_cfg "$grub" /boot "$root_uuid" LABEL=cloudimg-rootfs 'console=tty1 console=ttyS0'
image jammy $linux

# shellcheck disable=SC2016 # likewise
echo 'LABEL=BOOT	/boot	ext4	defaults	0 2' | as_owner sh -c 'cat >>"$1"' sh "$fstab"
grub_cfg "$grub" '' "$boot_uuid" LABEL=cloudimg-rootfs 'console=tty1 console=ttyS0'
chmod 777 "$work"
# shellcheck disable=SC2016 # likewise
as_owner sh -c 'mv "$1/root/boot" "$1/boot" && mkdir "$1/root/boot"' sh "$work"
image noble $linux 16

rm -rf "$images.new" && mkdir "$images.new"
cp --sparse=always "$work"/images/*.qcow2 "$images.new/"
mv "$images.new" "$images"
echo "$images"
