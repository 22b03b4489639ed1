#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A Vagrant box (VAGRANT_BOX, made by tests/e2e/vagrant_box.sh) is imported, started and logged in to.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

vm=trained
user_key=$XDG_DATA_HOME/charmvm/user/id_ed25519
box_dir=$XDG_DATA_HOME/charmvm/machines/$vm/box

box_is_imported() {
	cd "$work" && "$charmvm" import "$VAGRANT_BOX" --name $vm && [ -f $vm.qcow2 ] && [ -s "$box_dir/key" ]
}
key_is_replaced() { grep -q "trained: the key .* was replaced by yours, $user_key" "$work/err"; }
# Nobody waits for SSH there: the machine's own process sees to it.
machine_starts_in_the_foreground_and_its_key_is_replaced() {
	cd "$work" || return
	"$charmvm" up $vm.qcow2 --mem 512M --console "file:$work/console" </dev/null >out 2>err &
	eventually 300 key_is_replaced || { cat err; tail -n 20 console; return 1; }
	expect "$(jq .replaced "$box_dir/login.json")" true "replaced"
}
ssh_logs_in_as_the_boxs_user_with_the_users_key_alone() {
	timeout 60 "$charmvm" ssh $vm -- 'id -un; sudo id -un; cat .ssh/authorized_keys' >"$work/said" || return
	cat "$work/said"
	expect "$(head -n 2 "$work/said" | paste -sd' ')" 'vagrant root' "who it is" &&
		grep -qF "$(cut -d' ' -f2 "$user_key.pub")" "$work/said" && ! grep -q insecure "$work/said"
}
well_known_key_is_trusted_no_more() {
	"$charmvm" ssh-config $vm >"$work/config" && grep -q 'User vagrant' "$work/config" &&
		expect "$(grep -c IdentityFile "$work/config")" 1 "number of keys offered" || return
	sed "s|IdentityFile .*|IdentityFile $box_dir/key|" "$work/config" >"$work/insecure"
	timeout 60 ssh -F "$work/insecure" -o BatchMode=yes $vm true 2>"$work/err"
	expect $? 255 "ssh's status" && grep -q 'Permission denied' "$work/err"
}
# As if it had not been done: what up --detach does when SSH answers.
whoever_waits_for_ssh_replaces_it_too() {
	jq '.replaced = false' "$box_dir/login.json" >"$work/login" && cp "$work/login" "$box_dir/login.json" || return
	"$charmvm" wait $vm ssh 2>"$work/err" && key_is_replaced || return
	expect "$(jq .replaced "$box_dir/login.json")" true "replaced"
}
it_stops() { "$charmvm" stop $vm --now && qemu-img check -q "$work/$vm.qcow2"; }

needs_kvm || { echo "0 passed, 0 failed, 1 skipped"; exit 0; }
run_tests box_is_imported machine_starts_in_the_foreground_and_its_key_is_replaced ssh_logs_in_as_the_boxs_user_with_the_users_key_alone \
	well_known_key_is_trusted_no_more whoever_waits_for_ssh_replaces_it_too it_stops
