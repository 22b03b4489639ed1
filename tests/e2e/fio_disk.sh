#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fio_disk.sh FILE: makes FILE a disk with fio and the libraries that it needs, for a guest that has none.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/lib"
cp -L "$(command -v fio)" "$work/fio"
ldd "$work/fio" | grep -o '/[^ ]*' | xargs cp -L -t "$work/lib"
rm -f "$1"
truncate -s "$(($(du -sm "$work" | cut -f1) + 24))M" "$1"
mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$work" "$1"
