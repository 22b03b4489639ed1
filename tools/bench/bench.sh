#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compares charmvm with QEMU 10 and, where it is installed, kvmtool: what a boot, a disk read and
# network traffic cost, in exits, system calls, memory and instructions. See bench.sh --help.
#
# The measuring is done in the lab in its icount mode (lab.sh there, with measure.c); everything
# else is done here: preparing, counting in the traces (counts.awk), the tables (rows, table.awk).
set -uo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
top=${here%/tools/bench}
# How much is done: enough for figures that repeat, little enough for an emulated machine.
blk_depth_1=2000 blk_depth_32=8000 net_pieces=64 net_trips=500
image_mib=128

usage()
{
	cat <<'END'
Usage: tools/bench/bench.sh [OPTION...] [boot | blk | net | start | snapshot | disk]...

Prints side by side what charmvm and its peers need for the same work, with the project's targets.
  boot  a Debian 6.1 kernel and a tiny initrd, 512 MiB, one vCPU, "quiet": from the start of the
        process to the first instruction of /init
  blk   random reads of 4 KiB by virtio-blk, one and 32 at a time, from a raw and a qcow2 image;
        figures for each read
  net   TCP through a forwarded port by virtio-net: for each 64 KiB, and for each round trip
  start  images of the guest kit, from the command to SSH: kernel, initrd, units (start.sh)
  snapshot  saving, restoring, reverting and forking a machine (snapshot.sh)
  disk  the disk engine and the image tool beside qemu-img, natively and in time (disk.sh has options)
All by default; what follows is about the first three. QEMU is that of Debian 12's backports, downloaded once into the user's cache, else
the one that is installed; what was compared is printed. Instructions are those of host kernel, VMM and guest together, counted by the
lab's emulated processor (icount), also where there is a /dev/kvm; nothing here measures time.
Counting an event costs the host about 500 instructions: boots include that, the others do not.

Options:
  --charmvm FILE   the binary to measure (build/charmvm)
  --installed-qemu compare with the QEMU that is installed
  --vmm PATTERN    only columns whose name matches, such as 'charmvm*'
  --json FILE      write the figures and verdicts there as well
  --keep DIR       leave traces and outputs there
  --detail         boot only: trace what the exits are about, and print that instead of the table
                   (the other figures suffer)
  --time SECONDS   at most, for each VMM (600)

Exit status: 0 all was measured, whatever the figures; 1 something could not be; 2 wrong usage.
END
}

fail()
{
	echo "bench: $*" >&2
	exit 1
}

wrong()
{
	echo "bench: $* (see bench.sh --help)" >&2
	exit 2
}

# --- what is compared ----------------------------------------------------------------------------

columns_of() # PART: those that are installed and asked for
{
	local all=() name
	case $1 in
	boot)
		all=(charmvm charmvm-bzimage qemu-microvm-best qemu-microvm qemu-q35 kvmtool)
		;;
	blk) all=(charmvm-raw charmvm-qcow2 qemu-q35-raw qemu-q35-qcow2) ;;
	net) all=(charmvm qemu-q35) ;;
	esac
	for name in "${all[@]}"; do
		# shellcheck disable=SC2053 # a pattern is wanted
		[[ $name == $pattern ]] || continue
		case $name in
		kvmtool) command -v lkvm >/dev/null || continue ;;
		qemu-*) [ -n "$qemu" ] || continue ;;
		esac
		echo "$name"
	done
}

# --- preparing -----------------------------------------------------------------------------------

compile() # OUTPUT SOURCE
{
	"${CC:-cc}" -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -static -o "$1" "$here/$2" ||
		fail "cannot build $2 (a C compiler with a static libc is needed)"
}

script() # PART: the guest's script with its numbers
{
	sed -e "s/BLK_DEPTH_1/$blk_depth_1/; s/BLK_DEPTH_32/$blk_depth_32/" \
		-e "s/NET_PIECES/$net_pieces/; s/NET_TRIPS/$net_trips/" "$here/guest/$1.sh"
}

make_initrd() # PART DRIVER
{
	script "$1" >"$dir/script.$1"
	"$top/guest-kit/tiny-initrd" -o "$dir/initrd.$1" --modules "$modules" virtio_pci \
		--modules "$modules" "$2" --script "$dir/script.$1" \
		--add "$dir/bench-$1" "/bin/bench-$1" >/dev/null || fail "cannot make the initrd of $1"
}

# What is random is not zero: every cluster is allocated.
make_images()
{
	if ! head -c $((image_mib << 20)) /dev/urandom >"$dir/disk.raw" ||
		! qemu-img convert -f raw -O qcow2 "$dir/disk.raw" "$dir/disk.qcow2"; then
		fail "cannot make the disk images in $dir"
	fi
}

# Sets $qemu to a directory with usr/bin/qemu-system-x86_64, or leaves it empty; $note_qemu says which it is.
find_qemu()
{
	[[ $pattern != charmvm* ]] || return
	[ -n "$installed_qemu" ] || qemu=$("$top/tests/lab/fetch-qemu") || qemu=''
	[ -n "$qemu" ] || [ ! -x /usr/bin/qemu-system-x86_64 ] || qemu=/
	[ -z "$qemu" ] || note_qemu=$("$qemu/usr/bin/qemu-system-x86_64" --version | head -n 1)
}

prepare()
{
	local kernel=generic-6.1 fetch=$top/guest-kit/fetch-kernel
	modules=$("$fetch" $kernel modules) || fail "no kernel to boot"
	cp "$("$fetch" $kernel vmlinux)" "$dir/vmlinux" || fail "cannot copy the kernel"
	cp "$("$fetch" $kernel vmlinuz)" "$dir/vmlinuz" || fail "cannot copy the kernel"
	cp "$modules/kernel/drivers/block/brd.ko" "$dir/" 2>/dev/null
	cp "$charmvm" "$dir/charmvm" || fail "no $charmvm: run make"
	compile "$dir/measure" measure.c
	compile "$dir/bench-blk" guest/blk.c
	compile "$dir/bench-net" guest/net.c
	cp "$("$top/guest-kit/tiny-initrd")" "$dir/initrd.boot" || fail "cannot make the initrd"
	case " ${parts[*]} " in *" blk "*) make_initrd blk virtio_blk && make_images ;; esac
	case " ${parts[*]} " in *" net "*) make_initrd net virtio_net ;; esac
}

# --- measuring and counting ----------------------------------------------------------------------

# Becomes the lab; in the background, so that its process can be ended.
in_lab() # PART
{
	local columns
	mapfile -t columns < <(columns_of "$1")
	[ ${#columns[@]} -gt 0 ] || exit 0
	BENCH_DETAIL=$detail BENCH_QEMU=$qemu exec "$top/tests/lab/lab" run --force --quiet --icount --root \
		--mem 4G --ports none --time $((120 + ${#columns[@]} * time)) -- \
		"$here/lab.sh" "$dir" "$1" "${columns[@]}" </dev/null
}

phases_of()
{
	case $1 in boot) echo 0 ;; blk) echo 2 ;; net) echo 3 ;; esac
}

collect_one() # PART COLUMN: appends to the results
{
	local base=$dir/$1.$2
	[ -s "$base.trace" ] || return
	awk -v "phases=$(phases_of "$1")" -f "$here/counts.awk" "$base.trace" >"$base.counts" || return
	cat "$base.report" "$base.counts" |
		awk -v "name=$1 $2" '{ print name, $0; value[$1] = $2 }
			END { if ("vcpus" in value) print name, "threads_beside", value["threads"] - value["vcpus"] }' \
			>>"$dir/results"
}

median_cpu_us() # COMMAND...
{
	"$dir/measure" --cpu-time 20 "$@"
}

# What needs no KVM. An empty program's cost is this machine's and not charmvm's.
collect_static()
{
	local us floor_us
	us=$(median_cpu_us "$charmvm" --version) && floor_us=$(median_cpu_us true) || return
	cat >>"$dir/results" <<-END
		boot charmvm binary_bytes $(stat -c %s "$charmvm")
		boot charmvm version_us $((us > floor_us ? us - floor_us : 0))
	END
	note="--version: $us us of CPU here, of which an empty program (true) needs $floor_us"
}

collect() # PART
{
	local column
	for column in $(columns_of "$1"); do
		collect_one "$1" "$column" && continue
		status=1
		echo "bench: $1: $column was not measured: $(tail -n 1 "$dir/$1.$column.output" 2>/dev/null)" >&2
	done
}

# --- showing -------------------------------------------------------------------------------------

table() # PART [AWK-OPTION...]
{
	local part=$1
	shift
	sed -e "s/BLK_DEPTH_1\b/$blk_depth_1/; s/BLK_DEPTH_32\b/$blk_depth_32/" \
		-e "s/NET_PIECES/$net_pieces/; s/NET_TRIPS/$net_trips/" "$here/rows" >"$dir/rows"
	awk -v "part=$part" -v "columns=$(columns_of "$part" | tr '\n' ' ')" "$@" -f "$here/table.awk" \
		"$dir/rows" "$dir/results"
}

show() # PART
{
	case $1 in
	boot) echo "Process start to the first instruction of /init (Debian 6.1, tiny initrd, 512 MiB, quiet)" ;;
	blk) echo "virtio-blk, random reads of 4 KiB, for each" ;;
	net) echo "virtio-net, TCP through a forwarded port" ;;
	esac
	table "$1"
	[ "$1" != boot ] || [ -z "$note" ] || echo "($note)"
	[ -z "$note_qemu" ] || echo "($note_qemu)"
	echo
}

show_detail()
{
	local column
	for column in $(columns_of boot); do
		echo "boot: $column:"
		awk -v detail=1 -f "$here/counts.awk" "$dir/boot.$column.trace" | head -n 60
	done
}

write_json()
{
	local part separator=''
	echo '{'
	for part in "${parts[@]}"; do
		printf '%s' "$separator"
		table "$part" -v json=1
		separator=$',\n'
	done
	printf '\n}\n'
}

# What has a script of its own.
run_also()
{
	local other
	for other in ${also[@]+"${also[@]}"}; do
		case $other in
		start) "$here/start.sh" --charmvm "$charmvm" || status=1 ;;
		snapshot) "$here/snapshot.sh" --charmvm "$charmvm" || status=1 ;;
		disk) CHARMVM=$charmvm "$here/disk.sh" || status=1 ;;
		esac
	done
}

# --- the run -------------------------------------------------------------------------------------

charmvm=$top/build/charmvm pattern='*' json='' keep='' detail='' installed_qemu='' qemu='' note_qemu='' time=600 parts=() also=() status=0 note=''
while [ $# -gt 0 ]; do
	case $1 in
	--charmvm | --vmm | --json | --keep | --time) [ $# -gt 1 ] || wrong "$1 needs a value" ;;
	esac
	case $1 in
	-h | --help) usage && exit ;;
	--charmvm) charmvm=$2 && shift ;;
	--vmm) pattern=$2 && shift ;;
	--json) json=$2 && shift ;;
	--keep) keep=$2 && shift ;;
	--time) [[ $2 =~ ^[1-9][0-9]*$ ]] || wrong "--time $2 is not a number of seconds"; time=$2 && shift ;;
	--detail) detail=1 ;;
	--installed-qemu) installed_qemu=1 ;;
	boot | blk | net) parts+=("$1") ;;
	start | snapshot | disk) also+=("$1") ;;
	*) wrong "unknown argument $1" ;;
	esac
	shift
done
if [ ${#parts[@]} = 0 ]; then
	if [ ${#also[@]} -gt 0 ]; then
		run_also
		exit $status
	fi
	parts=(boot blk net) also=(start snapshot disk)
fi
[ -z "$detail" ] || parts=(boot)

if [ -n "$keep" ]; then
	mkdir -p "$keep" || exit 1
	dir=$(readlink -f "$keep")
	rm -f "$dir"/*.{trace,report,output,counts}
else
	dir=$(mktemp -d "${TMPDIR:-/var/tmp}/charmvm-bench.XXXXXX") || exit 1
	trap 'rm -rf "$dir"' EXIT
fi
labs=()
trap 'kill "${labs[@]}" 2>/dev/null; wait; exit 1' INT TERM HUP
find_qemu
prepare
: >"$dir/results"

# Counted instructions do not depend on what else runs: two labs at a time.
echo "bench: measuring ${parts[*]} in the lab; some minutes" >&2
for part in "${parts[@]}"; do
	if [ "$part" = boot ]; then in_lab boot & labs+=($!); fi
done
(
	trap 'kill "$lab" 2>/dev/null; exit' TERM
	for part in "${parts[@]}"; do
		[ "$part" != boot ] || continue
		in_lab "$part" &
		lab=$!
		wait "$lab"
	done
) &
labs+=($!)
wait "${labs[@]}"

if [ -n "$detail" ]; then
	show_detail
	exit
fi
for part in "${parts[@]}"; do
	collect "$part"
	[ "$part" != boot ] || collect_static || status=1
	show "$part"
done
run_also
[ -z "$json" ] || write_json >"$json" || fail "cannot write $json"
exit $status
