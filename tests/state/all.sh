#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The state tests, where there is a real /dev/kvm.
set -eu
cd "$(dirname "$0")/../.."
programs=()
for source in tests/state/test_*.c; do
	programs+=("${BUILD:-build}/$(uname -m)/asan/${source%.c}")
done
exec tests/in_lab.sh 240 "${programs[@]}"
