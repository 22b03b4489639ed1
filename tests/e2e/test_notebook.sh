#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# From an image to a notebook in a browser: a machine of the scientific size in the lab, Debian's Chromium outside of it. The
# tests are in the order of one machine's life. Too slow for every day (five minutes and more where there is no /dev/kvm, and an image of
# 2 GB): make test-slow.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

TEST_SECONDS=1800
machine=charmed311-scientific
image=$(guest-kit/demo-image $machine) || exit
export PATIENCE=${PATIENCE:-600} # of the browser's person, in seconds

# shellcheck source=tests/e2e/notebook_lib.sh
. tests/e2e/notebook_lib.sh

machine_boots_to_a_notebook() {
	there "cp --sparse=always '$image' \$work/$machine.qcow2" || return
	there "\"\$charmvm\" up \$work/$machine.qcow2 --mem 1536M --detach --no-wait" || return
	url_of "$machine" >"$work/url"
	cat "$work/url"
	grep -qE '^http://localhost:8811/tree\?token=[0-9a-f]{48}$' "$work/url"
}
token_is_the_one_that_is_kept_beside_the_host_key() {
	expect "$(there "cat \$XDG_DATA_HOME/charmvm/machines/$machine/notebook-token")" "$(token)" "the token kept"
}
nobody_gets_in_without_the_token() {
	expect "$(status_of 8811 api/contents "$(token)")" 200 "the answer to the token" &&
		expect "$(status_of 8811 api/contents 0123456789abcdef)" 403 "the answer to another one"
}
every_package_is_there() { there "\"\$charmvm\" selftest $machine fast"; }
hello_world_runs() { there "\"\$charmvm\" selftest $machine notebook"; }
browser_runs_a_cell_and_sees_the_plot() {
	python3 tests/e2e/notebook_browser.py "$(cat "$work/url")" "$work/page.png"
}
server_that_is_killed_comes_back_with_its_token() {
	there "\"\$charmvm\" exec $machine -- sudo systemctl kill -s KILL charmvm-notebook" &&
		url_of "$machine" >"$work/again" && cmp "$work/url" "$work/again"
}
fork_has_a_token_and_a_port_of_its_own_and_the_same_kernels() {
	local id port fork_token twin
	id=$(curl -s -m 300 -X POST "http://localhost:8811/api/kernels?token=$(token)" | jq -r .id)
	[ ${#id} = 36 ] || { echo "no kernel: $id"; return 1; }
	twin=$(there "\"\$charmvm\" fork $machine --json 2>/dev/null" | jq -r '.[0].name')
	url_of "$twin" >"$work/twin"
	cat "$work/twin"
	port=$(sed 's,.*:\([0-9]*\)/.*,\1,' "$work/twin")
	fork_token=$(sed 's/.*token=//' "$work/twin")
	[ "$port" != 8811 ] && [ ${#fork_token} = 48 ] && [ "$fork_token" != "$(token)" ] || return
	# The lab looks now and then which ports there are to pass on.
	eventually 60 curl -s -m 60 -o /dev/null "http://localhost:$port/" || return
	expect "$(status_of "$port" api/contents "$fork_token")" 200 "the fork's answer to its token" &&
		expect "$(status_of "$port" api/contents "$(token)")" 403 "the fork's answer to the first one's" &&
		expect "$(status_of 8811 api/contents "$fork_token")" 403 "the first one's answer to the fork's" &&
		expect "$(kernels_of "$port" "$fork_token")" "$id" "the fork's kernels" || return
	there "\"\$charmvm\" stop $twin --now"
}

run_tests machine_boots_to_a_notebook token_is_the_one_that_is_kept_beside_the_host_key \
	nobody_gets_in_without_the_token every_package_is_there hello_world_runs browser_runs_a_cell_and_sees_the_plot \
	server_that_is_killed_comes_back_with_its_token fork_has_a_token_and_a_port_of_its_own_and_the_same_kernels ends_when_asked
