#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `make run`: the main job. Boots the demo image; on a terminal its console is there, without one a
# computation is done in the guest over SSH, and the guest is powered off.
#
#   tools/demo.sh CHARMVM            as make calls it
#   tools/demo.sh --in-guest-test CHARMVM DISK     the part that runs where /dev/kvm is
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '[%3d s] %s\n' "$SECONDS" "$*" >&2; }

ssh_port=2211
answer_seconds=300 # a busy machine's lab is slow; an idle one's needs 15
key=${XDG_DATA_HOME:-$HOME/.local/share}/charmvm/user/id_ed25519
known_hosts=${XDG_DATA_HOME:-$HOME/.local/share}/charmvm/machines/charmed311/known_hosts

in_guest() {
	ssh -i "$key" -p "$ssh_port" -o IdentitiesOnly=yes -o ConnectTimeout=30 -o BatchMode=yes \
		-o HostKeyAlias=charmvm -o UserKnownHostsFile="$known_hosts" -o LogLevel=ERROR \
		charm@127.0.0.1 "$@"
}

# Where /dev/kvm is: boot, wait for SSH, compute, power off. Status 0 if all of it went well.
boot_and_compute() { # CHARMVM DISK
	local status end=$((SECONDS + answer_seconds))
	log=$(mktemp) # not local: the trap needs it
	say "booting: $1 --image $2 --mem 1G"
	"$1" --image "$2" --mem 1G --console "file:$log" </dev/null &
	vm=$!
	trap 'kill -9 "$vm" 2>/dev/null; rm -f "$log"' EXIT
	say "waiting for SSH on localhost:$ssh_port"
	until in_guest true 2>/dev/null; do
		kill -0 "$vm" 2>/dev/null || { tail -n 20 "$log"; say "the machine ended before SSH answered"; return 1; }
		((SECONDS < end)) || { tail -n 20 "$log"; say "SSH did not answer in $answer_seconds s"; return 1; }
		sleep 0.5
	done
	say "SSH answers; the guest computes"
	in_guest python3 - <<-'PYTHON'
		import platform, numpy
		a = numpy.random.default_rng(1).random((200, 200))
		q, r = numpy.linalg.qr(a)
		print(f"Python {platform.python_version()}, numpy {numpy.__version__}, Linux {platform.release()}:",
		      f"|QR - A| = {numpy.abs(q @ r - a).max():.1e}")
	PYTHON
	say "powering off"
	in_guest sudo poweroff || true
	status=0
	wait "$vm" || status=$?
	say "the machine ended with status $status"
	trap - EXIT
	rm -f "$log"
	return "$status"
}

if [ "$1" = --in-guest-test ]; then
	SECONDS=${DEMO_SECONDS:-0}
	boot_and_compute "$2" "$3"
	exit
fi

charmvm=$1
say "demo image: charmed311 (Debian 12, Python 3.11, numpy)"
image=$(guest-kit/demo-image charmed311)
# The cached image stays as it was built; the machine has a disk of its own, kept from run to run.
disk=${XDG_DATA_HOME:-$HOME/.local/share}/charmvm/demo/charmed311.qcow2
if [ ! -e "$disk" ]; then
	mkdir -p "$(dirname "$disk")"
	cp --reflink=auto --sparse=always "$image" "$disk.new"
	mv "$disk.new" "$disk"
fi
say "disk: $disk"

export DEMO_SECONDS=$SECONDS
if [ -t 0 ] && [ -t 1 ]; then
	exec tests/lab/lab run -- "$charmvm" --image "$disk" --mem 1G
fi
exec tests/lab/lab run --time 600 -- tools/demo.sh --in-guest-test "$charmvm" "$disk"
