#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The part of start.sh that runs where /dev/kvm is, as root. Prints "NAME KEY VALUE..." lines, of guest/start.sh.
#
# Usage: start_lab.sh CHARMVM NAME=IMAGE...
set -u

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
stage=/run/bench-$$
mkdir -p "$stage/home" || exit 1
cd "$stage" || exit 1
trap 'cd /; rm -rf "$stage"' EXIT
export HOME=$stage/home XDG_RUNTIME_DIR=$stage/home XDG_DATA_HOME=$stage/home TMPDIR=$stage
# In memory, and run once: else waiting for the lab's own files would be measured.
cp "$1" charmvm && ./charmvm --version >/dev/null || exit
shift

start_it() { # NAME
	./charmvm --image "$1.qcow2" --mem 1G --console none --detach --no-wait >/dev/null 2>said || { cat said >&2; return 1; }
}

measure() { # NAME IMAGE
	local start status=0
	cp --sparse=always "$2" "$1.qcow2" || return
	# Keys are made by the first machine of a name, once, and the files that this takes are read: that is no part of a start.
	start_it "$1" && ./charmvm stop "$1" --now || return
	start=$EPOCHREALTIME
	start_it "$1" || return
	# The clock goes by instructions, and stands while nothing is executed: this lets the guest alone until it has booted.
	sleep 30
	echo "start ${start/./}" | sed "s/^/$1 /"
	./charmvm exec "$1" --user root --time 10m -- sh -s <"$here/guest/start.sh" | sed "s/^/$1 /"
	status=${PIPESTATUS[0]}
	./charmvm stop "$1" --now
	rm "$1.qcow2"
	return "$status"
}

for one; do
	measure "${one%%=*}" "${one#*=}" || { echo "bench: start: ${one%%=*} was not measured" >&2; exit 1; }
done
