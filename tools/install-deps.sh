#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing of the Debian packages that a purpose needs:
#
#   tools/install-deps.sh build|image|lab|test|browser|lint|deb...
#
# Says what it installs; asks through sudo where it is not root; silent when all is there.
set -eu

build="gcc make pkg-config libc6-dev libslirp-dev libaio-dev libfdt-dev zlib1g-dev libzstd-dev
       libext2fs-dev libarchive-dev libjansson-dev openssh-client"
image="mmdebstrap uidmap e2fsprogs fdisk qemu-utils cpio busybox-static kmod gcc libc6-dev zstd xz-utils"
lab="qemu-system-x86 busybox-static cpio kmod gcc libc6-dev"
test="qemu-utils jq e2fsprogs fdisk dosfstools mtools acpica-tools iproute2 socat curl fio clang libclang-rt-14-dev
      seabios grub-common grub-pc-bin xorriso zsh fish groff-base rsync"
browser="chromium chromium-driver python3"
deb="dpkg-dev"
lint="clang clang-format clang-tidy cppcheck shellcheck"

wanted=
for purpose; do
	case $purpose in
	build) wanted="$wanted $build" ;;
	image) wanted="$wanted $image" ;;
	lab) "$(dirname "$0")/../tests/lab/lab" usable || wanted="$wanted $lab" ;;
	test) wanted="$wanted $test" ;;
	browser) wanted="$wanted $browser" ;;
	lint) wanted="$wanted $lint" ;;
	deb) wanted="$wanted $deb" ;;
	*)
		echo "install-deps.sh: unknown purpose '$purpose'; one of build, image, lab, test, browser, lint, deb" >&2
		exit 2
		;;
	esac
done

missing=
for package in $wanted; do
	# Status of a package that is there: "ii ".
	case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) in
	ii*) ;;
	*) missing="$missing $package" ;;
	esac
done
missing=$(printf '%s\n' "$missing" | tr -s ' ' '\n' | sort -u | tr '\n' ' ')
[ -n "${missing# }" ] || exit 0

echo "Installing Debian packages:$missing"
as_root=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || {
		echo "install-deps.sh: not root and no sudo; as root, run: apt-get install$missing" >&2
		exit 1
	}
	as_root=sudo
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # $missing is a list of words, and $as_root is one word or none
install() {
	$as_root apt-get install -y -q --no-install-recommends -o Dpkg::Use-Pty=0 $missing >"$log" 2>&1
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! install; then
	# The package lists may be missing or old; once more with fresh ones.
	$as_root apt-get update -q >>"$log" 2>&1 || true
	install || {
		tail -n 20 "$log" >&2
		echo "install-deps.sh: apt-get could not install:$missing" >&2
		exit 1
	}
fi
