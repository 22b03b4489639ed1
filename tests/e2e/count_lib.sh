# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A machine whose guest counts (tests/e2e/count.sh), for tests of snapshots.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

image=$work/count.qcow2

# start CONSOLE [OPTION...]: a machine in the background, $pid, with its console in that file.
start() {
	local console=$1
	shift
	: >"$console"
	"$charmvm" --image "$image" --net none --console "file:$console" "$@" </dev/null 2>>"$work/log" &
	pid=$!
	pids+=("$pid")
	trap 'kill -9 "${pids[@]}" 2>/dev/null' EXIT # of the test's own shell: a failure leaves no machine
}
boot_counting() { # CPUS
	qemu-img create -q -f qcow2 "$image" 64M
	start "$work/console" --name vm --mem 192M --cpus "$1" --kernel "$kernels/generic-6.1/vmlinux" \
		--initrd "$count_initrd" --append "console=ttyS0 panic=1 tiny.do=script"
	eventually 100 counts_in "$work/console" 3 || { cat "$work/log"; tail -n 20 "$work/console"; return 1; }
}
end_machine() { # NAME
	"$charmvm" stop "$1" --now || return
	wait "$pid"
}

counts() { grep -a '^count [0-9]* [0-9a-f]*.$' "$1" | tr -d '\r'; } # FILE: whole lines
counts_in() { [ "$(counts "$1" | wc -l)" -ge "$2" ]; }
last() { counts "$1" | tail -n 1 | cut -d' ' -f2; }
saved_disk() { # NAME: what the guest had counted on the disk of that snapshot
	qemu-img convert -l "snapshot.name=$1" -O raw "$image" "$work/disk.raw" || return
	head -c 8 "$work/disk.raw" | sed 's/^0*//'
}
image_is_sound() {
	qemu-img check -q "$image" || { echo "qemu-img check finds errors"; return 1; }
	expect "$(qemu-img snapshot -l "$image" | awk 'NR > 2 { print $2 }' | xargs)" "$1" "what qemu-img lists"
}
