# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What the guest of tests/e2e/test_disk.sh does: load=ROUNDS,DURABLE,... on its command line are diskload's words;
# with fio=write it runs fio from the second disk, with fio=verify it verifies what fio wrote.
read -r line </proc/cmdline
load='' fio=''
for word in $line; do
	case $word in
	load=*) load=$(echo "${word#load=}" | tr , ' ') ;;
	fio=*) fio=${word#fio=} ;;
	esac
done

# It is on a file system with its libraries (tests/e2e/fio_disk.sh).
fio() {
	/fio/lib/ld-linux-x86-64.so.2 --library-path /fio/lib /fio/fio --filename=/dev/vda --direct=1 --thread --bs=4k \
		--ioengine=psync --rw=randwrite --verify=crc32c --randseed=7 "$@"
}

if [ -n "$fio" ]; then
	mkdir -p /fio /tmp && mount -t ext4 -o ro /dev/vdb /fio || exit
	cd /tmp || exit # its state of verification goes here
fi
case $fio in
write | running)
	[ "$fio" = running ] || fio --name=done --size=8M --end_fsync=1 --do_verify=1 --output=/tmp/out || cat /tmp/out
	echo "fio wrote and verified"
	# Until the end that comes from outside: writing elsewhere, reading back, flushing now and then.
	fio --name=running --offset=16M --size=24M --fsync=16 --verify_backlog=64 --loops=1000 --output=/tmp/out
	echo "fio ended with status $?"
	;;
verify)
	fio --name=done --size=8M --verify_only --verify_fatal=1 --output=/tmp/out
	status=$?
	[ $status = 0 ] || cat /tmp/out
	echo "fio verified with status $status"
	;;
*)
	# shellcheck disable=SC2086 # words are wanted
	diskload /dev/vda $load
	echo "diskload ended with status $?"
	;;
esac
