#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs test programs and adds up what they say:
#
#   tests/run.sh [-v] [-j JOBS] [-t SECONDS] 'PROGRAM ARG...'...
#
# A program prints a line for each test ("ok NAME", "skip NAME: why", "FAILED NAME") and ends with
# "N passed, N failed[, N skipped]" and status 0 if none failed. One that ends in any other way (a crash, a
# sanitizer's report, a time-out, no closing line) counts as one more failed test. The output of a
# program is shown when something in it failed, or all of it with V=1; as it comes with -v, so that what stands
# still says where.
# Earlier totals can be carried on: TOTALS=FILE is added to and kept.
set -u

jobs=2
limit=120
live=
while getopts vj:t: o; do
	case $o in
	v) live=1 ;;
	j) jobs=$OPTARG ;;
	t) limit=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
totals=${TOTALS:-$work/totals}

one() { # NUMBER "PROGRAM ARG..."
	local command out=$work/$1.out status counts passed failed skipped
	read -ra command <<<"$2"
	# A program that runs others by this script keeps an account of its own.
	: >"$out"
	# Not a pipe: what the program may leave behind would hold that open.
	[ -z "$live" ] || { tail -n +1 -f "$out" & }
	timeout -k 5 "$limit" env -u TOTALS "${command[@]}" >"$out" 2>&1 </dev/null
	status=$?
	counts=$(grep -aE '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$out" | tail -n 1)
	read -r passed _ failed _ skipped _ <<<"${counts:-0 p 0 f 0 s}"
	skipped=${skipped:-0}
	if [ -z "$counts" ] || { [ "$status" != 0 ] && [ "${failed%,}" = 0 ]; }; then
		failed=1
		echo "FAILED $2: ended with status $status$([ "$status" = 124 ] && echo ", after $limit s")" >>"$out"
	fi
	echo "$passed ${failed%,} $skipped" >"$work/$1.count"
	if [ -n "$live" ]; then
		sleep 0.5 # tail's eyes
		kill -PIPE $!
		printf '%-60s %s\n' "$2" "${counts}"
	elif [ "${failed%,}" != 0 ] || [ -n "${V:-}" ]; then
		echo "---- $2"
		cat "$out"
	else
		grep -a '^skip ' "$out"
		printf '%-60s %s\n' "$2" "${counts}"
	fi
}

n=0
for program; do
	n=$((n + 1))
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
	one "$n" "$program" &
done
wait

cat "$work"/*.count >>"$totals" 2>/dev/null
awk '{ p += $1; f += $2; s += $3 }
     END { printf "%d passed, %d failed%s\n", p, f, s ? ", " s " skipped" : ""; exit f > 0 || !NR }' "$totals"
