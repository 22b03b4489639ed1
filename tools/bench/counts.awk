# SPDX-License-Identifier: Apache-2.0
# Counts what a trace of measure.c holds, one figure a line: NAME VALUE.
#
# Without phases: from the start of the VMM's program to the guest's first mark:
#   instructions, exits, user_exits, syscalls, vcpus (threads that ran a guest)
# With -v phases=N: for each phase P below N the same three counts and the instructions, as P.NAME.
# With -v detail=1: what they were instead, most frequent first, as KIND COUNT WHAT.

function hex(text,    value, i) {
	value = 0
	for (i = 1; i <= length(text); i++)
		value = value * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
	return value
}

# What follows word, up to the next blank.
function after(word,    at, rest) {
	at = index($0, word)
	if (!at)
		return ""
	rest = substr($0, at + length(word))
	sub(/[ ,].*/, "", rest)
	return rest
}

function on_mark(value, phase, part) {
	if (!phases) {
		if (value == 1) {
			end = time
			exit
		}
		return
	}
	if (value < 16 || value >= 16 + 4 * phases)
		return
	phase = int((value - 16) / 4)
	part = value % 4
	if (part == 0)
		start = time
	else if (part == 1)
		instructions[phase] = time - start
	else if (part == 2)
		exits = user_exits = syscalls = 0
	else
		counted[phase] = exits " " user_exits " " syscalls
}

!match($0, /\] [^ ]+ +[0-9]+: [a-z_]+: /) { next }

{
	split(substr($0, RSTART, RLENGTH), head, " ")
	time = head[3] + 0
	event = head[4]
}

event == "sched_process_exec:" && !begin { begin = time }
!begin { next }

event == "kvm_exit:" {
	exits++
	thread[substr($0, 1, RSTART)] = 1
	if (detail)
		seen["exit " after("reason ")]++
}
event == "kvm_userspace_exit:" {
	user_exits++
	if (detail)
		seen["user_exit " after("reason ")]++
}
event == "sys_enter:" {
	syscalls++
	if (detail)
		seen["syscall " after(" NR ")]++
}
event == "kvm_pio:" {
	if (detail)
		seen[(index($0, "pio_write") ? "out " : "in ") after(" at ")]++
	if (index($0, "pio_write at 0xf4 "))
		on_mark(hex(after("val 0x")))
}
event == "kvm_mmio:" && detail { seen["mmio_" after("mmio ") " " after("gpa ")]++ }
event == "kvm_msr:" && detail { seen[(index($0, "msr_read") ? "rdmsr " after("msr_read ") : "wrmsr " after("msr_write "))]++ }
event == "kvm_page_fault:" && detail { seen["page_fault all"]++ }

END {
	if (detail) {
		for (what in seen)
			print seen[what], what | "sort -rn"
		exit
	}
	if (!phases) {
		for (what in thread)
			vcpus++
		if (end)
			printf "instructions %.0f\nexits %d\nuser_exits %d\nsyscalls %d\nvcpus %d\n",
				end - begin, exits, user_exits, syscalls, vcpus
		exit !end
	}
	for (phase = 0; phase < phases; phase++) {
		if (!(phase in counted))
			exit 1
		split(counted[phase], count, " ")
		printf "%d.instructions %.0f\n%d.exits %d\n%d.user_exits %d\n%d.syscalls %d\n",
			phase, instructions[phase], phase, count[1], phase, count[2], phase, count[3]
	}
}
