/* SPDX-License-Identifier: Apache-2.0 */
/* The reset ports of a PC. */
/*
 * How it works. Command 0xfe on port 0x64 resets the machine. The status reads as 0xfd: "output
 * buffer full" for ever tells a driver that looks for the controller within its first few reads
 * that there is none (Linux: i8042_flush gives up after 16 bytes), and "input buffer not full" lets
 * one that wants to send the reset command do so at once (Linux: kb_wait polls up to 65536 times
 * for that). All ones, as of an empty port, would be as good for the first and bad for the second.
 */
#include "devices/platform/reset_port.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/core/bus.h"

enum {
	STATUS_ABSENT = 0xfd,
	COMMAND_RESET = 0xfe,
	CONTROL_RESET_CPU = 1 << 2, /* a write with this bit resets; bit 1 says how hard */
};

struct reset_port {
	struct device dev;
	struct bus_range keyboard;
	struct bus_range control;
};

static uint64_t port_read(void *opaque, uint64_t off, unsigned int size)
{
	(void)opaque;
	(void)off;
	(void)size;
	return STATUS_ABSENT;
}

static void port_write(void *opaque, uint64_t off, unsigned int size, uint64_t value)
{
	const struct reset_port *r = opaque;
	(void)off;
	(void)size;
	if (value == COMMAND_RESET)
		r->dev.env->reset(r->dev.env->power_opaque);
}

static uint64_t control_read(void *opaque, uint64_t off, unsigned int size)
{
	(void)opaque;
	(void)off;
	(void)size;
	return 0;
}

static void control_write(void *opaque, uint64_t off, unsigned int size, uint64_t value)
{
	const struct reset_port *r = opaque;
	(void)off;
	(void)size;
	if (value & CONTROL_RESET_CPU)
		r->dev.env->reset(r->dev.env->power_opaque);
}

/* ---- life: there is no state ---- */

static void port_reset(struct device *d)
{
	(void)d;
}

static int port_quiesce(struct device *d)
{
	(void)d;
	return 0;
}

static void port_save(struct device *d, struct state_writer *w)
{
	(void)d;
	(void)w;
}

static void port_resume(struct device *d)
{
	(void)d;
}

static int map_ports(struct reset_port *r, const struct reset_port_config *config)
{
	struct bus_range range = {
		.base = config->port,
		.len_bytes = 1,
		.lock = &r->dev.lock,
		.read = port_read,
		.write = port_write,
		.opaque = r,
		.name = r->dev.name,
	};
	r->keyboard = r->control = range;
	r->control.base = config->control_port;
	r->control.read = control_read;
	r->control.write = control_write;
	int err = bus_map(r->dev.env->pio, &r->keyboard);
	if (!err && config->control_port)
		err = bus_map(r->dev.env->pio, &r->control);
	if (err)
		log_error("%s: port 0x%x or 0x%x is taken", r->dev.name, config->port,
			  config->control_port);
	return err;
}

static void port_destroy(struct device *d)
{
	struct reset_port *r = container_of(d, struct reset_port, dev);
	bus_unmap(d->env->pio, &r->keyboard);
	bus_unmap(d->env->pio, &r->control);
	device_fini(d);
	free(r);
}

static int port_create(const struct device_env *env, const char *name, const void *cfg,
		       const struct state_node *from, struct device **out)
{
	int err = from ? state_check(*from, reset_port_ops.compatible) : 0;
	if (err)
		return err;
	struct reset_port *r = calloc(1, sizeof(*r));
	if (!r) {
		log_error("%s: out of memory", name);
		return -ENOMEM;
	}
	device_init(&r->dev, &reset_port_ops, env, name);
	err = map_ports(r, cfg);
	if (err) {
		port_destroy(&r->dev);
		return err;
	}
	*out = &r->dev;
	return 0;
}

const struct device_ops reset_port_ops = {
	.compatible = "charmvm,reset-port-1",
	.create = port_create,
	.reset = port_reset,
	.quiesce = port_quiesce,
	.save = port_save,
	.resume = port_resume,
	.destroy = port_destroy,
};
