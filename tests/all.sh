#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Everything, or the kinds of tests that are named: lint unit block state e2e lab fuzz.
# The last line adds up: "N passed, N failed[, N skipped]".
set -u
cd "$(dirname "$0")/.." || exit

kinds=${*:-lint unit block lab state e2e fuzz}
BUILD=${BUILD:-build}
asan=$BUILD/$(uname -m)/asan
TOTALS=$(mktemp)
export TOTALS BUILD
trap 'rm -f "$TOTALS"' EXIT

say() { printf '\n==== %s (%d s)\n' "$*" "$SECONDS"; }
suite() { tests/run.sh "$@" | grep -avE '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$'; }
build() {
	make --no-print-directory -j2 "$@" && return
	echo "0 1 0" >>"$TOTALS"
	echo "FAILED the build: make $*"
}

tests/lab/lab usable || case " $kinds " in
*" state "* | *" e2e "*) echo "No usable /dev/kvm here: tests that need one run in the lab (tests/lab)." ;;
esac

unit=()
for source in tests/unit/*/test_*.c; do
	unit+=("$asan/${source%.c}")
done

say "building: sanitizers"
build MODE=asan tests "$asan/charmvm"
case " $kinds " in *" e2e "*) build MODE=release all ;; esac

for kind in $kinds; do
	say "$kind"
	case $kind in
	lint) suite -j 1 -t 900 "tests/lint/all.sh" ;;
	unit) suite -t 60 "${unit[@]}" ;;
	block) suite -t 600 tests/block/all.sh ;;
	lab) tests/lab/lab usable || suite -j 1 -t 300 tests/lab/selftest.sh ;;
	state) suite -j 1 -t 900 tests/state/all.sh ;;
	e2e) suite -j 1 -t 3400 tests/e2e/all.sh ;;
	fuzz)
		build MODE=fuzz CC=clang fuzzers
		suite -j 1 -t 600 "tests/fuzz/run.sh ${FUZZ_SECONDS:-5}"
		;;
	esac
done

say "in all"
awk '{ p += $1; f += $2; s += $3 }
     END { printf "%d passed, %d failed%s\n", p, f, s ? ", " s " skipped" : ""; exit f > 0 || !p }' "$TOTALS"
