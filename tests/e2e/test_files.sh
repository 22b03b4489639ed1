#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Machines that do not run are renamed, cloned and destroyed; nothing here boots.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

keys=$XDG_DATA_HOME/charmvm/machines confs=$XDG_CONFIG_HOME/charmvm/machines

# A machine called $1 as one leaves it that has run: with data, a snapshot, a host key and a configuration file.
machine() {
	cd "$work" || return
	rm -rf ./*.qcow2 "$keys" "$confs" && mkdir -p "$confs"
	qemu-img create -q -f qcow2 "$1.qcow2" 64M && "$charmvm" image io -c 'write -P 7 1M 1M' "$1.qcow2" >/dev/null &&
		"$charmvm" snapshot save fresh --image "$1.qcow2" && mkdir -p "$keys/$1/host" &&
		echo mem = 2G >"$confs/$1.conf" && echo secret >"$keys/$1/host/id_ed25519" && echo key >"$keys/$1/known_hosts"
}
# refused STATUS WORDS ARG...
refused() {
	local want=$1 words=$2
	shift 2
	"$charmvm" "$@" </dev/null >"$work/stdout" 2>"$work/stderr"
	expect $? "$want" "exit status" && expect "$(wc -l <"$work/stderr")" 1 "number of lines" &&
		{ grep -q -- "$words" "$work/stderr" || { cat "$work/stderr"; return 1; }; }
}
holds_its_data() {
	qemu-img check -q "$1" && "$charmvm" image io -c 'read -P 7 1M 1M' "$1" >/dev/null &&
		expect "$(qemu-img snapshot -l "$1" | awk 'NR > 2 { print $2 }')" fresh "its snapshots"
}

is_locked() { ! qemu-img info "$1" >/dev/null 2>&1; }

rename_keeps_data_snapshots_and_host_key() {
	machine one && "$charmvm" rename one two || return
	[ ! -e one.qcow2 ] && [ ! -e "$keys/one" ] && holds_its_data two.qcow2 &&
		expect "$(cat "$keys/two/host/id_ed25519")" secret "the host key" &&
		expect "$(cat "$confs/two.conf")" 'mem = 2G' "what was written down for it" && [ ! -e "$confs/one.conf" ]
}
rename_replaces_no_configuration_of_another_one() {
	machine one && echo mem = 3G >"$confs/two.conf" && "$charmvm" rename one two 2>said || return
	grep -q "warning: $confs/one.conf stays" said && expect "$(cat "$confs"/*.conf)" $'mem = 2G\nmem = 3G' "the files"
}
rename_replaces_nothing_and_wants_a_name() {
	machine one && echo other >two.qcow2 || return
	refused 3 'there already' rename one two && expect "$(cat two.qcow2)" other "the other machine" &&
		refused 2 'a name has' rename one .hidden && refused 2 'a name has' rename one 'two words' &&
		refused 2 'two names' rename one && refused 3 'o such file' rename absent two && holds_its_data one.qcow2
}
clone_is_whole_and_has_no_host_key_of_the_first() {
	machine one && "$charmvm" clone one.qcow2 two || return
	cmp one.qcow2 two.qcow2 && holds_its_data two.qcow2 && [ ! -e "$keys/two" ] && [ ! -e "$confs/two.conf" ] || return
	"$charmvm" image io -c 'write -P 9 1M 1M' two.qcow2 >/dev/null && holds_its_data one.qcow2
}
clone_that_has_no_room_leaves_nothing() {
	machine one || return
	(
		trap '' XFSZ
		ulimit -f 200 # KiB
		refused 3 'arge' clone one two
	) && [ ! -e two.qcow2 ] && expect "$(find . -name '*two*' | wc -l)" 0 "what is left"
}
machine_in_use_is_left_alone() {
	command -v qemu-io >/dev/null || { echo "no qemu-io"; return 77; }
	machine one && mkfifo hold || return
	qemu-io one.qcow2 <hold >/dev/null &
	exec 9>hold
	eventually 20 is_locked one.qcow2 || return
	refused 4 'qemu-io' rename one two && refused 4 'qemu-io' clone one two && refused 4 'qemu-io' destroy one --yes
	local status=$?
	exec 9>&-
	wait
	[ $status = 0 ] && holds_its_data one.qcow2
}
destroy_asks_on_a_terminal_and_says_what_it_deletes() {
	machine one || return
	refused 2 '--yes' destroy one && holds_its_data one.qcow2 || return
	echo n | script -qec "$charmvm destroy one" /dev/null >said
	cat said
	grep -q 'Nothing was deleted' said && grep -q "$work/one.qcow2" said && grep -q 'host key' said &&
		holds_its_data one.qcow2 || return
	echo y | script -qec "$charmvm destroy one" /dev/null >said
	grep -q "$confs/one.conf" said && [ ! -e one.qcow2 ] && [ ! -e "$keys/one" ] && [ ! -e "$confs/one.conf" ]
}
destroy_deletes_a_damaged_image_too() {
	machine one && echo rubbish >one.qcow2 && "$charmvm" destroy one --yes >said && [ ! -e one.qcow2 ]
}
destroy_of_what_is_no_machine_is_refused() {
	machine one && mkdir -p folder.qcow2 || return
	refused 3 'not a file' destroy folder --yes && refused 3 'o such file' destroy absent --yes &&
		refused 2 'which machine' destroy
}

# 64 TiB, of which some is used at both ends: 16 MiB of address space, the program's own among them.
vast_image_is_opened_and_read_in_little_memory() {
	qemu-img create -q -f qcow2 -o cluster_size=2M "$work/vast.qcow2" 64T &&
		qemu-io -c 'write -P 1 1G 64k' -c 'write -P 2 65535G 64k' "$work/vast.qcow2" >/dev/null || return
	(
		ulimit -v 16384
		"$charmvm" image info "$work/vast.qcow2" >/dev/null &&
			"$charmvm" image io -c 'read -P 1 1G 64k' -c 'read -P 2 65535G 64k' "$work/vast.qcow2" >/dev/null
	)
}

run_tests rename_keeps_data_snapshots_and_host_key rename_replaces_no_configuration_of_another_one rename_replaces_nothing_and_wants_a_name \
	clone_is_whole_and_has_no_host_key_of_the_first clone_that_has_no_room_leaves_nothing machine_in_use_is_left_alone \
	destroy_asks_on_a_terminal_and_says_what_it_deletes destroy_deletes_a_damaged_image_too \
	destroy_of_what_is_no_machine_is_refused vast_image_is_opened_and_read_in_little_memory
