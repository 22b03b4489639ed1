#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Prints the path of the initrd that tests/e2e/test_disk.sh boots: made where there is a compiler.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
modules=$("$here/../../guest-kit/fetch-kernel" cloud-6.1 modules)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${CC:-cc}" -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -static -s -o "$work/diskload" "$here/guest/diskload.c"
"$here/../../guest-kit/tiny-initrd" --modules "$modules" virtio_pci --modules "$modules" virtio_blk --modules "$modules" ext4 \
	--script "$here/guest/disk.sh" --add "$work/diskload" /bin/diskload
