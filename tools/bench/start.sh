#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the start of an image costs, from the command to SSH: see start.sh --help.
set -uo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
top=${here%/tools/bench}

usage()
{
	cat <<'END'
Usage: tools/bench/start.sh [--charmvm FILE] [--time SECONDS] [NAME=IMAGE...]

Boots images of the guest kit, by default charmed311 (minimal) and charmed311-scientific, which are made where they are
not in the cache, with 1 GiB and one vCPU, and prints what it took until sshd answers: charmvm itself, the kernel, the initrd,
and systemd with its units, by the guest's own clock. That is of the lab's icount mode, where an instruction of host kernel,
charmvm and guest together is a nanosecond: milliseconds are millions of instructions. Behind that, the units
that took longest, beside each other, those that failed or are not done yet, and what sshd waited for.

Exit status: 0 all was measured; 1 something could not be; 2 wrong usage.
END
}

fail()
{
	echo "bench: $*" >&2
	exit 1
}

charmvm=$top/build/charmvm time=3600 images=()
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help) usage && exit ;;
	--charmvm | --time) [ $# -gt 1 ] || { echo "start.sh: $1 needs a value" >&2; exit 2; } ;;
	[a-z]*=?*) images+=("${1%%=*}=$(readlink -f "${1#*=}")"); shift; continue ;;
	*) echo "start.sh: unknown argument $1 (see --help)" >&2; exit 2 ;;
	esac
	case $1 in --charmvm) charmvm=$(readlink -f "$2") ;; --time) time=$2 ;; esac
	shift 2
done
if [ ${#images[@]} = 0 ]; then
	for size in minimal scientific; do
		recipe=charmed311-$size
		image=$("$top/guest-kit/demo-image" "${recipe%-minimal}") || fail "no image to boot"
		images+=("$size=$image")
	done
fi

results=$("$top/tests/lab/lab" run --force --quiet --icount --root --mem 8G --ports none --time "$time" -- \
	"$here/start_lab.sh" "$charmvm" "${images[@]}" </dev/null)
status=$?

echo "From the command to SSH, images of the guest kit; millions of instructions (ms of the guest's clock)"
awk '
	!($1 in seen) { seen[$1]; name[++n] = $1 }
	$2 == "chain" { chain[$1] = chain[$1] (chain[$1] ? " < " : "") $3 " " $4; next }
	$2 == "jobs" { list[$1] = list[$1] (list[$1] ? ", " : "") "STILL WAITING " $3; next }
	$2 == "unit" || $2 == "failed" { list[$1] = list[$1] (list[$1] ? ", " : "") ($2 == "failed" ? "FAILED " : "") $3 " " $4; next }
	{ at[$1, $2] = $3 }
	function row(what, from, to,    i) {
		printf "  %-28s", what
		for (i = 1; i <= n; i++)
			printf " %12s", (name[i], to) in at ? sprintf("%.0f", (at[name[i], to] - at[name[i], from]) / 1000) : "-"
		print ""
	}
	END {
		for (i = 1; i <= n; i++)
			if ((name[i], "start") in at) {
				at[name[i], "kernel"] = 0
				at[name[i], "command"] = at[name[i], "start"] - at[name[i], "began"]
			}
		printf "  %-28s", ""
		for (i = 1; i <= n; i++)
			printf " %12s", name[i]
		print ""
		row("charmvm", "command", "kernel")
		row("kernel", "kernel", "init")
		row("initrd", "init", "units")
		row("units, until sshd is there", "units", "sshd")
		row("in all, to SSH", "command", "sshd")
		row("until all units are there", "command", "all")
		for (i = 1; i <= n; i++)
			print "  " name[i] ": " list[name[i]] "\n    in a chain, each began behind the next: " chain[name[i]]
		exit !n
	}' <<<"$results" || status=1
exit $status
