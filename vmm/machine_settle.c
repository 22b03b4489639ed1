/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Huge pages for a machine that has just come from a snapshot. Where it writes first, here and there, in memory that was
 * zero then, a huge page would be zeroed for some bytes: 2 MiB for each fork that does nothing, and the most expensive
 * thing that it does. A second later it is a machine like others, which fills what it touches.
 */
#include "vmm/backends.h"
#include "vmm/base/clock.h"
#include "vmm/core/loop.h"
#include "vmm/machine_priv.h"

#define SETTLE_NS UINT64_C(1000000000)

static void settled(void *opaque)
{
	struct machine *m = opaque;
	x86_ram_huge_pages(&m->ram, true);
}

void machine_settle(struct machine *m)
{
	x86_ram_huge_pages(&m->ram, false);
	m->settle.fn = settled;
	m->settle.opaque = m;
	loop_timer_arm(m->hosts->loop, &m->settle, clock_now_ns() + SETTLE_NS);
}
