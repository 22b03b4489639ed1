/* SPDX-License-Identifier: Apache-2.0 */
/* Suspending and resuming. */
#include "vmm/snapshot/suspend.h"

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/snapshot.h"
#include "vmm/backends.h"
#include "vmm/base/log.h"

static int co_is_suspended(struct blk_node *n, void *arg)
{
	return qcow2_co_disk_is_snapshot(n, SUSPEND_NAME, arg);
}

void suspend_find(struct machine_config *cfg, const struct backends *hosts)
{
	bool suspended = false;
	if (cfg->cold || cfg->from || cfg->kernel || !cfg->image || !blk_is_qcow2(hosts->disks[0]))
		return;
	/* What is wrong with the table of snapshots is nothing to a boot. */
	if (qcow2_run(hosts->disks[0], co_is_suspended, &suspended) || !suspended)
		return;
	log_warn("%s was suspended, and goes on where it was (--cold boots it instead)", cfg->name);
	cfg->from = SUSPEND_NAME;
}
