#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the path of a CD with Debian's own installer, kept in the cache by its version: installer_cd.sh SUITE RELEASE
# It is the installer's mini.iso, put together of the same files as that is, isolinux with its menu, kernel and initrd: not every
# mirror has the ISO, but each has the package with its contents, whose signatures apt checks.
set -eu
suite=$1 package=debian-installer-$2-netboot-amd64
here=$PWD/guest-kit
# shellcheck source=guest-kit/own-apt
. "$here/own-apt"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/charmvm/installers
mkdir -p "$cache"
exec 8>"$cache/lock"
flock 8
own_apt_lists "$cache/apt-$suite" "$suite" >&2
version=$(own_apt apt-cache policy "$package" | sed -n 's/ *Candidate: //p')
iso=$cache/$package-$version.iso
if [ ! -f "$iso" ]; then
	dir=$(mktemp -d "$cache/new.XXXXXX")
	trap 'rm -rf "$dir"' EXIT
	(cd "$dir" && own_apt apt-get download "$package" isolinux >&2)
	for deb in "$dir"/*.deb; do dpkg-deb -x "$deb" "$dir/tree"; done
	from=$dir/tree/usr/lib/debian-installer/images/$2/amd64/text/debian-installer/amd64
	to=$dir/cd/debian-installer/amd64
	mkdir -p "$to"
	cp -R "$from/boot-screens" "$from/linux" "$from/initrd.gz" "$to/"
	cp "$dir/tree/usr/lib/ISOLINUX/isolinux.bin" "$from/boot-screens/ldlinux.c32" "$dir/cd/"
	cp "$from/boot-screens/syslinux.cfg" "$dir/cd/isolinux.cfg"
	xorriso -as mkisofs -quiet -r -J -V "Debian $2 netboot" -o "$dir/iso" -b isolinux.bin -c boot.cat -no-emul-boot \
		-boot-load-size 4 -boot-info-table "$dir/cd" >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
	mv "$dir/iso" "$iso"
fi
echo "$iso"
