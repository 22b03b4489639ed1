#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images as distributions publish them for clouds boot as they are: their cloud-init gets name, keys and host key from us.
# seconds: 600
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# An image of its own for the machine $1, larger than what it lies on: cloud-init has to make the root file system grow.
up() { # IMAGE NAME [KERNEL-PARAMETERS [OPTION...]]
	"$charmvm" image create -q -f qcow2 -b "$CLOUD_IMAGES/$1.qcow2" -F qcow2 "$work/$2.qcow2" 4G &&
		"$charmvm" --image "$work/$2.qcow2" --allow-backing "$CLOUD_IMAGES/$1.qcow2" --mem 768M --console "file:$work/$2.console" \
			--append "quiet ${3:-}" --detach --no-wait "${@:4}"
}
answers() { timeout 60 "$charmvm" ssh "$1" -- true 2>/dev/null; }
in_guest() { timeout 100 "$charmvm" ssh "$1" -- "${@:2}"; }
has_grown() { (($(in_guest "$1" df -k --output=size / | tail -n 1) > 3 << 20)); }

# It has /boot on a partition of its own, and cloud-init meets two FAT file systems.
ubuntu_24_04_is_logged_in_to() {
	cat >"$work/mine.yaml" <<-'END'
		#cloud-config
		users:
		  - name: alice
		    gecos: Grüße
		write_files:
		  - { path: /etc/mine, content: "Grüße\n" }
	END
	up noble noble '' --user-data "$work/mine.yaml" || return
	eventually 450 answers noble || { tail -n 20 "$work/noble.console"; return 1; }
	expect "$(in_guest noble hostname)" noble "the host name" &&
		expect "$(in_guest noble id -un)" charm "the user" &&
		expect "$(in_guest noble sudo id -u)" 0 "the user's number under sudo"
}
its_root_file_system_has_grown() { has_grown noble; }
its_host_key_is_the_machines_and_there_is_no_other() {
	local there
	there=$(in_guest noble sudo sh -c "'cat /etc/ssh/ssh_host_*.pub'")
	expect "$(cut -d' ' -f1,2 <<<"$there")" "$(cut -d' ' -f1,2 "$XDG_DATA_HOME"/charmvm/machines/noble/host/*.pub)" "the host key"
}
its_own_user_is_let_in_too() {
	expect "$(timeout 100 "$charmvm" ssh -l debian noble -- id -un)" debian "the default user"
}
# Beside what it is told by us: users are added to ours.
what_the_user_has_to_say_is_done() {
	expect "$(in_guest noble 'getent passwd alice | cut -d: -f5; cat /etc/mine')" $'Grüße\nGrüße' "what was asked for"
}
user_data_that_cloud_init_would_not_know_is_refused() {
	echo 'users: [alice]' >"$work/bad.yaml"
	up jammy bad '' --user-data "$work/bad.yaml" 2>"$work/err"
	expect $? 3 "exit status" || return
	expect "$(grep -c "^charmvm: --user-data $work/bad.yaml: .*#cloud-config" "$work/err")" 1 "lines" || { cat "$work/err"; return 1; }
}
nobody_has_a_password() {
	in_guest noble sudo cut -d: -f2 /etc/shadow >"$work/passwords" && grep -q '^[!*]' "$work/passwords" &&
		! grep '^[^!*]' "$work/passwords"
}
# What the disk is has not been said this time.
machine_from_a_snapshot_has_the_disk_too() {
	"$charmvm" snapshot save ready noble && "$charmvm" stop noble --now || return
	"$charmvm" --image "$work/noble.qcow2" --allow-backing "$CLOUD_IMAGES/noble.qcow2" --from ready --discard \
		--console none --detach --no-wait && eventually 60 answers noble || return
	expect "$(in_guest noble sudo dd if=/dev/vdb iflag=direct bs=512 count=1 status=none | grep -ac CIDATA)" 1 "disks with the label"
}

# The kernel that was found brings up the right root file system, and what is on our disk reads well there; the rest of a boot
# is the same as above.
# shellcheck disable=SC2016 # the guest's shell expands it
script='mount -t proc proc /proc; d=$(blkid -L CIDATA); echo read-only $(blockdev --getro $d); mount -o ro $d /mnt && grep -h . /mnt/meta-data'
script+='; echo on $(findmnt -no SOURCE /); echo THE END'
looked_into() { # IMAGE NAME
	up "$1" "$2" "init=/bin/sh -- -c \"$script >/dev/ttyS0; sleep 1; echo o >/proc/sysrq-trigger; sleep 100\"" || return
	eventually 200 grep -q 'THE END' "$work/$2.console" || { tail -n 20 "$work/$2.console"; return 1; }
	tail -n 20 "$work/$2.console" | tr -d '\r' | tee "$work/$2.said"
	grep -q "^read-only 1$" "$work/$2.said" && grep -q "^on /dev/vda1$" "$work/$2.said" && grep -q "\"local-hostname\": \"$2\"" "$work/$2.said"
}
ubuntu_22_04_boots() { looked_into jammy jammy; }
debian_12_boots() { looked_into debian bookworm; }

needs_kvm || { echo "0 passed, 0 failed, 1 skipped"; exit 0; }
TEST_SECONDS=500 # cloud-init is a lot of Python
run_tests ubuntu_22_04_boots debian_12_boots ubuntu_24_04_is_logged_in_to its_root_file_system_has_grown \
	its_host_key_is_the_machines_and_there_is_no_other its_own_user_is_let_in_too what_the_user_has_to_say_is_done \
	user_data_that_cloud_init_would_not_know_is_refused nobody_has_a_password \
	machine_from_a_snapshot_has_the_disk_too
