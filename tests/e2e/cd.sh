# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Runs in the tiny guest (guest-kit/tiny-initrd --script): says what CD is in the drive.
mkdir -p /cd
mount -t iso9660 -o ro /dev/sr0 /cd && cat /cd/name
poweroff -f
