#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# charmvm import: boxes and images of other hypervisors, good ones and hostile ones. Needs no KVM.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

data=$XDG_DATA_HOME/charmvm/machines
mib=1048576

# What is on the disk of all of these: something at its beginning, in its middle and at its end, nothing in between.
make_disk() {
	truncate -s 64M disk.raw
	printf 'begin' | dd of=disk.raw conv=notrunc status=none
	head -c 3M /dev/urandom | dd of=disk.raw bs=64k seek=300 conv=notrunc status=none
	printf 'end' | dd of=disk.raw bs=1 seek=$((64 * mib - 3)) conv=notrunc status=none
	qemu-img convert -O qcow2 disk.raw box.img
	qemu-img convert -O vmdk -o subformat=streamOptimized disk.raw box-disk001.vmdk
	ovf disk1 box-disk001.vmdk >box.ovf
}
libvirt() { printf '{"provider":"libvirt","format":"qcow2","virtual_size":1}' >metadata.json; }
virtualbox() { printf '{"provider":"virtualbox"}' >metadata.json; }
ovf() { # ID FILE
	cat <<-END
		<?xml version="1.0"?>
		<!-- <File ovf:id="$1" ovf:href="not-this.vmdk"/> <Disk ovf:fileRef="$1"/> -->
		<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
		  <References>
		    <File ovf:id="other" ovf:href="readme.txt"/>
		    <File ovf:href="$2" ovf:size="1" ovf:id="$1"/>
		  </References>
		  <DiskSection><Info>disks</Info>
		    <Disk ovf:diskId="empty" ovf:capacity="1"/>
		    <Disk ovf:capacity="67108864" ovf:fileRef='$1' ovf:diskId="vmdisk1"/>
		  </DiskSection>
		</Envelope>
	END
}

same_disk() { qemu-img check -q "$1" && qemu-img compare -q -f raw -F qcow2 disk.raw "$1"; }
imports() { # FILE OUT OPTION...
	timeout 60 "$charmvm" import "$1" -o "$2" "${@:3}" >said 2>&1 </dev/null || { cat said; return 1; }
	same_disk "$2" || { echo "the disk of $2 is another one"; return 1; }
}
# refused STATUS WORDS ARG...: one line with WORDS, that status, and nothing left behind.
refused() {
	local want=$1 words=$2 status=0 before after
	shift 2
	before=$(find . "$data" -not -name stderr 2>/dev/null | sort)
	timeout 60 "$charmvm" import "$@" >/dev/null 2>stderr </dev/null || status=$?
	after=$(find . "$data" -not -name stderr 2>/dev/null | sort)
	cat stderr
	expect "$status" "$want" "exit status" && expect "$(wc -l <stderr)" 1 "number of lines" &&
		expect "$after" "$before" "what is in the directory" &&
		{ grep -q -- "$words" stderr || { echo "no '$words' in it"; return 1; }; }
}
in_dir() { mkdir -p "$work/$1" && cd "$work/$1" && cp --sparse=always "$work"/made/* .; }
login_of() { jq -r .user "$data/$1/box/login.json"; }

libvirt_box_becomes_a_machine_with_its_login() {
	in_dir libvirt && libvirt && printf 'Vagrant.configure("2") do |config|\nend\n' >Vagrantfile
	tar -czf demo.box ./metadata.json ./Vagrantfile ./box.img
	(umask 077 && "$charmvm" import demo.box) >said || return
	cat said
	same_disk demo.qcow2 && grep -q 'charmvm up demo.qcow2' said && expect "$(login_of demo)" vagrant user &&
		expect "$(ssh-keygen -y -f "$data/demo/box/key" | cut -d' ' -f1)" ssh-rsa "the key's kind"
}
box_of_version_2_names_its_disk_and_its_others_are_left_out() {
	in_dir version2 && mv box.img first.img && cp first.img second.img
	printf '{"provider":"libvirt","disks":[{"path":"first.img","format":"qcow2"},{"path":"second.img"}]}' >metadata.json
	tar -cf two.box second.img metadata.json first.img
	imports two.box two.qcow2 && grep -q '1 more disk is in it, left out: .*--disk' said
}
virtualbox_box_with_user_and_key_of_its_own() {
	in_dir virtualbox && virtualbox
	printf '# config.ssh.username = "wrong"\n  config.ssh.username = "analyst"\n' >Vagrantfile
	ssh-keygen -q -t ed25519 -N '' -f vagrant_private_key
	tar -cJf vb.box Vagrantfile vagrant_private_key box-disk001.vmdk box.ovf metadata.json
	imports vb.box out.qcow2 --name lab && expect "$(login_of lab)" analyst user &&
		cmp vagrant_private_key "$data/lab/box/key" &&
		expect "$(stat -c %a "$data/lab/box/key")" 600 "mode of the key" &&
		grep -q 'charmvm up out.qcow2 --name lab' said
}
ova_has_no_login() {
	in_dir ova && tar -cf appliance.ova box.ovf box-disk001.vmdk && imports appliance.ova appliance.qcow2 &&
		[ ! -e "$data/appliance/box" ]
}
user_of_an_ova_can_be_said() {
	in_dir ova_user && tar -cf a.ova box.ovf box-disk001.vmdk && imports a.ova said.qcow2 --login osboxes &&
		expect "$(login_of said)" osboxes user && [ ! -e "$data/said/box/key" ]
}
vmdk_and_vdi_and_raw_and_qcow2() {
	in_dir formats
	qemu-img convert -O vmdk -o subformat=monolithicSparse disk.raw sparse.vmdk &&
		qemu-img convert -O vdi disk.raw disk.vdi || return
	imports sparse.vmdk sparse.qcow2 && imports box-disk001.vmdk stream.qcow2 && imports disk.vdi vdi.qcow2 &&
		imports disk.raw raw.qcow2 && imports box.img qcow2.qcow2
}
snapshots_of_a_box_stay_behind() {
	in_dir snapshots && libvirt && qemu-img snapshot -c suspended box.img && tar -cf s.box metadata.json box.img &&
		imports s.box s.qcow2 && expect "$(qemu-img snapshot -l s.qcow2)" '' "its snapshots"
}

no_metadata() {
	in_dir no_metadata && echo >readme.txt && cp --sparse=always box.img second.qcow2 || return
	tar -cf one.box readme.txt box.img && imports one.box one.qcow2 --name one && expect "$(login_of one)" vagrant login &&
		tar -cf ovf.box second.qcow2 box-disk001.vmdk box.ovf && imports ovf.box ovf.qcow2 --name ovf || return
	tar -cf two.box box.img second.qcow2 && refused 3 'which of its 2 disk images .*(tar -xf)' two.box &&
		tar -cf none.box readme.txt && refused 3 'no metadata.json in it and no disk image' none.box
}
metadata_that_is_not_json() {
	in_dir not_json && echo '{"provider":' >metadata.json && tar -cf a.box metadata.json box.img && refused 3 'not a JSON' a.box
}
another_provider() {
	in_dir provider && printf '{"provider":"hyper\\u001bv"}' >metadata.json && tar -cf a.box metadata.json box.img &&
		refused 3 "this one is for 'hyper?v'" a.box
}
disk_in_another_format() {
	in_dir format && libvirt && cp box-disk001.vmdk box.img && tar -cf a.box metadata.json box.img &&
		refused 3 'should be a qcow2 image, and is one of format vmdk' a.box
}
disk_that_is_not_there() {
	in_dir no_disk && libvirt && tar -cf a.box metadata.json && refused 3 "should be 'box.img'" a.box &&
		ovf disk1 gone.vmdk >box.ovf && tar -cf a.ova box.ovf box-disk001.vmdk && refused 3 "should be 'gone.vmdk'" a.ova
}
paths_that_leave_the_box() {
	in_dir paths && libvirt
	tar -cf up.box --transform 's|box.img|../../box.img|' metadata.json box.img 2>/dev/null
	tar -cPf root.box --transform 's|box.img|/tmp/box.img|' metadata.json box.img
	tar -cPf inner.box --transform 's|box.img|a/../../box.img|' metadata.json box.img
	refused 3 'outside its directory' up.box && refused 3 'outside its directory' root.box &&
		refused 3 'outside its directory' inner.box
}
links_and_devices() {
	in_dir links && libvirt && mv box.img real.img
	ln -s /etc/passwd box.img && tar -cf soft.box metadata.json box.img && rm box.img
	ln real.img box.img && tar -cf hard.box metadata.json real.img box.img && rm box.img
	mkfifo box.img && tar -cf fifo.box metadata.json box.img && rm box.img
	refused 3 'is a link' soft.box && refused 3 'is a link' hard.box && refused 3 'neither a file' fifo.box
}
the_same_name_twice() {
	in_dir twice && libvirt && tar -cf a.box metadata.json box.img metadata.json box.img --hard-dereference &&
		refused 3 'two files that say what it is' a.box && tar -cf b.box metadata.json box.img &&
		tar -rf b.box box.img && refused 3 'two disks' b.box
}
# A tar header is text: its size, in octal, at 124, and the sum of its bytes at 148.
claim() { # FILE OCTAL-SIZE
	local sum
	printf '%011o\0' "$((8#$2))" | dd of="$1" bs=1 seek=124 conv=notrunc status=none
	printf '        ' | dd of="$1" bs=1 seek=148 conv=notrunc status=none
	sum=$(head -c 512 "$1" | od -An -v -tu1 -w1 | awk '{ s += $1 } END { print s }')
	printf '%06o\0 ' "$sum" | dd of="$1" bs=1 seek=148 conv=notrunc status=none
}
claims_of_any_size() {
	in_dir claims && libvirt && tar -cf a.box metadata.json box.img && claim a.box 37777777777 && refused 3 'claims' a.box &&
		tar -cf b.box box.img metadata.json && claim b.box 77777777777 && refused 3 'cannot be read' b.box
	# Base 256: 2^62.
	tar -cf c.box box.img && printf '\x80\0\0\0\x40\0\0\0\0\0\0\0' | dd of=c.box bs=1 seek=124 conv=notrunc status=none
	printf '        ' | dd of=c.box bs=1 seek=148 conv=notrunc status=none
	local sum
	sum=$(head -c 512 c.box | od -An -v -tu1 -w1 | awk '{ s += $1 } END { print s }')
	printf '%06o\0 ' "$sum" | dd of=c.box bs=1 seek=148 conv=notrunc status=none
	refused 3 'claims a size\|cannot be read' c.box
}
truncated_archives() {
	in_dir truncated && libvirt && tar -czf a.box metadata.json box.img && tar -cf b.box metadata.json box.img
	truncate -s -100000 a.box && truncate -s -1000000 b.box
	refused 3 'cannot be read.*runcated' a.box && refused 3 'cannot be read.*runcated' b.box
}
what_is_no_archive() {
	in_dir noise && head -c 1M /dev/urandom >a.box && refused 3 'cannot be read' a.box && : >b.box && refused 3 'b.box' b.box &&
		refused 3 'No such file' absent.box && mkdir dir && refused 3 'no file' dir
}
qcow2_that_stands_on_another_file() {
	in_dir backing && libvirt && qemu-img create -q -f raw secret.raw 64M && rm box.img &&
		qemu-img create -q -f qcow2 -b "$PWD/secret.raw" -F raw box.img && tar -cf a.box metadata.json box.img &&
		refused 3 'backing file' a.box && rm box.img &&
		qemu-img create -q -f qcow2 -o "data_file=$PWD/data,data_file_raw=on" box.img 64M &&
		tar -cf b.box metadata.json box.img && refused 3 'data in another file' b.box
}
vmdk_that_names_other_files() {
	in_dir flat && cat >box-disk001.vmdk <<-END
		# Disk DescriptorFile
		version=1
		CID=12345678
		parentCID=ffffffff
		createType="monolithicFlat"
		RW 1 FLAT "/etc/passwd" 0
	END
	tar -cf a.ova box.ovf box-disk001.vmdk && refused 3 'data in other files' a.ova
	# The same in a sparse one: it claims no capacity of its own.
	in_dir embedded && dd if=/dev/zero of=box-disk001.vmdk bs=1 seek=12 count=8 conv=notrunc status=none &&
		tar -cf a.ova box.ovf box-disk001.vmdk && refused 3 'data in other files' a.ova || return
	in_dir delta && qemu-img create -q -f vmdk base.vmdk 64M && qemu-img create -q -f vmdk -b base.vmdk -F vmdk delta.vmdk &&
		refused 3 'differs from another disk' delta.vmdk
}
broken_disks() {
	in_dir broken && libvirt && truncate -s 60 box.img && tar -cf a.box metadata.json box.img && refused 3 'box.img' a.box &&
		truncate -s 70000 box-disk001.vmdk && refused 3 'qemu-img cannot' box-disk001.vmdk &&
		cp disk.raw b.vdi && refused 3 'should be a vdi' b.vdi
}
name_must_agree_with_the_contents() {
	in_dir agree && cp box.img a.raw && refused 3 'should be a raw image, and is one of format qcow2' a.raw &&
		cp disk.raw a.vmdk && refused 3 'should be a vmdk' a.vmdk
}
no_qemu_img() {
	in_dir no_qemu && mkdir bin && printf '#!/bin/sh\nPATH=%s exec "%s" "$@"\n' "$PWD/bin" "$charmvm" >no-qemu && chmod +x no-qemu &&
		charmvm=$PWD/no-qemu refused 1 'install qemu-utils' box-disk001.vmdk
}
what_is_there_is_kept() {
	in_dir kept && echo mine >box-disk001.qcow2 && refused 3 'is there already' box-disk001.vmdk &&
		expect "$(cat box-disk001.qcow2)" mine "what was there"
}
directory_that_is_not_there() {
	in_dir no_dir && tar -cf a.ova box.ovf box-disk001.vmdk && refused 3 'No such file' a.ova -o gone/a.qcow2 &&
		refused 3 'No such file' disk.raw -o gone/a.qcow2
}
command_line_that_is_wrong() { in_dir usage && refused 2 'which file' && refused 2 'no user' disk.raw --login '-oProxyCommand=x'; }
full_disk() {
	[ "$(id -u)" = 0 ] || { echo "not root: no file system of a given size"; return 77; }
	in_dir full && libvirt && tar -cf a.box metadata.json box.img && qemu-img convert -O vdi disk.raw disk.vdi && mkdir small || return
	unshare -m sh -c "mount -t tmpfs -o size=1m none small" 2>/dev/null || { echo "no namespaces here"; return 77; }
	cat >try <<-'END'
		mount -t tmpfs -o size=$2 none small
		"$1" import "$3" -o small/out.qcow2 2>stderr
		echo $? >status
		ls -A small >left
	END
	local size file
	while read -r size file; do # once while a disk is taken out of a box, and once while the image is made
		unshare -m sh try "$charmvm" "$size" "$file" || return
		cat stderr
		expect "$(<status)" 3 "status with $size for $file" && expect "$(wc -l <stderr)" 1 lines &&
			grep -q 'No space left' stderr && expect "$(cat left)" '' "what is left" || return
	done <<-END
		1m a.box
		4m a.box
		1m disk.vdi
		1m disk.raw
	END
}
interrupted_one_leaves_nothing() {
	in_dir interrupt && libvirt && truncate -s 4G large.raw && head -c 250M /dev/urandom | dd of=large.raw conv=notrunc bs=1M status=none
	qemu-img convert -O qcow2 large.raw box.img && tar -cf a.box metadata.json box.img || return
	qemu-img convert -O vmdk large.raw large.vmdk || return
	local file wait
	mkdir out
	for file in a.box large.raw large.vmdk; do
		for wait in 0.05 0.2; do
			timeout -s INT $wait "$charmvm" import $file -o out/a.qcow2 2>/dev/null
			[ ! -e out/a.qcow2 ] || { echo "$file was quicker"; rm out/a.qcow2; }
			expect "$(ls -A out)" '' "what $file leaves after $wait s" || return
		done
	done
	! pgrep -f "qemu-img convert .*/proc/self/fd" || { echo "qemu-img goes on"; return 1; }
}
bar_on_a_terminal() {
	in_dir bar && libvirt && tar -czf a.box metadata.json box.img &&
		script -qec "'$charmvm' import a.box" typescript >/dev/null && grep -q '#### *\] 100%' typescript
}
clone_rename_and_destroy_take_the_login_along() {
	in_dir copies && libvirt && tar -cf c.box metadata.json box.img && imports c.box c.qcow2 && "$charmvm" clone c d &&
		expect "$(login_of d)" vagrant "the clone's user" && "$charmvm" rename d e && expect "$(login_of e)" vagrant user &&
		"$charmvm" destroy --yes e >/dev/null && [ ! -e "$data/e" ]
}

mkdir "$work/made"
(cd "$work/made" && make_disk) || exit
export TEST_SECONDS=60
run_tests libvirt_box_becomes_a_machine_with_its_login box_of_version_2_names_its_disk_and_its_others_are_left_out \
	virtualbox_box_with_user_and_key_of_its_own ova_has_no_login user_of_an_ova_can_be_said vmdk_and_vdi_and_raw_and_qcow2 \
	snapshots_of_a_box_stay_behind no_metadata metadata_that_is_not_json another_provider disk_in_another_format \
	disk_that_is_not_there paths_that_leave_the_box links_and_devices the_same_name_twice claims_of_any_size truncated_archives \
	what_is_no_archive qcow2_that_stands_on_another_file vmdk_that_names_other_files broken_disks \
	name_must_agree_with_the_contents no_qemu_img what_is_there_is_kept directory_that_is_not_there command_line_that_is_wrong full_disk \
	interrupted_one_leaves_nothing bar_on_a_terminal clone_rename_and_destroy_take_the_login_along
