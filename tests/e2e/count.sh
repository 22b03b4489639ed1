# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Runs in the tiny guest (guest-kit/tiny-initrd --script): counts in memory, on the disk and on the console.
i=0
while :; do
	i=$((i + 1))
	printf '%08d' $i | dd of=/dev/vda bs=512 count=1 conv=sync oflag=direct 2>/dev/null
	echo "count $i $(od -An -N8 -tx4 /dev/urandom | tr -d ' ')"
done
