#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs test programs where there is a real /dev/kvm, by tests/run.sh, each in a lab of its own where there is none:
#
#   tests/in_lab.sh SECONDS PROGRAM...
#
# A program is ended after SECONDS and then counts as failed; its lab, which takes a few seconds to start, has a
# minute more. So when the lab's time is up (124), or the lab failed (125), it is the emulated machine that
# stands still, and not a test: it is started again, twice at most, and that is said. The closing line is for all of them.
# A shell program that needs another lab than usual has a line with the lab's options, "# lab: --scratch 1G", or with
# other seconds, "# seconds: 150".
# Ports of machines in there stay in there: all of them use the same ones.
# As many labs run at once as there are processors, a lab has one; on a real /dev/kvm it is one program after the other,
# since they take the same ports there. What a program says is shown when it has ended.
set -u
cd "$(dirname "$0")/.." || exit
seconds=$1
shift
dir=${BUILD:-build}
mkdir -p "$dir"
dir=$(mktemp -d "$PWD/$dir/in_lab.XXXXXX") # not in $TMPDIR, which the lab has of its own
trap 'rm -rf "$dir"' EXIT
export TOTALS=${TOTALS:-$dir/totals}
lanes=1
if ! tests/lab/lab usable; then
	lanes=$(nproc)
	tests/lab/lab prepare || exit # once, and not each for itself
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
	tests/lab/lab run --quiet --ports none "${options[@]}" --time $((limit + 60)) -- tests/run.sh -v -j 1 -t "$limit" "$1"
}

run() { # NUMBER PROGRAM
	local again status
	for again in 1 2 3; do
		in_lab "$2" >>"$dir/said.$1" 2>&1
		status=$?
		case $status in
		124 | 125) echo "the lab stood still (status $status), try $again of 3" >>"$dir/said.$1" ;;
		*) break ;;
		esac
	done
	[ "$status" = 0 ] || : >"$dir/failed"
	# Whole, and without the sum so far: that is told once, at the end.
	flock "$dir" grep -avE '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$dir/said.$1"
}

n=0
for program; do
	n=$((n + 1))
	while [ "$(jobs -rp | wc -l)" -ge "$lanes" ]; do wait -n; done
	run "$n" "$program" &
done
wait
awk '{ p += $1; f += $2; s += $3 }
     END { printf "%d passed, %d failed%s\n", p, f, s ? ", " s " skipped" : "" }' "$TOTALS"
[ ! -e "$dir/failed" ]
