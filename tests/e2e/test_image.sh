#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The demo image as a person uses it. The tests are in the order of one machine's life: started once, looked at
# from all sides, rebooted, powered down.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

image=$work/charmed311.qcow2
machine=charmed311

by_name() { timeout 60 "$charmvm" ssh $machine -- "$@"; }
# Most of a login's time is its key exchange, and there is one for all of these.
in_guest() {
	timeout 60 ssh -p 2211 -i "$XDG_DATA_HOME/charmvm/user/id_ed25519" -o IdentitiesOnly=yes \
		-o UserKnownHostsFile="$XDG_DATA_HOME/charmvm/machines/$machine/known_hosts" \
		-o HostKeyAlias=charmvm -o BatchMode=yes -o LogLevel=ERROR \
		-o ControlMaster=auto -o ControlPath="$work/ssh" -o ControlPersist=yes \
		charm@127.0.0.1 "$@"
}
ssh_answers() { in_guest true 2>/dev/null; }
has_ended() { [ -s "$work/status" ]; }

start() { # CHARMVM-OPTION...
	# Each test is a subshell, which cannot wait for it: its end is told by a file.
	(
		"$charmvm" --image "$image" --mem 1G --cpus 2 --console "file:$work/console" "$@" \
			</dev/null 2>"$work/log" &
		echo $! >"$work/pid"
		wait $!
		echo $? >"$work/status"
	) &
	eventually 5 [ -s "$work/pid" ]
	pid=$(<"$work/pid")
}

boots_to_a_login_over_ssh() {
	eventually 250 ssh_answers || { cat "$work/log"; tail -n 30 "$work/console"; return 1; }
}
banner_says_how_to_log_in_and_which_ports() {
	grep -q "charmvm ssh $machine" "$work/log" && grep -q '127.0.0.1:2211 -> 22' "$work/log" &&
		grep -q '127.0.0.1:8811 -> 8811' "$work/log"
}
guest_computes_with_numpy() {
	expect "$(in_guest "python3 -c 'import numpy; print(numpy.arange(10).sum())'")" 45 "the sum"
}
charmvm_ssh_knows_the_machine_and_hands_back_the_status() {
	by_name exit 7
	expect $? 7 "exit status"
}
no_account_has_a_password() {
	expect "$(in_guest "sudo awk -F: '\$2 !~ /^[!*]/ {print \$1} END {print (NR > 5)}' /etc/shadow")" 1 \
		"accounts with a password, and then whether any were read"
}
# A display that says what name a client connects with; the client is one that knows the cookie that sshd gave to xauth.
window_appears_on_the_hosts_display() {
	cat >"$work/window.py" <<'END'
import os, socket, struct, subprocess
name = os.environ["DISPLAY"]
cookie = subprocess.run(["xauth", "list", name], capture_output=True, text=True).stdout.split()
with socket.create_connection(("localhost", 6000 + int(float(name.split(":")[1])))) as x:
    x.sendall(struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(cookie[1]), 16))
    x.sendall(cookie[1].encode().ljust(20, b"\0") + bytes.fromhex(cookie[2]))
    print(x.recv(100).decode())
END
	mkdir -p /tmp/.X11-unix
	socat UNIX-LISTEN:/tmp/.X11-unix/X77 SYSTEM:'head -c 30 | tail -c 18' 2>/dev/null &
	eventually 5 [ -S /tmp/.X11-unix/X77 ] && in_guest "cat >window.py" <"$work/window.py" || return
	DISPLAY=:77 timeout 100 "$charmvm" ssh -X $machine -- python3 window.py >"$work/stdout" 2>"$work/stderr"
	kill $! 2>/dev/null
	rm -f /tmp/.X11-unix/X77
	expect "$(cat "$work/stdout")" MIT-MAGIC-COOKIE-1 "what the display was told" || { cat "$work/stderr"; return 1; }
}
scp_and_rsync_reach_it_by_ssh_config() {
	mkdir -p "$work/sent" && head -c 300k /dev/urandom >"$work/sent/a" && "$charmvm" ssh-config $machine >"$work/ssh.conf" &&
		rsync -a -e "ssh -F $work/ssh.conf" "$work/sent/" $machine:sent/ &&
		scp -q -F "$work/ssh.conf" $machine:sent/a "$work/back" && cmp "$work/sent/a" "$work/back"
}
token_of_its_notebook_reaches_the_guest() {
	expect "$(in_guest cat /run/charmvm-notebook/token)" \
		"$(cat "$XDG_DATA_HOME/charmvm/machines/$machine/notebook-token")" "the token"
}
# guest-kit's script for those without systemd 252, beside what systemd has done here.
systems_without_credentials_are_handed_the_same() {
	in_guest sudo sh >"$work/stdout" <<-'END'
		/usr/lib/charmvm/credentials /tmp/there
		for file in home/charm/.ssh/authorized_keys etc/ssh/ssh_host_ed25519_key etc/hostname etc/charmvm/code run/charmvm-notebook/token; do
			cmp "/$file" "/tmp/there/$file" && cd / && stat -c '%a %U %s %n' "$file" && cd /tmp/there && stat -c '%a %U %s %n' "$file"
		done
	END
	cat "$work/stdout"
	expect "$(wc -l <"$work/stdout")" 10 "facts on files" && expect "$(uniq "$work/stdout" | wc -l)" 5 "different ones"
}
image_without_a_notebook_says_so() {
	"$charmvm" open --time 60s >"$work/stdout" 2>"$work/stderr"
	expect $? 1 "exit status" && [ ! -s "$work/stdout" ] && expect "$(wc -l <"$work/stderr")" 1 "lines" &&
		grep -q 'no notebook server' "$work/stderr"
}
# The guest's answer is made here; tests/e2e/test_notebook.sh has a server that gives it.
open_gives_a_browser_a_page_and_nobody_the_token() {
	local token=0123456789abcdef url='http://localhost:8811/tree?token=0123456789abcdef' page=$XDG_RUNTIME_DIR/charmvm/$machine.notebook.html
	in_guest "printf '#!/bin/sh\necho 8811 $token\n' | sudo tee /usr/lib/charmvm/notebook-url >/dev/null"
	mkdir -p "$work/bin" && printf '#!/bin/sh\necho "$@" >%s/opened\n' "$work" >"$work/bin/xdg-open" && chmod 755 "$work/bin/xdg-open"
	expect "$(PATH=$work/bin:$PATH DISPLAY=:9 "$charmvm" open --time 60s)" "$url" "what is printed" && [ ! -e "$page" ] || return
	expect "$("$charmvm" open $machine --json | jq -r .url)" "$url" "the URL in JSON" || return
	PATH=$work/bin:$PATH DISPLAY=:9 script -qec "'$charmvm' open --time 60s" /dev/null </dev/null >"$work/stdout"
	cat "$work/stdout"
	grep -q "$url" "$work/stdout" && eventually 10 [ -s "$work/opened" ] || return
	expect "$(cat "$work/opened")" "$page" "what the browser is given" && expect "$(stat -c %a "$page")" 600 "its mode" &&
		grep -qF "url=$url\"" "$page"
}
selftest_imports_what_the_recipe_has() {
	"$charmvm" selftest fast >"$work/stdout" || { cat "$work/stdout"; return 1; }
	grep -qE '^ok import numpy 1\.' "$work/stdout" && "$charmvm" selftest $machine fast --json | jq -e '.passed == 1 and .failed == 0'
}
selftest_that_fails_says_so_by_its_status() {
	"$charmvm" selftest notebook >"$work/stdout"
	expect $? 1 "exit status" && grep -q '^FAILED Hello World: there is no notebook' "$work/stdout"
}
packages_are_listed_out_of_the_image() {
	"$charmvm" image packages "$DEMO_IMAGE" >"$work/packages" &&
		grep -qP '^python3-numpy\t\S+\t.*BSD' "$work/packages" &&
		expect "$(wc -l <"$work/packages")" "$(in_guest "dpkg-query -W | wc -l")" "how many there are"
}
both_vcpus_are_there() { expect "$(in_guest nproc)" 2 "number of processors"; }
wall_clock_is_right() {
	local there here
	there=$(in_guest date +%s)
	here=$(date +%s)
	((here - there < 15 && there - here < 3)) || { echo "guest $there, host $here"; return 1; }
}
memory_is_what_was_asked_for() {
	local kib
	kib=$(in_guest "awk '/MemTotal/ {print \$2}' /proc/meminfo")
	((kib > 900000 && kib <= 1048576)) || { echo "$kib KiB"; return 1; }
}
disks_have_serials_and_several_queues() {
	expect "$("$charmvm" info --json | jq .disk_driver)" true "whether the guest drives its disk" &&
		expect "$(in_guest cat /sys/block/vdb/serial)" disk1 "the second disk's serial" &&
		expect "$(in_guest ls /sys/block/vda/mq | wc -l)" 2 "number of queues"
}
second_disk_keeps_what_is_written() {
	in_guest "sudo dd if=/dev/urandom of=/dev/vdb bs=64k count=32 oflag=direct status=none && sync &&
		sudo dd if=/dev/vdb bs=64k count=32 iflag=direct status=none | sha256sum" >"$work/sum.guest" || return
	expect "$(head -c 2M "$work/second.raw" | sha256sum)" "$(cat "$work/sum.guest")" "the host's view"
}
discard_and_write_zeroes_reach_the_disk() {
	in_guest "sudo blkdiscard -o 0 -l 1M /dev/vdb && sudo blkdiscard -z -o 1M -l 1M /dev/vdb &&
		sudo cmp -n 2M /dev/vdb /dev/zero" && cmp -n 2097152 "$work/second.raw" /dev/zero
}
host_mib_at_most() { (($(host_mib) <= $1)); }
host_mib() { echo $(($(stat -c %b "$image") / 2048)); }
fstrim_gives_space_back_to_the_host() {
	local before full
	in_guest "sudo fstrim / && sync"
	before=$(host_mib)
	in_guest "head -c 24M /dev/urandom >big && sync"
	full=$(host_mib)
	((full - before >= 20)) || { echo "24 MiB were written, and the image went from $before to $full"; return 1; }
	in_guest "rm big && sync && sudo fstrim / && sync"
	eventually 20 host_mib_at_most $((before + 6)) || { echo "$before, with the file $full, without $(host_mib) MiB"; return 1; }
}
read_only_disk_refuses_writes() {
	! in_guest "sudo dd if=/dev/zero of=/dev/vdc bs=4k count=1 oflag=direct status=none" 2>/dev/null &&
		expect "$(in_guest cat /sys/block/vdc/ro)" 1 "read-only"
}
channel_carries_bytes_both_ways() {
	local there
	mkfifo "$work/to.channel"
	timeout 60 socat - "UNIX-CONNECT:$work/channel" <"$work/to.channel" >"$work/from.guest" &
	exec 7>"$work/to.channel" # held open: so is the client
	there=$(in_guest "grep -lx org.example.0 /sys/class/virtio-ports/*/name")
	[ -n "$there" ] || { echo "no port of that name in the guest"; return 1; }
	there=${there%/name}
	there=/dev/${there##*/}
	in_guest "echo out of the guest | sudo tee $there >/dev/null"
	eventually 20 grep -q 'out of the guest' "$work/from.guest" || return
	echo into the guest >&7
	expect "$(in_guest "sudo timeout 25 head -n 1 $there")" "into the guest" "what the guest read" || return
	exec 7>&-
	wait # for the client; the next one has the channel to itself
	echo from the next client | timeout 30 socat -t 25 - "UNIX-CONNECT:$work/channel" >/dev/null &
	# Linux reads an end of file while nobody is at the host's end.
	expect "$(in_guest "sudo timeout 25 sh -c 'until head -n 1 $there | grep .; do sleep 0.2; done'")" \
		"from the next client" "what the guest read then"
}
guest_has_ipv4_ipv6_and_a_large_mtu() {
	in_guest ip -o addr >"$work/addr"
	in_guest ip -o link >"$work/link"
	cat "$work/addr" "$work/link"
	grep -q 'inet 10.0.2.15/24' "$work/addr" && grep -q 'inet6 fec0::' "$work/addr" &&
		grep -q 'mtu 65520' "$work/link"
}
megabytes_go_through_a_forward_unharmed() {
	in_guest "mkdir -p /tmp/www && cd /tmp/www && head -c 8M /dev/urandom >blob && sha256sum <blob &&
		(python3 -m http.server 9011 >/dev/null 2>&1 &)" >"$work/sum.guest"
	eventually 60 curl -sf -o "$work/blob" http://127.0.0.1:9011/blob &&
		expect "$(sha256sum <"$work/blob")" "$(cat "$work/sum.guest")" "what came" &&
		curl -sf -g -o /dev/null "http://[::1]:9011/"
}
guest_does_not_reach_the_hosts_loopback() {
	socat TCP-LISTEN:24999,bind=127.0.0.1,fork,reuseaddr SYSTEM:'echo secret' &
	local server=$! answer
	eventually 5 grep -q ':61A7' /proc/net/tcp
	answer=$(in_guest "timeout 5 bash -c 'cat </dev/tcp/10.0.2.2/24999' 2>/dev/null; echo asked")
	kill $server
	expect "$answer" asked "what the guest read"
}
random_numbers_come_from_the_host() {
	expect "$(in_guest cat /sys/class/misc/hw_random/rng_current)" virtio_rng.0 "the source" &&
		expect "$(in_guest "sudo head -c 1000 /dev/hwrng | wc -c")" 1000 "bytes"
}
qemu_refuses_the_image_while_it_runs() {
	! qemu-io -c 'read 0 512' "$image" >"$work/qemu" 2>&1 && grep -q lock "$work/qemu"
}
second_charmvm_is_refused_and_told_who_has_it() {
	timeout 10 "$charmvm" --image "$image" --console none </dev/null 2>"$work/second"
	expect $? 4 "exit status" || return
	cat "$work/second"
	grep -q "$pid" "$work/second"
}
reboot_comes_back_in_the_same_process_with_its_files() {
	in_guest "echo kept >kept && sync && cat /proc/sys/kernel/random/boot_id" >"$work/boot.1"
	"$charmvm" reboot $machine || return
	ssh -o ControlPath="$work/ssh" -O exit charm@127.0.0.1 2>/dev/null
	"$charmvm" wait $machine agent --time 250s || { tail -n 30 "$work/console"; return 1; }
	"$charmvm" exec $machine -- cat /proc/sys/kernel/random/boot_id >"$work/boot.2" || return
	! cmp -s "$work/boot.1" "$work/boot.2" && expect "$("$charmvm" exec $machine -- cat kept)" kept "the file" && kill -0 "$pid" || return
	eventually 250 ssh_answers # the agent is there before what listens to the power button
}
sigterm_powers_the_guest_down() {
	kill -TERM "$pid"
	eventually 120 has_ended || return
	expect "$(<"$work/status")" 0 "exit status" && grep -q 'Power down' "$work/console"
}
image_is_sound_afterwards() {
	qemu-img check "$image" && [ ! -e "$XDG_RUNTIME_DIR/charmvm/$machine.json" ] &&
		[ ! -e "$XDG_RUNTIME_DIR/charmvm/$machine.notebook.html" ]
}

cp --sparse=always "$DEMO_IMAGE" "$image"
truncate -s 64M "$work/second.raw"
qemu-img create -q -f qcow2 "$work/third.qcow2" 64M
start --disk "$work/second.raw" --disk "$work/third.qcow2,ro" \
	--channel "org.example.0=socket:$work/channel"
run_tests boots_to_a_login_over_ssh banner_says_how_to_log_in_and_which_ports guest_computes_with_numpy \
	charmvm_ssh_knows_the_machine_and_hands_back_the_status no_account_has_a_password window_appears_on_the_hosts_display \
	scp_and_rsync_reach_it_by_ssh_config token_of_its_notebook_reaches_the_guest systems_without_credentials_are_handed_the_same \
	image_without_a_notebook_says_so selftest_imports_what_the_recipe_has \
	open_gives_a_browser_a_page_and_nobody_the_token \
	selftest_that_fails_says_so_by_its_status packages_are_listed_out_of_the_image both_vcpus_are_there wall_clock_is_right \
	memory_is_what_was_asked_for disks_have_serials_and_several_queues second_disk_keeps_what_is_written \
	discard_and_write_zeroes_reach_the_disk fstrim_gives_space_back_to_the_host read_only_disk_refuses_writes \
	channel_carries_bytes_both_ways guest_has_ipv4_ipv6_and_a_large_mtu megabytes_go_through_a_forward_unharmed \
	guest_does_not_reach_the_hosts_loopback random_numbers_come_from_the_host \
	qemu_refuses_the_image_while_it_runs second_charmvm_is_refused_and_told_who_has_it \
	reboot_comes_back_in_the_same_process_with_its_files sigterm_powers_the_guest_down \
	image_is_sound_afterwards
