#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Commands, files and readiness through the agent of one tiny guest, which has no network.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

vm=agent-test
kernel=$kernels/cloud-6.1/vmlinux
: >"$work/console"
: >"$work/log"

in_guest() { "$charmvm" exec "$vm" --time 60 -- "$@"; }

agent_answers() {
	"$charmvm" wait "$vm" agent --time 120 || { cat "$work/log" "$work/console"; return 1; }
}
status_is_the_commands() {
	in_guest sh -c 'exit 7'
	expect $? 7 "status" || return
	in_guest sh -c 'kill -TERM $$'
	expect $? 143 "status of one that was killed"
}
stdout_and_stderr_are_apart() {
	in_guest sh -c 'echo out; echo err >&2' >"$work/1" 2>"$work/2"
	expect "$(cat "$work/1")" out stdout && expect "$(cat "$work/2")" err stderr
}
input_reaches_the_command_and_ends() {
	expect "$(echo hello | in_guest sh -c 'cat; echo end')" "hello
end" "what came back"
}
environment_directory_and_user_are_as_asked() {
	# shellcheck disable=SC2016 # the guest's shell expands it
	expect "$("$charmvm" exec $vm -e "A=b c" -w /sys -u root -- sh -c 'echo "$A" $PWD $(id -u)')" "b c /sys 0" said
}
megabytes_come_out_unharmed() {
	in_guest sh -c 'yes | head -c 4000000' >"$work/big"
	expect "$(wc -c <"$work/big") $(sort -u "$work/big")" "4000000 y" "size and contents"
}
reader_that_leaves_ends_the_command() {
	in_guest yes | head -n 1 >/dev/null
	expect "${PIPESTATUS[0]}" 141 status && eventually 20 sh -c "! '$charmvm' exec $vm -- pidof yes"
}
command_that_is_not_there_is_127() {
	in_guest no-such-command 2>"$work/err"
	expect $? 127 status && grep -q 'no-such-command: No such file' "$work/err"
}
guest_cannot_write_to_the_terminal_by_an_error() {
	in_guest "$(printf 'no\033[31mred')" 2>"$work/err"
	expect $? 127 status && ! grep -q "$(printf '\033')" "$work/err"
}
terminal_is_a_terminal() {
	expect "$("$charmvm" exec -t $vm -- sh -c 'test -t 0 && test -t 2 && echo yes' </dev/null | tr -d '\r')" yes answer
}
time_limit_ends_it_with_124() {
	"$charmvm" exec $vm --time 2 -- sleep 1000 2>/dev/null
	expect $? 124 status && eventually 20 sh -c "! '$charmvm' exec $vm -- pidof sleep"
}
interrupt_reaches_the_command() {
	"$charmvm" exec $vm -- sh -c 'trap "exit 9" TERM; echo ready; while :; do sleep 0.1; done' >"$work/1" &
	local pid=$! status=0
	eventually 20 grep -q ready "$work/1"
	kill -TERM $pid
	wait $pid || status=$?
	expect $status 9 status
}
twenty_commands_at_once() {
	local i pids=()
	for i in {1..20}; do
		in_guest sh -c "sleep 1; exit $i" &
		pids+=($!)
	done
	for i in {1..20}; do
		wait "${pids[i - 1]}"
		expect $? "$i" "status of number $i" || return
	done
}
file_goes_in_and_comes_back() {
	head -c 1000000 /dev/urandom >"$work/file"
	chmod 750 "$work/file"
	"$charmvm" cp "$work/file" $vm:/tmp/there && "$charmvm" cp $vm:/tmp/there "$work/back" || return
	cmp "$work/file" "$work/back" && expect "$(stat -c %a "$work/back")" 750 mode
}
directory_goes_in_and_comes_back() {
	mkdir -p "$work/dir/empty" "$work/dir/sub" "$work/in"
	echo text >"$work/dir/sub/f"
	ln -s sub/f "$work/dir/link"
	"$charmvm" cp "$work/dir" $vm:/tmp && "$charmvm" cp $vm:/tmp/dir "$work/in" || return
	diff -r --no-dereference "$work/dir" "$work/in/dir"
}
copy_that_fails_says_why() {
	"$charmvm" cp $vm:/no/such/file "$work/x" 2>"$work/err"
	expect $? 1 status && grep -q 'No such file' "$work/err" && [ ! -e "$work/x" ] || return
	"$charmvm" cp "$work/file" $vm:/no/such/dir/x 2>"$work/err"
	expect $? 1 status && grep -q 'No such file' "$work/err"
}
port_is_waited_for() {
	"$charmvm" wait $vm port:8000 --time 1 2>/dev/null
	expect $? 124 "status before anybody listens" || return
	in_guest sh -c 'nc -l -p 8000 >/dev/null 2>&1 &'
	"$charmvm" wait $vm port:8000 --time 30
}
# says TEXT: what the guest prints where a notebook's port and token are asked for.
says() {
	in_guest sh -c 'mkdir -p /usr/lib/charmvm && cd /usr/lib/charmvm && cat >notebook-url && chmod 755 notebook-url' <<-SCRIPT
		#!/bin/sh
		$1
	SCRIPT
}
open_fails() { # STATUS WORDS [TIME]
	"$charmvm" open $vm --time "${3:-60s}" >"$work/1" 2>"$work/err"
	expect $? "$1" status && [ ! -s "$work/1" ] && expect "$(wc -l <"$work/err")" 1 "lines" &&
		{ grep -q "$2" "$work/err" || { cat "$work/err"; return 1; }; }
}
guest_that_lies_about_its_notebook_opens_nothing() {
	open_fails 1 'no notebook server' &&
		says 'echo 8811 0123456789abcdef' && open_fails 6 'no port of this host' || return
	local lie
	for lie in '' 'echo' 'echo 8811' 'echo 0 0123456789abcdef' 'echo 88110 0123456789abcdef' 'echo 8811 0123456789abcde' \
		"echo '8811 0123456789abcdef\"><script>'" "printf '8811 0123456789\\033[31mabcdef'" 'head -c 60000 /dev/zero'; do
		echo "lie: $lie"
		says "$lie" && open_fails 1 'does not say where' || return
	done
	says yes && open_fails 124 'time is up' 3s
}
machine_that_ends_is_said() {
	(sleep 2; "$charmvm" stop --now $vm) &
	in_guest sleep 1000 2>"$work/err"
	expect $? 122 status && grep -q 'machine has ended' "$work/err" || return
	in_guest true 2>/dev/null
	expect $? 125 "status without a machine"
}

if needs_kvm; then
	"$charmvm" --kernel "$kernel" --initrd "$AGENT_INITRD" --net none --name $vm --console "file:$work/console" \
		--append "console=ttyS0 quiet panic=1 tiny.do=agent" </dev/null 2>"$work/log" &
fi
run_tests agent_answers status_is_the_commands stdout_and_stderr_are_apart input_reaches_the_command_and_ends \
	environment_directory_and_user_are_as_asked megabytes_come_out_unharmed reader_that_leaves_ends_the_command \
	command_that_is_not_there_is_127 guest_cannot_write_to_the_terminal_by_an_error terminal_is_a_terminal \
	time_limit_ends_it_with_124 interrupt_reaches_the_command twenty_commands_at_once file_goes_in_and_comes_back \
	directory_goes_in_and_comes_back copy_that_fails_says_why port_is_waited_for \
	guest_that_lies_about_its_notebook_opens_nothing machine_that_ends_is_said
