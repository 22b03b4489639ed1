#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# charmvm image trim and bench, preallocation and data files, with qemu-img, qemu-io and e2fsck as referees.
# shellcheck source=tests/block/image_lib.sh
. "$(dirname "$0")/image_lib.sh"

helpers='blocks|make_disk|make_listed|check_disk|json_of'
blocks() { stat -c %b "$1"; }
# A GPT disk: partition 1 ext4 with 20 MiB of files of which 16 are deleted, partition 2 with other data. disk.raw
make_disk() { # [TYPE]
	truncate -s 64M disk.raw && mke2fs -q -F -t "${1:-ext4}" -b 1024 part 40M && mkdir files && seq 1 600000 >files/keep &&
		head -c 16M /dev/urandom >files/gone && debugfs -w part -R 'write files/keep keep' 2>/dev/null &&
		debugfs -w part -R 'write files/gone gone' 2>/dev/null && debugfs -w part -R 'rm gone' 2>/dev/null &&
		{ e2fsck -fy part >/dev/null || [ $? = 1 ]; } && sfdisk -q disk.raw <<-'TABLE' &&
			label: gpt
			start=2048, size=81920
			start=86016, size=16384
		TABLE
		dd if=part of=disk.raw bs=1M seek=1 conv=notrunc,sparse status=none &&
		head -c 8M /dev/urandom >other && dd if=other of=disk.raw bs=1M seek=42 conv=notrunc status=none
}
# The file system is whole, its file as it was, the other partition untouched.
check_disk() { # RAW
	dd if="$1" of=p1 bs=1M skip=1 count=40 status=none && e2fsck -fn p1 >/dev/null &&
		debugfs -R 'dump keep k' p1 2>/dev/null && cmp k files/keep &&
		cmp <(dd if="$1" bs=1M skip=42 count=8 status=none) other
}
json_of() { jq -c "$1" out; }

# ---- trim ----

trim_gives_back_what_ext4_does_not_use() {
	make_disk && qemu-img convert -O qcow2 disk.raw a.qcow2 && status_is 0 image trim --json a.qcow2 &&
		[ "$(json_of '.bytes > 15000000 and .after < .before - 15000000')" = true ] && qemu-img check -q a.qcow2 &&
		qemu-img convert -O raw a.qcow2 after.raw && check_disk after.raw
}
trim_of_raw_punches_holes() {
	local before
	make_disk && before=$(blocks disk.raw) && status_is 0 image trim -f raw disk.raw &&
		[ "$(blocks disk.raw)" -lt $((before - 30000)) ] && [ "$(stat -c %s disk.raw)" = 67108864 ] && check_disk disk.raw
}
trim_knows_ext2_and_ext3() {
	local type
	for type in ext2 ext3; do
		rm -rf files && make_disk $type && status_is 0 image trim --json -f raw disk.raw && check_disk disk.raw &&
			[ "$(json_of '.partitions[0].type')" = "\"$type\"" ] || return
	done
}
trim_of_a_disk_without_a_partition_table() {
	make_disk && qemu-img convert -f raw -O qcow2 part a.qcow2 && status_is 0 image trim --json a.qcow2 &&
		[ "$(json_of '.bytes > 15000000')" = true ] && qemu-img convert -O raw a.qcow2 p && e2fsck -fn p >/dev/null
}
trim_shortens_the_file() {
	local before
	make_disk && qemu-img convert -f raw -O qcow2 disk.raw a.qcow2 && before=$(stat -c %s a.qcow2) &&
		qemu-io -c 'write -P 5 30M 4M' a.qcow2 >/dev/null && [ "$(stat -c %s a.qcow2)" -gt "$before" ] &&
		status_is 0 image trim a.qcow2 && qemu-img check -q a.qcow2 && [ "$(stat -c %s a.qcow2)" -le "$before" ]
}
trim_dry_changes_nothing() {
	local before
	make_disk && cp disk.raw then.raw && before=$(blocks disk.raw) && status_is 0 image trim --dry-run --json -f raw disk.raw &&
		[ "$(json_of '.bytes > 15000000')" = true ] && cmp disk.raw then.raw && [ "$(blocks disk.raw)" = "$before" ]
}
trim_leaves_alone_what_was_not_unmounted() {
	make_disk && debugfs -w part -R 'ssv state 0' 2>/dev/null && dd if=part of=disk.raw bs=1M seek=1 conv=notrunc status=none &&
		cp disk.raw then.raw && status_is 0 image trim --json -f raw disk.raw && cmp disk.raw then.raw && [ "$(json_of .bytes)" = 0 ] &&
		grep -q 'not unmounted cleanly' out
}
trim_leaves_alone_what_does_not_agree_with_itself() {
	make_disk && debugfs -w part -R 'ssv free_blocks_count 7' 2>/dev/null &&
		dd if=part of=disk.raw bs=1M seek=1 conv=notrunc status=none && cp disk.raw then.raw &&
		status_is 0 image trim --json -f raw disk.raw && cmp disk.raw then.raw && [ "$(json_of .bytes)" = 0 ]
}
trim_leaves_alone_partitions_that_overlap() {
	make_disk && sfdisk -q --force disk.raw >/dev/null 2>&1 <<-'TABLE'
		label: dos
		start=2048, size=81920, type=83
		start=86016, size=16384, type=83
	TABLE
	# Partition 2 of the MBR begins inside the first one now: its first sector is at byte 470.
	printf '\0\20\1\0' | dd of=disk.raw bs=1 seek=470 conv=notrunc status=none && cp disk.raw then.raw &&
		status_is 0 image trim --json -f raw disk.raw && cmp disk.raw then.raw && grep -q overlaps out
}
trim_of_an_overlay_keeps_the_backing_file() {
	make_disk && cp disk.raw then.raw && qemu-img create -q -f qcow2 -b disk.raw -F raw o.qcow2 &&
		qemu-io -c 'write -P 5 30M 4M' o.qcow2 >/dev/null && status_is 0 image trim o.qcow2 && cmp disk.raw then.raw &&
		qemu-img check -q o.qcow2
}
trim_keeps_snapshots() {
	make_disk && qemu-img convert -O qcow2 disk.raw a.qcow2 && qemu-img snapshot -c s a.qcow2 && status_is 0 image trim a.qcow2 &&
		qemu-img check -q a.qcow2 && qemu-img snapshot -a s a.qcow2 && qemu-img compare -q -F raw a.qcow2 disk.raw
}
trim_refuses_an_image_in_use() {
	make_disk && qemu-img convert -O qcow2 disk.raw a.qcow2 && hold a.qcow2 && status_is 1 image trim a.qcow2
	local status=$?
	release
	[ $status = 0 ] && grep -q 'in use' err && qemu-img compare -q -F raw a.qcow2 disk.raw
}

# ---- bench ----

bench_says_what_qemu_says() {
	local o
	for o in '-c 300 -d 8 -s 8k -S 64k' '-w -c 300 -d 8 --flush-interval=50'; do
		# shellcheck disable=SC2086 # several options
		{ make_chain && qemu-img bench $o -f qcow2 top.qcow2 >q && image bench $o -f qcow2 top.qcow2 >c; } || return
		diff <(sed 's/[0-9.]* seconds/N seconds/' q) <(sed 's/[0-9.]* seconds/N seconds/' c) || return
	done
}
bench_writes_the_pattern_where_it_says() {
	image create -q -f qcow2 a.qcow2 4M && image bench -q -w -c 64 -o 1M -s 16k -S 32k --pattern=171 a.qcow2 &&
		qemu-io -c 'read -P 171 1M 16k' -c 'read -P 0 1040k 16k' -c 'read -P 171 3040k 16k' a.qcow2 >said &&
		! grep -q failed said && qemu-img check -q a.qcow2
}
bench_wraps_around_at_the_end() {
	image create -q -f qcow2 a.qcow2 64k && status_is 0 image bench --json -w -c 1000 -d 4 -S 12k a.qcow2 &&
		[ "$(json_of .requests)" = 1000 ] && qemu-img check -q a.qcow2
}
bench_flushes_with_and_without_draining() {
	image create -q -f qcow2 a.qcow2 4M && status_is 0 image bench -q -w -c 500 -d 4 --flush-interval 10 a.qcow2 &&
		status_is 0 image bench -q -w -c 500 -d 4 --flush-interval 10 --no-drain a.qcow2
}
bench_refuses_what_makes_no_sense() {
	make_chain && status_is 1 image bench -d 0 base.qcow2 && status_is 1 image bench --flush-interval=9 base.qcow2 &&
		status_is 1 image bench -w -d 8 --flush-interval=3 base.qcow2 && status_is 1 image bench -s 32M base.qcow2 &&
		status_is 1 image bench -s 100 base.qcow2
}

# ---- preallocation, data files ----

create_preallocates_as_much_as_it_says() {
	image create -q -f qcow2 -o preallocation=falloc a.qcow2 8M && [ "$(blocks a.qcow2)" -ge 16384 ] && qemu-img check -q a.qcow2 &&
		image create -q -f qcow2 -o preallocation=full b.qcow2 8M && [ "$(blocks b.qcow2)" -ge 16384 ] &&
		qemu-img check -q b.qcow2 && qemu-io -c 'read -P 0 0 8M' b.qcow2 >said && ! grep -q failed said &&
		image create -q -f raw -o preallocation=falloc c.raw 8M && [ "$(blocks c.raw)" -ge 16384 ] &&
		image create -q -f raw -o preallocation=full d.raw 8M && [ "$(blocks d.raw)" -ge 16384 ] &&
		image create -q -f raw -o preallocation=off e.raw 8M && [ "$(blocks e.raw)" = 0 ]
}
create_says_what_qemu_says_about_every_option() {
	local o
	for o in preallocation=metadata preallocation=full compat=0.10 compat=1.1,lazy_refcounts=on; do
		same_words_for_create -f qcow2 -o $o a.qcow2 1M || return
	done
	same_words_for_create -f raw -o preallocation=full a.raw 1M
}
create_refuses_preallocation_on_a_backing_file() {
	make_chain && status_is 1 image create -f qcow2 -b base.qcow2 -F qcow2 -o preallocation=metadata o.qcow2 && [ ! -e o.qcow2 ]
}
create_with_a_data_file() {
	local raw
	for raw in off on; do
		rm -f a.qcow2 d.raw && image create -q -f qcow2 -o data_file=d.raw,data_file_raw=$raw a.qcow2 4M && qemu-img check -q a.qcow2 &&
			image io a.qcow2 -c 'write -q -P 7 1M 64k' && qemu-io -c 'read -P 7 1M 64k' a.qcow2 >said && ! grep -q failed said &&
			qemu-io -f raw -c 'read -P 7 1M 64k' d.raw >said && ! grep -q failed said &&
			[ "$(qemu-img info --output=json a.qcow2 | jq -c '."format-specific".data."data-file"')" = '"d.raw"' ] || return
	done
}
create_never_replaces_a_data_file() {
	echo precious >d.raw && status_is 1 image create -f qcow2 -o data_file=d.raw a.qcow2 4M && [ "$(cat d.raw)" = precious ] &&
		[ ! -e a.qcow2 ] && no_litter
}


# ---- packages ----

# a.qcow2: a disk with a partition table, and that list of packages in its file system.
make_listed() {
	rm -rf listed part
	mkdir -p listed/usr/share/charmvm && printf %b "$1" >listed/usr/share/charmvm/packages && truncate -s 64M disk.raw &&
		mke2fs -q -F -t ext4 -d listed part 40M && echo 'label: gpt
start=2048, size=81920' | sfdisk -q disk.raw && dd if=part of=disk.raw bs=1M seek=1 conv=notrunc status=none &&
		qemu-img convert -f raw -O qcow2 disk.raw a.qcow2
}
packages_are_read_out_of_the_image() {
	make_listed 'bash\t5.2\tGPL-3+\nlibfoo\t1:2~3\t\n' && status_is 0 image packages a.qcow2 &&
		[ "$(cat out)" = "$(printf 'bash\t5.2\tGPL-3+\nlibfoo\t1:2~3\t')" ] && status_is 0 image packages --json a.qcow2 &&
		[ "$(jq -c '.[0]' out)" = '{"name":"bash","version":"5.2","licences":"GPL-3+"}' ] && [ "$(jq length out)" = 2 ]
}
packages_of_another_image_are_told_not_to_be_there() {
	qemu-img create -q -f qcow2 a.qcow2 16M && status_is 1 image packages a.qcow2 && grep -q 'no list of packages' err &&
		[ "$(wc -l <err)" = 1 ] && make_disk && status_is 1 image packages -f raw disk.raw && grep -q 'no list of packages' err
}
packages_list_that_is_no_list_is_refused() {
	local text
	for text in 'bash\n' 'a\tb\tc\td\n' '\t1\tx\n' 'a\t\033[31m\tx\n' 'a\tb\n' 'a\tb\tc\0d\n'; do
		make_listed "$text" && status_is 1 image packages a.qcow2 && grep -q damaged err && [ ! -s out ] || return
	done
	make_listed 'caf\0351\t1\tx\n' && status_is 1 image packages --json a.qcow2 && [ ! -s out ]
}

run_tests "$@"
