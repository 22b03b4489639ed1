#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# vmm/tutorial.md, read and done as it stands there: each command of its console blocks, one after the other in one shell, must end
# with status 0 and say what is shown under it. A block behind a line "<!-- slow" is done with SLOW=1 only (make test-slow).
# A shown line stands for one of the output, "..." in it for anything and a line of nothing else for any lines, none too.
# seconds: 1200
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

TEST_SECONDS=1150 # of a busy lab

tutorial=${TUTORIAL:-vmm/tutorial.md}

# Prints "$ LINE-NUMBER COMMAND" and behind it what is shown, a line each with "| ".
commands_of() { # FILE
	awk -v slow="${SLOW:-}" '
		/^<!-- slow/ { skip = !slow }
		/^```console/ { on = !skip; skip = 0; next }
		/^```/ { on = 0 }
		on && /^\$ / { print "$ " NR " " substr($0, 3); next }
		on { print "| " $0 }' "$1"
}

# Is $1, lines with "..." in them, what the file $2 says? As a pattern of the shell, where \1 is the end of a line until it is whole.
says() { # SHOWN FILE
	local pattern
	pattern=$(sed 's/[^[:alnum:] .]/\\&/g; /^\.\.\.$/{s//*(*\x01)/; b}; s/\.\.\./*([!\x01])/g; s/$/\x01/' <<<"$1" | tr -d '\n' | tr '\1' '\n'; echo .)
	# shellcheck disable=SC2053 # a pattern is wanted
	[[ $(<"$2")$'\n' == ${pattern%.} ]]
}

# One command with what is shown under it. In this shell, since later ones go on from what it leaves (cd, export).
do_command() { # LINE-NUMBER COMMAND SHOWN
	local start=$SECONDS status
	eval "$2" >"$work/said" 2>&1 </dev/null
	status=$?
	echo "$tutorial:$1: $2 ($((SECONDS - start)) s)"
	expect "$status" 0 "exit status" && { [ -z "$3" ] || says "$3" "$work/said"; } && return
	printf 'shown:\n%s\nsaid:\n' "$3"
	head -n 40 "$work/said"
	return 1
}

do_tutorial() { # FILE
	local number='' command='' shown='' line n=0
	while IFS= read -r line <&9 || [ "$command" ]; do
		case $line in
		'| '*) shown+=${shown:+$'\n'}${line#| }; continue ;;
		esac
		[ -z "$command" ] || do_command "$number" "$command" "$shown" || return
		read -r _ number command <<<"$line"
		shown='' n=$((n + 1))
	done 9< <(commands_of "$1")
	[ "$n" -gt 1 ]
}

newcomer() {
	export XDG_CACHE_HOME=${XDG_CACHE_HOME:-$HOME/.cache}
	export HOME=$work/home
	unset CHARMVM MAKEFLAGS MAKELEVEL
	mkdir -p "$HOME"
}
every_command_does_what_is_shown() {
	newcomer
	do_tutorial "$tutorial"
}

# What would make the test above say nothing.
tells() { # STATUS LINE...
	local wanted=$1
	shift
	printf '%s\n' '```console' "$@" '```' >"$work/tutorial.md"
	(do_tutorial "$work/tutorial.md") >"$work/told" 2>&1
	expect $? "$wanted" "status for: $*"
}
wrong_line_or_status_is_told() {
	# shellcheck disable=SC2016 # that is for the tutorial's shell
	tells 0 '$ x=1' '$ echo one; echo two' '...' 'two' '$ echo a b c$x d' 'a ...c1 ...' &&
		tells 1 '$ true' '$ false' && tells 1 '$ true' '$ echo 45' '46' &&
		tells 1 '$ true' '$ echo one; echo two' 'one' && tells 1 '$ true' '$ echo one' 'one' 'two' &&
		tells 1 '$ true' '$ echo axb' 'a...c' &&
		tells 1 '$ true' '$ echo b' '...' 'a' '...' && tells 1 'no command'
}

needs_kvm || { echo "0 passed, 0 failed, 1 skipped"; exit 0; }
run_tests wrong_line_or_status_is_told every_command_does_what_is_shown
