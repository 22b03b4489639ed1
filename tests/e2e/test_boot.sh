#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Kernels boot, and the machine ends or starts again as its guest says. A tiny guest, on real KVM.
# Guests with several vCPUs are in tests/e2e/test_smp.sh.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

generic_6_1_kernel_boots() { boots "$kernels/generic-6.1/vmlinuz"; }
cloud_6_1_kernel_boots() { boots "$kernels/cloud-6.1/vmlinuz"; }
cloud_6_12_kernel_boots() { boots "$kernels/cloud-6.12/vmlinuz"; }
uncompressed_kernel_boots_by_pvh() { boots "$kernels/cloud-6.1/vmlinux"; }
smallest_memory_boots() { boots "$kernels/cloud-6.1/vmlinux" --mem 96M; }
memory_on_both_sides_of_the_hole_is_there() {
	boots "$kernels/cloud-6.1/vmlinux" --mem 4500M --append \
		"console=ttyS0 tiny.do=poweroff" || return
	# The guest's own count, in KiB: all of it but what the kernel keeps for itself.
	local kib
	kib=$(grep -aoE 'Memory: [0-9]+K/[0-9]+K' "$work/console" | sed 's|.*/||; s|K||')
	((kib > 4500 * 1024 - 2048)) || { echo "the guest sees $kib KiB"; return 1; }
}
guest_uses_kvm_clock_x2apic_and_its_tsc() {
	boots "$kernels/generic-6.1/vmlinux" --append "console=ttyS0 tiny.do=poweroff" &&
		grep -aq 'kvm-clock: Using msrs' "$work/console" &&
		grep -aqi 'x2apic' "$work/console" &&
		! grep -aqiE 'calibrat.*(fail|PIT)' "$work/console"
}

# again ACTION: the guest's second boot comes from the same process, which is then stopped by two signals.
again() {
	local pid status=0
	: >"$work/console"
	"$charmvm" --kernel "$kernels/cloud-6.1/vmlinux" --initrd "$tiny_initrd" --net none \
		--append "console=ttyS0 quiet panic=1 $1" --console "file:$work/console" </dev/null 2>"$work/log" &
	pid=$!
	eventually 100 has_booted 2 || { cat "$work/log" "$work/console"; return 1; }
	ask_twice TERM TERM || return
	ends_within 30 $pid || status=$?
	expect $status 143 "exit status after two SIGTERM"
}
reboot_boots_again_in_the_same_process() { again tiny.do=reboot; }
panic_with_reboot_boots_again() { again tiny.do=panic; }
triple_fault_boots_again() { again "tiny.do=triple reboot=t"; }

stopped_guest_does_not_keep_the_process() {
	local pid status=0
	: >"$work/console" # of the test before: its marker is not this guest's
	"$charmvm" --kernel "$kernels/cloud-6.1/vmlinux" --initrd "$tiny_initrd" --net none \
		--append "console=ttyS0 quiet tiny.do=spin" --console "file:$work/console" </dev/null 2>"$work/log" &
	pid=$!
	eventually 100 has_booted 1 || return
	ask_twice INT HUP || return
	ends_within 30 $pid || status=$?
	expect $status 129 "exit status"
}

input_from_a_pipe_reaches_the_guest() {
	(
		eventually 100 grep -aq TINY-GUEST-IS-UP "$work/out2"
		sleep 1
		echo hello from a pipe
		sleep 2
		echo quit
	) | timeout 120 "$charmvm" --kernel "$kernels/cloud-6.1/vmlinux" --initrd "$tiny_initrd" --net none \
		--append "console=ttyS0 quiet tiny.do=echo" >"$work/out2" 2>"$work/log"
	expect $? 0 "exit status" && [ "$(grep -ac 'hello from a pipe' "$work/out2")" -ge 1 ]
}

run_tests generic_6_1_kernel_boots cloud_6_1_kernel_boots cloud_6_12_kernel_boots \
	uncompressed_kernel_boots_by_pvh smallest_memory_boots memory_on_both_sides_of_the_hole_is_there \
	guest_uses_kvm_clock_x2apic_and_its_tsc \
	reboot_boots_again_in_the_same_process panic_with_reboot_boots_again triple_fault_boots_again \
	stopped_guest_does_not_keep_the_process input_from_a_pipe_reaches_the_guest
