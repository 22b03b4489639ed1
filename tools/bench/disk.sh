#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The disk engine beside qemu-img, natively: see disk.sh --help.
# shellcheck disable=SC2317 # functions are handed on by name
set -uo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
top=${here%/tools/bench}
runs=5 requests=60000 memory=/dev/shm disk=${TMPDIR:-/var/tmp} only=.
# QEMU's ways to do I/O; the best of them is what we compare with.
engines=(threads io_uring native)

usage()
{
	cat <<'END'
Usage: tools/bench/disk.sh [--memory DIR] [--disk DIR] [--runs N] [--requests N] [--only PATTERN]

Times the disk engine and qemu-img in the same run on the same files, in turn, and prints medians and ratios:
requests of 4 KiB at places far apart as qemu-img bench does them (compared with the best of QEMU's ways to do
I/O), growing writes, compression, and the CPU time of the image tool's small commands. No KVM is needed.

  --memory DIR   where images are that exist before: in memory by default (/dev/shm), so that the engines are timed
                 and not a disk
  --disk DIR     where growing images are ($TMPDIR or /var/tmp): in memory it would be the kernel's making of new
                 pages that is timed
  --runs N       of each, 5 by default, of which the median counts
  --requests N   of each run, 60000 by default
  --only PATTERN only rows whose name matches, as grep has it

Exit status: 0 all was measured, whatever the figures; 1 something could not be; 2 wrong usage.
END
}

# ---- measuring ----

median() { sort -g | awk '{ v[NR] = $1 } END { if (!NR) exit 1; print v[int((NR + 1) / 2)] }'; }
now() { local t=$EPOCHREALTIME; echo $((${t%.*} * 1000000 + 10#${t#*.})); }
wall() { # COMMAND...: seconds
	local from
	from=$(now)
	"$@" >/dev/null 2>&1 || return
	awk -v us=$(($(now) - from)) 'BEGIN { print us / 1e6 }'
}

ours() { "$program" "$@" | sed -n 's/^seconds \([0-9.]*\) .*/\1/p'; }
theirs() { # ENGINE OPTION... FILE
	local engine=$1 direct=()
	shift
	# On a disk past the page cache, as we do it; in memory there is nothing else.
	[ "$engine" = threads ] && [ "$dir" = "$memory" ] || direct=(-t none)
	# A file system without O_DIRECT leaves io_uring, through the page cache as we do there.
	qemu-img bench -i "$engine" "${direct[@]}" "$@" 2>/dev/null | sed -n 's/Run completed in \(.*\) seconds.*/\1/p' | grep . ||
		{ [ "$engine" = io_uring ] && qemu-img bench -i "$engine" "$@" 2>/dev/null | sed -n 's/Run completed in \(.*\) seconds.*/\1/p'; }
}

# row NAME UNIT WANTED OURS THEIRS [NOTE]: prints a line; the ratio is THEIRS / OURS, more is better
row() {
	awk -v name="$1" -v unit="$2" -v want="$3" -v a="$4" -v b="$5" -v note="${6:-}" 'BEGIN {
		if (a == "" || b == "" || a + 0 == 0) { printf "  %-42s could not be measured\n", name; exit 1 }
		ratio = b / a
		printf "  %-42s %9.3f %9.3f %s  %6.2f x  (%s) %s%s\n", name, a, b, unit, ratio, want,
			(ratio >= want + 0 ? "ok" : "BELOW"), (note == "" ? "" : "  " note) }' || status=1
}
wanted() { grep -qe "$only" <<<"$1"; }

# ---- 4 KiB here and there; growing writes ----

# compare NAME WANTED FORMAT FRESH OPTION...: FRESH makes image $dir/x anew before each run, or is ":"
compare() {
	local name=$1 want=$2 format=$3 fresh=$4 i engine best
	shift 4
	wanted "$name" || return
	: >"$dir/ours"
	for engine in "${engines[@]}"; do : >"$dir/theirs.$engine"; done
	for ((i = 0; i < runs; i++)); do
		$fresh
		ours "$@" -f "$format" "$dir/x" >>"$dir/ours"
		for engine in "${engines[@]}"; do
			$fresh
			theirs "$engine" "$@" -f "$format" "$dir/x" >>"$dir/theirs.$engine"
		done
	done
	best=$(for engine in "${engines[@]}"; do median <"$dir/theirs.$engine"; done | sort -g | head -n 1)
	row "$name" s "$want" "$(median <"$dir/ours")" "$best"
}

new_x() { rm -f "$dir/x" && qemu-img create -q -f qcow2 "$dir/x" 1G; }
full_x() { rm -f "$dir/x" && qemu-img create -q -f "$1" -o preallocation=full "$dir/x" 1G; }

spread() {
	local step=$((4096 * 19997)) d options
	for options in "" -w; do
		for d in 1 32; do
			# shellcheck disable=SC2086 # several options
			compare "qcow2 4 KiB $([ "$options" ] && echo rewrite || echo read), depth $d" 1.2 qcow2 : \
				$options -c $requests -s 4096 -S $step -d $d
		done
	done
}
grow() {
	local step=$((4096 * 19997)) d
	for d in 1 32; do
		compare "qcow2 4 KiB growing write, depth $d" 1.2 qcow2 new_x -w -c $((requests / 4)) -s 4096 -S $step -d $d
	done
	compare "qcow2 128 KiB growing write, depth 32" 1.5 qcow2 new_x -w -c 8192 -s 131072 -S 131072 -d 32
}

# Our raw against our qcow2, run by run.
against_raw() {
	local step=$((4096 * 19997)) d options name i
	for options in "" -w; do
		for d in 1 32; do
			name="qcow2 beside our raw: $([ "$options" ] && echo rewrite || echo read), depth $d"
			wanted "$name" || continue
			: >"$dir/ours"
			: >"$dir/raw"
			for ((i = 0; i < 2 * runs; i++)); do
				# shellcheck disable=SC2086 # several options
				ours $options -c $requests -S $step -d $d -f raw "$dir/y" >>"$dir/raw"
				# shellcheck disable=SC2086 # several options
				ours $options -c $requests -S $step -d $d -f qcow2 "$dir/x" >>"$dir/ours"
			done
			row "$name" s 0.95 "$(median <"$dir/ours")" "$(median <"$dir/raw")"
		done
	done
}

# The steady state: no allocation, few system calls.
steady() {
	local n calls
	wanted "steady state" || return
	n=$("$program" -c 40000 -d 32 -S $((4096 * 19997)) -f qcow2 "$dir/x" | sed 's/.*allocations //')
	echo "  allocations for 20000 requests, depth 32: $n (wanted: 0)"
	command -v strace >/dev/null || return
	strace -f -qq -c -o "$dir/calls" "$program" -c 40000 -d 32 -S $((4096 * 19997)) -f qcow2 "$dir/x" >/dev/null || return
	calls=$(awk '$NF == "total" { print $4 }' "$dir/calls")
	awk -v n="$calls" 'BEGIN { printf "  system calls for each 4 KiB, depth 32, all of the process: %.3f (wanted: 0.1)\n", n / 40000 }'
}

# Opening, and reading at both ends: reads of the file, by the size of what the image shows.
vast() {
	local size
	wanted "vast image" && command -v strace >/dev/null || return
	for size in 64G 64T; do
		rm -f "$dir/x"
		qemu-img create -q -f qcow2 -o cluster_size=2M "$dir/x" $size && qemu-io -c 'write -P 1 1G 64k' "$dir/x" >/dev/null
		strace -f -qq -c -e trace=io_submit -o "$dir/calls" "$charmvm" image io -c 'read -P 1 1G 64k' "$dir/x" >/dev/null || return
		echo "  reads of the file to open a vast image of $size and read from it: $(awk '$NF == "io_submit" { print $4 }' "$dir/calls")"
	done
}

# ---- compression ----

# A GiB / 4: half of it compresses well, a quarter badly, a quarter is zeroes.
make_source() {
	local i
	find "$top" -name '*.[ch]' -not -path '*/build/*' -exec cat {} + >"$dir/text"
	for ((i = 0; i < 16; i++)); do cat "$dir/text"; done | head -c 8M >"$dir/piece"
	for ((i = 0; i < 16; i++)); do
		cat "$dir/piece"
		head -c 4M /dev/urandom
		head -c 4M /dev/zero
	done >"$dir/source"
}

cpu_of() { "$measure" --cpu-time 1 "$@"; }

convert() { # TYPE
	local name="convert -c, $1" i threads
	wanted "$name" || return
	threads=$(nproc)
	: >"$dir/ours"
	: >"$dir/theirs"
	for ((i = 0; i < runs; i++)); do
		rm -f "$dir/c"
		wall "$charmvm" image convert -c -f raw -O qcow2 -o compression_type="$1" "$dir/source" "$dir/c" >>"$dir/ours"
		rm -f "$dir/c"
		wall qemu-img convert -c -W -m "$threads" -f raw -O qcow2 -o compression_type="$1" "$dir/source" "$dir/c" >>"$dir/theirs"
	done
	rm -f "$dir/c"
	row "$name, $threads threads" s 1 "$(median <"$dir/ours")" "$(median <"$dir/theirs")" \
		"CPU s/GiB: $(cpu_of "$charmvm" image convert -c -f raw -O qcow2 -o compression_type="$1" "$dir/source" "$dir/c" |
			awk '{ printf "%.2f", $1 / 1e6 * 4 }') and $(cpu_of qemu-img convert -c -m "$threads" -f raw -O qcow2 \
			-o compression_type="$1" "$dir/source" "$dir/c" | awk '{ printf "%.2f", $1 / 1e6 * 4 }')"
	rm -f "$dir/c"
}

# ---- small commands, in CPU time ----

# CPU time less that of a program that does nothing: starting any process is this machine's cost and nobody's merit.
small() { # NAME BEFORE VERB...: BEFORE makes ready; "$dir/z" is the image
	local name=$1 before=$2 i
	shift 2
	wanted "command: $name" || return
	: >"$dir/ours"
	: >"$dir/theirs"
	for ((i = 0; i < 2 * runs; i++)); do
		$before
		cpu_of "$charmvm" image "$@" >>"$dir/ours"
		$before
		cpu_of qemu-img "$@" >>"$dir/theirs"
	done
	row "command: $name, CPU" ms 5 "$(median <"$dir/ours" | net)" "$(median <"$dir/theirs" | net)"
}
net() { awk -v floor="$floor" '{ print ($1 > floor ? $1 - floor : 1) / 1000 }'; }
without_o() { rm -f "$dir/o"; }
without_s() { qemu-img snapshot -d s "$dir/z" 2>/dev/null; }
with_s() { qemu-img snapshot -l "$dir/z" | grep -q ' s ' || qemu-img snapshot -c s "$dir/z"; }

small_commands() {
	wanted command || return
	qemu-img create -q -f qcow2 "$dir/z" 10G && qemu-img bench -w -c 1024 -s 1048576 -S 10485760 -f qcow2 "$dir/z" >/dev/null
	echo 'int main(void) { return 0; }' >"$dir/empty.c"
	"${CC:-cc}" -o "$dir/empty" "$dir/empty.c" && floor=$("$measure" --cpu-time 40 "$dir/empty") || return
	echo "  (commands: less the $floor us of CPU that an empty program needs here)"
	small create without_o create -f qcow2 "$dir/o" 10G
	small overlay without_o create -f qcow2 -b "$dir/z" -F qcow2 "$dir/o"
	small info : info "$dir/z"
	small check : check "$dir/z"
	small "snapshot create" without_s snapshot -c s "$dir/z"
	small "snapshot apply" with_s snapshot -a s "$dir/z"
	small "snapshot delete" with_s snapshot -d s "$dir/z"
	rm -f "$dir/z" "$dir/o"
}

# ---- the run ----

while [ $# -gt 0 ]; do
	case $1 in
	-h | --help) usage && exit ;;
	--memory | --disk | --runs | --requests | --only) [ $# -gt 1 ] || { echo "disk.sh: $1 needs a value" >&2; exit 2; } ;;
	*) echo "disk.sh: unknown argument $1 (see --help)" >&2; exit 2 ;;
	esac
	case $1 in
	--memory) memory=$2 ;;
	--disk) disk=$2 ;;
	--runs) runs=$2 ;;
	--requests) requests=$2 ;;
	--only) only=$2 ;;
	esac
	shift 2
done
charmvm=${CHARMVM:-$top/build/charmvm}
program=$top/build/$(uname -m)/release/tools/bench/disk
status=0
memory=$(mktemp -d "$memory/charmvm-bench.XXXXXX") || exit 1
disk=$(mktemp -d "$disk/charmvm-bench.XXXXXX") || { rmdir "$memory"; exit 1; }
dir=$memory
trap 'rm -rf "$memory" "$disk"' EXIT
trap 'exit 1' INT TERM HUP
measure=$dir/measure
"${CC:-cc}" -std=gnu17 -D_GNU_SOURCE -O2 -o "$measure" "$here/measure.c" || exit 1

echo "The disk engine beside $(qemu-img --version | head -n 1), medians of $runs; in $(stat -f -c %T "$memory")"
printf '  %-42s %9s %9s\n' "" charmvm qemu-img
full_x qcow2
qemu-img create -q -f raw -o preallocation=full "$dir/y" 1G
spread
steady
vast
full_x qcow2
echo "  (the second figure: our raw)"
against_raw
rm -f "$dir/y" "$dir/x"
echo "  (in $(stat -f -c %T "$disk"))"
dir=$disk grow
rm -f "$disk/x"
echo "  (in $(stat -f -c %T "$dir"))"
make_source
convert zlib
convert zstd
rm -f "$dir/source" "$dir/piece"
small_commands
exit $status
