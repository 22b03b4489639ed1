#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Debian's own installer, from its CD with a blank image: its boot menu by SeaBIOS, and its first question on the serial console.
# INSTALLER_CD: made by tests/e2e/installer_cd.sh. Too long for every day: make test-slow.
# seconds: 1800
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

TEST_SECONDS=1700
patience=1200 # seconds that one step may take in a busy lab

start() { # OPTION...
	: >"$work/console"
	rm -f "$work/keys" "$work/blank.qcow2" && mkfifo "$work/keys"
	"$charmvm" image create -q -f qcow2 "$work/blank.qcow2" 4G || return
	"$charmvm" --image "$work/blank.qcow2" --firmware bios --cdrom "$INSTALLER_CD" --mem 1G --console stdio "$@" \
		<"$work/keys" >>"$work/console" 2>>"$work/log" &
	pid=$!
	exec 3>"$work/keys"
	trap 'kill -9 $pid 2>/dev/null' EXIT # of the test's own shell
}
# Without what moves the cursor and colours; what a line is overwritten with is a line of its own.
screen() { sed 's/\r\x1b\[[0-9]*;[0-9]*H//g; s/\x1b\[[0-9;?]*[A-Za-z]//g; s/\x1b(.//g' "$work/console" | tr '\r' '\n'; }
shows() { screen | grep -aq "$1"; }
waits_for() { eventually $patience shows "$1" || { cat "$work/log"; screen | grep -a . | tail -n 30; return 1; }; }

# Choose in the boot menu what is chosen already, with more on its command line. No VGA has its video mode 788: it asks, and goes on.
boot_with() { # TEXT
	waits_for 'TAB to edit' || return
	printf '\t' >&3
	waits_for 'vga=788' || return
	printf ' %s\r' "$1" >&3
	waits_for 'SPACE' || return
	printf ' ' >&3
}

installer_asks_its_first_question_on_the_serial_console() {
	start --net none
	boot_with console=ttyS0 && waits_for 'Select a language'
}

needs_kvm || { echo "0 passed, 0 failed, 1 skipped"; exit 0; }
run_tests installer_asks_its_first_question_on_the_serial_console
