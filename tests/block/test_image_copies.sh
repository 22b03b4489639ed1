#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# charmvm image convert, commit and rebase in their less usual ways, with qemu-img and qemu-io as referees.
# shellcheck source=tests/block/image_lib.sh
. "$(dirname "$0")/image_lib.sh"

helpers='text|allocated|compressed|same|make_other_base'
text() { seq 1 700000 | head -c "${2:-1048576}" >"$1"; }
allocated() { qemu-img check --output=json "$1" | jq '."allocated-clusters" // 0'; }
compressed() { qemu-img check --output=json "$1" | jq '."compressed-clusters" // 0'; }
same() { qemu-img compare -q -f "$1" -F "$3" "$2" "$4"; }
# Another base: the old one but for 64 KiB at 1M, and 64 KiB at 14M where the old one has nothing.
make_other_base() {
	cp base.qcow2 other.qcow2 && qemu-io -c 'write -P 9 0 64k' -c 'write -P 9 14M 64k' other.qcow2 >/dev/null
}

# ---- convert ----

convert_compresses_with_any_number_of_threads() {
	local m type
	text a.raw 4194304 || return
	for type in zlib zstd; do
		for m in 1 3 32; do
			image convert -c -m $m -O qcow2 -o compression_type=$type a.raw a.qcow2 && qemu-img check -q a.qcow2 &&
				same raw a.raw qcow2 a.qcow2 && [ "$(compressed a.qcow2)" = 64 ] || return
		done
	done
}
convert_refuses_a_silly_number_of_threads() {
	text a.raw && status_is 1 image convert -m 0 a.raw b.raw && status_is 1 image convert -m 1000 a.raw b.raw &&
		[ ! -e b.raw ]
}
convert_of_what_cannot_be_compressed_is_the_same_disk() {
	head -c 3000000 /dev/urandom >a.raw && text b.raw && cat b.raw >>a.raw && truncate -s 4194304 a.raw &&
		image convert -c -O qcow2 a.raw a.qcow2 && qemu-img check -q a.qcow2 && same raw a.raw qcow2 a.qcow2
}
convert_with_sparse_0_allocates_everything() {
	make_chain && image convert -S 0 -O qcow2 top.qcow2 a.qcow2 && qemu-img compare -q top.qcow2 a.qcow2 &&
		qemu-img check -q a.qcow2 && [ "$(allocated a.qcow2)" = 256 ]
}
convert_with_sparse_keeps_short_zeroes() {
	truncate -s 1M a.raw && qemu-io -f raw -c 'write -P 0 0 1M' -c 'write -P 1 0 4k' -c 'write -P 1 128k 4k' a.raw >/dev/null &&
		image convert -f raw -S 64k -O raw a.raw b.raw && cmp a.raw b.raw && [ "$(stat -c %b b.raw)" = 256 ] &&
		image convert -f raw -O raw a.raw b.raw && cmp a.raw b.raw && [ "$(stat -c %b b.raw)" = 16 ]
}
convert_refuses_a_sparse_size_that_is_none() { make_chain && status_is 1 image convert -S 700 top.qcow2 a.raw; }
convert_takes_the_options_of_fingers() {
	make_chain && image convert -q -W -C -t none -T writeback -O qcow2 top.qcow2 a.qcow2 &&
		qemu-img compare -q top.qcow2 a.qcow2 && status_is 1 image convert -t sometimes top.qcow2 b.raw
}
convert_onto_a_backing_file_stores_what_differs() {
	make_chain && make_other_base && image convert -O qcow2 -B other.qcow2 -F qcow2 top.qcow2 a.qcow2 &&
		qemu-img compare -q top.qcow2 a.qcow2 && qemu-img check -q a.qcow2 &&
		[ "$(qemu-img info --output=json a.qcow2 | jq -r '."backing-filename"')" = other.qcow2 ] &&
		[ "$(allocated a.qcow2)" -le 7 ]
}
convert_onto_its_own_backing_file_stores_what_the_overlay_stores() {
	make_chain && image convert -c -O qcow2 -B base.qcow2 -F qcow2 top.qcow2 a.qcow2 &&
		qemu-img compare -q top.qcow2 a.qcow2 && qemu-img check -q a.qcow2 && [ "$(allocated a.qcow2)" -le 4 ]
}
convert_onto_a_shorter_backing_file() {
	make_chain && qemu-img create -q -f qcow2 s.qcow2 9M && qemu-io -c 'write -P 7 0 9M' s.qcow2 >/dev/null &&
		image convert -O qcow2 -B s.qcow2 -F qcow2 top.qcow2 a.qcow2 && qemu-img compare -q top.qcow2 a.qcow2 &&
		qemu-img check -q a.qcow2
}
convert_in_another_directory_finds_the_backing_file_beside_the_target() {
	make_chain && mkdir sub && cp base.qcow2 sub/b.qcow2 &&
		image convert -O qcow2 -B b.qcow2 -F qcow2 top.qcow2 sub/a.qcow2 && qemu-img compare -q top.qcow2 sub/a.qcow2
}
convert_onto_a_missing_backing_file_leaves_nothing() {
	make_chain && status_is 1 image convert -O qcow2 -B none -F raw top.qcow2 a.qcow2 && [ ! -e a.qcow2 ] && no_litter
}
convert_preallocates() {
	make_chain && image convert -O qcow2 -o preallocation=metadata top.qcow2 a.qcow2 && qemu-img check -q a.qcow2 &&
		qemu-img compare -q top.qcow2 a.qcow2 && [ "$(allocated a.qcow2)" = 256 ]
}
convert_into_a_target_that_is_zero_leaves_zeroes_out() {
	make_chain && qemu-img create -q -f qcow2 a.qcow2 16M && image convert -n --target-is-zero -O qcow2 top.qcow2 a.qcow2 &&
		qemu-img compare -q top.qcow2 a.qcow2 && [ "$(allocated a.qcow2)" -le 21 ] &&
		status_is 1 image convert --target-is-zero -O qcow2 top.qcow2 b.qcow2
}
convert_of_nothing_is_nothing() {
	: >a.raw && status_is 0 image convert -f raw -O qcow2 a.raw a.qcow2 && qemu-img check -q a.qcow2 &&
		status_is 0 image convert -f qcow2 -O raw a.qcow2 b.raw && [ ! -s b.raw ] && [ -e b.raw ] &&
		status_is 1 image convert -f qcow2 a.raw c.raw
}

# ---- rebase ----

rebase_keeps_the_contents() {
	local o
	for o in cluster_size=64k cluster_size=4k extended_l2=on compat=0.10; do
		make_chain && make_other_base && qemu-img create -q -f qcow2 -o $o -b base.qcow2 -F qcow2 t.qcow2 &&
			qemu-io -c 'write -P 3 520k 16k' -c 'write -P 4 12M 64k' t.qcow2 >/dev/null &&
			qemu-img convert -O raw t.qcow2 then.raw && image rebase -b other.qcow2 -F qcow2 t.qcow2 &&
			qemu-img check -q t.qcow2 && same qcow2 t.qcow2 raw then.raw &&
			[ "$(qemu-img info --output=json t.qcow2 | jq -r '."backing-filename"')" = other.qcow2 ] || return
	done
}
rebase_copies_only_what_differs() {
	make_chain && make_other_base && image rebase -b other.qcow2 -F qcow2 top.qcow2 && [ "$(allocated top.qcow2)" -le 6 ]
}
rebase_to_nothing_with_contents_flattens() {
	make_chain && qemu-img convert -O raw top.qcow2 then.raw && image rebase -b '' top.qcow2 && rm base.qcow2 &&
		same qcow2 top.qcow2 raw then.raw && qemu-img check -q top.qcow2
}
rebase_onto_a_shorter_one() {
	make_chain && qemu-img convert -O raw top.qcow2 then.raw && qemu-img create -q -f raw s.raw 5M &&
		qemu-io -f raw -c 'write -P 8 0 5M' s.raw >/dev/null && image rebase -b s.raw -F raw top.qcow2 &&
		same qcow2 top.qcow2 raw then.raw && qemu-img check -q top.qcow2
}
rebase_past_the_middle_of_a_chain() {
	make_chain && qemu-img create -q -f qcow2 -b top.qcow2 -F qcow2 o.qcow2 && qemu-img convert -O raw o.qcow2 then.raw &&
		image rebase -b base.qcow2 -F qcow2 o.qcow2 && rm top.qcow2 && same qcow2 o.qcow2 raw then.raw
}
rebase_onto_itself_is_refused() {
	make_chain && cp top.qcow2 then.qcow2 && status_is 1 image rebase -b top.qcow2 -F qcow2 top.qcow2 && cmp top.qcow2 then.qcow2
}
rebase_onto_what_is_not_there_changes_nothing() {
	make_chain && cp top.qcow2 then.qcow2 && status_is 1 image rebase -b none -F raw top.qcow2 && cmp top.qcow2 then.qcow2
}
# Whenever it is killed, the overlay reads as before.
rebase_that_is_killed_leaves_the_contents() {
	local i
	qemu-img create -q -f qcow2 base.qcow2 96M && qemu-io -c 'write -P 1 0 96M' base.qcow2 >/dev/null &&
		qemu-img create -q -f qcow2 other.qcow2 96M && qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 || return
	for i in 0.01 0.03 0.06 0.1; do
		timeout --foreground -s KILL $i "$tool" image rebase -b other.qcow2 -F qcow2 top.qcow2
		qemu-io -c 'read -P 1 0 96M' top.qcow2 >said && ! grep -q failed said || return
		status_is 0 image check -q -r leaks top.qcow2 && qemu-img check -q top.qcow2 || return
	done
	image rebase -b other.qcow2 -F qcow2 top.qcow2 && qemu-io -c 'read -P 1 0 96M' top.qcow2 >said && ! grep -q failed said
}

# ---- commit ----

commit_through_a_chain() {
	make_chain && qemu-img create -q -f qcow2 -b top.qcow2 -F qcow2 o.qcow2 &&
		qemu-io -c 'write -P 6 600k 64k' -c 'write -z 12M 32k' o.qcow2 >/dev/null &&
		qemu-img convert -O raw o.qcow2 then.raw && image commit -q -b base.qcow2 o.qcow2 &&
		same qcow2 base.qcow2 raw then.raw && same qcow2 o.qcow2 raw then.raw && qemu-img check -q base.qcow2 &&
		qemu-img check -q o.qcow2
}
commit_through_a_shorter_layer() {
	qemu-img create -q -f qcow2 base.qcow2 8M && qemu-io -c 'write -P 1 0 8M' base.qcow2 >/dev/null &&
		qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 4M &&
		qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 8M && qemu-io -c 'write -P 2 6M 64k' top.qcow2 >/dev/null &&
		qemu-img convert -O raw top.qcow2 then.raw && image commit -q -b base.qcow2 top.qcow2 &&
		same qcow2 base.qcow2 raw then.raw && same qcow2 top.qcow2 raw then.raw
}
commit_to_the_one_below_by_name_empties() {
	make_chain && image commit -q -b base.qcow2 top.qcow2 && [ "$(allocated top.qcow2)" = 0 ]
}
commit_d_keeps_the_overlay() {
	make_chain && cp top.qcow2 then.qcow2 && image commit -q -d top.qcow2 && cmp top.qcow2 then.qcow2 &&
		qemu-img compare -q top.qcow2 base.qcow2
}
commit_to_a_stranger_changes_nothing() {
	make_chain && make_other_base && cp base.qcow2 then.qcow2 && status_is 1 image commit -b other.qcow2 top.qcow2 &&
		cmp base.qcow2 then.qcow2 && grep -q 'not among its backing files' err
}
commit_refuses_a_base_in_use() {
	make_chain && cp base.qcow2 then.qcow2 && hold base.qcow2 && status_is 1 image commit top.qcow2
	local status=$?
	release
	[ $status = 0 ] && qemu-img compare -q base.qcow2 then.qcow2
}

run_tests "$@"
