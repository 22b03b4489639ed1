/* SPDX-License-Identifier: Apache-2.0 */
/* An interrupt controller that remembers the level of each line and how often it rose. */
#ifndef TESTS_UNIT_FAKE_IRQCHIP_H
#define TESTS_UNIT_FAKE_IRQCHIP_H

#include <errno.h>

#include "vmm/base/checked.h"
#include "vmm/core/irq.h"

enum { FAKE_LINES = 24 };

struct fake_irqchip {
	struct irqchip base;
	bool level[FAKE_LINES];
	unsigned int rises[FAKE_LINES];
	unsigned int calls; /* of set_line: each is a system call with the real one */
};

static int fake_set_line(struct irqchip *c, uint32_t gsi, bool level)
{
	struct fake_irqchip *f = container_of(c, struct fake_irqchip, base);
	if (gsi >= FAKE_LINES)
		return -EINVAL;
	f->rises[gsi] += level && !f->level[gsi];
	f->level[gsi] = level;
	f->calls++;
	return 0;
}

static inline void fake_irqchip_init(struct fake_irqchip *f)
{
	static const struct irqchip_ops ops = { .set_line = fake_set_line };
	*f = (struct fake_irqchip){ .base.ops = &ops };
}

#endif
