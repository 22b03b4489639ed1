# SPDX-License-Identifier: Apache-2.0
# What the tests of charmvm image share; sourced. Each test is a function, named by what must be so and
# called in a directory of its own. TOOL=PROGRAM says which charmvm.
# shellcheck shell=bash
set -u
PATH=$PATH:/usr/sbin:/sbin # fdisk, e2fsprogs
cd "$(dirname "$0")/../.." || exit
tool=$(realpath "${TOOL:-${BUILD:-build}/charmvm}")
[ -w /dev/shm ] && [ -z "${TMPDIR:-}" ] && TMPDIR=/dev/shm
work=$(mktemp -d "${TMPDIR:-/tmp}/image-tool.XXXXXX")
trap 'rm -rf "$work"' EXIT

image() { "$tool" image "$@"; }
status_is() { # STATUS COMMAND...
	local want=$1 got
	shift
	"$@" >out 2>err
	got=$?
	[ "$got" = "$want" ] || { echo "  $* ended with $got, not $want: $(cat err)"; return 1; }
}
key() { jq -c "$1" "$2"; }
same_json() { # THEIRS OURS FILTER
	diff <(jq -S "$3" "$1") <(jq -S "$3" "$2")
}
# One after the other: both make the same file.
same_words_for_create() { qemu-img create "$@" >theirs && image create "$@" >ours && diff theirs ours; }
# A qcow2 with data, a hole in the middle, and an overlay on it.
make_chain() {
	qemu-img create -q -f qcow2 base.qcow2 16M &&
		qemu-io -c 'write -P 1 0 1M' -c 'write -P 2 8M 200k' base.qcow2 >/dev/null &&
		qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 &&
		qemu-io -c 'write -P 3 512k 128k' -c 'write -z 8M 64k' -c 'write -P 4 12M 64k' top.qcow2 >/dev/null
}
no_litter() { [ -z "$(find . -name '*.partial')" ]; }

# Somebody writes to the image, until release.
hold() {
	mkfifo hold.in
	qemu-io "$1" <hold.in >hold.out 2>&1 &
	holder=$!
	exec 9>hold.in
	local tries=500
	# Its prompt, and not a look at the image: the lock of whoever looks can make its own open fail.
	until grep -q 'qemu-io>' hold.out; do
		[ $((tries--)) -gt 0 ] || return
		sleep 0.02
	done
}
release() {
	exec 9>&-
	wait "$holder"
}

# A cluster counted that nothing uses: the refcount block is at 0x20000.
leak() { printf '\0\1' | dd of="$1" bs=1 seek=$((0x20000 + 2 * 60)) conv=notrunc status=none; }
# The refcounts of clusters in use are gone.
damage() { dd if=/dev/zero of="$1" bs=1 seek=$((0x20000 + 2 * 6)) count=8 conv=notrunc status=none; }

# Runs the tests of the program that sourced this: all functions but $helpers, or those that match $1.
run_tests() {
	local program test passed=0 failed=0 tests
	for program in qemu-img qemu-io jq; do
		command -v $program >/dev/null || { echo "$program is missing"; return 1; }
	done
	mapfile -t tests < <(sed -n 's/^\([a-z0-9_]*\)() .*/\1/p' "tests/block/$(basename "$0")" |
		grep -vxE "${helpers:-none}" | grep -e "${1:-.}")
	for test in "${tests[@]}"; do
		mkdir "$work/$test"
		if (cd "$work/$test" && "$test") >"$work/said" 2>&1; then
			passed=$((passed + 1))
			echo "ok $test"
		else
			failed=$((failed + 1))
			echo "FAILED $test"
			sed 's/^/    /' "$work/said"
		fi
		rm -rf "${work:?}/$test"
	done
	echo "$passed passed, $failed failed"
	[ $failed = 0 ]
}
