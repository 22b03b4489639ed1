#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The test guest: says that it runs, then does what tiny.do= on the kernel command line names.
# Runs on busybox's shell alone; every other command is a busybox applet.

/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox mount -t proc proc /proc
read -r line </proc/cmdline

action=poweroff marker=TINY-GUEST-IS-UP
for word in $line; do
	case $word in
	tiny.do=*) action=${word#tiny.do=} ;;
	tiny.marker=*) marker=${word#tiny.marker=} ;;
	esac
done

# What the tests need beyond a marker; a bare poweroff, reboot or crash needs none of it.
full_system() {
	/bin/busybox --install -s /bin
	export PATH=/bin HOME=/tmp TERM=linux
	mount -t sysfs sysfs /sys
	mount -t devtmpfs devtmpfs /dev
	if [ -e /modules ]; then
		while read -r module; do
			insmod "$module"
		done </modules
	fi
}

# By the emergency path: nothing is mounted that a clean one would save.
sysrq() { echo "$1" >/proc/sysrq-trigger; }

echo "$marker"
case $action in
poweroff) /bin/busybox poweroff -f ;;
reboot) /bin/busybox reboot -f ;;
halt) /bin/busybox halt -f ;;
panic) sysrq c ;;
# with reboot=t on the command line the kernel reboots by a triple fault
triple) sysrq b ;;
exit) exit 0 ;;
sleep)
	while :; do /bin/busybox sleep 3600; done
	;;
spin)
	while :; do :; done
	;;
echo)
	# gives back each line of the console, until "quit"
	while read -r text && [ "$text" != quit ]; do
		echo "got: $text"
	done
	/bin/busybox poweroff -f
	;;
script)
	full_system
	sh /script
	echo "tiny: script ended with status $?"
	poweroff -f
	;;
agent)
	# runs what the host asks for
	full_system
	mkdir -p /dev/pts /etc /root
	mount -t devpts devpts /dev/pts
	ifconfig lo up
	echo 'root:x:0:0:root:/root:/bin/sh' >/etc/passwd
	charmvm-agent
	poweroff -f
	;;
shell)
	full_system
	setsid cttyhack sh
	poweroff -f
	;;
*)
	echo "tiny: unknown tiny.do=$action"
	/bin/busybox poweroff -f
	;;
esac
