#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every fuzz target for some seconds each, from its corpus: tests/fuzz/run.sh [SECONDS [TARGET...]]
# New inputs are thrown away; one that fails stays in build/fuzz, and the report says how to run it again.
set -u
cd "$(dirname "$0")/../.." || exit

seconds=${1:-60}
shift $(($# > 0))
bin=${BUILD:-build}/$(uname -m)/fuzz/tests/fuzz
kept=${BUILD:-build}/fuzz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$kept"

passed=0
failed=0
[ $# -gt 0 ] || for source in tests/fuzz/fuzz_*.c; do
	set -- "$@" "$(basename "$source" .c)"
done
for target; do
	corpus=tests/fuzz/corpus/$target
	mkdir -p "$work/$target"
	dirs=("$work/$target")
	[ ! -d "$corpus" ] || dirs+=("$corpus")
	if "$bin/$target" -max_total_time="$seconds" -timeout=30 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="$kept/$target-" "${dirs[@]}" >"$work/log" 2>&1; then
		echo "ok $target: $(awk '/number_of_executed_units/ { print $2 }' "$work/log") inputs"
		passed=$((passed + 1))
	else
		tail -n 60 "$work/log"
		echo "FAILED $target: run $bin/$target with the input in $kept"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
