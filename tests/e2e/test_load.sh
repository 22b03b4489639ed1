#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A guest of four vCPUs that writes, reads back and compares without end, while it is saved, reverted and forked again and
# again. What it has in memory and what is on its disk must fit together all the time. With the demo image.
# seconds: 600
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

image=$work/charmed311.qcow2
vm=charmed311
rounds=3
in_guest() { timeout 100 "$charmvm" exec "$1" --user root -- sh -c "$2"; }

# In the guest, one on each vCPU: the disk past the page cache against memory.
cat >"$work/load.sh" <<'END'
n=0
while :; do
	head -c 256k /dev/urandom >/dev/shm/source.$1
	dd if=/dev/shm/source.$1 of=/var/tmp/load.$1.$((n % 4)) bs=64k conv=fsync status=none
	dd if=/var/tmp/load.$1.$((n % 4)) bs=64k iflag=direct status=none | cmp -s - /dev/shm/source.$1 || echo "$1 $n" >>/dev/shm/bad
	n=$((n + 1))
	echo $n >/dev/shm/done.$1
done
END
goes_on() { # VM: all four do, and have found nothing wrong
	local before after
	before=$(in_guest "$1" 'cat /dev/shm/done.* | xargs') || return
	eventually 60 has_gone_on "$1" "$before" || return
	after=$(in_guest "$1" 'cat /dev/shm/bad 2>/dev/null; cat /sys/block/vda/stat >/dev/null') || return
	expect "$after" "" "what was read back wrong in $1"
}
has_gone_on() { # VM BEFORE
	local now i
	read -ra now <<<"$(in_guest "$1" 'cat /dev/shm/done.* | xargs')"
	read -ra before <<<"$2"
	for i in 0 1 2 3; do ((${now[i]:-0} > ${before[i]:-0})) || return; done
}

four_of_them_work() {
	"$charmvm" up "$image" --detach --mem 512M --cpus 4 || return
	"$charmvm" cp "$work/load.sh" $vm:/tmp/ || return
	# shellcheck disable=SC2016 # the guest's shell expands it
	in_guest $vm 'for n in 1 2 3 4; do setsid sh /tmp/load.sh $n >/dev/null 2>&1 & done' || return
	eventually 60 all_have_begun && goes_on $vm
}
all_have_begun() { [ "$(in_guest $vm 'ls /dev/shm/done.* | wc -l')" = 4 ]; }
saves_reverts_and_forks_do_not_disturb_them() {
	local n
	"$charmvm" snapshot save s0 $vm || return
	for ((n = 1; n <= rounds; n++)); do
		"$charmvm" snapshot save s$n $vm && goes_on $vm || return
		"$charmvm" snapshot revert s$((n - 1)) $vm && goes_on $vm || return
		"$charmvm" fork $vm --from s$n --name f && goes_on f-1 && "$charmvm" stop f-1 --now || return
		"$charmvm" snapshot delete s$((n - 1)) $vm && goes_on $vm || return
	done
}
file_system_is_sound_afterwards() {
	local offset
	"$charmvm" stop $vm || return
	qemu-img check -q "$image" || { qemu-img check "$image"; return 1; }
	qemu-img convert -O raw "$image" "$work/disk.raw" || return
	offset=$(sfdisk -J "$work/disk.raw" | jq '[.partitiontable.partitions[] | select(.size > 100000)][0].start')
	e2fsck -fn "$work/disk.raw?offset=$((offset * 512))" >"$work/fsck" 2>&1 || { cat "$work/fsck"; return 1; }
}

needs_kvm || { echo "0 passed, 0 failed, 1 skipped"; exit 0; }
PATH=$PATH:/usr/sbin:/sbin
cp --sparse=always "$DEMO_IMAGE" "$image"
run_tests four_of_them_work saves_reverts_and_forks_do_not_disturb_them file_system_is_sound_afterwards
