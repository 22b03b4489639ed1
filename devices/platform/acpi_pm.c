/* SPDX-License-Identifier: Apache-2.0 */
/* Power off by the PM1 registers. */
/*
 * How it works. ACPI is always on (SCI_EN reads as one, there is no SMI command to turn it off), and no fixed event
 * ever happens: buttons are told by the event device. So the status reads as zero, the system control interrupt is
 * never raised, and what is left is a guest that enters S5.
 */
#include "devices/platform/acpi_pm.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/base/log.h"
#include "vmm/core/bus.h"

enum {
	CONTROL_SCI_EN = 1 << 0,
	CONTROL_SLP_TYP_SHIFT = 10,
	CONTROL_SLP_TYP_MASK = 7,
	CONTROL_SLP_EN = 1 << 13, /* write-only */
};

struct acpi_pm {
	struct device dev;
	struct bus_range range;

	uint16_t enable;
	uint16_t control; /* without SCI_EN and SLP_EN */
};

static uint64_t pm_read(void *opaque, uint64_t off, unsigned int size)
{
	const struct acpi_pm *p = opaque;
	uint8_t regs[ACPI_PM_PORTS + 2] = { 0 };
	if (size > 4)
		return UINT64_MAX;
	put_le16(regs + ACPI_PM_ENABLE, p->enable);
	put_le16(regs + ACPI_PM_CONTROL, p->control | CONTROL_SCI_EN);
	uint64_t v = 0;
	for (unsigned int i = size; i--;)
		v = v << 8 | regs[off + i]; /* inside the range, as the bus promises */
	return v;
}

/* A guest may write bytes, words, or status and enable at once. */
static void pm_write(void *opaque, uint64_t off, unsigned int size, uint64_t value)
{
	struct acpi_pm *p = opaque;
	uint8_t regs[ACPI_PM_PORTS];
	if (size > 4)
		return;
	put_le16(regs + ACPI_PM_ENABLE, p->enable);
	put_le16(regs + ACPI_PM_CONTROL, p->control);
	for (unsigned int i = 0; i < size; i++)
		regs[off + i] = (uint8_t)(value >> 8 * i);
	p->enable = get_le16(regs + ACPI_PM_ENABLE);
	uint16_t control = get_le16(regs + ACPI_PM_CONTROL);
	p->control = control & (uint16_t) ~(CONTROL_SLP_EN | CONTROL_SCI_EN);
	if (control & CONTROL_SLP_EN &&
	    (control >> CONTROL_SLP_TYP_SHIFT & CONTROL_SLP_TYP_MASK) == ACPI_PM_SLEEP_TYPE_S5)
		p->dev.env->power_off(p->dev.env->power_opaque);
}

/* ---- life ---- */

static struct acpi_pm *pm_of(struct device *d)
{
	return container_of(d, struct acpi_pm, dev);
}

static void pm_reset(struct device *d)
{
	pm_of(d)->enable = pm_of(d)->control = 0;
}

static int pm_quiesce(struct device *d)
{
	(void)d;
	return 0;
}

static void pm_resume(struct device *d)
{
	(void)d;
}

static void pm_save(struct device *d, struct state_writer *w)
{
	state_put_u32(w, "enable", pm_of(d)->enable);
	state_put_u32(w, "control", pm_of(d)->control);
}

static int load(struct acpi_pm *p, struct state_node n)
{
	uint32_t enable = 0, control = 0;
	int err = state_check(n, acpi_pm_ops.compatible);
	if (err)
		return err;
	err = state_get_u32(n, "enable", &enable);
	err = err ? err : state_get_u32(n, "control", &control);
	if (!err && (enable > UINT16_MAX || control > UINT16_MAX))
		err = -EINVAL;
	if (err)
		log_error("%s: its saved state is not valid; the snapshot is damaged", p->dev.name);
	p->enable = (uint16_t)enable;
	p->control = (uint16_t)control & (uint16_t) ~(CONTROL_SLP_EN | CONTROL_SCI_EN);
	return err;
}

static void pm_destroy(struct device *d)
{
	bus_unmap(d->env->pio, &pm_of(d)->range);
	device_fini(d);
	free(pm_of(d));
}

static int map_ports(struct acpi_pm *p, uint16_t port)
{
	p->range = (struct bus_range){
		.base = port,
		.len_bytes = ACPI_PM_PORTS,
		.lock = &p->dev.lock,
		.read = pm_read,
		.write = pm_write,
		.opaque = p,
		.name = p->dev.name,
	};
	int err = bus_map(p->dev.env->pio, &p->range);
	if (err)
		log_error("%s: port 0x%x is taken", p->dev.name, port);
	return err;
}

static int pm_create(const struct device_env *env, const char *name, const void *cfg,
		     const struct state_node *from, struct device **out)
{
	struct acpi_pm *p = calloc(1, sizeof(*p));
	if (!p) {
		log_error("%s: out of memory", name);
		return -ENOMEM;
	}
	device_init(&p->dev, &acpi_pm_ops, env, name);
	int err = from ? load(p, *from) : 0;
	err = err ? err : map_ports(p, ((const struct acpi_pm_config *)cfg)->port);
	if (err) {
		pm_destroy(&p->dev);
		return err;
	}
	*out = &p->dev;
	return 0;
}

const struct device_ops acpi_pm_ops = {
	.compatible = "charmvm,acpi-pm-1",
	.create = pm_create,
	.reset = pm_reset,
	.quiesce = pm_quiesce,
	.save = pm_save,
	.resume = pm_resume,
	.destroy = pm_destroy,
};
