#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Guests with several vCPUs: they come up; they are saved and reverted while all of them work. On real KVM.
# seconds: 300
# shellcheck source=tests/e2e/count_lib.sh
. "$(dirname "$0")/count_lib.sh"

four_vcpus_come_up() {
	boots "$kernels/cloud-6.1/vmlinux" --cpus 4 --append "console=ttyS0 tiny.do=poweroff" &&
		grep -aq 'Brought up 1 node, 4 CPUs' "$work/console"
}
sixteen_vcpus_come_up() {
	boots "$kernels/cloud-6.1/vmlinux" --cpus 16 --append "console=ttyS0 tiny.do=poweroff" &&
		grep -aq 'Brought up 1 node, 16 CPUs' "$work/console"
}
four_vcpus_are_saved_and_reverted_while_they_work() {
	local saved first
	boot_counting 4 || return
	"$charmvm" snapshot save one vm || return
	saved=$(last "$work/console")
	eventually 30 counts_in "$work/console" $(($(counts "$work/console" | wc -l) + 4)) || return
	"$charmvm" snapshot revert one vm || return
	: >"$work/console"
	eventually 30 counts_in "$work/console" 2 || { echo "silent after the revert"; return 1; }
	first=$(counts "$work/console" | sed -n 2p | cut -d' ' -f2)
	((first <= saved + 4)) || { echo "saved at $saved, at $first after the revert"; return 1; }
	end_machine vm && image_is_sound one
}

run_tests four_vcpus_come_up sixteen_vcpus_come_up four_vcpus_are_saved_and_reverted_while_they_work
