#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Prints the path of a Vagrant box for libvirt, made of the demo image and kept in the cache: it has a user called vagrant,
# who trusts Vagrant's well-known key, and does not know how charmvm hands over keys. No root is needed: debugfs writes into
# its file system.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# What base boxes are made with (hashicorp/vagrant, keys/vagrant.pub).
well_known_keys() {
	cat <<-'END'
		ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUecp4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbEgE98OHlnVYCzRdK8jlqm8tehUc9c9WhQ== vagrant insecure public key
	END
	# No newline at its end, as some have it.
	printf 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN1YdxBpNlzxDqfJyw/QKow1F+wvG9hXGoqiysfJOn5Y vagrant insecure public key'
}

demo=$("$here/../../guest-kit/demo-image" charmed311)
key=$(echo "$demo" | cat - "$0" | sha256sum | head -c 12)
box=${demo%/*}/vagrant-$key.box
exec 8>"${demo%/*}/vagrant.lock"
flock 8
[ ! -f "$box" ] || { echo "$box"; exit; }

work=$(mktemp -d "${demo%/*}/vagrant.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
qemu-img convert -O raw "$demo" disk.raw
start=$(sfdisk -J disk.raw | jq '.partitiontable.partitions[0].start')
fs="disk.raw?offset=$((start * 512))"
take() { debugfs -R "cat $1" "$fs" 2>/dev/null; }
uid=1234

{ take /etc/passwd && echo "vagrant:x:$uid:$uid::/home/vagrant:/bin/bash"; } >passwd
{ take /etc/group && echo "vagrant:x:$uid:"; } >group
{ take /etc/shadow && echo 'vagrant:*:19000:0:99999:7:::'; } >shadow
take /etc/ssh/sshd_config.d/charmvm.conf | sed 's/^AllowUsers .*/AllowUsers vagrant/' >sshd
take /usr/lib/tmpfiles.d/charmvm.conf | grep -v ssh >tmpfiles
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >sudoers
well_known_keys >authorized_keys

{
	put() { # FILE PATH MODE UID GID
		printf 'rm %s\nwrite %s %s\nsif %s mode 0100%s\nsif %s uid %s\nsif %s gid %s\n' "$2" "$1" "$2" "$2" "$3" "$2" "$4" "$2" "$5"
	}
	dir() { printf 'mkdir %s\nsif %s mode 040700\nsif %s uid %s\nsif %s gid %s\n' "$1" "$1" "$1" $uid "$1" $uid; }
	put passwd /etc/passwd 644 0 0
	put group /etc/group 644 0 0
	put shadow /etc/shadow 640 0 42
	put sshd /etc/ssh/sshd_config.d/charmvm.conf 644 0 0
	put tmpfiles /usr/lib/tmpfiles.d/charmvm.conf 644 0 0
	put sudoers /etc/sudoers.d/vagrant 440 0 0
	dir /home/vagrant
	dir /home/vagrant/.ssh
	put authorized_keys /home/vagrant/.ssh/authorized_keys 600 $uid $uid
} >commands
debugfs -w -f commands "$fs" >said 2>&1
e2fsck -fn "$fs" >>said 2>&1 || { cat said >&2; exit 1; }

qemu-img convert -O qcow2 disk.raw box.img
printf '{"provider":"libvirt","format":"qcow2","virtual_size":8}\n' >metadata.json
tar -cf new.box metadata.json box.img
rm -f "${demo%/*}"/vagrant-*.box # earlier ones
mv new.box "$box"
echo "$box"
