#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# /init of the lab's initrd: loads the modules, puts the host's root together with the kernel's
# own file systems under /host, and hands over to lab_guest there.
#
# It stays in the initrd's root (a chroot, not a switch_root) so that the kernel's module loader
# finds /sbin/modprobe and the modules that are packed here.
export PATH=/bin

fail()
{
	echo "lab: $*" >/dev/console
	busybox poweroff -f
}

word() # NAME: the value of NAME=… on the kernel's command line
{
	# shellcheck disable=SC2013 # words are wanted
	for w in $(cat /proc/cmdline); do
		case $w in "$1="*) echo "${w#*=}" ;; esac
	done
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
modprobe -a virtio_pci 9p 9pnet_virtio virtio_console virtio_net || fail "no virtio modules"
mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,cache=$(word lab.cache)" hostroot /host ||
	fail "cannot reach the host's files over 9p"

mount -t proc proc /host/proc
mount -t sysfs sysfs /host/sys
mount -t devtmpfs devtmpfs /host/dev
mkdir -p /host/dev/pts /host/dev/shm /host/dev/mqueue
mount -t devpts -o ptmxmode=0666,mode=0620,gid=5 devpts /host/dev/pts
mount -t tmpfs -o mode=1777 tmpfs /host/dev/shm
mount -t mqueue mqueue /host/dev/mqueue
for l in fd:/proc/self/fd stdin:/proc/self/fd/0 stdout:/proc/self/fd/1 stderr:/proc/self/fd/2; do
	ln -s "${l#*:}" "/host/dev/${l%%:*}"
done
mount -t cgroup2 cgroup2 /host/sys/fs/cgroup
mount -t debugfs -o mode=0755 debugfs /host/sys/kernel/debug
mount -t tracefs -o mode=0755 tracefs /host/sys/kernel/tracing
mount -t tmpfs -o mode=0755 tmpfs /host/run
mkdir -p /host/run/lab/scratch /host/run/lab/fixed /host/run/lock /host/run/user
chmod 1777 /host/run/lock

modprobe -a virtio_blk ext4
if mount -t ext4 -o noatime,discard /dev/vda /host/run/lab/scratch; then
	mkdir -p /host/run/lab/scratch/tmp
	chmod 1777 /host/run/lab/scratch /host/run/lab/scratch/tmp
	mount -o bind /host/run/lab/scratch /host/run/lab/fixed && mount -o remount,bind,ro /host/run/lab/fixed
fi

hostname lab
ip link set lo up
ip addr add 10.76.0.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.76.0.2
echo '0 2147483647' >/proc/sys/net/ipv4/ping_group_range
echo -1 >/proc/sys/kernel/perf_event_paranoid
# What is written shows on the host within two seconds, not thirty.
echo 50 >/proc/sys/vm/dirty_writeback_centisecs
echo 100 >/proc/sys/vm/dirty_expire_centisecs

modprobe kvm-amd || fail "no KVM in this kernel"
chmod 0666 /dev/kvm

# The other processors only now: whenever code is patched, which modules do a lot of as they are
# loaded, every processor is interrupted.
for cpu in /sys/devices/system/cpu/cpu[1-9]*/online; do
	[ -e "$cpu" ] && echo 1 >"$cpu"
done

echo 'nameserver 10.76.0.3' >/host/run/lab/resolv.conf
link=$(readlink /host/etc/resolv.conf)
case $link in
*/run/*)
	mkdir -p "/host/run/$(dirname "${link#*/run/}")"
	cp /host/run/lab/resolv.conf "/host/run/${link#*/run/}"
	;;
*) mount -o bind /host/run/lab/resolv.conf /host/etc/resolv.conf ;;
esac

cp /lab_guest /host/run/lab/guest
exec chroot /host /run/lab/guest
