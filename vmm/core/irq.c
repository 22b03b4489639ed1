/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts as devices see them. */
#include "vmm/core/irq.h"

#include <errno.h>
#include <unistd.h>

int irq_msi_alloc(struct irq_msi *m, struct irqchip *chip)
{
	int err = chip->ops->msi_alloc(chip, &m->fd, &m->id);
	if (err)
		return err;
	m->chip = chip;
	m->allocated = true;
	return 0;
}

int irq_msi_set(struct irq_msi *m, uint64_t addr, uint32_t data, bool masked)
{
	if (masked)
		return m->chip->ops->msi_mask(m->chip, m->id, true);
	int err = m->chip->ops->msi_set(m->chip, m->id, addr, data);
	return err ? err : m->chip->ops->msi_mask(m->chip, m->id, false);
}

void irq_msi_raise(struct irq_msi *m)
{
	uint64_t one = 1;
	if (write(m->fd, &one, sizeof(one)) < 0) {
		/* EAGAIN: 2^64 - 1 raises that nobody has taken; one more tells nothing new. */
	}
}

void irq_msi_free(struct irq_msi *m)
{
	if (m->allocated)
		m->chip->ops->msi_free(m->chip, m->id);
	m->allocated = false;
}

void irq_line_set(struct irq_line *line, bool level)
{
	if (line->level == level)
		return;
	line->level = level;
	line->chip->ops->set_line(line->chip, line->gsi, level);
}
