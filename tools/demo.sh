#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `make run`: what charmvm is for, in the commands of every day. A machine with its ports, Python in it, a snapshot, an accident that
# takes everything, and a revert; on a terminal then a shell in the machine. It is a throw-away: nothing of it stays, also after Ctrl-C.
#
#   tools/demo.sh CHARMVM                     as make calls it
#   tools/demo.sh --here DIRECTORY IMAGE      the part that runs where /dev/kvm is; DIRECTORY has a charmvm
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '[%3d s] %s\n' "$SECONDS" "$*" >&2; }
# A command as a person would type it, which may fail when that is what is to be seen.
show() {
	printf '\n[%3d s] $ %s\n' "$SECONDS" "$*" >&2
	"$@"
}

machine=charmed311
# Its files, keys and records are its own: a machine of that name that the user has is not touched.
own_place() {
	work=$(mktemp -d "${TMPDIR:-/var/tmp}/charmvm-demo.XXXXXX")
	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	export XDG_DATA_HOME=$work/data XDG_RUNTIME_DIR=$work/run XDG_CONFIG_HOME=$work/config
	mkdir "$XDG_RUNTIME_DIR" "$XDG_DATA_HOME"
}
clean_up() {
	local status=$? try
	trap '' INT TERM HUP
	# One that is being started at this moment has no name yet.
	for try in 1 2 3; do
		if charmvm stop $machine --now 2>/dev/null || [ "$status" = 0 ]; then break; fi
		[ "$try" = 3 ] || sleep 0.5
	done
	rm -rf "$work"
	exit "$status"
}

computes() { show charmvm exec $machine -- python3 qr.py; }

# The accident: rm names each of the thousands of files that it cannot delete.
lose_everything() {
	printf '\n[%3d s] $ charmvm exec %s -- sudo rm -rf --no-preserve-root /\n' "$SECONDS" $machine >&2
	charmvm exec $machine -- sudo rm -rf --no-preserve-root / >/dev/null 2>&1 || true
	! computes || { say "it should be dead, and is not"; return 1; }
	say "nothing works in there any more"
}

tell_what_next() {
	cat >&2 <<-END

		That was one process, and one file. What next:
		  vmm/tutorial.md              the same at your own pace, a notebook in your browser, and machines to give away
		  make install prefix=\$HOME/.local
		  charmvm up $machine          a machine that stays, in $machine.qcow2 of the current directory
		  man charmvm                  all commands
	END
}

demo() { # IMAGE
	own_place
	say "a disk of its own, in $work"
	cp --reflink=auto --sparse=always "$1" "$work/$machine.qcow2"
	cd "$work"
	cat >qr.py <<-'PYTHON'
		import numpy, platform
		a = numpy.random.default_rng(1).random((200, 200))
		q, r = numpy.linalg.qr(a)
		print(f"Python {platform.python_version()}, numpy {numpy.__version__}, Linux {platform.release()}:",
		      f"|QR - A| = {numpy.abs(q @ r - a).max():.1e}")
	PYTHON
	# It waits for five minutes, which a machine without /dev/kvm that has much to do may need more of.
	show charmvm up $machine --detach || show charmvm wait $machine ssh --time 15m
	show charmvm cp qr.py $machine:
	computes
	show charmvm snapshot save fresh --note 'before the accident'
	lose_everything
	show charmvm snapshot revert fresh
	computes
	say "everything is back, in the same process"
	if [ -t 0 ] && [ -t 1 ]; then
		say "now you: a shell in the machine; 'exit' leaves, and the machine is thrown away"
		show charmvm ssh $machine || true
	fi
	show charmvm stop $machine --now
	tell_what_next
}

if [ "$1" = --here ]; then
	SECONDS=${DEMO_SECONDS:-0}
	PATH=$2:$PATH
	demo "$3"
	exit
fi

say "the image charmed311: Debian 12, Python 3.11, numpy"
image=$(guest-kit/demo-image $machine)
export DEMO_SECONDS=$SECONDS
exec tests/lab/lab run -- tools/demo.sh --here "$(dirname "$(readlink -f "$1")")" "$image"
