#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fetches Debian's generic kernel package and lays out what the lab boots from:
#   DIR/vmlinux (or vmlinuz), DIR/modules/ (the few modules of the list below with what they need),
#   DIR/version (the kernel's version).
# Usage: lab_kernel.sh NEW_DIR     (needs no root; asks apt's mirrors; lab runs it under its lock)
set -euo pipefail

# Loaded at the start, or later by the kernel itself when a program asks for what they offer.
MODULES="virtio_pci virtio_blk virtio_net virtio_console virtio_rng 9p 9pnet_virtio ext4 crc32c_generic crc32c-intel kvm-amd
	loop tun fuse overlay vfat nls_cp437 nls_ascii nls_iso8859-1 isofs squashfs nbd
	nf_tables vsock vhost_net vhost_vsock msr cpuid"

die()
{
	echo "lab: $*" >&2
	exit 125
}

new=$1
mkdir -p "$new/apt/lists/partial" "$new/apt/cache/archives/partial" "$new/root"
cd "$new"
own=(-o "Dir::State::Lists=$new/apt/lists" -o "Dir::Cache=$new/apt/cache")
sandbox=(-o "APT::Sandbox::User=$(id -un)")

fetch() # APT-OPTION...: downloads the package that linux-image-amd64 stands for
{
	local package
	package=$(apt-cache "$@" depends linux-image-amd64 2>/dev/null |
		sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*-amd64\)$/\1/p' | head -n 1)
	[ -n "$package" ] || return 1
	echo "lab: downloading $package (70 MB, once)" >&2
	apt-get "$@" -qq download "$package" >&2
}

# The machine's own lists first; where there are none, or they are too old, private ones.
if ! fetch "${sandbox[@]}"; then
	echo "lab: fetching package lists" >&2
	apt-get "${own[@]}" "${sandbox[@]}" -qq update >&2 ||
		die "cannot reach Debian's mirror: check the network and /etc/apt/sources.list"
	fetch "${own[@]}" "${sandbox[@]}" ||
		die "no linux-image-amd64 package in the configured mirrors: the lab needs Debian's"
fi

echo "lab: unpacking the kernel" >&2
dpkg-deb --fsys-tarfile ./linux-image-*.deb | tar -xf - -C root
version=$(basename root/lib/modules/*)
echo "$version" >version
busybox depmod -b root "$version"

needed() # MODULE...: paths under root/lib/modules/VERSION, what they depend on included
{
	awk -v want="$*" '
		{ split($0, half, ":"); n = half[1]; sub(/.*\//, "", n); sub(/\.ko.*/, "", n)
		  gsub(/-/, "_", n); path[n] = half[1]; deps[n] = half[2] }
		END { gsub(/-/, "_", want); c = split(want, w)
		      for (i = 1; i <= c; i++) if (w[i] in path) print path[w[i]] " " deps[w[i]] }
	' "root/lib/modules/$version/modules.dep" | tr ' ' '\n' | grep . | sort -u
}

to=modules/lib/modules/$version
# shellcheck disable=SC2086 # MODULES is a list of words
needed $MODULES | while read -r path; do
	mkdir -p "$to/$(dirname "$path")"
	cp "root/lib/modules/$version/$path" "$to/$path"
done
cp "root/lib/modules/$version"/modules.{builtin,order}* "$to/" 2>/dev/null || :
# Their signatures would be verified, in emulation, and nothing asks for that.
find modules -name '*.ko' -exec strip --strip-debug {} +
busybox depmod -b modules "$version"

# The kernel packed in itself starts seconds sooner when it need not unpack itself in emulation.
image=root/boot/vmlinuz-$version
offset=$(LC_ALL=C grep -abom1 -P '\xfd7zXZ\x00' "$image" | head -n 1 | cut -d: -f1 || :)
if [ -n "$offset" ] && command -v xz >/dev/null; then
	tail -c +$((offset + 1)) "$image" | xz -dcq >vmlinux 2>/dev/null || :
fi
if [ "$(head -c 4 vmlinux 2>/dev/null | tail -c 3)" != ELF ]; then
	rm -f vmlinux
	cp "$image" vmlinuz
fi
rm -rf root apt ./*.deb
