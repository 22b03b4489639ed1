# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What the guest of tests/e2e/test_disk.sh does: load=ROUNDS,DURABLE,... on its command line are diskload's words.
read -r line </proc/cmdline
for word in $line; do
	case $word in
	load=*) words=$(echo "${word#load=}" | tr , ' ') ;;
	esac
done
# shellcheck disable=SC2086 # words are wanted
diskload /dev/vda $words
echo "diskload ended with status $?"
