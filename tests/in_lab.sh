#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs test programs where there is a real /dev/kvm, by tests/run.sh, each in a lab of its own where there is none:
#
#   tests/in_lab.sh SECONDS PROGRAM...
#
# A program is ended after SECONDS and then counts as failed; its lab, which takes a few seconds to start, has a
# minute more. So when the lab's time is up (124), or the lab failed (125), it is the emulated machine that
# stands still, and not a test: it is started again, twice at most, and that is said. The closing line is for all of them.
# A shell program that needs another lab than usual has a line with the lab's options, "# lab: --cpus 1", or with fewer
# seconds, "# seconds: 150".
set -u
cd "$(dirname "$0")/.." || exit
seconds=$1
shift
if [ -z "${TOTALS:-}" ]; then
	mkdir -p "${BUILD:-build}"
	TOTALS=$(mktemp "$PWD/${BUILD:-build}/totals.XXXXXX") # not in $TMPDIR, which the lab has of its own
	trap 'rm -f "$TOTALS"' EXIT
	export TOTALS
fi

in_lab() {
	local options=() limit=
	case $1 in
	*.sh)
		read -ra options < <(sed -n 's/^# lab: //p' "$1")
		limit=$(sed -n 's/^# seconds: //p' "$1")
		;;
	esac
	limit=${limit:-$seconds}
	tests/lab/lab run --quiet "${options[@]}" --time $((limit + 60)) -- tests/run.sh -v -j 1 -t "$limit" "$1"
}

result=0
for program; do
	for again in 1 2 3; do
		in_lab "$program"
		status=$?
		case $status in 124 | 125) echo "the lab stood still (status $status), try $again of 3" ;; *) break ;; esac
	done
	[ "$status" = 0 ] || result=$status
done
exit "$result"
