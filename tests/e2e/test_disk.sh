#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The guest's data, whatever happens to the host: a full file system, a killed process. A tiny guest, on real KVM,
# that knows what it has been promised (tests/e2e/guest/diskload.c).
# lab: --scratch 1G
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# What guests and machines say is kept elsewhere: the file system of $work is filled up here.
said=$(mktemp -d /tmp/charmvm-disk.XXXXXX) || exit
trap 'stop_all; rm -rf "$work" "$said"' EXIT
tiny_initrd=${DISK_INITRD:?}

# start WORDS IMAGE [OPTION...]: WORDS are for the guest (guest/disk.sh): load=ROUNDS,DURABLE,... or fio=WHAT; the machine in the background, as $pid. One processor: an emulated
# host does not bear more well (test_smp.sh), and what is tried here is the order of writes, with many in flight.
start() {
	local words=$1 image=$2
	shift 2
	: >"$said/console"
	"$charmvm" --kernel "$kernels/cloud-6.1/vmlinux" --initrd "$tiny_initrd" --net none --disk "$image" \
		--append "console=ttyS0 quiet panic=1 tiny.do=script $words" --console "file:$said/console" \
		"$@" </dev/null 2>"$said/log" &
	pid=$!
}
says() { grep -aq -- "$1" "$said/console"; }
logged() { grep -q -- "$1" "$said/log"; }
show() {
	kill -KILL "$pid" 2>/dev/null
	cat "$said/log"
	tail -n 30 "$said/console"
	return 1
}
# The last round of each of $1 writers that the guest was promised, before or in this run: "3,5,4,4"
promised() {
	awk -v writers="$1" -v before="$2" 'BEGIN { split(before, last, ",") }
		/^durable / && last[$2 + 1] < $3 + 0 { last[$2 + 1] = $3 + 0 }
		END { for (i = 1; i <= writers; i++) printf "%s%d", (i > 1 ? "," : ""), last[i] }' "$said/console"
}

# No errors but leaks, which are what an end without a farewell may leave.
is_sound() {
	qemu-img check "$1" >"$work/check" 2>&1
	case $? in
	0 | 3) ;;
	*) cat "$work/check"; return 1 ;;
	esac
}

killed_in_the_middle_of_writes_nothing_is_lost() {
	local image=$work/killed.qcow2 durable=0,0,0,0 try
	truncate -s 64M "$work/base.raw"
	qemu-img create -q -f qcow2 -o cluster_size=16k -b base.raw -F raw "$image" || return
	for try in 1 2; do
		start "load=1000000,$durable" "$image"
		eventually 100 says '^durable 2 \|diskload: writer .: [^a]\|WRONG' || { show; return; }
		sleep 0.$((RANDOM % 9 + 1))
		kill -KILL $pid
		wait $pid 2>/dev/null
		says WRONG && { grep -a WRONG "$said/console"; show; return; }
		durable=$(promised 4 "$durable")
		echo "kill $try: durable $durable"
		is_sound "$image" || return
	done
	start "load=1,$durable" "$image"
	wait $pid || { show; return; }
	says 'diskload ended with status 0' || show
}

killed_under_a_fio_that_verifies_nothing_is_lost() {
	local image=$work/fio.qcow2 try
	tests/e2e/fio_disk.sh "$work/tools.raw" && qemu-img create -q -f qcow2 "$image" 64M || return
	start fio=write "$image" --disk "$work/tools.raw,ro"
	eventually 150 says 'fio wrote and verified' || { show; return; }
	for try in 1 2; do
		sleep $((try * 2))
		says 'fio ended' && { show; return; }
		kill -KILL $pid
		wait $pid 2>/dev/null
		is_sound "$image" || return
		start fio=verify "$image" --disk "$work/tools.raw,ro"
		wait $pid || { show; return; }
		says 'fio verified with status 0' || { show; return; }
		[ $try = 2 ] || start fio=running "$image" --disk "$work/tools.raw,ro"
	done
	# And it would have noticed.
	"$charmvm" image io -c 'write -P 1 4M 4k' "$image" >/dev/null || return
	start fio=verify "$image" --disk "$work/tools.raw,ro"
	wait $pid
	says 'fio verified with status [1-9]' || show
}

# Leaves 8 MiB of the file system of $work; only in the lab, where it is nobody else's.
fill_up() {
	[ -n "${CHARMVM_LAB:-}" ] || { echo "a file system is filled up in the lab only"; return 77; }
	local mib n=0
	for mib in 16384 1024 64 4 1; do
		while fallocate -l ${mib}M "$work/ballast.$((n += 1))" 2>/dev/null; do :; done
	done
	truncate -s -8M "$work/ballast.1"
}
make_room() { rm -f "$work"/ballast.*; }

full_host_makes_the_machine_wait() {
	local image=$work/full.qcow2
	qemu-img create -q -f qcow2 "$image" 64M && fill_up || return
	start load=2,0,0,0,0 "$image"
	eventually 100 logged 'No space left on device: the machine waits' || { make_room; show; return; }
	sleep 1
	make_room
	says 'diskload ended' && { echo "it did not wait"; show; return; }
	eventually 60 logged 'the machine goes on' || { show; return; }
	wait $pid || { show; return; }
	says 'diskload ended with status 0' || { show; return; }
	qemu-img check -q "$image"
}
full_host_is_reported_to_the_guest_when_told() {
	local image=$work/full.raw status=0
	truncate -s 64M "$image" && fill_up || return
	start load=2,0,0,0,0 "$image" --on-disk-error report
	wait $pid || status=$?
	make_room
	rm "$image"
	expect $status 0 "exit status" || { show; return; }
	if logged 'machine waits' || ! says 'Input/output error' || ! says 'diskload ended with status 1'; then
		show
	fi
}
waiting_machine_ends_when_asked_twice() {
	local image=$work/full.qcow2 status=0
	qemu-img create -q -f qcow2 "$image" 64M && fill_up || return
	start load=2,0,0,0,0 "$image"
	eventually 100 logged 'the machine waits' || { make_room; show; return; }
	ask_twice TERM TERM "$said/log" || { make_room; show; return; }
	wait $pid || status=$?
	make_room
	# 143, or 3 where the last flush found no room either
	[ $status = 143 ] || [ $status = 3 ] || { expect $status 143 "exit status"; show; return; }
	is_sound "$image"
}

save_on_a_full_host_is_undone_and_the_machine_goes_on() {
	local image=$work/save.qcow2 status=0
	qemu-img create -q -f qcow2 "$image" 64M || return
	: >"$said/console"
	"$charmvm" --image "$image" --name save --kernel "$kernels/cloud-6.1/vmlinux" --initrd "$tiny_initrd" --net none \
		--mem 256M --append "console=ttyS0 quiet panic=1 tiny.do=sleep" --console "file:$said/console" \
		</dev/null 2>"$said/log" &
	pid=$!
	eventually 100 says TINY-GUEST-IS-UP || { show; return; }
	fill_up || { kill -KILL $pid; return 77; }
	"$charmvm" snapshot save full save 2>"$said/err" || status=$?
	make_room
	if ! expect $status 3 "exit status" || ! grep -q 'the disk of the host is full; the image is as it was' "$said/err"; then
		cat "$said/err"
		show
		return
	fi
	expect "$(qemu-img info -U --output=json "$image" | jq '.snapshots | length')" 0 "number of snapshots" || { show; return; }
	"$charmvm" snapshot save roomy save || { show; return; }
	if ! "$charmvm" stop save --now || ! wait $pid; then
		show
		return
	fi
	qemu-img check -q "$image"
}

run_tests save_on_a_full_host_is_undone_and_the_machine_goes_on killed_in_the_middle_of_writes_nothing_is_lost \
	killed_under_a_fio_that_verifies_nothing_is_lost full_host_makes_the_machine_wait \
	full_host_is_reported_to_the_guest_when_told waiting_machine_ends_when_asked_twice
