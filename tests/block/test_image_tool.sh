#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# charmvm image, with qemu-img and qemu-io as referees. A name as argument runs only the tests that match it.
# shellcheck source=tests/block/image_lib.sh
. "$(dirname "$0")/image_lib.sh"

# ---- create ----

create_qcow2_is_clean_for_qemu() {
	image create -q -f qcow2 a.qcow2 10G && qemu-img check -q a.qcow2 &&
		[ "$(qemu-img info --output=json a.qcow2 | jq '."virtual-size"')" = 10737418240 ]
}
create_makes_the_header_that_qemu_makes() {
	local o
	for o in cluster_size=512 cluster_size=2M compat=0.10 refcount_bits=1 lazy_refcounts=on extended_l2=on \
		compression_type=zstd; do
		image create -q -f qcow2 -o $o a.qcow2 64M && qemu-img create -q -f qcow2 -o $o b.qcow2 64M || return
		same_json <(qemu-img info --output=json b.qcow2) <(qemu-img info --output=json a.qcow2) \
			'{s:."virtual-size",c:."cluster-size",f:."format-specific"}' || return
	done
}
create_says_what_qemu_says() {
	same_words_for_create -f qcow2 a.qcow2 10M
}
create_raw_has_the_size() {
	image create -q a.raw 1.5M && [ "$(stat -c %s a.raw)" = 1572864 ] && [ "$(stat -c %b a.raw)" = 0 ]
}
create_overlay_takes_the_size_of_its_backing_file() {
	make_chain && image create -q -f qcow2 -b top.qcow2 -F qcow2 o.qcow2 && qemu-img compare -q o.qcow2 top.qcow2
}
create_overlay_finds_its_backing_file_beside_it() {
	make_chain && mkdir sub && mv base.qcow2 sub && image create -q -f qcow2 -b base.qcow2 -F qcow2 sub/o.qcow2 &&
		qemu-img compare -q sub/o.qcow2 sub/base.qcow2
}
create_without_the_backing_format_fails() {
	make_chain && status_is 1 image create -f qcow2 -b base.qcow2 o.qcow2 && [ ! -e o.qcow2 ]
}
create_on_a_missing_backing_file_leaves_nothing() {
	status_is 1 image create -f qcow2 -b none.qcow2 -F qcow2 o.qcow2 && [ "$(echo ./*)" = './err ./out' ] && no_litter
}
create_without_a_size_fails() { status_is 1 image create -f qcow2 a.qcow2 && [ ! -e a.qcow2 ]; }
create_with_an_unknown_option_names_it() {
	status_is 1 image create -f qcow2 -o colour=red a.qcow2 1M && grep -q colour err
}
create_preallocates_metadata() {
	image create -q -f qcow2 -o preallocation=metadata a.qcow2 64M && qemu-img check -q a.qcow2 &&
		[ "$(qemu-img map --output=json a.qcow2 | jq 'map(select(.present)|.length)|add')" = 67108864 ]
}
create_refuses_to_replace_an_image_in_use() {
	make_chain && hold base.qcow2 && status_is 1 image create -f qcow2 base.qcow2 1M
	local status=$?
	release
	[ $status = 0 ] && grep -q 'in use' err && qemu-img compare -q base.qcow2 base.qcow2
}

# ---- info ----

info_json_is_as_qemu_tells_it() {
	make_chain && qemu-img snapshot -c s1 top.qcow2 && qemu-img info --output=json top.qcow2 >q &&
		image info --output=json top.qcow2 >c && same_json q c .
}
info_json_of_raw_is_as_qemu_tells_it() {
	truncate -s 3M a.raw && qemu-img info -f raw --output=json a.raw >q && image info -f raw --json a.raw >c &&
		same_json q c .
}
info_for_people_is_as_qemu_tells_it() {
	make_chain && qemu-img snapshot -c s1 top.qcow2 && diff <(qemu-img info top.qcow2) <(image info top.qcow2)
}
info_tells_bitmaps_as_qemu_does() {
	make_chain && qemu-img bitmap --add top.qcow2 b0 && qemu-img bitmap --add --disable -g 32k top.qcow2 'b 1' &&
		diff <(qemu-img info top.qcow2) <(image info top.qcow2) && qemu-img info --output=json top.qcow2 >q &&
		image info --json top.qcow2 >c && same_json q c . && image io top.qcow2 -c 'write -q 0 64k' &&
		[ "$(image info --json top.qcow2 | jq -c '."format-specific".data.bitmaps[0].flags')" = '["in-use","auto"]' ]
}
info_tells_the_chain() {
	make_chain && image info --output=json --backing-chain top.qcow2 >c &&
		[ "$(key '[.[]."virtual-size"]' c)" = '[16777216,16777216]' ]
}
info_of_an_image_in_use_needs_force_share() {
	make_chain && hold base.qcow2 && status_is 1 image info base.qcow2 && status_is 0 image info -U base.qcow2
	local status=$?
	release
	return $status
}
info_of_no_image_fails() { status_is 1 image info none.qcow2 && grep -q 'no such file' err; }

# ---- check ----

check_of_a_clean_image_is_0() {
	make_chain && status_is 0 image check base.qcow2 && grep -q 'No errors were found on the image' out
}
check_json_is_as_qemu_tells_it() {
	make_chain && qemu-img check --output=json base.qcow2 >q && image check --output=json base.qcow2 >c &&
		same_json q c .
}
check_finds_leaks_with_status_3_and_frees_them() {
	make_chain && truncate -s 4M base.qcow2 && leak base.qcow2 && status_is 3 qemu-img check base.qcow2 &&
		status_is 3 image check base.qcow2 && status_is 0 image check -r leaks base.qcow2 &&
		qemu-img check -q base.qcow2
}
check_finds_damage_with_status_2_and_repairs_it() {
	make_chain && cp base.qcow2 good.qcow2 && damage base.qcow2 && status_is 2 qemu-img check base.qcow2 &&
		status_is 2 image check base.qcow2 && status_is 0 image check -r all base.qcow2 &&
		qemu-img check -q base.qcow2 && qemu-img compare -q base.qcow2 good.qcow2
}
# The dirty bit of a version 3 header.
check_counts_what_it_repairs_in_an_image_that_was_not_closed() {
	make_chain && truncate -s 4M base.qcow2 && leak base.qcow2 &&
		printf '\1' | dd of=base.qcow2 bs=1 seek=79 conv=notrunc status=none &&
		[ "$(qemu-img info -U --output=json base.qcow2 | jq '."dirty-flag"')" = true ] &&
		status_is 0 image check -r leaks --json base.qcow2 && [ "$(key '."leaks-fixed"' out)" = 1 ] &&
		[ "$(qemu-img info --output=json base.qcow2 | jq '."dirty-flag"')" = false ] && qemu-img check -q base.qcow2
}
check_repairs_lazy_refcounts() {
	qemu-img create -q -f qcow2 -o lazy_refcounts=on a.qcow2 16M &&
		! qemu-io -c 'write -P 3 0 1M' -c flush -c abort a.qcow2 >/dev/null 2>&1 && status_is 2 image check a.qcow2 &&
		status_is 0 image check -r all --json a.qcow2 && [ "$(key '."corruptions-fixed" > 0' out)" = true ] &&
		qemu-img check -q a.qcow2 && qemu-io -c 'read -P 3 0 1M' a.qcow2 >said && ! grep -q failed said
}
# The first entry of L1, of L2 and of the refcount table, and the header's reference to the latter, each far outside.
check_repairs_tables_outside_the_file() {
	local at
	for at in 0x30000 0x40000 0x10000 48; do
		qemu-img create -q -f qcow2 a.qcow2 16M && qemu-io -c 'write -P 5 0 1M' a.qcow2 >/dev/null &&
			printf '\x80\0\0\x7f\0\0\0\0' | dd of=a.qcow2 bs=1 seek=$((at)) conv=notrunc status=none &&
			status_is 2 image check a.qcow2 && grep -q ERROR err && status_is 0 image check -r all --json a.qcow2 &&
			[ "$(key '."corruptions-fixed" > 0' out)" = true ] && status_is 0 image check a.qcow2 &&
			qemu-img check -q a.qcow2 || return
		# What L2 did not lose, and nothing where L1 was lost.
		[ $at = 0x30000 ] || { qemu-io -c 'read -P 5 64k 960k' a.qcow2 >said && ! grep -q failed said; } || return
	done
}
check_leaves_what_it_cannot_repair_an_error() {
	qemu-img create -q -f qcow2 a.qcow2 16M && qemu-io -c 'write -P 5 0 1M' a.qcow2 >/dev/null &&
		qemu-img snapshot -c s1 a.qcow2 && qemu-img info --output=json a.qcow2 >/dev/null &&
		local table && table=$(od -An -tu8 --endian=big -j64 -N8 a.qcow2) &&
		printf '\0\0\x7f\0\0\0\0\0' | dd of=a.qcow2 bs=1 seek=$((table)) conv=notrunc status=none &&
		status_is 2 image check -r all a.qcow2 && status_is 2 image check a.qcow2
}
check_of_raw_is_63() { truncate -s 1M a.raw && status_is 63 image check -f raw a.raw; }
check_of_nothing_is_1() { status_is 1 image check none.qcow2; }

# ---- convert ----

convert_to_raw_is_the_same_disk() {
	make_chain && image convert -O raw top.qcow2 a.raw && qemu-img compare -q -F raw top.qcow2 a.raw && no_litter
}
convert_to_raw_is_sparse() {
	make_chain && image convert -O raw top.qcow2 a.raw && [ "$(stat -c %b a.raw)" -le $((1400 * 2)) ]
}
convert_to_qcow2_is_the_same_disk_and_clean() {
	local o
	for o in cluster_size=512 cluster_size=4k cluster_size=64k cluster_size=2M compat=0.10 extended_l2=on; do
		make_chain && image convert -O qcow2 -o $o top.qcow2 a.qcow2 && qemu-img check -q a.qcow2 &&
			qemu-img compare -q top.qcow2 a.qcow2 || return
	done
}
convert_compressed_is_the_same_disk_and_clean() {
	local o
	for o in cluster_size=4k cluster_size=64k cluster_size=2M compression_type=zstd; do
		make_chain && image convert -c -O qcow2 -o $o top.qcow2 a.qcow2 && qemu-img check -q a.qcow2 &&
			qemu-img compare -q top.qcow2 a.qcow2 &&
			[ "$(qemu-img check --output=json a.qcow2 | jq '."compressed-clusters" > 0')" = true ] || return
	done
}
convert_from_raw_with_an_odd_end() {
	head -c 1000001 /dev/urandom >a.raw && image convert -f raw -O qcow2 a.raw a.qcow2 &&
		qemu-img compare -q -f raw a.raw a.qcow2
}
convert_leaves_zeroes_out() {
	truncate -s 4M a.raw && dd if=/dev/zero of=a.raw bs=1M count=4 conv=notrunc status=none &&
		image convert -f raw -O qcow2 a.raw a.qcow2 &&
		[ "$(qemu-img check --output=json a.qcow2 | jq '."allocated-clusters" // 0')" = 0 ]
}
convert_steps_over_holes_of_any_length() {
	qemu-img create -q -f qcow2 a.qcow2 64T -o cluster_size=2M &&
		qemu-io -c 'write -P 1 63T 1M' -c 'write -P 2 0 64k' a.qcow2 >/dev/null &&
		timeout 20 "$tool" image convert -O qcow2 -o cluster_size=2M a.qcow2 b.qcow2 &&
		timeout 20 "$tool" image compare a.qcow2 b.qcow2 >/dev/null && qemu-io -c 'read -P 1 63T 1M' b.qcow2 >out &&
		! grep -q failed out
}
convert_keeps_data_between_written_zeroes() {
	local i format
	qemu-img create -q -f raw a.raw 4M && for i in 0 1 2 3 4 5 6 7; do
		echo "write -P 0 $((i * 512))k 256k"
		echo "write -P $((i + 1)) $((i * 512 + 256))k 256k"
	done | qemu-io -f raw a.raw >/dev/null || return
	for format in raw qcow2; do
		image convert -f raw -O $format a.raw b && qemu-img compare -q -f raw -F $format a.raw b || return
	done
	qemu-img check -q b
}
convert_reads_a_snapshot() {
	make_chain && qemu-img snapshot -c s1 top.qcow2 && qemu-img convert -O raw top.qcow2 then.raw &&
		qemu-io -c 'write -P 9 0 4M' top.qcow2 >/dev/null && image convert -l s1 -O raw top.qcow2 a.raw &&
		cmp then.raw a.raw
}
convert_of_an_unknown_snapshot_leaves_nothing() {
	make_chain && status_is 1 image convert -l none -O raw top.qcow2 a.raw && [ ! -e a.raw ] && no_litter
}
convert_refuses_a_target_in_use() {
	make_chain && hold top.qcow2 && status_is 1 image convert -O qcow2 base.qcow2 top.qcow2
	local status=$?
	release
	return $status
}
convert_onto_itself_changes_nothing() {
	make_chain && cp base.qcow2 good.qcow2 && status_is 1 image convert -O qcow2 base.qcow2 base.qcow2 &&
		cmp base.qcow2 good.qcow2
}
convert_into_an_existing_image_overwrites_all_of_it() {
	make_chain && qemu-img create -q -f qcow2 a.qcow2 16M && qemu-io -c 'write -P 7 0 16M' a.qcow2 >/dev/null &&
		image convert -n -O qcow2 top.qcow2 a.qcow2 && qemu-img compare -q top.qcow2 a.qcow2 &&
		qemu-img check -q a.qcow2
}
convert_that_is_interrupted_keeps_the_old_target() {
	truncate -s 256M a.raw && qemu-io -f raw -c 'write -P 5 0 256M' a.raw >/dev/null && echo old >a.qcow2 || return
	image convert -c -f raw -O qcow2 a.raw a.qcow2 &
	local pid=$!
	sleep 0.2
	kill -TERM $pid && wait $pid
	[ "$(cat a.qcow2)" = old ] && no_litter
}
convert_that_is_killed_leaves_nothing() {
	truncate -s 256M a.raw && qemu-io -f raw -c 'write -P 5 0 256M' a.raw >/dev/null || return
	image convert -c -f raw -O qcow2 a.raw a.qcow2 &
	local pid=$!
	sleep 0.2
	kill -KILL $pid && ! wait $pid 2>/dev/null && [ "$(echo a*)" = a.raw ] && no_litter
}
convert_over_a_file_keeps_its_mode_and_its_links() {
	make_chain && echo old >a.raw && chmod 640 a.raw && ln -s a.raw link.raw &&
		image convert -O raw top.qcow2 link.raw && [ -L link.raw ] && [ "$(stat -c %a a.raw)" = 640 ] &&
		qemu-img compare -q -F raw top.qcow2 a.raw
}
convert_without_room_leaves_nothing() {
	make_chain && (ulimit -f 512; trap '' XFSZ; image convert -O qcow2 top.qcow2 a.qcow2 2>err) && return 1
	[ ! -e a.qcow2 ] && no_litter && grep -q 'File too large\|cannot be' err
}
convert_tells_progress_with_p() {
	make_chain && image convert -p -O raw top.qcow2 a.raw >out && grep -q '(100.00/100%)' out
}

# ---- snapshot ----

snapshot_made_by_us_is_listed_by_qemu() {
	make_chain && image snapshot -c s1 top.qcow2 && qemu-img snapshot -l top.qcow2 | grep -q ' s1 ' &&
		qemu-img check -q top.qcow2
}
snapshot_list_is_as_qemu_prints_it() {
	make_chain && qemu-img snapshot -c s1 top.qcow2 && image snapshot -c 'two words' top.qcow2 &&
		diff <(qemu-img snapshot -l top.qcow2 | sed 's/ *[0-9]*$//') \
			<(image snapshot -l top.qcow2 | sed 's/ *[0-9]*$//')
}
snapshot_list_as_json_is_what_info_tells() {
	make_chain && image snapshot -c s1 top.qcow2 && image snapshot -l --json top.qcow2 >c &&
		qemu-img info --output=json top.qcow2 >q && diff <(jq -S .snapshots q) <(jq -S . c) &&
		[ "$(image snapshot --json base.qcow2)" = '[]' ]
}
snapshot_applied_is_the_disk_of_then() {
	make_chain && qemu-img convert -O raw top.qcow2 then.raw && image snapshot -c s1 top.qcow2 &&
		qemu-io -c 'write -P 9 0 4M' top.qcow2 >/dev/null && image snapshot -a s1 top.qcow2 &&
		qemu-img compare -q -F raw top.qcow2 then.raw && qemu-img check -q top.qcow2
}
snapshot_deleted_is_gone_and_the_image_clean() {
	make_chain && image snapshot -c s1 top.qcow2 && image snapshot -d s1 top.qcow2 && qemu-img check -q top.qcow2 &&
		[ -z "$(qemu-img snapshot -l top.qcow2)" ]
}
snapshot_unknown_is_an_error() { make_chain && status_is 1 image snapshot -a none top.qcow2; }
snapshot_of_raw_is_an_error() { truncate -s 1M a.raw && status_is 1 image snapshot -f raw -c s a.raw; }

# ---- map ----

map_json_is_as_qemu_tells_it() {
	make_chain && diff <(qemu-img map --output=json top.qcow2 | jq -c '.[]') \
		<(image map --output=json top.qcow2 | jq -c '.[]')
}
map_of_compressed_is_as_qemu_tells_it() {
	make_chain && qemu-img convert -c -O qcow2 top.qcow2 c.qcow2 &&
		diff <(qemu-img map --output=json c.qcow2 | jq -c '.[]') <(image map --output=json c.qcow2 | jq -c '.[]')
}
map_of_a_part_is_as_qemu_tells_it() {
	make_chain && qemu-img map --output=json --start-offset=300k --max-length=9M top.qcow2 | jq -c '.[]' >q &&
		image map --output=json --start-offset=300k --max-length=9M top.qcow2 | jq -c '.[]' >c && diff q c && [ -s c ] &&
		status_is 1 image map --start-offset=7 top.qcow2
}
map_for_people_is_as_qemu_tells_it() { make_chain && diff <(qemu-img map base.qcow2) <(image map base.qcow2); }

# ---- compare ----

compare_of_equal_images_is_0() { make_chain && cp top.qcow2 t2.qcow2 && status_is 0 image compare top.qcow2 t2.qcow2; }
compare_finds_the_sector_that_qemu_finds() {
	make_chain && status_is 1 image compare base.qcow2 top.qcow2 && cp out ours &&
		status_is 1 qemu-img compare base.qcow2 top.qcow2 && diff out ours
}
compare_takes_zeroes_at_the_end_for_nothing() {
	make_chain && qemu-img convert -O raw top.qcow2 a.raw && truncate -s 20M a.raw &&
		status_is 0 image compare -F raw top.qcow2 a.raw && status_is 1 image compare -s -F raw top.qcow2 a.raw
}
compare_strictly_wants_the_same_allocation() {
	make_chain && cp base.qcow2 b.qcow2 && qemu-io -c 'write -P 0 4M 64k' b.qcow2 >/dev/null &&
		status_is 0 image compare base.qcow2 b.qcow2 && status_is 1 image compare -s base.qcow2 b.qcow2 &&
		status_is 1 qemu-img compare -s base.qcow2 b.qcow2
}
compare_finds_data_behind_the_end() {
	make_chain && qemu-img convert -O raw top.qcow2 a.raw && truncate -s 19M a.raw && echo x >>a.raw &&
		status_is 1 image compare -F raw top.qcow2 a.raw
}
compare_with_nothing_is_2() { make_chain && status_is 2 image compare top.qcow2 none; }

# ---- resize ----

resize_grows_and_what_is_new_is_zero() {
	make_chain && image resize -q top.qcow2 +4M && qemu-img check -q top.qcow2 &&
		qemu-io -c 'read -P 0 16M 4M' top.qcow2 | grep -q 'read 4194304' &&
		! qemu-io -c 'read -P 0 16M 4M' top.qcow2 | grep -q failed
}
resize_shrinks_only_when_told() {
	make_chain && status_is 1 image resize base.qcow2 8M && status_is 0 image resize --shrink base.qcow2 -8M &&
		qemu-img check -q base.qcow2 && [ "$(qemu-img info --output=json base.qcow2 | jq '."virtual-size"')" = 8388608 ]
}
resize_raw() {
	truncate -s 1M a.raw && image resize -q -f raw a.raw 3M && [ "$(stat -c %s a.raw)" = 3145728 ]
}

# ---- commit, rebase ----

commit_puts_the_overlay_into_its_backing_file() {
	make_chain && qemu-img convert -O raw top.qcow2 then.raw && image commit -q top.qcow2 &&
		qemu-img compare -q -F raw base.qcow2 then.raw && qemu-img compare -q -F raw top.qcow2 then.raw &&
		qemu-img check -q base.qcow2 && qemu-img check -q top.qcow2
}
commit_empties_the_overlay() {
	make_chain && image commit -q top.qcow2 &&
		[ "$(qemu-img check --output=json top.qcow2 | jq '."allocated-clusters" // 0')" = 0 ]
}
commit_of_a_larger_overlay_grows_the_backing_file() {
	make_chain && qemu-img resize -q top.qcow2 20M && qemu-io -c 'write -P 6 18M 64k' top.qcow2 >/dev/null &&
		qemu-img convert -O raw top.qcow2 then.raw && image commit -q top.qcow2 &&
		image compare base.qcow2 then.raw -F raw >out && ! grep -q size out && qemu-img compare -q -F raw base.qcow2 then.raw
}
commit_into_raw() {
	make_chain && qemu-img convert -O raw base.qcow2 b.raw && qemu-img rebase -u -b b.raw -F raw top.qcow2 &&
		qemu-img convert -O raw top.qcow2 then.raw && image commit -q top.qcow2 && cmp b.raw then.raw
}
commit_without_a_backing_file_fails() { make_chain && status_is 1 image commit base.qcow2; }
rebase_u_changes_the_name_only() {
	make_chain && mv base.qcow2 moved.qcow2 && image rebase -u -b moved.qcow2 -F qcow2 top.qcow2 &&
		qemu-img check -q top.qcow2 && qemu-io -c 'read -P 1 0 512k' top.qcow2 | grep -q 'read 524288'
}
rebase_to_nothing_makes_it_stand_alone() {
	make_chain && image rebase -u -b '' top.qcow2 &&
		[ "$(qemu-img info --output=json top.qcow2 | jq '."backing-filename"')" = null ]
}

# ---- io ----

io_writes_what_qemu_reads() {
	qemu-img create -q -f qcow2 a.qcow2 4M && image io a.qcow2 -c 'write -q -P 0xab 0 64k' -c 'write -q -c -P 7 64k 64k' \
		-c flush && qemu-io -c 'read -P 0xab 0 64k' -c 'read -P 7 64k 64k' a.qcow2 >out &&
		! grep -q failed out && qemu-img check -q a.qcow2
}
io_finds_a_wrong_pattern() {
	make_chain && status_is 0 image io base.qcow2 -c 'read -P 1 0 64k' &&
		status_is 1 image io base.qcow2 -c 'read -P 2 0 64k' && grep -q 'Pattern verification failed' out
}
io_zeroes_and_discards() {
	make_chain && status_is 0 image io top.qcow2 -c 'write -z -u 0 1M' -c 'discard 12M 64k' -c 'read -P 0 0 1M' \
		-c 'read -P 0 12M 64k' && qemu-img check -q top.qcow2
}
io_reads_commands_from_standard_input() {
	make_chain && printf 'write -P 5 0 4k\nread -P 5 0 4k\n' | status_is 0 image io base.qcow2
}
io_read_only_refuses_writes() { make_chain && status_is 1 image io -r base.qcow2 -c 'write 0 4k'; }
io_refuses_what_is_no_command() { make_chain && status_is 1 image io base.qcow2 -c 'explode 0 4k'; }

# ---- the command line ----

unknown_verb_suggests_the_nearest() { status_is 1 image chekc a && grep -q "did you mean 'charmvm image check'" err; }
unknown_option_names_the_help_of_its_verb() {
	status_is 1 image info --colour a && grep -q 'see charmvm image info --help' err && status_is 1 image rebase -Z a &&
		grep -q 'see charmvm image rebase --help' err
}
every_verb_has_help() {
	local verb
	for verb in bench check commit compare convert create info io map rebase resize snapshot trim; do
		status_is 0 image $verb --help && grep -q "^Usage: charmvm image $verb" out || return
	done
}

run_tests "$@"
