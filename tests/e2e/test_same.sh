#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The same Charmfile and the same versions of packages are the same tree of files, but for times and logs. Each is made twice, which takes
# too long for every day: make test-slow.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

TEST_SECONDS=1800
demo=$(guest-kit/demo-image charmed311) || exit

# The files of an image, in $work/NAME: contents in files/, names, modes and owners in list.
unpack() { # IMAGE NAME
	mkdir -p "$work/$2/files"
	qemu-img convert -O raw "$1" "$work/$2/raw" && debugfs -R "rdump / $work/$2/files" "$work/$2/raw?offset=1048576" >/dev/null 2>&1 || return
	rm -r "$work/$2/raw" "$work/$2/files/var/log"
	(cd "$work/$2/files" && find . -printf '%p %m %U %G %l\n' | LC_ALL=C sort) >"$work/$2/list"
	[ "$(wc -l <"$work/$2/list")" -gt 5000 ] # as root: others own all that they unpack
}
differ() { # IMAGE IMAGE
	rm -rf "$work/a" "$work/b"
	unpack "$1" a && unpack "$2" b || return 2
	! { diff "$work"/{a,b}/list && diff -rq --no-dereference "$work"/{a,b}/files; }
}
same() { ! differ "$@"; }
# With a cache of its own, which would else have the new one.
build_in() { # DIRECTORY
	XDG_CACHE_HOME=$1/cache "$charmvm" build charmed311 -o "$1/charmed311.qcow2" 2>"$work/said" || { cat "$work/said"; return 1; }
	rm -r "$1/cache"
}
packages() { "$charmvm" image packages "$1"; }

recipe_made_twice_is_the_same_tree() {
	local first=$demo
	build_in "$work/2" || return
	# The one in the cache may be of a time when there were other packages.
	if [ "$(packages "$first")" != "$(packages "$work/2/charmed311.qcow2")" ]; then
		first=$work/1/charmed311.qcow2
		build_in "$work/1" || return
	fi
	same "$first" "$work/2/charmed311.qcow2"
}
steps_done_twice_leave_the_same_tree() {
	printf '%s\n' "FROM $demo" 'ENV A=1' 'RUN apt-get --version >/version; useradd mia; python3 -m compileall -q /usr/lib/python3/dist-packages/numpy/core' 'COPY Charmfile /srv/' \
		'USER charm' 'RUN date +%Y >.year; python3 -m venv --without-pip own' 'MEM 512M' >"$work/Charmfile"
	cat >"$work/twice" <<-END
		cd "$work" || exit
		export XDG_CACHE_HOME=\$TMPDIR/cache
		for n in 1 2; do "$charmvm" build --no-cache -o "$work/\$n/steps.qcow2" || exit; done
	END
	XDG_RUNTIME_DIR='' tests/lab/lab run --quiet --ports none --time 1500 -- bash "$work/twice" || return
	same "$work"/{1,2}/steps.qcow2
}
one_file_more_is_told() {
	mkdir -p "$work/3" && qemu-img convert -O raw "$demo" "$work/3/raw" && debugfs -w -R 'write /etc/passwd /srv/more' "$work/3/raw?offset=1048576" 2>/dev/null || return
	differ "$demo" "$work/3/raw" | grep '/srv/more'
}

mkdir "$work/1" "$work/2"
run_tests one_file_more_is_told recipe_made_twice_is_the_same_tree steps_done_twice_leave_the_same_tree
