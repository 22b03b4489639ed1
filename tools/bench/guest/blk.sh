# SPDX-License-Identifier: Apache-2.0
# The guest's script of the disk benchmark: the only disk, without a scheduler of the guest's own.
until [ -b /dev/vda ]; do sleep 0.1; done
echo none >/sys/block/vda/queue/scheduler
exec bench-blk /dev/vda BLK_DEPTH_1 BLK_DEPTH_32
