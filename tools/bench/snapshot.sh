#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What saving, restoring, reverting and forking cost, beside QEMU: see snapshot.sh --help.
set -uo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
top=${here%/tools/bench}
charmvm=$top/build/charmvm

usage()
{
	cat <<'END'
Usage: tools/bench/snapshot.sh [--charmvm FILE] [--time SECONDS]

A guest of 1 GiB that has touched 512 MiB is saved while it runs, restored, reverted and forked, and QEMU does the same as
far as it can (savevm, loadvm, mapped-ram). Everything is counted in instructions of host kernel, VMM and guest together, in
the lab's icount mode, where one is a nanosecond; a pause is the longest gap between two looks of the guest at its
processor's counter.

Exit status: 0 all was measured, whatever the figures; 1 something could not be; 2 wrong usage.
END
}

fail()
{
	echo "bench: $*" >&2
	exit 1
}

time=1500
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help) usage && exit ;;
	--charmvm | --time) [ $# -gt 1 ] || { echo "snapshot.sh: $1 needs a value" >&2; exit 2; } ;;
	*) echo "snapshot.sh: unknown argument $1 (see --help)" >&2; exit 2 ;;
	esac
	case $1 in --charmvm) charmvm=$2 ;; --time) time=$2 ;; esac
	shift 2
done

compile() # OUTPUT SOURCE
{
	"${CC:-cc}" -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -static -o "$1" "$here/$2" || fail "cannot build $2"
}

dir=$(mktemp -d "${TMPDIR:-/var/tmp}/charmvm-bench.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
kernel=generic-6.1
modules=$("$top/guest-kit/fetch-kernel" $kernel modules) || fail "no kernel to boot"
if ! cp "$("$top/guest-kit/fetch-kernel" $kernel vmlinux)" "$dir/vmlinux" || ! cp "$charmvm" "$dir/charmvm" ||
	! cp "$modules/kernel/drivers/block/brd.ko" "$dir/"; then
	fail "charmvm (make), a kernel and its brd.ko are needed"
fi
compile "$dir/floor" floor.c
compile "$dir/ticks" guest/ticks.c
"$top/guest-kit/tiny-initrd" -o "$dir/initrd" --modules "$modules" virtio_pci --modules "$modules" virtio_blk \
	--script "$here/guest/snapshot.sh" --add "$dir/ticks" /bin/bench-ticks >/dev/null || fail "cannot make the initrd"
if ! python=$("$top/guest-kit/demo-image" charmed311) || ! cp "$python" "$dir/python.qcow2"; then
	fail "no image to run programs in"
fi
qemu=$("$top/tests/lab/fetch-qemu") || { qemu='' && [ ! -x /usr/bin/qemu-system-x86_64 ] || qemu=/; }

BENCH_QEMU=$qemu "$top/tests/lab/lab" run --force --quiet --icount --root --mem 12G --ports none --time "$time" -- \
	"$here/snapshot_lab.sh" "$dir" >"$dir/results"
status=$?

# row NAME KEY UNIT DIVISOR [WANTED...]: WANTED is FACTOR and KEY, "at most FACTOR times what that one is"
echo "Snapshots of a guest of 1 GiB, 512 MiB of it touched; millions of instructions"
awk '
	{ value[$1] = $2 }
	function have(k) { return k in value && value[k] != "" }
	function line(what, key, unit, div, verdict) {
		printf "  %-46s %10s %-5s%s\n", what, have(key) ? sprintf("%.2f", value[key] / div) : "-", unit, verdict
	}
	# at most 1 / @n of @other
	function part(key, n, other, name,    ratio) {
		if (!have(key) || !have(other) || !value[key]) return "  (1/" n " of " name ": not measured)"
		ratio = value[other] / value[key]
		return sprintf("  1/%.1f of %s (1/%s) %s", ratio, name, n, ratio >= n ? "ok" : "MISSED")
	}
	function times(key, n, other, name,    ratio) {
		if (!have(key) || !have(other) || !value[other]) return "  (" n " x " name ": not measured)"
		ratio = value[key] / value[other]
		return sprintf("  %.2f x %s (%s) %s", ratio, name, n, ratio <= n ? "ok" : "MISSED")
	}
	function most(key, n, div) {
		return have(key) ? "  (" n ") " (value[key] / div <= n ? "ok" : "MISSED") : "  not measured"
	}
	END {
		line("pause of a save", "pause.512", "M", 1000, part("pause.512", 20, "qemu.pause", "savevm"))
		line("  with 64 MiB touched", "pause.64", "M", 1000, "")
		line("  with 1.5 GiB touched", "pause.1536", "M", 1000, times("pause.1536", 3, "pause.64", "that"))
		line("  of the second one, 16 MiB later", "pause.second", "M", 1000, "")
		line("the second save, written", "second.kib", "MiB", 1024, most("second.kib", 24, 1024))
		line("boot to the first output", "boot.tick", "M", 1000, "")
		line("new process --from to the first tick", "restore.tick", "M", 1000, part("restore.tick", 20, "qemu.restore", "loadvm"))
		line("", "restore.tick", "M", 1000, part("restore.tick", 8, "qemu.mapped", "mapped-ram"))
		line("", "restore.tick", "M", 1000, part("restore.tick", 40, "boot.tick", "our boot"))
		line("revert, 4 MiB dirtied", "revert.4", "M", 1000, "")
		line("revert, 64 MiB dirtied", "revert.64", "M", 1000, part("revert.64", 3, "restore.tick", "a new process"))
		line("each of " value["fork.count"] " forks", "fork.each", "M", 1000, times("fork.each", 2.5, "floor.us", "the floor"))
		line("  the floor", "floor.us", "M", 1000, "")
		line("  memory of its own", "fork.kib", "MiB", 1024, most("fork.kib", 2, 1024))
		line("charmvm run, import numpy, cold", "run.cold", "M", 1000, "")
		line("  from a warm snapshot", "run.warm", "M", 1000, part("run.warm", 20, "run.cold", "a cold one"))
		line("  the program alone, in a machine that runs", "exec.numpy", "M", 1000, "")
		line("charmvm run true, from a warm snapshot", "run.true", "M", 1000, times("run.true", 2, "restore.tick", "a new process"))
		line("QEMU: savevm, the pause", "qemu.pause", "M", 1000, "")
		line("QEMU: -loadvm to the first tick", "qemu.restore", "M", 1000, "")
		line("QEMU: mapped-ram to the first tick", "qemu.mapped", "M", 1000, "")
	}' "$dir/results"
exit $status
