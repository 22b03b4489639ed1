#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Bad input gets one clear line and a documented exit status, and nothing is changed. Most of it is found before
# the machine is made, so it is run where there is no KVM, too.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# refused STATUS WORDS ARG...: the command ends with STATUS within 5 s and says WORDS in its only line.
refused() {
	local want=$1 words=$2 status=0 lines
	shift 2
	timeout 5 "$charmvm" --console none "$@" >"$work/stdout" 2>"$work/stderr" </dev/null || status=$?
	lines=$(wc -l <"$work/stderr")
	cat "$work/stderr"
	expect "$status" "$want" "exit status" && expect "$lines" 1 "number of lines" &&
		{ grep -q -- "$words" "$work/stderr" || { echo "no '$words' in it"; return 1; }; }
}

missing_image() { refused 3 'no such file' --image "$work/absent.qcow2"; }
image_is_a_directory() { refused 3 'directory' --image "$work"; }
empty_image() {
	: >"$work/empty"
	refused 3 'empty' --image "$work/empty"
}
truncated_qcow2() {
	qemu-img create -q -f qcow2 "$work/t.qcow2" 64M && truncate -s 60 "$work/t.qcow2" &&
		refused 3 'truncated\|too short\|header' --image "$work/t.qcow2"
}
missing_backing_file() {
	qemu-img create -q -f qcow2 "$work/base.qcow2" 64M
	qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 "$work/over.qcow2"
	rm "$work/base.qcow2"
	refused 3 'base.qcow2' --image "$work/over.qcow2"
}
backing_files_that_loop() {
	qemu-img create -q -f qcow2 "$work/a.qcow2" 64M
	qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 "$work/b.qcow2"
	qemu-img rebase -u -b b.qcow2 -F qcow2 "$work/a.qcow2"
	refused 3 'a.qcow2' --image "$work/a.qcow2"
}
backing_file_outside_the_directory() {
	mkdir -p "$work/private"
	qemu-img create -q -f raw "$work/private/secret" 1M
	mkdir -p "$work/download"
	qemu-img create -q -f qcow2 -b "$work/private/secret" -F raw "$work/download/d.qcow2"
	refused 3 '--allow-backing' --image "$work/download/d.qcow2"
}
unreadable_image() {
	[ "$(id -u)" != 0 ] || { echo "root may read everything"; return 77; }
	qemu-img create -q -f raw "$work/u.raw" 1M && chmod 0 "$work/u.raw"
	refused 3 'ermission' --image "$work/u.raw"
}
image_in_use_by_qemu_is_named() {
	command -v qemu-io >/dev/null || { echo "no qemu-io"; return 77; }
	qemu-img create -q -f qcow2 "$work/used.qcow2" 64M
	mkfifo "$work/hold"
	qemu-io "$work/used.qcow2" <"$work/hold" >/dev/null &
	exec 9>"$work/hold"
	eventually 5 grep -q "OFDLCK" /proc/locks && sleep 0.5
	refused 4 'qemu-io' --image "$work/used.qcow2"
	local status=$?
	exec 9>&-
	return $status
}
image_without_a_kernel() {
	needs_kvm || return
	qemu-img create -q -f raw "$work/blank.raw" 64M
	refused 3 '--kernel' --image "$work/blank.raw"
}
image_is_not_changed_by_a_refusal() {
	needs_kvm || return
	qemu-img create -q -f qcow2 "$work/same.qcow2" 64M
	local before
	before=$(sha256sum <"$work/same.qcow2")
	refused 3 '--kernel' --image "$work/same.qcow2" && expect "$(sha256sum <"$work/same.qcow2")" "$before" "the image"
}
too_little_memory() { refused 2 '64M' --image x --mem 10K; }
too_much_memory() { refused 2 'this host has' --image x --mem 900T; }
no_vcpus() { refused 2 '1 to 64' --image x --cpus 0; }
unknown_option() { refused 2 'did you mean --image' --imgae x; }
unknown_command() {
	"$charmvm" shh 2>"$work/stderr"
	expect $? 2 "exit status" && grep -q "did you mean 'charmvm ssh'" "$work/stderr"
}
bad_forward() { refused 2 'forward' --kernel /dev/null --forward 22; }
port_taken_is_told_with_its_holder() {
	socat TCP-LISTEN:23999,bind=127.0.0.1 STDOUT >/dev/null &
	eventually 5 grep -q ':5DBF' /proc/net/tcp
	refused 6 '23999.*socat' --kernel /dev/null --forward 23999:80
}
kernel_is_not_a_kernel() {
	needs_kvm || return
	head -c 100000 /dev/urandom >"$work/noise"
	refused 3 'noise' --kernel "$work/noise" --net none
}
no_kvm_says_what_to_do() {
	[ ! -e /dev/kvm ] || { echo "there is a /dev/kvm here"; return 77; }
	: >"$work/k"
	refused 5 'modprobe' --kernel "$work/k" --net none
}
ssh_without_a_machine() {
	"$charmvm" ssh 2>"$work/stderr"
	expect $? 1 "exit status" && grep -q 'no machine is running' "$work/stderr"
}
verb_without_its_machine() {
	local verb
	for verb in status ports stop reset pause resume; do
		"$charmvm" $verb absent 2>"$work/stderr"
		expect $? 8 "exit status of $verb" && grep -q "no machine called 'absent'" "$work/stderr" || return
		"$charmvm" $verb --help | grep -q "^Usage: charmvm $verb" || return
	done
}
snapshots_of_a_stopped_image() {
	local image=$work/off.qcow2 snapshot="$charmvm snapshot"
	qemu-img create -q -f qcow2 "$image" 64M
	$snapshot save one -i "$image" && $snapshot save two -i "$image" && $snapshot rename two three -i "$image" || return
	expect "$($snapshot list -i "$image" --json | jq -c '[.[] | [.name, .machine]]')" '[["one",false],["three",false]]' \
		"the list" || return
	$snapshot show three --image "$image" | grep -q '^name: *three' && $snapshot revert one -i "$image" &&
		$snapshot delete three -i "$image" && $snapshot export one "$work/out.qcow2" -i "$image" || return
	qemu-img check -q "$image" && qemu-img check -q "$work/out.qcow2"
}
# Of the first one the name is the second one's id.
fork_finds_a_snapshot_that_is_called_like_anothers_id() {
	local image=$work/ids.qcow2
	qemu-img create -q -f qcow2 "$image" 16M && qemu-img snapshot -c 2 "$image" && qemu-img snapshot -c b "$image" || return
	"$charmvm" fork --image "$image" --from 1 2>"$work/stderr"
	expect $? 3 "exit status" && grep -q "'1': it holds no machine of charmvm's" "$work/stderr"
}
snapshot_that_cannot_be() {
	local image=$work/no.qcow2 words
	qemu-img create -q -f qcow2 "$image" 64M && qemu-img create -q -f raw "$work/no.raw" 64M
	"$charmvm" snapshot save one -i "$image" || return
	for words in 'save one' 'delete two' 'revert two' 'rename two three' 'show two'; do
		# shellcheck disable=SC2086 # words are wanted
		"$charmvm" snapshot $words -i "$image" 2>"$work/stderr"
		expect $? 3 "exit status of $words" && expect "$(wc -l <"$work/stderr")" 1 "lines of $words" || return
	done
	"$charmvm" snapshot save '' -i "$image" 2>/dev/null
	expect $? 2 "exit status for no name" || return
	"$charmvm" snapshot save "$(printf 'a\nb')" -i "$image" 2>/dev/null
	expect $? 2 "exit status for two lines as a name" || return
	"$charmvm" snapshot save "$(head -c 256 /dev/zero | tr '\0' x)" -i "$image" 2>/dev/null
	expect $? 2 "exit status for a long name" || return
	"$charmvm" snapshot save one -i "$work/no.raw" 2>"$work/stderr"
	expect $? 3 "exit status for a raw image" && grep -q qcow2 "$work/stderr"
}
name_without_an_image_or_a_recipe() {
	(cd "$work" && "$charmvm" up charmed999) 2>"$work/stderr"
	expect $? 3 "exit status" && grep -q 'no recipe of the guest kit (.*guest-kit/recipes has' "$work/stderr" || return
	(cd "$work" && CHARMVM_GUEST_KIT=$work "$charmvm" up charmed311) 2>"$work/stderr"
	expect $? 3 "exit status without a guest kit" && expect "$(wc -l <"$work/stderr")" 1 "number of lines"
}
recipe_that_cannot_be_made_says_so() {
	mkdir -p "$work/kit/recipes"
	echo 'FROM debian:12' >"$work/kit/recipes/broken"
	cp -R guest-kit/bases guest-kit/hooks guest-kit/customize guest-kit/agent guest-kit/initrd guest-kit/rootfs "$work/kit/"
	ln -sf /bin/false "$work/kit/make-base"
	(cd "$work" && CHARMVM_GUEST_KIT=$work/kit "$charmvm" up broken) 2>"$work/stderr"
	expect $? 1 "exit status" && grep -q 'broken: its image could not be made; why' "$work/stderr" && [ ! -e "$work/broken.qcow2" ]
}
background_machine_that_cannot_start_says_why() {
	"$charmvm" up "$work/absent.qcow2" --detach 2>"$work/stderr"
	expect $? 3 "exit status" && grep -q 'no such file' "$work/stderr" || return
	"$charmvm" --kernel /dev/null --detach --console stdio 2>"$work/stderr"
	expect $? 2 "exit status with the terminal as console" && grep -q 'charmvm console' "$work/stderr"
}

# on_small_disk SIZE FUNCTION: in a file system of that size.
on_small_disk() {
	mkdir -p "$work/small"
	if [ "$(id -u)" != 0 ] || ! unshare -m mount -t tmpfs none "$work/small" 2>/dev/null; then
		echo "no file system of a given size here"
		return 77
	fi
	export charmvm work
	export -f expect fill "${2?}"
	# shellcheck disable=SC2016 # that shell expands them
	unshare -m bash -c 'mount -t tmpfs -o "size=$1,mode=700" none "$work/small" && cd "$work/small" && "$2"' - "$@"
}
fill() { ! head -c 100M /dev/zero >fill 2>/dev/null; }
full_run_directory() {
	qemu-img create -q -f qcow2 "$work/run.qcow2" 64M
	fill || return
	XDG_RUNTIME_DIR=$PWD timeout 20 "$charmvm" --image "$work/run.qcow2" --console none "$@" 2>"$work/stderr" </dev/null
	expect $? 1 "exit status" || return
	grep -q 'charmvm/run.json: No space left on device' "$work/stderr" || { cat "$work/stderr"; return 1; }
	expect "$(wc -l <"$work/stderr")" 1 lines && expect "$(find charmvm -type f)" '' "what is left"
}
machine_without_room_for_its_record_does_not_start() { on_small_disk 64k full_run_directory; }
full_keys() {
	qemu-img create -q -f qcow2 "$work/keys.qcow2" 64M
	fill || return
	XDG_DATA_HOME=$PWD timeout 20 "$charmvm" --image "$work/keys.qcow2" --console none </dev/null 2>"$work/stderr"
	cat "$work/stderr"
	grep -q 'nobody can log in: ' "$work/stderr" && expect "$(find charmvm -type f)" '' "what is left"
}
keys_without_room_are_said() { on_small_disk 64k full_keys; }
full_directory() {
	timeout 20 "$charmvm" up made --detach 2>"$work/stderr"
	expect $? 3 "exit status" && expect "$(ls -A)" '' "what is left" || return
	grep -q '^charmvm: made.qcow2: .*No space left on device' "$work/stderr" || { cat "$work/stderr"; return 1; }
}
image_without_room_to_be_made_leaves_nothing() {
	mkdir -p "$work/room/recipes" && cp -R guest-kit/{bases,hooks,customize,agent,initrd,rootfs} "$work/room/"
	head -c 4M /dev/urandom >"$work/raw" && qemu-img convert -q -O qcow2 "$work/raw" "$work/from.qcow2"
	echo 'FROM debian:12' >"$work/room/recipes/made"
	printf '#!/bin/sh\nuntil [ "$1" = --output ]; do shift; done\ncp %s/from.qcow2 "$2"\n' "$work" >"$work/room/make-base"
	chmod 755 "$work/room/make-base"
	(export CHARMVM_GUEST_KIT=$work/room XDG_CACHE_HOME=$work/cache && on_small_disk 2m full_directory)
}
full_image() {
	local image=$work/small/s.qcow2 words left
	"$charmvm" image create -q -f qcow2 "$image" 64M && "$charmvm" image io -c 'write -P 7 0 512k' "$image" >/dev/null &&
		"$charmvm" snapshot save one -i "$image" && "$charmvm" image io -c 'write -P 8 0 64k' "$image" >/dev/null && fill || return
	for words in 'save two' 'revert one' 'rename one two' 'delete one'; do
		# shellcheck disable=SC2086 # words are wanted
		"$charmvm" snapshot $words -i "$image" 2>"$work/stderr"
		expect $? 3 "exit status of $words" && expect "$(wc -l <"$work/stderr")" 1 "lines of $words" &&
			grep -q 'the file system is full; make room' "$work/stderr" && qemu-img check -q "$image" || return
		expect "$(qemu-img snapshot -l "$image" | awk 'NR > 2 { print $2 }')" one "snapshots after $words" &&
			"$charmvm" image io -c 'read -P 8 0 64k' -c 'read -P 7 64k 448k' "$image" >/dev/null || return
	done
	left=$(ls -A)
	expect "$(paste -sd' ' <<<"$left")" 'fill s.qcow2' "what is there" && rm fill &&
		"$charmvm" snapshot revert one -i "$image" && "$charmvm" image io -c 'read -P 7 0 512k' "$image" >/dev/null &&
		"$charmvm" snapshot delete one -i "$image" && qemu-img check -q "$image"
}
snapshots_of_a_stopped_image_on_a_full_disk_change_nothing() { on_small_disk 2m full_image; }
help_and_version_succeed() {
	"$charmvm" --help | grep -q -- --image && "$charmvm" --version | grep -q '^charmvm [0-9]'
}

run_tests missing_image image_is_a_directory empty_image truncated_qcow2 missing_backing_file \
	backing_files_that_loop backing_file_outside_the_directory unreadable_image \
	image_in_use_by_qemu_is_named image_without_a_kernel image_is_not_changed_by_a_refusal \
	too_little_memory too_much_memory no_vcpus unknown_option unknown_command bad_forward \
	port_taken_is_told_with_its_holder kernel_is_not_a_kernel no_kvm_says_what_to_do \
	ssh_without_a_machine verb_without_its_machine snapshots_of_a_stopped_image fork_finds_a_snapshot_that_is_called_like_anothers_id snapshot_that_cannot_be \
	name_without_an_image_or_a_recipe recipe_that_cannot_be_made_says_so \
	background_machine_that_cannot_start_says_why machine_without_room_for_its_record_does_not_start keys_without_room_are_said \
	image_without_room_to_be_made_leaves_nothing snapshots_of_a_stopped_image_on_a_full_disk_change_nothing help_and_version_succeed
