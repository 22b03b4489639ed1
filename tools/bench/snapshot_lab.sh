#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The part of snapshot.sh that runs where /dev/kvm is, as root. One instruction is one nanosecond of the
# lab's clock (icount), so times are counts. Prints "NAME VALUE" lines: microseconds, 1000 instructions each.
#
# Usage: snapshot_lab.sh DIR    DIR holds what snapshot.sh put there
# BENCH_QEMU is the directory that QEMU's usr/ is in, or empty.
set -u

dir=$1
stage=/run/bench-$$
mkdir -p "$stage/images" "$stage/home" && cd "$stage" || exit 1
trap 'cd /; kill $(jobs -p) 2>/dev/null; umount -l "$stage/images" /etc 2>/dev/null; rm -rf "$stage"' EXIT
export HOME=$stage/home XDG_RUNTIME_DIR=$stage/home XDG_DATA_HOME=$stage/home TMPDIR=$stage/images

say() { echo "$1 $2"; }
log() { echo "bench: snapshot: $*" >&2; }
now_us() { local t=$EPOCHREALTIME; echo $((${t%.*} * 1000000 + 10#${t#*.})); }

# Images are on a disk in memory with a file system that takes O_DIRECT.
make_disk() {
	busybox insmod "$dir/brd.ko" rd_nr=1 rd_size=$((5 << 20)) max_part=0 &&
		mke2fs -q -t ext4 -E lazy_itable_init=0,lazy_journal_init=0,nodiscard -O ^has_journal -F /dev/ram0 &&
		mount /dev/ram0 images
}

# Everything a program opens is in memory: else waiting for the lab's own files would be measured. The dynamic linker's
# path is written into a program; it is the copy's that is changed. The linker looks into /etc.
linker=/lib64/ld-linux-x86-64.so.2
take() { # PROGRAM NAME
	local library
	mkdir -p lib
	cp "$1" "$2" || return
	while read -r library; do
		[ -e "lib/${library##*/}" ] || cp "$library" lib/
	done < <(ldd "$1" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p')
	# As long as the old one, filled up with zero bytes.
	perl -0777 -pi -e 's{\Q'"$linker"'\E}{"/run/ld.so" . "\0" x ('${#linker}' - 10)}e' "$2"
}
cover() {
	cp $linker /run/ld.so && mkdir -p etc && cp -R /etc/passwd /etc/group /etc/alternatives etc/ && mount --bind etc /etc
}

# ---- machines ----

append="console=ttyS0 quiet pci=noearly panic=1 tiny.do=script"
image=images/ours.qcow2 peer_image=images/qemu.qcow2
# shellcheck disable=SC2054 # commas are QEMU's
qemu=(./qemu-system-x86_64 -L share
	-enable-kvm -cpu host -smp 1 -nodefaults -no-user-config -display none -M q35 -serial stdio
	-drive "if=none,id=disk,file=$peer_image,format=qcow2,cache=none,aio=native" -device virtio-blk-pci,drive=disk)

# launch COMMAND...: in the background, its console at descriptors 3 (from it) and 4 (to it); $pid
launch() {
	"$@" <in >out 2>>errors &
	pid=$!
	exec 4>in 3<out
}
ours() { # MEM MIB [OPTION...]
	local mem=$1 mib=$2
	shift 2
	launch ./charmvm --image $image --name vm --mem "$mem" --net none --agent off --console stdio --kernel vmlinux \
		--initrd initrd --append "$append ticks.mib=$mib" "$@"
}
idle() { # MEM
	launch ./charmvm --image $image --name vm --mem "$1" --net none --agent off --console stdio --kernel vmlinux \
		--initrd initrd --append "${append/tiny.do=script/tiny.do=sleep}"
}
peer() { # MEM MIB [OPTION...]
	local mem=$1 mib=$2
	shift 2
	launch "${qemu[@]}" -m "$mem" -monitor tcp:127.0.0.1:4444,server=on,wait=off -kernel vmlinux -initrd initrd \
		-append "$append ticks.mib=$mib" "$@"
}
monitor() { # COMMAND: and its end
	local tries=200
	until { exec 5<>/dev/tcp/127.0.0.1/4444; } 2>/dev/null; do
		((tries--)) && kill -0 "$pid" 2>/dev/null && sleep 0.05 || return
	done
	printf '%s\n' "$1" >&5
	# The prompt, "(qemu)", comes once for the connection, and once more when the command is done.
	local piece prompts=0
	while ((prompts < 2)) && IFS= read -r -d ')' -t 900 -u 5 piece; do [[ $piece != *'(qemu' ]] || ((++prompts)); done
	exec 5>&-
}
line() { IFS= read -r -t 900 -u 3 text; } # the next of the console, into $text
until_says() { while line; do [[ $text != *"$1"* ]] || return 0; done; log "it never said $1"; return 1; }
first_tick() { IFS= read -r -N 1 -t 900 -u 3 text; }
over() {
	kill -TERM "$pid" 2>/dev/null
	kill -KILL "$pid" 2>/dev/null
	exec 3<&- 4>&-
	wait "$pid" 2>/dev/null
}
# The longest gap of the next $1 lines, in thousands of cycles.
longest_gap() {
	local n gap max=0
	for ((n = 0; n < $1; n++)); do
		line || return
		gap=${text##*gap } gap=${gap%%[!0-9]*}
		[ -z "$gap" ] || [ "$gap" -le "$max" ] || max=$gap
	done
	echo $((max / 1000))
}

fresh() { rm -f "$1" && ./charmvm image create -q -f qcow2 "$1" 1G; }

# ---- what is measured ----

# How long the guest stood still until process PID has ended, and a little after.
stood_still() { # PID
	local max=0 gap
	while kill -0 "$1" 2>/dev/null; do
		gap=$(longest_gap 1)
		[ "$gap" -le "$max" ] || max=$gap
	done
	gap=$(longest_gap 3)
	echo $((gap > max ? gap : max))
}
save_pause() { # NAME
	./charmvm snapshot save "$1" vm >>errors 2>&1 &
	stood_still $!
	wait $! || log "save failed: $(tail -n 1 errors)"
}

boot_ours() { # MEM MIB
	fresh $image
	ours "$1" "$2" && until_says ready && longest_gap 3 >/dev/null
}

pauses() {
	local mib
	for mib in 64 1536; do
		log "pause of a save, $mib MiB touched"
		boot_ours 2G $mib && say "pause.$mib" "$(save_pause one)"
		over
	done
}

blocks() { echo $(($(stat -c %b $image) / 2)); } # KiB

life() {
	local from kib n
	log "a machine with 512 MiB touched"
	fresh $image
	from=$(now_us)
	ours 1G 512 && until_says TINY-GUEST-IS-UP && say boot.tick $(($(now_us) - from)) && until_says ready || return
	longest_gap 3 >/dev/null
	say pause.512 "$(save_pause one)"
	kib=$(blocks)
	echo "dirty 16" >&4 && until_says dirty && longest_gap 3 >/dev/null
	say pause.second "$(save_pause two)"
	say second.kib $(($(blocks) - kib))
	./charmvm snapshot revert one vm && longest_gap 3 >/dev/null
	for kib in 4 64; do
		for n in 1 2 3 4 5; do revert $kib; done | sort -n | sed -n "3s/^/revert.$kib /p"
	done
	over
	log "a new process from a snapshot"
	for n in 1 2 3 4 5; do restore; done | sort -n | sed -n '3s/^/restore.tick /p'
}
restore() {
	local from
	from=$(now_us)
	ours 1G 512 --from one --discard && first_tick && echo $(($(now_us) - from))
	over
}

# To the first tick, as of a new process. The guest rests before: there is one processor, and the command would wait for a
# busy one, which has nothing to do with what a revert costs.
revert() { # MIB-DIRTIED
	local from
	echo "dirty $1" >&4 && until_says dirty && longest_gap 3 >/dev/null
	echo rest >&4 && until_says resting && sleep 0.1
	from=$(now_us)
	./charmvm snapshot revert one vm &
	first_tick && echo $(($(now_us) - from))
	wait $!
	longest_gap 3 >/dev/null
}

# A scientific program in a machine of its own: one that is booted, and one that goes on from where it was loaded before. Beside
# it what the program takes in a machine that runs, and what a machine takes for a program that does nothing.
numpy=(python3 -c 'import numpy')
timed() { # KEY COMMAND...
	local key=$1 from
	shift
	from=$(now_us)
	"$@" </dev/null >>errors 2>&1 && say "$key" $(($(now_us) - from))
}
run_in_one() { ./charmvm run --image images/python.qcow2 --net none "$@"; }
median() { sort -n -k 2 | sed -n 2p; } # of three
warm_up() {
	./charmvm up images/python.qcow2 --name warm --net none --detach && ./charmvm exec warm -- "${numpy[@]}" &&
		./charmvm exec warm -- true && ./charmvm snapshot save warm warm
}
runs() {
	local n
	log "a program in a machine of its own"
	cp "$dir/python.qcow2" images/ && timed run.cold run_in_one -- "${numpy[@]}" || return
	warm_up </dev/null >>errors 2>&1 || log "no warm machine: $(tail -n 1 errors)"
	for n in 1 2 3; do timed exec.numpy ./charmvm exec warm -- "${numpy[@]}"; done | median
	./charmvm stop --force warm >>errors 2>&1
	for n in 1 2 3; do timed run.warm run_in_one --from warm -- "${numpy[@]}"; done | median
	for n in 1 2 3; do timed run.true run_in_one --from warm -- true; done | median
}

# Memory of a process' own: not the guest's, which is a gibibyte of mappings side by side.
own_kib() { # PID
	awk '/^[0-9a-f]+-/ {
			split($1, range, "-")
			if (range[1] != end || $2 !~ /^rw/) { total += size < 524288 ? sum : 0; sum = size = 0 }
			end = range[2]
		}
		/^Size:/ { size += $2 }
		/^Anonymous:/ { sum += $2 }
		END { print total + (size < 524288 ? sum : 0) }' "/proc/$1/smaps"
}

# Forks of a machine that does nothing: one that is busy would be measured with each that comes after it.
forks() {
	local from n=50 pids kib
	log "$n forks"
	fresh $image
	idle 1G && until_says TINY-GUEST-IS-UP && sleep 1 && ./charmvm snapshot save one vm >>errors 2>&1 || return
	over
	from=$(now_us)
	./charmvm fork --image $image --from one --name f -n $n >>errors 2>&1 || log "fork failed: $(tail -n 1 errors)"
	say fork.each $((($(now_us) - from) / n))
	pids=$(pgrep -x charmvm | xargs)
	say fork.count "$(wc -w <<<"$pids")"
	kib=$(for p in $pids; do own_kib "$p"; done | sort -n | sed -n "$((n / 2))p")
	say fork.kib "${kib:-0}"
	pkill -KILL -x charmvm
	while pgrep -x charmvm >/dev/null; do sleep 0.1; done # who comes next would be measured with their end
	log "the floor: a virtual machine and no more"
	say floor.us "$(./floor $image 1024 20)"
}

peers() {
	local from
	[ -n "${BENCH_QEMU:-}" ] || return
	log "QEMU: savevm and loadvm"
	fresh $peer_image
	peer 1G 512 && until_says ready && longest_gap 3 >/dev/null || return
	monitor "savevm one" &
	say qemu.pause "$(stood_still $!)"
	longest_gap 1000000 >/dev/null & # one that was stopped when it was saved would stay so; somebody has to listen to it
	monitor "migrate_set_capability mapped-ram on"
	monitor "migrate file:images/mapped"
	kill $!
	over
	from=$(now_us)
	peer 1G 512 -loadvm one && first_tick && say qemu.restore $(($(now_us) - from))
	over
	from=$(now_us)
	peer 1G 512 -global migration.mapped-ram=on -incoming file:images/mapped && first_tick && say qemu.mapped $(($(now_us) - from))
	over
}

mkfifo in out
umount /run/lab/scratch /run/lab/fixed 2>/dev/null
make_disk || { log "no RAM disk"; exit 1; }
take "$dir/charmvm" charmvm && cp "$dir"/{vmlinux,initrd,floor} . || exit 1
if [ -n "${BENCH_QEMU:-}" ]; then
	take "$BENCH_QEMU/usr/bin/qemu-system-x86_64" qemu-system-x86_64 && mkdir share || exit 1
	cp -L "$BENCH_QEMU"/usr/share/qemu/{bios-256k,kvmvapic,linuxboot_dma,multiboot_dma,pvh}.bin \
		"$BENCH_QEMU"/usr/share/seabios/bios-256k.bin share/ 2>/dev/null
fi
cover || exit 1
export LD_LIBRARY_PATH=$stage/lib
life
forks
runs
peers
rm -f images/*.qcow2 images/mapped
pauses
