#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The block tests, bounded: about a minute on two cores. Fixed seeds: what fails once fails again.
set -u
cd "$(dirname "$0")/../.." || exit
dir=${BUILD:-build}/$(uname -m)/asan/tests/block
[ "$(stat -f -c %T /dev/shm 2>/dev/null)" = tmpfs ] && [ -w /dev/shm ] && shm="env TMPDIR=/dev/shm"
export LIMIT=${LIMIT:-25}
tests/run.sh -j 2 -t 300 "$dir/test_model 4 1" "${shm:-env} $dir/test_model 40 100" \
	"${shm:-env} $dir/test_power 8 1 60" "${shm:-env} $dir/test_faults 5 1" \
	"env TOOL=${dir%/tests/block}/charmvm tests/block/test_image_tool.sh" \
	"env TOOL=${dir%/tests/block}/charmvm tests/block/test_image_copies.sh" \
	"env TOOL=${dir%/tests/block}/charmvm tests/block/test_image_space.sh"
