#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tests of the lab itself, with the lab whether or not there is a /dev/kvm. Every case can fail:
# it compares what was seen with what must be seen.
set -uo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
lab=$here/lab
work=$(mktemp -d)
port=$((20000 + RANDOM % 2000))
started=''
trap 'for p in $started; do kill -KILL "$p" 2>/dev/null; done; rm -rf "$work"' EXIT
mkdir "$work/scratch"
export LAB_SCRATCH_DIR=$work/scratch
passed=0 failed=0
# On a machine that never had a lab: what is downloaded and built once, and told, is no part of what the runs below say.
"$lab" prepare || exit

is() # WHAT GOT WANTED
{
	if [ "$2" = "$3" ]; then
		passed=$((passed + 1))
		echo "ok $((passed + failed)) - $1"
	else
		failed=$((failed + 1))
		echo "not ok $((passed + failed)) - $1"
		printf '# got:    %q\n# wanted: %q\n' "$2" "$3"
	fi
}

within() # SECONDS COMMAND...: until it succeeds
{
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.1
	done
}

begin() # LAB-ARG...: in the background, its process in $wrapper, its output in $work/out
{
	"$lab" run --force --quiet "$@" >"$work/out" 2>"$work/err" </dev/null &
	wrapper=$!
	started+=" $wrapper"
}

qemu_of() # PROCESS: its child QEMU
{
	local children p
	read -ra children <"/proc/$1/task/$1/children"
	for p in "${children[@]}"; do
		grep -q '^qemu' "/proc/$p/comm" 2>/dev/null && echo "$p"
	done
}

gone() # PROCESS, or just its zombie
{
	[ ! -e "/proc/$1" ] || grep -q '^State:.*Z' "/proc/$1/status"
}

taken() # PORT on ADDRESS
{
	(exec 3<>"/dev/tcp/$1/$2") 2>/dev/null
}

"${CC:-cc}" -std=gnu17 -O2 -o "$work/helper" "$here/selftest_helper.c" || exit 1

# --- wrong usage, without the lab ---------------------------------------------------------------
"$lab" run --memory 1G -- true 2>/dev/null
is "an unknown option is refused" $? 2
"$lab" run --mem lots -- true 2>/dev/null
is "a size that is none is refused" $? 2
"$lab" run 2>/dev/null
is "a run without a command is refused" $? 2
LAB_QEMU=no-such-qemu "$lab" run --force -- true 2>"$work/err"
is "a missing QEMU is a failure of the lab" $? 125
is "and the package is named" "$(grep -o qemu-system-x86$ "$work/err")" qemu-system-x86

# --- streams, status, KVM -----------------------------------------------------------------------
cat >"$work/job" <<'END'
"$1/helper" kvm
echo "nested: $("$2" run -- echo direct 2>&1 | tr '\n' ' ')"
echo "place: $(pwd) $WORD $(id -u)"
echo "direct: $(dd if=/dev/zero of="$LAB_SCRATCH/file" bs=4096 count=1 oflag=direct 2>&1 | grep -c copied)"
echo "tmpdir: $(df --output=fstype "$TMPDIR" | tail -n 1)"
echo "kvm: $(stat -c %a /dev/kvm) $(test -d /sys/kernel/debug/kvm && ls /sys/kernel/tracing/events | grep -x kvm)"
echo "dns: $(grep -c nameserver /etc/resolv.conf)"
echo "late: $(($(date +%s) - $(stat -c %Y "$1/stamp"))) s"
echo kept >"$1/made"
printf 'to error\n' >&2
cat
exit 42
END
(
	cd "$work" || exit
	touch stamp
	printf 'raw \r\n\001\377 bytes' |
		WORD='two  words' "$lab" run --force -- sh "$work/job" "$work" "$lab" >out 2>err
	echo $? >status
)
is "the command's status comes back" "$(cat "$work/status")" 42
is "a real-mode guest runs on KVM" "$(sed -n 1p "$work/out")" "sum 5050"
is "with a usable /dev/kvm the lab steps aside" "$(sed -n 's/^nested: //p' "$work/out")" \
	"lab: /dev/kvm is usable, running without the lab direct "
is "directory, environment and user are the caller's" \
	"$(sed -n 's/^place: //p' "$work/out")" "$work two  words $(id -u)"
is "the scratch disk takes O_DIRECT" "$(sed -n 's/^direct: //p' "$work/out")" 1
is "and has TMPDIR" "$(sed -n 's/^tmpdir: //p' "$work/out")" ext4
is "KVM is open to everyone, with counters and events" "$(sed -n 's/^kvm: //p' "$work/out")" "666 kvm"
is "there is a name server" "$(sed -n 's/^dns: //p' "$work/out")" 1
skew=$(sed -n 's/^late: \(.*\) s$/\1/p' "$work/out")
is "the clock is right" "$([ "${skew:--1}" -ge 0 ] && [ "$skew" -lt 60 ] && echo yes)" yes
is "bytes pass unchanged from input to output" "$(tail -c 14 "$work/out" | od -c)" \
	"$(printf 'raw \r\n\001\377 bytes' | od -c)"
is "standard error is separate, after one line of the lab's" "$(grep -v ^lab: "$work/err")" "to error"
is "what the command wrote is there" "$(cat "$work/made" 2>&1)" kept
is "no scratch file is left" "$(ls "$work/scratch")" ""

# --- limits and ends ----------------------------------------------------------------------------
"$lab" run --force --quiet --time 5 -- sh -c 'trap "echo asked; exit 9" TERM; sleep 1000 & wait' \
	>"$work/out" 2>/dev/null
is "time up is status 124" $? 124
is "after SIGTERM to the command" "$(cat "$work/out")" asked

"$lab" run --force --quiet --root -- sh -c 'echo c >/proc/sysrq-trigger' >/dev/null 2>"$work/err"
is "a panic of the lab's kernel is status 125" $? 125
is "and its words are shown" "$(grep -c 'Kernel panic' "$work/err")" 1

"$work/helper" serve $((port + 1)) >/dev/null &
started+=" $!"
begin --ports "$port-$((port + 1))" -- \
	sh -c "'$work/helper' serve $((port + 1)) >/dev/null & exec '$work/helper' serve $port"
within 100 grep -q serving "$work/out"
within 10 taken 127.0.0.1 "$port"
is "a port of the lab's appears here" $? 0
"$work/helper" call 127.0.0.1 "$port" 100000 20
is "many connections at once keep their bytes and half-close" $? 0
if grep -q . /proc/net/if_inet6; then
	"$work/helper" call ::1 "$port" 1000 1
	is "on the IPv6 loopback, too" $? 0
fi
within 10 grep -q taken "$work/err"
is "a port taken here is told of, once" "$(cat "$work/err")" \
	"lab: port $((port + 1)) is not passed on: it is taken on this machine"
qemu=$(qemu_of "$wrapper")
kill -TERM "$wrapper"
wait "$wrapper"
is "SIGTERM reaches the command" $? 143
is "its QEMU is gone" "$(gone "$qemu" && echo gone)" gone
taken 127.0.0.1 "$port"
is "and so is the port" $? 1

begin -- sh -c 'echo up; sleep 100'
within 100 grep -q up "$work/out"
qemu=$(qemu_of "$wrapper")
is "QEMU runs while the command does" "$([ -n "$qemu" ] && echo runs)" runs
kill -KILL "$wrapper"
wait "$wrapper" 2>/dev/null
within 5 gone "$qemu"
is "QEMU dies with a wrapper that was killed" $? 0
is "nothing of it is left" "$(ls "$work/scratch")" ""

# --- terminal -----------------------------------------------------------------------------------
if command -v script >/dev/null; then
	script -qec "stty rows 31 cols 97; stty -g >$work/before
		$lab run --force --quiet -- sh -c 'stty size; test -t 2 && tty'; echo \"status \$?\"
		stty -g >$work/after" /dev/null </dev/null >"$work/out" 2>&1
	is "on a terminal the command has one, of the same size" \
		"$(tr -d '\r' <"$work/out" | grep -oE '(31 97|/dev/pts/.*|status.*)$' | tr '\n' ' ')" "31 97 /dev/pts/0 status 0 "
	is "the terminal is restored" "$(cat "$work/after")" "$(cat "$work/before")"
fi

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
