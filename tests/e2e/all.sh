#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# End to end: the release binary, on the host for what needs no KVM, then on real KVM.
set -u
cd "$(dirname "$0")/../.." || exit
# One account for both places; the lab sees the same file.
TOTALS=$PWD/${BUILD:-build}/e2e.totals
export TOTALS
rm -f "$TOTALS"
for kernel in generic-6.1 cloud-6.1 cloud-6.12; do
	guest-kit/fetch-kernel "$kernel" >/dev/null || exit
done
TINY_INITRD=$(guest-kit/tiny-initrd) || exit
modules=$(guest-kit/fetch-kernel generic-6.1 modules) || exit
COUNT_INITRD=$(guest-kit/tiny-initrd --modules "$modules" virtio_pci --modules "$modules" virtio_blk \
	--script tests/e2e/count.sh) || exit
DEMO_IMAGE=$(guest-kit/demo-image charmed311) || exit
DISK_INITRD=$(tests/e2e/disk_initrd.sh) || exit
modules=$(guest-kit/fetch-kernel cloud-6.1 modules) || exit
AGENT_INITRD=$(guest-kit/tiny-initrd --agent --modules "$modules" virtio_pci --modules "$modules" virtio_console \
	--modules "$modules" virtio_blk) || exit
CD_INITRD=$(guest-kit/tiny-initrd --modules "$modules" virtio_pci --modules "$modules" virtio_scsi \
	--modules "$modules" sr_mod --modules "$modules" isofs --script tests/e2e/cd.sh) || exit
GRUB_DISK=$(tests/e2e/grub_disk.sh "$(guest-kit/fetch-kernel cloud-6.1 vmlinuz)" "$CD_INITRD") || exit
VAGRANT_BOX=$(tests/e2e/vagrant_box.sh) || exit
CLOUD_IMAGES=$(tests/e2e/cloud_images.sh) || exit
export TINY_INITRD COUNT_INITRD DEMO_IMAGE DISK_INITRD AGENT_INITRD VAGRANT_BOX GRUB_DISK CLOUD_IMAGES

programs=(tests/e2e/test_errors.sh tests/e2e/test_boot.sh tests/e2e/test_smp.sh tests/e2e/test_image.sh
	tests/e2e/test_control.sh tests/e2e/test_files.sh tests/e2e/test_snapshot.sh tests/e2e/test_disk.sh
	tests/e2e/test_cloud.sh tests/e2e/test_agent.sh tests/e2e/test_run.sh tests/e2e/test_build.sh tests/e2e/test_demo.sh tests/e2e/test_tutorial.sh tests/e2e/test_load.sh tests/e2e/test_import_boot.sh
	tests/e2e/test_bios.sh)
tests/lab/lab usable || tests/run.sh -t 120 tests/e2e/test_errors.sh
tests/run.sh -t 120 tests/e2e/test_import.sh
tests/run.sh -t 300 tests/e2e/test_help.sh
tests/run.sh -t 600 tests/e2e/test_deb.sh
tests/in_lab.sh 400 "${programs[@]}"
