#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# charmvm run: a machine for one command, of which nothing is left. With a tiny guest.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

kernel=$kernels/cloud-6.1/vmlinux
disk=$work/disk.raw
truncate -s 4M "$disk"
sum=$(sha256sum <"$disk")

tiny_options=(--kernel "$kernel" --initrd "$AGENT_INITRD" --net none --mem 128M --disk "$disk"
	--append "console=ttyS0 quiet panic=1 tiny.do=agent" --time 90)
run_tiny() { "$charmvm" run "${tiny_options[@]}" "$@"; }
nothing_is_left() {
	[ -z "$(find "$XDG_RUNTIME_DIR" -type f -o -type s)" ] || { find "$XDG_RUNTIME_DIR"; return 1; }
	expect "$(sha256sum <"$disk")" "$sum" "the disk's contents"
}

streams_and_status_are_the_commands_and_the_disk_is_not_written() {
	echo input | run_tiny -- sh -c 'cat; echo err >&2; dd if=/dev/urandom of=/dev/vda bs=64k count=1 conv=fsync; exit 5' \
		>"$work/1" 2>"$work/2"
	expect $? 5 status && expect "$(cat "$work/1")" input stdout && grep -qx err "$work/2" && nothing_is_left
}
files_go_in_and_come_out() {
	mkdir "$work/job"
	echo 'tr a-z A-Z <in >out; exit 3' >"$work/job/script"
	echo shout >"$work/job/in"
	run_tiny --copy-in "$work/job:/tmp" --copy-out "/tmp/job/out:$work/result" -- sh -c 'cd /tmp/job && sh script'
	expect $? 3 status && expect "$(cat "$work/result")" SHOUT "what came out" && nothing_is_left
}
no_machine_runs() { ! pgrep -x charmvm >/dev/null; }
disk_is_free_at_once_and_soon_the_process_has_ended() {
	run_tiny -- true && "$charmvm" image resize -q -f raw "$disk" 4M && eventually 30 no_machine_runs && nothing_is_left
}
time_limit_ends_all_of_it() {
	local start=$SECONDS
	run_tiny --time 25 -- sleep 1000 2>"$work/err"
	expect $? 124 status && ((SECONDS - start < 60)) && nothing_is_left
}
guest_that_dies_is_122() {
	run_tiny -- sh -c 'echo c >/proc/sysrq-trigger; sleep 1000' 2>"$work/err"
	expect $? 122 status && nothing_is_left
}
command_that_eats_the_memory_is_121() {
	# shellcheck disable=SC2016 # the guest's shell expands it
	run_tiny -- sh -c 'x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done' 2>"$work/err"
	expect $? 121 status && grep -q 'out of memory' "$work/err" && nothing_is_left
}
killed_parent_takes_the_machine_along() {
	"$charmvm" run "${tiny_options[@]}" -- sh -c 'echo here; sleep 1000' >"$work/1" &
	eventually 60 grep -q here "$work/1"
	kill -KILL $!
	eventually 30 nothing_is_left
}

# The wall clock is the host's, within a second; time since boot has not gone back.
clocks_are_right() { # IMAGE UPTIME-WHEN-SAVED
	local before after there up
	before=$(date +%s)
	read -r there up < <("$charmvm" run --image "$1" --from ready --time 60 -- \
		sh -c 'echo $(date +%s) $(cut -d. -f1 /proc/uptime)')
	after=$(date +%s)
	((there >= before - 1 && there <= after + 1)) || { echo "guest $there, host $before to $after"; return 1; }
	((up >= $2)) || { echo "up for $2 s when saved, and $up s after"; return 1; }
}
# This kernel knows no VMGENID: it is the agent that makes each of them draw numbers of its own.
random_numbers_are_its_own() { # IMAGE
	local n
	for n in 1 2 3; do
		"$charmvm" run --image "$1" --from ready --time 60 -- sh -c 'od -An -N16 -tx1 /dev/urandom' || return
	done >"$work/drawn"
	expect "$(sort -u "$work/drawn" | wc -l)" 3 "how many different numbers three runs drew"
}
hooks_run_when_the_guest_has_become_another_machine() {
	local image=$work/hooked.qcow2
	qemu-img create -q -f qcow2 "$image" 16M
	"$charmvm" --image "$image" --name hooked --kernel "$kernel" --initrd "$AGENT_INITRD" --net none --mem 128M \
		--append "console=ttyS0 quiet panic=1 tiny.do=agent" --console none </dev/null 2>"$work/log" &
	# shellcheck disable=SC2016 # the guest's shell expands it
	if ! "$charmvm" wait hooked agent --time 60 || ! "$charmvm" exec hooked -- sh -c 'mkdir -p /etc/charmvm/hooks.d && cd /etc/charmvm/hooks.d &&
		printf "#!/bin/sh\necho \$CHARMVM_EVENT \$CHARMVM_NAME \$CHARMVM_CODE >/tmp/hook\n" >10-say && chmod +x 10-say &&
		cp 10-say 20.dpkg-old && echo echo not me >>20.dpkg-old && [ ! -e /tmp/hook ]' ||
		! "$charmvm" snapshot save ready hooked; then
		cat "$work/log"
		return 1
	fi
	"$charmvm" exec hooked -- test ! -e /tmp/hook || { echo "a save is no such event"; return 1; }
	"$charmvm" snapshot revert ready hooked || return
	expect "$("$charmvm" exec hooked -- sh -c 'until [ -s /tmp/hook ]; do sleep 0.1; done; cat /tmp/hook')" "revert hooked 0" "after a revert" || return
	"$charmvm" stop hooked --now && wait $! || return
	expect "$("$charmvm" run --image "$image" --name other --from ready --time 60 -- \
		sh -c 'until [ -s /tmp/hook ]; do sleep 0.1; done; cat /tmp/hook')" "fork other 0" "in a fork" && nothing_is_left
}
snapshot_is_run_from_as_often_as_one_likes() {
	local image=$work/warm.qcow2 n up
	qemu-img create -q -f qcow2 "$image" 16M
	"$charmvm" --image "$image" --name warm --kernel "$kernel" --initrd "$AGENT_INITRD" --net none --mem 128M \
		--append "console=ttyS0 quiet panic=1 tiny.do=agent" --console none </dev/null 2>"$work/log" &
	if ! "$charmvm" wait warm agent --time 60 || ! "$charmvm" exec warm -- sh -c 'echo made before >/tmp/file' ||
		! "$charmvm" snapshot save ready warm; then
		cat "$work/log"
		return 1
	fi
	up=$("$charmvm" exec warm -- cut -d. -f1 /proc/uptime)
	sleep 5 # what a guest's clock that stood still would be late
	clocks_are_right "$image" $((up - 3)) || return # the save was some seconds ago
	random_numbers_are_its_own "$image" || return
	for n in 1 2; do # beside the machine, which goes on
		echo input | "$charmvm" run --image "$image" --from ready --time 60 -- sh -c \
			'cat; cat /tmp/file; rm /tmp/file; dd if=/dev/urandom of=/dev/vda bs=64k count=1 conv=fsync; exit 5' \
			>"$work/1" 2>"$work/2"
		if ! expect $? 5 "status of run $n" || ! expect "$(xargs <"$work/1")" "input made before" stdout; then
			cat "$work/2"
			return 1
		fi
	done
	expect "$("$charmvm" exec warm -- cat /tmp/file)" "made before" "the machine's own file" &&
		"$charmvm" stop warm --now && wait $! && qemu-img check -q "$image" && nothing_is_left
}

masked_processor_is_what_the_guest_sees() {
	expect "$(run_tiny --cpu baseline -- grep -owE 'sse4_2|avx|avx2|xsave' /proc/cpuinfo | sort | xargs)" sse4_2 "v2's flags" &&
		expect "$(run_tiny --cpu v3 -- grep -owE 'sse4_2|avx2|sha_ni' /proc/cpuinfo | sort | xargs)" "avx2 sse4_2" "v3's flags"
}
snapshot_is_not_run_on_a_lesser_processor() {
	local image=$work/v3.qcow2
	qemu-img create -q -f qcow2 "$image" 16M
	"$charmvm" --image "$image" --name v3 --kernel "$kernel" --initrd "$AGENT_INITRD" --net none --mem 128M --cpu v3 \
		--append "console=ttyS0 quiet panic=1 tiny.do=agent" --console none </dev/null 2>"$work/log" &
	if ! "$charmvm" wait v3 agent --time 60 || ! "$charmvm" snapshot save ready v3 || ! "$charmvm" stop v3 --now ||
		! wait $!; then
		cat "$work/log"
		return 1
	fi
	"$charmvm" run --image "$image" --from ready --cpu baseline --time 60 -- true 2>"$work/err"
	if ! expect $? 125 status || ! grep -q 'avx2.*which --cpu baseline has not' "$work/err"; then
		cat "$work/err"
		return 1
	fi
	expect "$("$charmvm" run --image "$image" --from ready --cpu v3 --time 60 -- echo runs)" runs "on its own" && nothing_is_left
}
snapshot_of_a_machine_without_the_agents_port_is_refused() {
	local image=$work/mute.qcow2
	qemu-img create -q -f qcow2 "$image" 16M
	"$charmvm" --image "$image" --name mute --kernel "$kernel" --initrd "$AGENT_INITRD" --net none --mem 128M --agent off \
		--append "console=ttyS0 quiet panic=1 tiny.do=agent" --console none </dev/null 2>"$work/log" &
	eventually 60 "$charmvm" snapshot save without mute 2>"$work/err" || { cat "$work/log" "$work/err"; return 1; }
	"$charmvm" stop mute --now && wait $! || return
	"$charmvm" run --image "$image" --from without --time 60 -- true 2>"$work/err"
	if ! expect $? 125 status || ! grep -q "no device 'channels'" "$work/err"; then
		cat "$work/err"
		return 1
	fi
	nothing_is_left
}

needs_kvm || { echo "0 passed, 0 failed, 1 skipped"; exit 0; }
run_tests streams_and_status_are_the_commands_and_the_disk_is_not_written files_go_in_and_come_out \
	disk_is_free_at_once_and_soon_the_process_has_ended time_limit_ends_all_of_it guest_that_dies_is_122 command_that_eats_the_memory_is_121 \
	killed_parent_takes_the_machine_along masked_processor_is_what_the_guest_sees \
	snapshot_is_not_run_on_a_lesser_processor snapshot_of_a_machine_without_the_agents_port_is_refused \
	hooks_run_when_the_guest_has_become_another_machine snapshot_is_run_from_as_often_as_one_likes
