#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# seconds: 600
# A running machine is seen, asked and stopped from another terminal. A tiny guest, on real KVM.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

socket=$XDG_RUNTIME_DIR/charmvm/vm.sock

# start [OPTION...]: a machine called vm in the background, $pid; returns when its guest is up.
start() {
	: >"$work/console"
	"$charmvm" --name vm --kernel "$kernels/cloud-6.1/vmlinux" --initrd "$tiny_initrd" --mem 96M \
		--append "console=ttyS0 quiet panic=1 tiny.do=sleep" --console "file:$work/console" "$@" \
		</dev/null 2>"$work/log" &
	pid=$!
	trap 'kill -9 $pid 2>/dev/null' EXIT # of the test's own shell: a failure leaves no machine
	eventually 100 has_booted "${boots:-1}" || { cat "$work/log" "$work/console"; return 1; }
}
end() {
	"$charmvm" stop vm --now || return
	ends_within 30 "$pid"
	expect $? 0 "the machine's exit status"
}
fact() { "$charmvm" ps --json | jq -r ".[0].$1"; } # of the only machine

machine_is_seen_asked_and_stopped() {
	start --net none || return
	expect "$("$charmvm" ps --json | jq length)" 1 "number of machines" &&
		expect "$(fact name)" vm name && expect "$(fact pid)" "$pid" pid &&
		expect "$(fact state)" running state && expect "$(fact memory)" $((96 << 20)) memory || return
	"$charmvm" ls | grep -q '^vm .*running.*%' || return
	"$charmvm" info | grep -q '^state:  *running' || return
	"$charmvm" ssh-config vm 2>"$work/stderr"
	expect $? 1 "exit status without an SSH port" && grep -q -- '--net none' "$work/stderr" || return
	"$charmvm" doctor >"$work/doctor"
	expect $? 0 "exit status of doctor where machines run" || { cat "$work/doctor"; return 1; }
	expect "$(stat -c %a "$socket")" 600 "the socket's mode" || return
	expect "$(echo '{"id":7,"do":"status"}' | socat - "UNIX:$socket" | jq -r 'select(.id).ok.name')" vm \
		"the name that a plain client sees" || return
	end || return
	[ ! -e "$socket" ] || { echo "the socket is still there"; return 1; }
	"$charmvm" status vm 2>"$work/stderr"
	expect $? 8 "exit status without a machine" && grep -q "'vm'" "$work/stderr"
}

# Its record is there before its memory and its socket are.
machine_that_is_starting_is_waited_for() {
	"$charmvm" --name vm --kernel "$kernels/cloud-6.1/vmlinux" --initrd "$tiny_initrd" --net none \
		--append "console=ttyS0 quiet panic=1 tiny.do=sleep" --console none </dev/null 2>"$work/log" &
	pid=$!
	trap 'kill -9 $pid 2>/dev/null' EXIT
	until [ -s "$XDG_RUNTIME_DIR/charmvm/vm.json" ]; do sleep 0.01; done
	"$charmvm" status vm >"$work/stdout" || { cat "$work/log"; return 1; }
	end
}
ports_come_and_go_while_it_runs() {
	truncate -s 1M "$work/unseen.raw" && start --forward 127.0.0.1:18300:80 --disk "$work/unseen.raw" || return
	# This guest has no modules at all, as an image that was made for another hypervisor may have none of virtio's.
	"$charmvm" wait vm ssh --time 2s 2>"$work/stderr"
	expect $? 124 "exit status of waiting for SSH" && grep -q 'nothing in the guest drives its disk: .*virtio_blk' "$work/stderr" || return
	"$charmvm" forward add vm 127.0.0.1:18301:81 || return
	expect "$("$charmvm" ports vm --json | jq -c '[.forwards[] | select(.guest_port < 100 and .guest_port > 22) | .host_port]')" \
		'[18300,18301]' "forwarded ports" || return
	"$charmvm" forward add vm 18301:82 2>"$work/stderr"
	expect $? 6 "exit status for a taken port" && grep -q '18301.*this machine' "$work/stderr" || return
	"$charmvm" ssh-config vm >"$work/ssh.conf" && expect "$(ssh -F "$work/ssh.conf" -G vm | awk '$1 == "port" { print $2 }')" \
		"$(fact ssh_port)" "the port that ssh is told" || return
	"$charmvm" forward remove vm 18300 || return
	"$charmvm" forward list vm | grep -q 18301 && ! "$charmvm" forward list vm | grep -q 18300 || return
	"$charmvm" forward remove vm 18300 2>"$work/stderr"
	expect $? 6 "exit status for a port that is not forwarded" || return
	! (: <>/dev/tcp/127.0.0.1/18300) 2>/dev/null && (: <>/dev/tcp/127.0.0.1/18301) && end
}

paused_machine_stands_still_until_it_is_resumed() {
	start --net none || return
	"$charmvm" pause vm && expect "$(fact state)" paused "state" || return
	local before after
	before=$(fact cpu_seconds)
	sleep 1
	after=$(fact cpu_seconds)
	"$charmvm" resume vm && expect "$(fact state)" running "state" && "$charmvm" resume vm && end || return
	awk "BEGIN { exit !($after - $before < 0.9) }" || { echo "it used $before to $after s meanwhile"; return 1; }
}

snapshots_are_saved_told_reverted_to_renamed_and_deleted() {
	local image=$work/s.qcow2 snapshot="$charmvm snapshot"
	qemu-img create -q -f qcow2 "$image" 64M
	start --net none --disk "$image" || return
	"$charmvm" events --json >"$work/events" &
	eventually 10 grep -q listening "$work/events" || return
	$snapshot save fresh --note 'a first one' && $snapshot save second vm || return
	expect "$($snapshot list --json | jq -c '[.[] | [.name, .machine, .mem_bytes, .note]]')" \
		'[["fresh",true,100663296,"a first one"],["second",true,100663296,""]]' "the list" || return
	expect "$($snapshot tree)" "$(printf 'fresh  (a first one)\n  second')" "the tree" || return
	$snapshot show fresh | grep -q '^note: *a first one' || return
	$snapshot save fresh 2>"$work/stderr" && { echo "a second one of this name"; return 1; }
	local name
	for name in '' a/b $'a\nb' "$(printf '%0256d' 1)"; do
		$snapshot save "$name" 2>"$work/stderr"
		expect $? 2 "exit status for the name '$name'" && grep -q 'a name has 1 to 255' "$work/stderr" || return
	done
	$snapshot revert fresh && expect "$(fact state)" running "state after the revert" &&
		expect "$(fact snapshot)" fresh "the snapshot that it comes from" || return
	$snapshot rename second other && $snapshot delete other || return
	$snapshot revert other 2>"$work/stderr"
	expect $? 3 "exit status for a snapshot that is gone" && grep -q "'other'" "$work/stderr" || return
	$snapshot export fresh "$work/out.qcow2" && qemu-img check -q "$work/out.qcow2" || return
	"$charmvm" pause vm && "$charmvm" resume vm && end && eventually 10 grep -q ended "$work/events" || return
	expect "$(jq -r '"\(.event) \(.of)"' "$work/events" | paste -sd,)" \
		"listening null,snapshot-saved fresh,snapshot-saved second,snapshot-reverted fresh,snapshot-renamed other,\
snapshot-deleted other,paused null,resumed null,ended null" "what it told" || return
	expect "$(qemu-img snapshot -l "$image" | awk 'NR > 2 { print $2 }')" fresh "what qemu-img lists" &&
		qemu-img check -q "$image"
}

machine_in_the_background_has_a_console_and_a_log() {
	trap '"$charmvm" stop vm --now 2>/dev/null' EXIT
	expect "$("$charmvm" --name vm --kernel "$kernels/cloud-6.1/vmlinux" --initrd "$tiny_initrd" --mem 96M --net none \
		--append "console=ttyS0 quiet panic=1 tiny.do=echo" --detach 2>"$work/log")" vm "what is printed" || return
	: >"$work/console"
	(
		eventually 100 has_booted 1 && sleep 1
		echo hello from here
		eventually 20 grep -aq 'got: hello from here' "$work/console"
		# This guest powers off when it is told to, and not by the button: the answer says that it may be told.
		echo '{"id":1,"do":"reboot"}' | timeout 30 socat -t 20 - "UNIX:$socket" | grep -m 1 '"ok"' >"$work/reboot"
		echo quit
		eventually 100 has_booted 2 && sleep 1
		echo quit
	) | timeout 300 "$charmvm" console vm >"$work/console"
	expect $? 0 "exit status of a console whose machine has ended" || return
	grep -aq 'got: hello from here' "$work/console" || { cat "$work/log" "$work/console"; return 1; }
	[ -s "$work/reboot" ] && expect "$(markers)" 2 "number of boots" || return
	eventually 10 [ ! -e "$socket" ]
	"$charmvm" logs vm >"$work/log" || return
	"$charmvm" console vm 2>"$work/log"
	expect $? 8 "exit status for the console of a machine that has ended"
}

# One writes, late-comers get what was said, one takes over; and all of them stay over a revert, and with the machine when it is
# forked, whose fork has a console of its own.
console_is_shared() {
	trap '"$charmvm" stop vm --now 2>/dev/null' EXIT
	qemu-img create -q -f qcow2 "$work/c.qcow2" 64M && mkfifo "$work/keys"
	"$charmvm" --name vm --kernel "$kernels/cloud-6.1/vmlinux" --initrd "$tiny_initrd" --mem 96M --net none \
		--append "console=ttyS0 quiet panic=1 tiny.do=echo" --image "$work/c.qcow2" --detach >/dev/null 2>"$work/log" || return
	exec 3<>"$work/keys"
	"$charmvm" console vm <&3 >"$work/console" 2>&1 &
	eventually 100 has_booted 1 && sleep 1 && echo one >&3 && eventually 20 grep -aq 'got: one' "$work/console" || return
	"$charmvm" console vm --watch </dev/null >"$work/watch" 2>&1 &
	eventually 20 grep -aq 'reads only' "$work/watch" && grep -aq 'got: one' "$work/watch" || return
	"$charmvm" snapshot save fresh || return
	echo two >&3 && eventually 20 grep -aq 'got: two' "$work/watch" || return
	"$charmvm" snapshot revert fresh || return
	echo three >&3 && eventually 20 grep -aq 'got: three' "$work/watch" && grep -aq 'got: three' "$work/console" || return
	"$charmvm" fork vm --from fresh --name f >/dev/null && printf 'alone\nquit\n' | timeout 100 "$charmvm" console f-1 >"$work/forked" 2>&1
	expect $? 0 "exit status of the fork's console" || return
	grep -aq 'got: alone' "$work/forked" || { cat "$work/forked"; return 1; }
	! grep -aq 'got: alone' "$work/watch" "$work/console" && ! grep -aq 'reads only' "$work/forked" || return
	echo four | "$charmvm" console vm --force >"$work/third" 2>&1 &
	eventually 20 grep -aq 'got: four' "$work/console" && grep -aq 'has taken over' "$work/console" || return
	grep -aq 'got: three' "$work/third" || { cat "$work/third"; return 1; }
	echo five >&3 && eventually 20 grep -aq 'another client writes here' "$work/console" || return
	! grep -aq 'got: five' "$work/watch" && "$charmvm" stop vm --now && wait
}
suspended_machine_goes_on_at_its_next_start() {
	# From the image itself: a boot sector is not needed by a machine that never boots.
	local image=$work/vm.qcow2 round
	qemu-img create -q -f qcow2 "$image" 64M
	start --net none --image "$image" || return
	for round in 1 2; do
		"$charmvm" suspend vm || return
		wait "$pid"
		expect $? 0 "the machine's exit status, round $round" || return
		(cd "$work" && "$charmvm" resume vm) 2>"$work/stderr"
		expect $? 8 "exit status of a resume, round $round" && grep -q 'charmvm up vm starts it' "$work/stderr" || return
		expect "$(qemu-img snapshot -l "$image" | awk 'NR > 2 { print $2 }')" suspended "snapshots, round $round" &&
			qemu-img check -q "$image" || return
		"$charmvm" --image "$image" --net none --console "file:$work/console" </dev/null 2>"$work/log" &
		pid=$!
		eventually 30 is_running || { cat "$work/log"; return 1; }
		grep -q 'goes on where it was' "$work/log" || return
	done
	expect "$(markers)" 1 "number of boots" || return
	"$charmvm" rename vm other 2>"$work/stderr"
	expect $? 4 "exit status of a rename while it runs" && grep -q 'stop or suspend' "$work/stderr" || return
	"$charmvm" destroy vm --yes >"$work/stdout" && grep -q "$image" "$work/stdout" || return
	ends_within 30 "$pid"
	expect $? 0 "the exit status of the machine that was destroyed" && [ ! -e "$image" ]
}
is_running() { [ "$("$charmvm" ps --json | jq -r '.[0].state')" = running ]; }
console_that_is_elsewhere_is_said() {
	start --net none || return
	"$charmvm" console vm </dev/null 2>"$work/stderr"
	expect $? 1 "exit status" && grep -q "file:$work/console" "$work/stderr" && end
}

guest_that_does_not_listen_is_stopped_after_the_time() {
	start --net none || return
	"$charmvm" stop --time 1 2>"$work/stderr" || return
	! kill -0 "$pid" 2>/dev/null || { ends_within 30 "$pid"; expect $? 0 "the machine's exit status"; } || return
	grep -q 'has not powered down' "$work/stderr"
}

reset_boots_again() {
	start --net none || return
	"$charmvm" reset vm && eventually 100 has_booted 2 && expect "$(fact resets)" 1 resets || return
	"$charmvm" reboot vm --time 1 2>"$work/stderr" && grep -q 'has not shut down' "$work/stderr" &&
		eventually 100 has_booted 3 && end
}

killed_machine_leaves_its_name_free() {
	start --net none || return
	kill -9 "$pid"
	wait "$pid" 2>/dev/null
	[ -S "$socket" ] || { echo "there is nothing left behind to test with"; return 1; }
	# As after a reboot of the host, where another process has that number now.
	jq ".pid = $BASHPID" "${socket%sock}json" >"$work/record" && cp "$work/record" "${socket%sock}json" || return
	expect "$("$charmvm" ps --json)" '[]' "machines" || return
	"$charmvm" stop vm 2>"$work/stderr"
	expect $? 8 "exit status for a dead machine" || return
	start --net none && expect "$(fact pid)" "$pid" "pid of the new machine" && end
}

hostile_clients_do_no_harm() {
	start --net none || return
	local before
	before=$(fact resident)
	head -c 1G /dev/zero | timeout 60 socat -u - "UNIX:$socket" 2>/dev/null
	expect "${PIPESTATUS[1]}" 1 "the status of who sends 1 GiB of nothing" || return
	yes '' | timeout 5 socat -u - "UNIX:$socket" # reads none of the answers
	echo 'garbage' | socat - "UNIX:$socket" | grep -q 'not JSON' || return
	printf '{"do":"st' | socat -t 1 - "UNIX:$socket" | grep -q '"id"' && { echo "half a line was answered"; return 1; }
	(printf '{"do":"st' && sleep 20) | socat - "UNIX:$socket" >/dev/null & # and stays
	expect "$(fact state)" running "state after them" && (($(fact resident) < before + (1 << 20))) && end
}

run_tests machine_is_seen_asked_and_stopped machine_that_is_starting_is_waited_for machine_in_the_background_has_a_console_and_a_log \
	console_is_shared console_that_is_elsewhere_is_said suspended_machine_goes_on_at_its_next_start ports_come_and_go_while_it_runs \
	guest_that_does_not_listen_is_stopped_after_the_time \
	paused_machine_stands_still_until_it_is_resumed snapshots_are_saved_told_reverted_to_renamed_and_deleted \
	reset_boots_again killed_machine_leaves_its_name_free hostile_clients_do_no_harm
