# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What end-to-end tests share. A test is a function whose name says the behaviour; it fails by returning
# non-zero, and what it printed is then shown. `run_tests NAME...` runs them and adds up.

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
charmvm=${CHARMVM:-$PWD/${BUILD:-build}/charmvm}
work=$(mktemp -d "${LAB_SCRATCH:-${TMPDIR:-/tmp}}/charmvm-e2e.XXXXXX")
export XDG_RUNTIME_DIR=$work/run XDG_DATA_HOME=$work/data XDG_CONFIG_HOME=$work/config
mkdir -p "$XDG_RUNTIME_DIR" "$XDG_DATA_HOME"
trap 'stop_all; rm -rf "$work"' EXIT

stop_all() {
	local pid
	for pid in $(jobs -p); do kill -9 "$pid" 2>/dev/null; done
	wait 2>/dev/null
}

# Waits until the words that follow succeed as a command; fails after $1 seconds.
eventually() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < end)) || { echo "after the time allowed, still not: $*"; return 1; }
		sleep 0.3
	done
}

# ends_within SECONDS PID: the exit status of that child; one that goes on is killed (137).
ends_within() {
	timeout "$1" tail -s 0.1 --pid="$2" -f /dev/null || {
		echo "process $2 is still there after $1 s"
		kill -9 "$2"
	}
	wait "$2"
}

# Asks process $pid twice to end. The second signal waits until the first was taken: two of one kind that are both
# still pending are one.
ask_twice() { # FIRST SECOND [LOG]
	kill "-$1" "$pid"
	eventually 30 grep -q 'asked the guest to power down' "${3:-$work/log}" || return
	kill "-$2" "$pid"
}

# expect VALUE WANTED WHAT
expect() {
	[ "$1" = "$2" ] || { echo "$3 is '$1', not '$2'"; return 1; }
}

needs_kvm() {
	tests/lab/lab usable || { echo "no usable /dev/kvm here"; return 77; }
}

has_booted() { [ "$(markers)" -ge "$1" ]; } # at least $1 times

run_tests() {
	local passed=0 failed=0 skipped=0 name start status
	for name; do
		start=$SECONDS
		("$name") >"$work/out" 2>&1 &
		ends_within "${TEST_SECONDS:-400}" $! # whatever it waits for
		status=$?
		case $status in
		0) passed=$((passed + 1)); echo "ok $name ($((SECONDS - start)) s)" ;;
		77) skipped=$((skipped + 1)); echo "skip $name: $(tail -n 1 "$work/out")" ;;
		*)
			failed=$((failed + 1))
			sed 's/^/  /' "$work/out" | tail -n 40
			echo "FAILED $name (status $status, $((SECONDS - start)) s)"
			;;
		esac
	done
	echo "$passed passed, $failed failed$([ $skipped = 0 ] || echo ", $skipped skipped")"
	[ $failed = 0 ]
}

# ---- a tiny guest: kernel, busybox, and one thing to do (guest-kit/tiny-initrd says which)

export kernels=${XDG_CACHE_HOME:-$HOME/.cache}/charmvm/kernels # filled by guest-kit/fetch-kernel
tiny_initrd=${TINY_INITRD:-}				# made by guest-kit/tiny-initrd

export count_initrd=${COUNT_INITRD:-} # the same with tests/e2e/count.sh, and drivers for its disk

# tiny KERNEL ACTION [CHARMVM-OPTION...]: runs it to its end; console in $work/console, messages in $work/log.
tiny() {
	local kernel=$1 action=$2
	shift 2
	: >"$work/console"
	timeout -k 5 "${TINY_SECONDS:-120}" "$charmvm" --kernel "$kernel" --initrd "$tiny_initrd" --net none \
		--append "console=ttyS0 quiet panic=1 $action" --console "file:$work/console" "$@" \
		</dev/null >"$work/log" 2>&1
}
# It boots once and powers off.
boots() { # KERNEL [OPTION...]
	tiny "$1" tiny.do=poweroff "${@:2}"
	if ! expect $? 0 "exit status" || ! expect "$(markers)" 1 "number of boots"; then
		cat "$work/log" "$work/console"
		return 1
	fi
}
markers() { grep -ac TINY-GUEST-IS-UP "$work/console"; }
