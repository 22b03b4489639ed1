#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# charmvm build: an image from a Charmfile, in a machine that is booted once for all of these.
# seconds: 1200
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

export XDG_CACHE_HOME=$work/cache TEST_SECONDS=600
context=$work/context
mkdir -p "$context/files/below"
cp --sparse=always "$DEMO_IMAGE" "$context/demo.qcow2"
sum=$(sha256sum <"$context/demo.qcow2")
echo one >"$context/one"
echo two >"$context/files/below/two"
ssh-keygen -q -t ed25519 -N '' -C builder -f "$work/builder"
cp "$work/builder.pub" "$context/"
# shellcheck disable=SC2016 # the guest's shell expands it
printf '%s\n' 'FROM demo' 'ENV GREETING="hello there" LATER=1' \
	'RUN echo "said by $(whoami): $GREETING" | tee /said' \
	'INCLUDE files.inc' 'USER charm' 'ENV LATER=2' \
	'RUN cat /srv/data/one /srv/data/files/below/two >mine && echo "$LATER" >>mine && df -kP / >size && cp /srv/data/builder.pub .ssh/authorized_keys' \
	'MEM 512M' 'EXPOSE 80' 'ENTRYPOINT exec sleep 1000' >"$context/Charmfile"
echo 'COPY one files builder.pub /srv/data/' >"$context/files.inc"
ln -s /etc/passwd "$context/out.inc"

build() { # CHARMFILE [OPTION...]; what it says is in $work/said
	timeout 500 "$charmvm" build --size 9G -f "$context/$1" -o "$work/out.qcow2" "${@:2}" >"$work/said" 2>&1
}
said() { grep -qF -- "$1" "$work/said" || { echo "not said: $1"; cat "$work/said"; return 1; }; }
not_said() { ! grep -F -- "$1" "$work/said"; }
# Nothing but what is kept on purpose: no image, no machine, no half-written file.
nothing_is_left() {
	local left
	left=$(find "$XDG_RUNTIME_DIR" -type f -o -type s; find "$work" -maxdepth 1 -name '*out.qcow2*')
	[ -z "$left" ] || { echo "left: $left"; return 1; }
}
inside() { debugfs -R "cat $1" "$work/out.raw?offset=1048576" 2>/dev/null; }

mistakes_are_told_before_anything_is_done() {
	local line
	while IFS='|' read -r text line; do
		printf 'FROM demo\n%b\n' "$text" >"$context/wrong"
		build wrong
		if ! expect $? 3 "status of $text" || ! said "wrong:$line" || ! nothing_is_left; then return 1; fi
	done <<-'END'
		RUN a\nCOPY nothing /srv/|3: COPY nothing: No such file
		RUNN a|2: unknown word 'RUNN'
		SHARE a|2: SHARE: machines have no
		INCLUDE out.inc|2: INCLUDE out.inc: a link leads out
	END
	echo 'FROM nowhere' >"$context/wrong"
	build wrong
	expect $? 3 status && said 'wrong:1: FROM nowhere: no such image file' || return
	"$charmvm" build -f "$context/Charmfile" 2>"$work/said"
	expect $? 2 status && said '-o FILE' || return
	"$charmvm" build -f "$context/Charmfile" -o "$work/out.qcow2" --size 1G 2>"$work/said"
	expect $? 2 status && said 'a disk is not made smaller' && nothing_is_left && [ ! -e "$XDG_CACHE_HOME/charmvm/build" ]
}
# The demo image is what this recipe makes; it is in the cache of who has prepared these tests.
recipe_of_packages_alone_is_its_base_and_needs_no_machine() {
	local images=$XDG_CACHE_HOME/charmvm/images
	mkdir -p "$images" && ln -s "$DEMO_IMAGE" "$images/" || return
	expect "$("$charmvm" build --cached charmed311 2>"$work/said")" "$images/${DEMO_IMAGE##*/}" "where it is kept" &&
		said '[2/3] PACKAGES python3 python3-numpy (in the base)' || return
	(cd "$work" && PATH=/nowhere "$charmvm" build charmed311 2>said) || { cat "$work/said"; return 1; }
	qemu-img compare -q "$work/charmed311.qcow2" "$DEMO_IMAGE" || { echo "another image"; return 1; }
	(cd "$work" && "$charmvm" build charmed311 2>said)
	expect $? 3 status && said 'charmed311.qcow2 is there already' || return
	"$charmvm" build nosuch 2>"$work/said"
	expect $? 3 status && said "no recipe 'nosuch'" || return
	rm "$work/charmed311.qcow2"
	nothing_is_left && [ ! -e "$XDG_CACHE_HOME/charmvm/build" ]
}
steps_are_done_and_end_in_an_image() {
	build Charmfile || { cat "$work/said"; return 1; }
	said 'said by root: hello there' && said '--forward tcp:10080:80' && not_said '(cached)' || return
	qemu-img check -q "$work/out.qcow2" && ! qemu-img info "$work/out.qcow2" | grep -i backing || return
	qemu-img convert -O raw "$work/out.qcow2" "$work/out.raw" || return
	expect "$(inside /said)" 'said by root: hello there' /said &&
		expect "$(inside /home/charm/mine | xargs)" 'one two 2' "charm's file" &&
		expect "$(inside /home/charm/size | awk '/vda/ { print ($2 > 8.5 * 1024 * 1024) }')" 1 "whether the file system has grown" &&
		expect "$(inside /etc/environment | grep -c -e '^GREETING=hello there$' -e '^LATER=2$')" 2 environment &&
		expect "$(inside /etc/charmvm/entrypoint | tail -n 1)" 'exec sleep 1000' ENTRYPOINT &&
		expect "$(inside /etc/hostname)" out hostname &&
		expect "$(inside /etc/machine-id)" '' machine-id &&
		expect "$(inside /usr/share/charmvm/packages | grep -c '^python3-numpy	.*	BSD')" 1 "numpy in the list of packages" &&
		expect "$(inside /usr/share/charmvm/packages | awk -F '\t' '!$2 || !$3')" '' "packages without version or licence" || return
	[ -z "$(inside /etc/ssh/ssh_host_ed25519_key)" ] || { echo "the image has a host key"; return 1; }
	expect "$(sha256sum <"$context/demo.qcow2")" "$sum" "the base"
	rm -f "$work/out.raw" "$work/out.qcow2"
	nothing_is_left
}
what_has_not_changed_is_not_done_again() {
	local start=$SECONDS
	build Charmfile || { cat "$work/said"; return 1; }
	expect "$(grep -c '(cached)' "$work/said")" 3 "number of cached steps" && not_said 'said by root: hello' &&
		[ -s "$work/out.qcow2" ] && ((SECONDS - start < 60))
}
# The image of the test before.
machine_of_the_image_is_as_it_says() {
	# shellcheck disable=SC2016 # likewise
	timeout 500 "$charmvm" run --image "$work/out.qcow2" --user root -- sh -c '
		until systemctl is-active --quiet charmvm-entrypoint; do sleep 0.5; done
		systemctl show -p User charmvm-entrypoint; su - charm -c "echo \$GREETING"
		awk "/MemTotal/ { print \$2 < 512 * 1024 }" /proc/meminfo; wc -c </etc/machine-id' >"$work/1" 2>"$work/said"
	expect "$(xargs <"$work/1")" 'User=charm hello there 1 33' 'what it says' || { cat "$work/said"; return 1; }
	rm "$work/out.qcow2"
	nothing_is_left
}
# ---- an image that has booted, of which two people have a copy each
ready_is_made_after_all_else() {
	build Charmfile --cpu v3
	expect $? 2 status && said '--cpu goes with --ready' || return
	build Charmfile --ready || { cat "$work/said"; return 1; }
	expect "$(grep -c '(cached)' "$work/said")" 3 "number of cached steps" &&
		qemu-img check -q "$work/out.qcow2" && ! qemu-img info "$work/out.qcow2" | grep -i backing &&
		expect "$("$charmvm" snapshot list --image "$work/out.qcow2" --json | jq -r '.[] | "\(.name) \(.machine)"')" 'ready true' snapshots
}
as() { # USER COMMAND...: one with a home of his own
	local home=$work/$1
	mkdir -p "$home/run" "$home/data"
	XDG_RUNTIME_DIR=$home/run XDG_DATA_HOME=$home/data "${@:2}"
}
up() { as "$1" timeout 100 "$charmvm" up "$work/$1/out.qcow2" --detach --no-wait "${@:2}" >"$work/$1/name" 2>"$work/$1/said" || { cat "$work/$1/said"; return 1; }; }
comes_up() { up "$@" && as "$1" "$charmvm" wait out ssh --time 9m; } # the lab's clock may run fast
exec_as() { as "$1" timeout 300 "$charmvm" exec out --user root -- sh -c "$2"; }
ssh_port() { as "$1" "$charmvm" status out --json | jq .ssh_port; }
logs_in_with() { # KEY PORT
	timeout 60 ssh -F none -i "$1" -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no \
		-o UserKnownHostsFile=/dev/null -p "$2" charm@localhost true 2>"$work/ssh"
}
# All that is to be of one machine alone, a line each.
secrets() { # USER
	ssh-keyscan -t ed25519 -p "$(ssh_port "$1")" localhost 2>/dev/null | cut -d' ' -f3
	exec_as "$1" 'flock /etc/charmvm/hooks.d cat /etc/machine-id /run/charmvm-notebook/token; echo; cat /home/charm/.ssh/authorized_keys | cut -d" " -f2
		head -c 16 /dev/urandom | od -An -tx1 | tr -d " "'
}
# What was written meanwhile is dropped again.
what_ready_cannot_be_boots_and_says_why() {
	local words line
	mkdir -p "$work/ann" "$work/ben" && mv "$work/out.qcow2" "$work/ann/" && cp --sparse=always "$work/ann/out.qcow2" "$work/ben/" || return
	while IFS='|' read -r words line; do
		# shellcheck disable=SC2086 # several words
		up ben -v $words && as ben "$charmvm" stop out --now &&
			"$charmvm" snapshot revert ready --image "$work/ben/out.qcow2" || return
		grep -qF 'kernel /boot' "$work/ben/said" || { cat "$work/ben/said"; return 1; }
		grep -F "'ready'" "$work/ben/said" >"$work/line"
		expect "$(wc -l <"$work/line")" "$((${#line} > 0))" "number of lines on it with $words" || return
		[ -z "$line" ] || grep -F "$line" "$work/line" || { cat "$work/line"; return 1; }
	done <<-'END'
		--cpu baseline|boots, and does not go on from its snapshot 'ready': the snapshot's processor has
		--mem 600M|it has 512 MiB of memory, and 600 MiB are wanted
		--net none|it was saved with other options
		--cold|
	END
}
two_users_go_on_from_it_and_share_no_secret() {
	local user
	for user in ann ben; do
		comes_up "$user" -v || return
		grep -qF "goes on from its snapshot 'ready'" "$work/$user/said" || { cat "$work/$user/said"; return 1; }
		secrets "$user" >"$work/$user/secrets"
	done
	if ! expect "$(cat "$work"/{ann,ben}/secrets | grep -c .)" 10 "number of secrets" ||
		! expect "$(sort "$work"/{ann,ben}/secrets | uniq -d)" '' "what they share"; then
		head "$work"/{ann,ben}/secrets
		return 1
	fi
	expect "$(sed -n 3p "$work/ann/secrets")" "$(cat "$work/ann/data/charmvm/machines/out/notebook-token")" "ann's token" &&
		expect "$(as ann timeout 60 "$charmvm" ssh out -- hostname)" out "what came over SSH" || return
	user=$(ssh_port ann)
	# shellcheck disable=SC2016 # the guest's shell expands it
	expect "$(as ann "$charmvm" exec out -- sh -c 'echo $GREETING')" "hello there" "ENV of a command" || return
	logs_in_with "$work/ann/data/charmvm/user/id_ed25519" "$user" || { cat "$work/ssh"; return 1; }
	! logs_in_with "$work/builder" "$user" && ! logs_in_with "$work/ben/data/charmvm/user/id_ed25519" "$user" &&
		expect "$(exec_as ann 'ls -d /run/*credentials')" /run/credentials "what is left of the credentials, beside systemd's" && as ben "$charmvm" stop out --now && rm -r "$work/ben"
}
# It booted once, in the build; then it is suspended, goes on, and boots when it is stopped.
it_is_a_machine_that_stays() {
	local before after who='ls /home/charm/mark; cat /proc/sys/kernel/random/boot_id'
	before=$(exec_as ann "touch /home/charm/mark; $who")
	as ann "$charmvm" suspend out && comes_up ann && grep -q 'was suspended' "$work/ann/said" &&
		expect "$(exec_as ann "$who")" "$before" "after the suspension" &&
		exec_as ann sync && as ann "$charmvm" stop out --now && comes_up ann -v || return
	after=$(exec_as ann "$who")
	expect "${after%%$'\n'*}" /home/charm/mark "its disk" && ! grep "'ready'" "$work/ann/said" && [ "$after" != "$before" ] || return
	expect "$(secrets ann | head -n 4)" "$(head -n 4 "$work/ann/secrets")" "who it is"
}
# That machine goes on running. Host key, token and authorized keys are lines 1, 3 and 4 of the secrets.
it_is_as_new_after_a_revert_and_still_its_owners() {
	as ann "$charmvm" snapshot revert ready out && as ann "$charmvm" wait out ssh --time 9m && secrets ann >"$work/ann/again" || return
	expect "$(sed -n '1p; 3,4p' "$work/ann/again")" "$(sed -n '1p; 3,4p' "$work/ann/secrets")" "who it is" &&
		expect "$(sort "$work"/ann/{again,secrets} | uniq -d | wc -l)" 3 "number of secrets that are what they were" &&
		expect "$(as ann timeout 60 "$charmvm" ssh out -- 'ls; hostname' | xargs)" "mine size out" "what came over SSH"
}
# Of one user, with one host key: that is theirs together.
forks_of_it_are_machines_of_their_own() {
	local name
	as ann "$charmvm" fork out --from ready -n 2 --json >"$work/forks" || return
	for name in $(jq -r '.[].name' "$work/forks"); do
		as ann "$charmvm" wait "$name" ssh --time 9m && expect "$(as ann timeout 60 "$charmvm" ssh "$name" -- hostname)" "$name" "what came over SSH" || return
		as ann timeout 300 "$charmvm" exec "$name" -- sh -c 'flock /etc/charmvm/hooks.d cat /etc/machine-id
			head -c 16 /dev/urandom | od -An -tx1 | tr -d " "' >>"$work/own" && as ann "$charmvm" stop "$name" --now || return
	done
	expect "$(cat "$work/own" "$work/ann/again" | sort -u | wc -l)" 9 "number of secrets" || { cat "$work/own" "$work/ann/again"; return 1; }
	as ann "$charmvm" stop out --now && rm -r "$work/ann"
}
failing_step_shows_its_output_and_leaves_the_machine_when_asked() {
	head -n 3 "$context/Charmfile" >"$context/failing"
	printf '%s\n' 'RUN echo the reason; touch /trace; exit 7' 'RUN echo never' >>"$context/failing"
	build failing --debug
	expect $? 1 status && said 'the reason' && said 'failing:4: RUN echo the reason; touch /trace; exit 7: failed with status 7' &&
		not_said never && expect "$(grep -c '(cached)' "$work/said")" 1 "number of cached steps" || return
	"$charmvm" exec build-out --user root -- test -e /trace && "$charmvm" stop build-out --now || return
	eventually 20 nothing_is_left
}
step_that_loops_or_fills_the_disk_ends_with_a_clear_line() {
	head -n 3 "$context/Charmfile" >"$context/endless"
	echo 'RUN while :; do sleep 1; done' >>"$context/endless"
	build endless --time 10
	expect $? 124 status && said 'endless:4: RUN while :; do sleep 1; done: not done after 10 s' && nothing_is_left || return
	head -n 3 "$context/Charmfile" >"$context/greedy"
	# shellcheck disable=SC2016 # likewise
	echo 'RUN fallocate -l 20G /all || { n=$(df -kP / | tail -n 1); set -- $n; fallocate -l $4K /all; echo x >/x; exit 1; }' >>"$context/greedy"
	build greedy
	expect $? 1 status && said "the machine's disk is full" && nothing_is_left
}
interrupt_leaves_nothing() {
	head -n 3 "$context/Charmfile" >"$context/long"
	echo 'RUN echo it is there; sleep 1000' >>"$context/long"
	# A shell's background job ignores SIGINT, unless something puts it back.
	env --default-signal=INT "$charmvm" build --size 9G -f "$context/long" -o "$work/out.qcow2" >"$work/said" 2>&1 &
	eventually 60 grep -q '^it is there' "$work/said" || return
	kill -INT $!
	wait $!
	expect $? 130 status && said 'interrupted' && nothing_is_left
}
# What was done before it is still kept.
kill_leaves_nothing() {
	"$charmvm" build --size 9G -f "$context/long" -o "$work/out.qcow2" >"$work/said" 2>&1 &
	eventually 60 grep -q '^it is there' "$work/said" || return
	kill -KILL $!
	wait $!
	eventually 30 nothing_is_left || return
	build failing
	expect $? 1 status && expect "$(grep -c '(cached)' "$work/said")" 1 "number of cached steps" && nothing_is_left
}

needs_kvm || { echo "0 passed, 0 failed, 1 skipped"; exit 0; }
run_tests mistakes_are_told_before_anything_is_done recipe_of_packages_alone_is_its_base_and_needs_no_machine \
	steps_are_done_and_end_in_an_image what_has_not_changed_is_not_done_again \
	machine_of_the_image_is_as_it_says ready_is_made_after_all_else what_ready_cannot_be_boots_and_says_why \
	two_users_go_on_from_it_and_share_no_secret it_is_a_machine_that_stays \
	it_is_as_new_after_a_revert_and_still_its_owners forks_of_it_are_machines_of_their_own \
	failing_step_shows_its_output_and_leaves_the_machine_when_asked \
	step_that_loops_or_fills_the_disk_ends_with_a_clear_line interrupt_leaves_nothing kill_leaves_nothing
