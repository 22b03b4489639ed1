#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the README shows of snapshots, with the demo image: everything is deleted in a running machine, and is back. And `make run`,
# which shows the same to a newcomer.
# seconds: 1500
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

TEST_SECONDS=800 # of a busy lab
image=$work/charmed311.qcow2
vm=charmed311
in_guest() { timeout 100 "$charmvm" exec $vm -- "$@"; }
computes() { expect "$(in_guest python3 -c 'import numpy; print(numpy.arange(10).sum())')" 45 "the sum"; }
logs_in() { expect "$(timeout 60 "$charmvm" ssh $vm -- echo here)" here "what came over SSH"; }

machine_is_up_and_saved() {
	"$charmvm" up "$image" --detach --mem 512M || return
	computes && "$charmvm" snapshot save fresh $vm --note 'before the accident' && qemu-img snapshot -lU "$image" | grep -q fresh
}
all_its_files_are_deleted_and_it_dies() {
	in_guest sudo rm -rf --no-preserve-root / 2>/dev/null
	"$charmvm" status $vm >/dev/null || return # the machine is there, its guest is not
	! in_guest python3 -c 'print(1)' 2>/dev/null && ! timeout 60 "$charmvm" ssh $vm -- true 2>/dev/null
}
revert_brings_everything_back() {
	local pid
	pid=$("$charmvm" status $vm --json | jq .pid)
	"$charmvm" snapshot revert fresh $vm && computes && logs_in &&
		expect "$("$charmvm" status $vm --json | jq .pid)" "$pid" "its process" &&
		in_guest sh -c 'ls /usr/bin | wc -l' >"$work/count" && (($(<"$work/count") > 300))
}
its_clock_is_right_after() {
	local before there after
	before=$(date +%s)
	there=$(in_guest date +%s)
	after=$(date +%s)
	((there >= before - 1 && there <= after + 1)) || { echo "guest $there, host $before to $after"; return 1; }
}
# Neither end of a connection of then is left waiting for the other: the port's side is closed, the guest's is reset.
connection_of_then_is_reset_by_a_revert() {
	cat >"$work/serve.py" <<'END'
import socket, time
server = socket.create_server(("", 8811))
connection, _ = server.accept()
try:
    while True:
        connection.sendall(b"x")
        time.sleep(0.2)
except OSError as e:
    open("/tmp/reset", "w").write(type(e).__name__)
END
	"$charmvm" cp "$work/serve.py" $vm:/tmp/ && in_guest sh -c 'setsid python3 /tmp/serve.py >/dev/null 2>&1 &' &&
		"$charmvm" wait $vm port:8811 || return # which is a connection of its own
	in_guest pkill -f '[s]erve.py'
	in_guest sh -c 'setsid python3 /tmp/serve.py >/dev/null 2>&1 &' || return
	eventually 20 in_guest sh -c 'ss -Hltn sport = :8811 | grep -q .' || return
	timeout 100 socat -u TCP:127.0.0.1:8811 "CREATE:$work/got" &
	local client=$!
	eventually 20 [ -s "$work/got" ] || return
	"$charmvm" snapshot save connected $vm && "$charmvm" snapshot revert connected $vm || return
	timeout 60 tail -s 0.2 --pid=$client -f /dev/null || { echo "the host's end is still open"; return 1; }
	eventually 60 in_guest test -s /tmp/reset || { echo "the guest's end is still open"; return 1; }
	"$charmvm" snapshot delete connected $vm && logs_in
}
# Its host key is the one that the original was booted with, whatever it is called itself.
fork_is_called() { [ "$("$charmvm" exec "$1" -- hostname)" = "$1" ]; }
fork_of_another_name_is_logged_in_to() {
	"$charmvm" fork $vm --from fresh --name pupil || return
	expect "$(timeout 60 "$charmvm" ssh pupil-1 -- echo here)" here "what came over SSH" || return
	# By the guest kit's hooks.
	eventually 30 fork_is_called pupil-1 || return
	[ "$("$charmvm" exec pupil-1 -- cat /etc/machine-id)" != "$("$charmvm" exec $vm -- cat /etc/machine-id)" ] ||
		{ echo "the fork has the machine-id of the original"; return 1; }
	"$charmvm" stop pupil-1 --now
}
image_is_sound_and_starts_from_the_snapshot_again() {
	"$charmvm" stop $vm --now || return
	qemu-img check -q "$image" || { qemu-img check "$image"; return 1; }
	"$charmvm" up "$image" --from fresh --discard --detach && computes && logs_in && "$charmvm" stop $vm --now &&
		qemu-img check -q "$image"
}

# ---- make run

nothing_is_left() {
	! pgrep -ax charmvm || return
	! ls -d "$work"/charmvm-demo.* 2>/dev/null
}
make_run_shows_a_machine_its_death_and_its_return() {
	local line
	TMPDIR=$work make run >"$work/told" 2>&1
	expect $? 0 "exit status" || { tail -n 30 "$work/told"; return 1; }
	for line in 'log in:  charmvm ssh charmed311' '127.0.0.1:2211 -> 22' 'nothing works in there' 'What next'; do
		grep -q "$line" "$work/told" || { echo "not said: $line"; cat "$work/told"; return 1; }
	done
	expect "$(grep -c '|QR - A|' "$work/told")" 2 "number of results" && nothing_is_left
}
# As a terminal does it: all of its foreground gets the signal.
make_run_that_is_interrupted_leaves_nothing() {
	TMPDIR=$work setsid env --default-signal=INT make run >"$work/told" 2>&1 &
	local pid=$! status
	eventually 300 grep -q 'log in: ' "$work/told" && pgrep -x charmvm >/dev/null || return
	kill -INT -- -$pid
	ends_within 60 $pid
	status=$?
	[ $status != 0 ] || { echo "it went on to its end"; cat "$work/told"; return 1; }
	eventually 20 nothing_is_left
}

needs_kvm || { echo "0 passed, 0 failed, 1 skipped"; exit 0; }
cp --sparse=always "$DEMO_IMAGE" "$image"
run_tests machine_is_up_and_saved all_its_files_are_deleted_and_it_dies revert_brings_everything_back \
	its_clock_is_right_after connection_of_then_is_reset_by_a_revert fork_of_another_name_is_logged_in_to image_is_sound_and_starts_from_the_snapshot_again \
	make_run_shows_a_machine_its_death_and_its_return make_run_that_is_interrupted_leaves_nothing
