#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The Debian package, installed by apt into a system that has nothing of ours and nothing to build with.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)

# Becomes root of a namespace of its own where it can, as guest-kit/make-base does.
bare_system_with() { # DEB COMMANDS: those are run in it, once the package is there
	local mode=unshare options=()
	if [ "$(id -u)" = 0 ] && ! unshare -m true 2>/dev/null; then
		mode=root options=("--skip=check/canmount,chroot/mount")
	fi
	guest-kit/make-base --sources "$suite" |
		mmdebstrap --mode=$mode ${options[@]+"${options[@]}"} --variant=apt --format=null \
			--aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
			--customize-hook="copy-in '$1' /var/tmp" \
			--customize-hook="chroot \"\$1\" apt-get install -y -q '/var/tmp/${1##*/}'" \
			--customize-hook="chroot \"\$1\" sh -ec '$2'" \
			"$suite" - - >"$work/bare.log" 2>&1
}

is_built() {
	tools/install-deps.sh deb image || return
	tools/make-deb 9.9 "$work" >"$work/deb" 2>"$work/make.log" || { cat "$work/make.log"; return 1; }
	chmod -R go+rX "$work"
}
# Of each kind as many as there are in the tree.
package_has_all_that_a_user_looks_for() {
	local page recipe want=()
	is_built || return
	dpkg-deb -c "$(<"$work/deb")" | sed 's,.* \./,/,' >"$work/files"
	while IFS= read -r page; do
		want+=("share/man/man${page##*.}/${page##*/}.gz")
	done < <(find vmm tools -name '*.[1-8]')
	for recipe in guest-kit/recipes/*; do
		want+=("share/charmvm/$recipe")
	done
	want+=(bin/charmvm share/bash-completion/completions/charmvm share/zsh/site-functions/_charmvm
		share/fish/vendor_completions.d/charmvm.fish share/doc/charmvm/tutorial.md share/charmvm/guest-kit/demo-image)
	expect "$(printf '/usr/%s\n' "${want[@]}" | grep -vxFf "$work/files")" '' "what the package lacks" && [ ${#want[@]} -gt 20 ]
}
package_installs_and_works_on_a_bare_system() {
	case $suite in bookworm | trixie) ;; *) echo "no Debian here, but $suite"; return 77 ;; esac
	[ -s "$work/deb" ] || is_built || return
	bare_system_with "$(<"$work/deb")" '
		charmvm version
		charmvm image create /var/tmp/a.qcow2 1G
		charmvm image info --output=json /var/tmp/a.qcow2
		charmvm doctor || echo "doctor: status $?"
		charmvm run --image /var/tmp/a.qcow2 -- true || echo "run: status $?"
		cd /var/tmp
		charmvm up charmed311 || echo "up: status $?"
		dpkg --verify charmvm
		apt-get remove -y -q charmvm
		! test -e /usr/bin/charmvm
		! test -e /usr/share/charmvm
		test -e /var/tmp/a.qcow2
		echo "all is well"' || { tail -n 30 "$work/bare.log"; return 1; }
	tail -n 40 "$work/bare.log"
	# What makes images there are the guest kit, which is found, and tools, which are not there and are named.
	grep -qx 'all is well' "$work/bare.log" && grep -q '"virtual-size": 1073741824' "$work/bare.log" &&
		grep -qx 'up: status 1' "$work/bare.log" && grep -q 'apt-get install mmdebstrap' "$work/bare.log"
}

run_tests package_has_all_that_a_user_looks_for package_installs_and_works_on_a_bare_system
