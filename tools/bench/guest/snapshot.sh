# SPDX-License-Identifier: Apache-2.0
# The guest's script of the snapshot benchmark; ticks.mib=N on the kernel's command line.
read -r line </proc/cmdline
for word in $line; do
	case $word in ticks.mib=*) mib=${word#ticks.mib=} ;; esac
done
stty -echo
echo 1 >/proc/sys/kernel/printk
exec bench-ticks "$mib"
