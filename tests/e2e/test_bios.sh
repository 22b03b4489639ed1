#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A disk and a CD that a BIOS boots: SeaBIOS, GRUB and Linux, with the screen and the keyboard on the console. On real KVM.
# GRUB_DISK: made by tests/e2e/grub_disk.sh, the disk and the CD.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

disk=$work/grub.qcow2 cd=$work/grub.iso

# start [OPTION...]: a machine in the background, $pid; what is typed goes to descriptor 3.
start() {
	: >"$work/console"
	rm -f "$work/keys" && mkfifo "$work/keys"
	"$charmvm" --image "$disk" --mem 256M --cpus 2 --net none --console stdio "$@" \
		<"$work/keys" >>"$work/console" 2>>"$work/log" &
	pid=$!
	exec 3>"$work/keys"
	trap 'kill -9 $pid 2>/dev/null' EXIT # of the test's own shell
}
enter() { printf '%s\r' "$1" >&3; } # a line at the prompt, all at once as it is pasted
# Without what moves the cursor, which a BIOS may do between any two characters of a word.
screen() { sed 's/\r\x1b\[[0-9]*;[0-9]*H//g; s/\x1b\[[0-9;?]*[A-Za-z]//g; s/\x1bc//g' "$work/console"; }
shows() { [ "$(screen | grep -ao "$1" | wc -l)" -ge "$2" ]; } # TEXT TIMES
ends_well() {
	ends_within "$1" "$pid"
	expect $? 0 "exit status" || { cat "$work/log"; screen | tail -n 20; return 1; }
}

# The running machine's CD, or another one; a file on it powers the fork off.
fork_has_a_cd() {
	local other=$work/other.iso
	cp "$cd" "$other" && "$charmvm" fork bios --from prompt --name same && "$charmvm" fork bios --from prompt --name two --cdrom "$other" || return
	expect "$("$charmvm" info same-1 --json | jq -r .cdrom)" "$cd" "the CD of a fork" &&
		expect "$("$charmvm" info two-1 --json | jq -r .cdrom)" "$other" "the CD that was asked for" &&
		"$charmvm" stop same-1 --now || return
	printf '. /h\r' | timeout 120 "$charmvm" console two-1 >"$work/two"
	expect $? 0 "exit status of the console of a fork that powers off" || { "$charmvm" stop two-1 --now; cat "$work/two"; return 1; }
}

# Boots take their time, so this is one machine for many behaviours.
cd_is_booted_first_then_the_disk_and_a_snapshot_in_grub_goes_on() {
	start --name bios -v --cdrom "$cd"
	eventually 200 shows 'grub> ' 1 || { cat "$work/log"; screen | tail -n 30; return 1; }
	shows 'SeaBIOS (version' 1 || { screen; return 1; }
	shows 'Booting from DVD/CD' 1 || { screen; return 1; }
	grep -q 'no kernel inside; a BIOS starts what is there' "$work/log" || { cat "$work/log"; return 1; }
	"$charmvm" snapshot save prompt bios || return
	enter 'ls (cd)/ (hd0,msdos1)/'
	eventually 60 shows 'ls (cd)/ (hd0,msdos1)/' 1 || { echo 'keys were lost'; screen | tail -n 5; return 1; }
	# The disk for cloud-init, since what would read it is on the other one.
	eventually 60 shows 'grub> ' 2 && enter 'ls (hd1)/' && eventually 60 shows 'grub> ' 3 || return
	shows 'user-data' 1 || { screen | tail -n 5; return 1; }
	fork_has_a_cd || return
	enter reboot
	eventually 200 shows 'grub> ' 4 || { echo "no prompt after a reboot"; screen | tail -n 30; return 1; }
	shows 'SeaBIOS (version' 2 || { screen; return 1; }
	shows 'Booting from Hard Disk' 1 || { screen; return 1; }
	enter '. /l' # Linux, which reads the CD and powers off
	ends_well 200 || return
	expect "$(markers)" 1 "number of boots" || { screen | tail -n 20; return 1; }
	shows THIS-IS-THE-CD 1 || { screen | tail -n 20; return 1; }
	start --name bios2 --from prompt --discard --cdrom "$cd"
	eventually 60 "$charmvm" info bios2 >/dev/null || return
	enter '. /h' # a file of the CD, which powers off
	ends_well 120 || return
	qemu-img check -q "$disk"
}

refused() { # STATUS PATTERN OPTION...
	local status=$1 pattern=$2
	shift 2
	timeout 30 "$charmvm" --net none "$@" </dev/null >"$work/out" 2>"$work/err"
	expect $? "$status" "exit status" || { cat "$work/err"; return 1; }
	expect "$(grep -c "$pattern" "$work/err") of $(wc -l <"$work/err")" "1 of 1" "number of lines" ||
		{ cat "$work/err"; return 1; }
}
disk_without_boot_code_says_so_in_one_line() {
	truncate -s 16M "$work/blank.raw"
	printf 'label: dos\ntype=83\n' | /usr/sbin/sfdisk -q "$work/blank.raw"
	refused 3 'nothing that a BIOS could start' --image "$work/blank.raw" --firmware bios &&
		refused 3 'no kernel inside' --image "$work/blank.raw" &&
		refused 3 'it is no bootable CD' --cdrom "$work/blank.raw" &&
		refused 3 'no kernel inside' --image "$disk" --firmware none
}

needs_kvm || { echo "0 passed, 0 failed, 1 skipped"; exit 0; }
read -r disk_made cd_made <<<"$GRUB_DISK"
cp "$disk_made" "$disk" && cp "$cd_made" "$cd" || exit
run_tests cd_is_booted_first_then_the_disk_and_a_snapshot_in_grub_goes_on disk_without_boot_code_says_so_in_one_line
