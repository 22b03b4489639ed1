#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The part of bench.sh that runs where /dev/kvm is, as root: each VMM of a part in turn under
# measure, what it left in DIR/PART.COLUMN.{trace,report,output}. What comes out is read by bench.sh.
#
# Usage: lab.sh DIR PART COLUMN...    DIR holds what bench.sh put there (see prepare there)
# BENCH_QEMU is the directory that QEMU's usr/ is in.
set -u

dir=$1 part=$2
shift 2
stage=/run/bench-$$
# The lab's processor is an old AMD one, on which Linux looks through 256 PCI buses for an AGP bridge (33,000
# exits, the same for every VMM) unless it is told that there are no early quirks. A newer family would
# spare that search but not the others, and bring the guest's mitigations for its flaws.
append="console=ttyS0 quiet pci=noearly panic=-1"
# For each VMM, in seconds of the lab's clock, which runs fast while nothing does; bench.sh limits real time. The longest of ours
# takes about 3, of a peer 15.
limit_ours=10 limit_peer=40
# The emulation now and then (1 of 16 starts, seen in QEMU 10.0) takes an interrupt of the guest's where the guest has them disabled,
# which is the guest's end; and as everything here repeats exactly, so would that. Another word on the command line is another course.
tries=3

# Everything a VMM opens is in memory: else waiting for the lab's own files would be measured.
take() # PROGRAM [NAME]
{
	local program=$1 name=${2:-${1##*/}}
	cp "$program" "$stage/$name" || return
	take_libraries "$program"
	"$stage/$name" --version >/dev/null 2>&1
}

take_libraries() # PROGRAM-OR-LIBRARY
{
	local library
	mkdir -p "$stage/lib"
	while read -r library; do
		[ -e "$stage/lib/${library##*/}" ] || cp "$library" "$stage/lib/"
	done < <(ldd "$1" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p')
}

# A disk in memory with a file system that takes O_DIRECT, for images.
make_disk()
{
	local rd=$dir/brd.ko
	if [ -e "$rd" ] && busybox insmod "$rd" rd_nr=1 rd_size=$((512 << 10)) max_part=0; then
		device=/dev/ram0
	else
		truncate -s 512M "$stage/disk"
		device=$(losetup -f --show "$stage/disk") || return
		echo "bench: no RAM disk for this kernel, a loop device stands in" >&2
	fi
	mke2fs -q -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 -F "$device" || return
	mkdir -p "$stage/images" && mount "$device" "$stage/images"
}

# shellcheck disable=SC2054 # commas are QEMU's
qemu=(./qemu-system-x86_64 -L share -enable-kvm -cpu host -smp 1 -m 512M -nodefaults -no-user-config
	-display none -serial null)
charmvm=(./charmvm --mem 512M --console none --agent off) # no peer has an agent

# shellcheck disable=SC2054 # the commas are QEMU's, not between elements
# Sets $line to the command of COLUMN, with this part's kernel, initrd and command line.
command_of() # COLUMN
{
	local vmlinux=(--kernel vmlinux --initrd initrd --append "$append")
	local pvh=(-kernel vmlinux -initrd initrd -append "$append")
	local aio=format=raw
	case $1 in *qcow2) aio=format=qcow2 ;; esac
	aio+=,cache=none,aio=native
	case $part:$1 in
	boot:charmvm) line=("${charmvm[@]}" --net none "${vmlinux[@]}") ;;
	boot:charmvm-bzimage)
		line=("${charmvm[@]}" --net none --kernel vmlinuz --initrd initrd --append "$append")
		;;
	boot:qemu-microvm-best)
		# SeaBIOS, which is what some packages have for it, starts no kernel without option ROMs.
		line=("${qemu[@]}" -M microvm,rtc=on,pit=off,pic=off,pcie=off,x-option-roms=off
			-bios qboot.rom "${pvh[@]}")
		;;
	boot:qemu-microvm) line=("${qemu[@]}" -M microvm "${pvh[@]}") ;;
	boot:qemu-q35) line=("${qemu[@]}" -M q35 "${pvh[@]}") ;;
	boot:kvmtool)
		line=(./lkvm run --name bench -m 512 -c 1 --console serial --network mode=none
			-k vmlinuz -i initrd -p "$append")
		;;
	blk:charmvm-*)
		line=("${charmvm[@]}" --net none --disk "images/disk.${1#charmvm-}" "${vmlinux[@]}")
		;;
	blk:qemu-q35-*)
		line=("${qemu[@]}" -M q35 -object iothread,id=io
			-drive "if=none,id=disk,file=images/disk.${1#qemu-q35-},$aio"
			-device virtio-blk-pci,drive=disk,iothread=io "${pvh[@]}")
		;;
	net:charmvm) line=("${charmvm[@]}" --forward 127.0.0.1:5001:5000 "${vmlinux[@]}") ;;
	net:qemu-q35) # its default is also its best: nothing there changes the MTU of its user network
		line=("${qemu[@]}" -M q35 -netdev "user,id=net,hostfwd=tcp:127.0.0.1:5001-:5000"
			-device virtio-net-pci,netdev=net,romfile= "${pvh[@]}")
		;;
	*)
		echo "bench: no $1 in part $part" >&2
		return 1
		;;
	esac
}

measure_one() # COLUMN
{
	local base=$dir/$part.$1 options=() line append="$append${2:+ bench.try=$2}" limit=$limit_peer
	case $1 in charmvm*) limit=$limit_ours ;; esac
	command_of "$1" || return
	case $part in
	boot) [ -z "${BENCH_DETAIL:-}" ] || options=(--detail) ;;
	blk) options=(--phases --last 0xff) ;;
	net) options=(--phases --last 0xff --peer "./bench-net peer 5001") ;;
	esac
	rm -rf home && mkdir home
	env LD_LIBRARY_PATH="$stage/lib" HOME="$stage/home" XDG_RUNTIME_DIR="$stage/home" \
		"$stage/measure" --trace "$base.trace" --report "$base.report" \
		--output "$stage/output" --time $limit ${options[@]+"${options[@]}"} \
		-- "${line[@]}"
	local status=$?
	cp "$stage/output" "$base.output"
	return $status
}

# The scratch disk's file system is being laid out in the background, which would be measured.
umount /run/lab/scratch 2>/dev/null

mkdir -p "$stage" && cd "$stage" || exit 1
trap 'cd /; umount -l "$stage/images" 2>/dev/null; rm -rf "$stage"' EXIT
cp "$dir"/{measure,vmlinux,vmlinuz,bench-net} "$stage/" || exit 1
cp "$dir/initrd.$part" initrd
case " $* " in *" charmvm"*)
	take "$dir/charmvm" charmvm
	# Which it loads when there is a network.
	slirp=$(/sbin/ldconfig -p | sed -n 's/.*libslirp\.so\.0 .*=> //p' | head -n 1)
	[ -z "$slirp" ] || { cp "$slirp" "$stage/lib/" && take_libraries "$slirp"; }
	;;
esac
case " $* " in *" qemu-"*)
	take "$BENCH_QEMU/usr/bin/qemu-system-x86_64"
	mkdir share
	cp -L "$BENCH_QEMU"/usr/share/qemu/{bios-256k,bios-microvm,kvmvapic,linuxboot_dma,multiboot_dma,pvh}.bin \
		"$BENCH_QEMU"/usr/share/{qemu/qboot.rom,seabios/bios-{256k,microvm}.bin} share/ 2>/dev/null
	;;
esac
case " $* " in *" kvmtool "*) take "$(command -v lkvm)" lkvm ;; esac

if [ "$part" != boot ]; then
	append+=" tiny.do=script"
else
	append+=" tiny.do=sleep"
fi
if [ "$part" = blk ]; then
	make_disk && cp "$dir"/disk.* "$stage/images/" || exit 1
	sync
fi

status=0
for column; do
	echo "bench: $part: $column" >&2
	for ((try = 1; try <= tries; try++)); do
		: >"$stage/output"
		measure_one "$column" "${try#1}" && break
		echo "bench: $part: $column: the guest did not come to its end (try $try of $tries)" >&2
	done
	((try <= tries)) || status=1
done
exit $status
