#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The block tests with ever new seeds, for as long as one likes: soak.sh SECONDS
set -u
cd "$(dirname "$0")/../.." || exit
dir=${BUILD:-build}/$(uname -m)/asan/tests/block
end=$((SECONDS + ${1:-600}))
unset LIMIT
while [ "$SECONDS" -lt "$end" ]; do
	seed=$((RANDOM * 32768 + RANDOM))
	echo "seed $seed"
	"$dir/test_model" 20 "$seed" || exit
	"$dir/test_power" 4 "$seed" 400 || exit
	"$dir/test_faults" 8 "$seed" || exit
done
