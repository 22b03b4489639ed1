/* SPDX-License-Identifier: Apache-2.0 */
/* The machine held: its vCPUs are paused while a disk waits for room on the host. */
/*
 * How it works. A disk that keeps a failed request says so with its lock held, where pausing vCPUs is not
 * allowed: one of them may be waiting for that very lock. So the disk is counted, and a task of the loop looks
 * at the count. Devices are not quiesced: the disk's own timer and the network go on, and it is the disk
 * that ends the wait. Quiescing a held machine waits for the disk, too, unless it is told to give up.
 */
#include "devices/virtio/virtio_blk.h"
#include "vmm/backends.h"
#include "vmm/machine_event.h"
#include "vmm/machine_priv.h"

static void apply(void *opaque)
{
	struct machine *m = opaque;
	bool on = m->up && !m->stopped_disks, waits = m->stopped_disks;
	if (waits != m->disk_waits)
		machine_tell(m, waits ? "disk-waits" : "disk-goes-on", NULL);
	m->disk_waits = waits;
	if (on == m->vcpus_on)
		return;
	m->vcpus_on = on;
	if (on)
		vcpus_run(m->vcpus);
	else
		vcpus_pause(m->vcpus);
}

void machine_hold_init(struct machine *m)
{
	m->hold = (struct loop_task){ .fn = apply, .opaque = m };
}

void machine_set_up(struct machine *m, bool up)
{
	m->up = up;
	apply(m);
}

void machine_disk_stopped(void *opaque, bool on)
{
	struct machine *m = opaque;
	m->stopped_disks += on ? 1 : -1u;
	loop_task_post(m->hosts->loop, &m->hold);
}

bool machine_disk_has_driver(const struct machine *m)
{
	unsigned int disks = 0, used = 0;
	for (unsigned int i = 0; i < m->ndevices; i++)
		if (m->devices[i]->ops == &virtio_blk_device) {
			disks++;
			used += virtio_blk_has_driver(m->devices[i]);
		}
	return used || !disks;
}

void machine_give_up_disks(struct machine *m)
{
	for (unsigned int i = 0; i < m->ndevices; i++)
		if (m->devices[i]->ops == &virtio_blk_device)
			virtio_blk_give_up(m->devices[i]);
}
