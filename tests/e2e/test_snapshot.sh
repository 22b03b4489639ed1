#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A running Linux is saved, reverted and started again: memory, devices and disk of one instant. On real KVM. The
# guest counts (tests/e2e/count.sh): in memory, then on the disk, then on its console.
# The same with several vCPUs: tests/e2e/test_smp.sh.
# shellcheck source=tests/e2e/count_lib.sh
. "$(dirname "$0")/count_lib.sh"

new_process_goes_on_with_memory_and_disk_of_one_instant() {
	local before after second disk
	boot_counting 1 || return
	before=$(last "$work/console")
	"$charmvm" snapshot save one vm --note 'while it counts' || return
	after=$(last "$work/console")
	eventually 30 counts_in "$work/console" $((after + 3)) || return # the save did not stop it
	end_machine vm || return
	image_is_sound one || return
	start "$work/console2" --name vm2 --from one --discard
	eventually 60 counts_in "$work/console2" 5 || { cat "$work/log" "$work/console2"; return 1; }
	second=$(counts "$work/console2" | sed -n 2p | cut -d' ' -f2)
	((second > before && second <= after + 3)) ||
		{ echo "it went on at $second; it was saved between $before and $after"; return 1; }
	end_machine vm2 || return
	disk=$(saved_disk one)
	((disk == second - 1 || disk == second - 2)) ||
		{ echo "memory had counted to $((second - 1)), the disk of the snapshot to $disk"; return 1; }
	grep -aq 'random: crng reseeded due to virtual machine fork' "$work/console2" ||
		{ echo "its random numbers were not reseeded"; tail -n 5 "$work/console2"; return 1; }
	image_is_sound one && forks_where_nothing_can_be_written
}
# A read-only view of the lab's scratch disk; elsewhere nobody mounts one for us.
forks_where_nothing_can_be_written() {
	local fixed=/run/lab/fixed/${work#"${LAB_SCRATCH:-}"}
	[ -d "$fixed" ] || return 0
	! touch "$fixed/x" 2>/dev/null || { echo "$fixed can be written to"; return 1; }
	"$charmvm" fork --image "$fixed/count.qcow2" --from one --name fixed >/dev/null || return
	eventually 60 fork_counts fixed-1 4 || { "$charmvm" logs fixed-1; return 1; }
	"$charmvm" stop fixed-1 --now && image_is_sound one
}

# Boots are what these tests take their time for, so this is one machine for two behaviours.
reverted_machine_counts_again_and_forks_run_beside_it() {
	boot_counting 1 || return
	"$charmvm" snapshot save warm vm || return
	reverts "$(last "$work/console")" && forks "$pid"
}
reverts() { # COUNT-WHEN-SAVED
	local saved=$1 round at first
	for round in 1 2; do
		at=$(counts "$work/console" | wc -l)
		eventually 30 counts_in "$work/console" $((at + 4)) || { echo "round $round"; return 1; }
		at=$(last "$work/console")
		"$charmvm" snapshot revert warm vm || return
		: >"$work/console" # what follows comes behind a hole, which is no line
		eventually 30 counts_in "$work/console" 2 || { echo "silent after revert $round"; return 1; }
		first=$(counts "$work/console" | sed -n 2p | cut -d' ' -f2)
		((first <= saved + 4)) ||
			{ echo "saved at $saved, at $at before the revert, at $first after"; return 1; }
	done
}
forks() { # PID-OF-THE-ORIGINAL
	local name
	"$charmvm" fork vm --from warm -n 3 --json >"$work/forks" || { cat "$work/log"; return 1; }
	expect "$(jq -r '.[].name' "$work/forks" | sort | xargs)" "count count-2 count-3" "names of the forks" || return
	for name in count count-2 count-3; do
		eventually 60 fork_counts "$name" 6 || { "$charmvm" logs "$name"; return 1; }
	done
	"$charmvm" snapshot delete warm vm 2>"$work/stderr" && { echo "deleted in use"; return 1; }
	grep -q 'other machines run from it' "$work/stderr" || { cat "$work/stderr"; return 1; }
	# The guest hears of its new life a moment after it has begun: its first numbers may still be old ones.
	for name in 1 2 3; do counts "$work/console.$(jq -r ".[$name - 1].name" "$work/forks")" | sed -n 4,6p; done >"$work/drawn"
	expect "$(cut -d' ' -f3 "$work/drawn" | sort -u | wc -l)" 9 "how many different random numbers they drew" || return
	kill -9 "$(jq '.[1].pid' "$work/forks")"
	for name in $(jq -r '.[0, 2].name' "$work/forks"); do "$charmvm" stop "$name" --now || return; done
	forks_leave_one_snapshot_behind || return
	"$charmvm" fork vm --from warm --keep "$work/own.qcow2" || { cat "$work/log"; return 1; }
	eventually 10 "$charmvm" snapshot delete warm vm || return # its clusters are nothing to the kept one
	is_a_machine_of_its_own own && pid=$1 && end_machine vm && image_is_sound ''
}
# The snapshot that a fork without --from is made from goes with the next one, if nothing runs from it.
fork_snapshots() { "$charmvm" snapshot list vm --json | jq -r '.[] | select(.name | startswith("fork-")) | "\(.id) \(.in_use)"'; }
forks_leave_one_snapshot_behind() {
	local first second
	"$charmvm" fork vm --json >"$work/forks" || return
	first=$(fork_snapshots)
	expect "${first#* }" true "whether the fork's snapshot is in use" || return
	"$charmvm" fork vm --name beside >/dev/null || return
	expect "$(fork_snapshots | wc -l)" 2 "number of snapshots that forks run from" || return
	"$charmvm" stop "$(jq -r '.[0].name' "$work/forks")" --now && "$charmvm" stop beside-1 --now &&
		"$charmvm" fork vm --name last >/dev/null && second=$(fork_snapshots) || return
	expect "$(wc -l <<<"$second")" 1 "number of snapshots of forks" && "$charmvm" stop last-1 --now &&
		"$charmvm" snapshot delete "${second%% *}" vm
}
is_a_machine_of_its_own() { # NAME
	eventually 60 fork_counts "$1" 6 || { "$charmvm" logs "$1"; return 1; }
	"$charmvm" stop "$1" --now && qemu-img check -q "$work/$1.qcow2" || return
	expect "$(qemu-img info --output=json "$work/$1.qcow2" | jq -r '.["backing-filename"], .snapshots[].name' | xargs)" \
		"null warm" "its backing file and snapshots"
}
# What its console has said so far is kept; each look adds to it.
fork_counts() { # NAME TIMES
	timeout 2 "$charmvm" console "$1" </dev/null >>"$work/console.$1" 2>/dev/null
	counts_in "$work/console.$1" "$2"
}

run_tests new_process_goes_on_with_memory_and_disk_of_one_instant \
	reverted_machine_counts_again_and_forks_run_beside_it
