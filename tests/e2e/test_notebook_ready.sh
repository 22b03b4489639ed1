#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An image with a notebook that was built with --ready: nobody's until it is somebody's, and then no two have a secret in common. The tests are
# in the order of one machine's life. Too slow for every day: make test-slow.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

TEST_SECONDS=2400
machine=charmed311-scientific
image=$(guest-kit/demo-image $machine) || exit
# shellcheck source=tests/e2e/notebook_lib.sh
. tests/e2e/notebook_lib.sh
# In the lab.
ready=\$work/ready/$machine.qcow2 ben=\$work/ben
as_ben="XDG_RUNTIME_DIR=$ben/run XDG_DATA_HOME=$ben/data"

# A hook that is the first of all sees what the snapshot itself is like.
image_is_built() {
	printf '%s\n' '#!/bin/sh' '{ ss -Hltn; cd /; ls -d run/charmvm-notebook/token etc/ssh/ssh_host* home/charm/.ssh/*; } >/run/nobodys 2>/dev/null' >"$work/look"
	qemu-img convert -O raw "$image" "$work/looks.raw" || return
	printf '%s\n' "write $work/look /etc/charmvm/hooks.d/00-look" 'sif /etc/charmvm/hooks.d/00-look mode 0100755' >"$work/edit"
	debugfs -w -f "$work/edit" "$work/looks.raw?offset=1048576" >/dev/null 2>&1 && echo 'FROM looks.raw' >"$work/Charmfile" &&
		there "mkdir -p \$work/ready $ben/run $ben/data" &&
		there "XDG_CACHE_HOME=\$work/cache \"\$charmvm\" build -f $work/Charmfile -o $ready --ready --mem 1536M" || return
	rm "$work/looks.raw"
	there "rm -r \$work/cache; cp --sparse=always $ready $ben/"
}
# Answers to its own token alone?
is_apart() { # URL
	local port=${1#*localhost:}
	port=${port%%/*}
	eventually 60 curl -s -m 60 -o /dev/null "http://localhost:$port/" || return
	expect "$(status_of "$port" api/contents "${1#*token=}")" 200 "the answer to the token of $1" &&
		expect "$(status_of "$port" api/contents 0123456789abcdef)" 403 "the answer to another one" || return
	[ "$1" = "$(cat "$work/url")" ] || expect "$(status_of "$port" api/contents "$(token)")" 403 "the answer to the first machine's"
}
it_is_nobodys_until_it_goes_on_with_its_users_token() {
	there "\"\$charmvm\" up $ready --detach" >"$work/said"
	cat "$work/said"
	tail -n 1 "$work/said" >"$work/url"
	expect "$(there "cat \$XDG_DATA_HOME/charmvm/machines/$machine/notebook-token")" "$(token)" "the token kept" && is_apart "$(cat "$work/url")" &&
		expect "$(there "\"\$charmvm\" exec $machine --user root -- wc -c /run/nobodys")" "0 /run/nobodys" "what listened, and keys, in the snapshot"
}
another_users_copy_and_a_fork_of_it_have_tokens_of_their_own() {
	local twin url
	url=$(there "$as_ben \"\$charmvm\" up $ben/$machine.qcow2 --detach 2>&1" | tail -n 1)
	is_apart "$url" && there "$as_ben \"\$charmvm\" stop $machine --now" || return
	twin=$(there "\"\$charmvm\" fork $machine --from ready --json 2>/dev/null" | jq -r '.[0].name')
	echo "$url" && url=$(url_of "$twin") && echo "$url" && is_apart "$url" && there "\"\$charmvm\" stop $twin --now"
}
revert_to_it_leaves_its_users_token() {
	there "\"\$charmvm\" exec $machine -- touch notebooks/mine && \"\$charmvm\" snapshot revert ready $machine" &&
		url_of "$machine" >"$work/again" && cmp "$work/url" "$work/again" && is_apart "$(cat "$work/url")" &&
		expect "$(there "\"\$charmvm\" exec $machine -- sh -c 'cd; ls notebooks'")" "Hello World.ipynb" "its notebooks"
}

run_tests image_is_built it_is_nobodys_until_it_goes_on_with_its_users_token \
	another_users_copy_and_a_fork_of_it_have_tokens_of_their_own revert_to_it_leaves_its_users_token ends_when_asked
