/* SPDX-License-Identifier: Apache-2.0 */
/* As much of a machine as a small chip needs, and its state through a tree and back. */
#ifndef TESTS_UNIT_PLATFORM_MACHINE_H
#define TESTS_UNIT_PLATFORM_MACHINE_H

#include "devices/device.h"
#include "tests/unit/fake_irqchip.h"
#include "tests/unit/test.h"
#include "vmm/base/clock.h"
#include "vmm/core/bus.h"
#include "vmm/core/loop.h"

struct machine {
	struct device_env env;
	struct fake_irqchip irq;
	unsigned int power_offs;
	unsigned int resets;
};

static void machine_power_off(void *opaque)
{
	((struct machine *)opaque)->power_offs++;
}

static void machine_reset(void *opaque)
{
	((struct machine *)opaque)->resets++;
}

static inline void machine_init(struct machine *m)
{
	memset(m, 0, sizeof(*m));
	fake_irqchip_init(&m->irq);
	CHECK_EQ(loop_create(&m->env.loop), 0);
	CHECK_EQ(bus_create(&m->env.pio), 0);
	CHECK_EQ(bus_create(&m->env.mmio), 0);
	m->env.irq = &m->irq.base;
	m->env.power_off = machine_power_off;
	m->env.reset = machine_reset;
	m->env.power_opaque = m;
}

static inline void machine_fini(struct machine *m)
{
	bus_destroy(m->env.pio);
	bus_destroy(m->env.mmio);
	loop_destroy(m->env.loop);
}

static inline uint8_t inb(struct machine *m, uint16_t port)
{
	uint64_t v;
	bus_read(m->env.pio, port, 1, &v);
	return (uint8_t)v;
}

static inline void outb(struct machine *m, uint16_t port, uint8_t v)
{
	bus_write(m->env.pio, port, 1, v);
}

/* Creates a device of these ops; it is at work on return. */
static inline struct device *machine_add(struct machine *m, const struct device_ops *ops,
					 const void *cfg)
{
	struct device *d = NULL;
	CHECK_EQ(ops->create(&m->env, "dev0", cfg, NULL, &d), 0);
	ops->resume(d);
	return d;
}

/* What save() wrote, to read it from. Freed with the writer. */
static inline struct state_node machine_save(struct device *d, struct state_writer **w)
{
	const void *blob;
	size_t len;
	struct state_node root, node;
	CHECK_EQ(d->ops->quiesce(d), 0);
	CHECK_EQ(state_writer_create(w), 0);
	state_begin(*w, "", "charmvm,machine-1");
	state_begin(*w, "dev0", d->ops->compatible);
	d->ops->save(d, *w);
	state_end(*w);
	state_end(*w);
	CHECK_EQ(state_finish(*w, &blob, &len), 0);
	CHECK_EQ(state_open(blob, len, &root), 0);
	CHECK_EQ(state_child(root, "dev0", &node), 0);
	return node;
}

/* The device goes through a snapshot: saved, destroyed, created from its state, at work again. */
static inline struct device *machine_round_trip(struct machine *m, struct device *d,
						const void *cfg)
{
	const struct device_ops *ops = d->ops;
	struct state_writer *w;
	struct state_node node = machine_save(d, &w);
	struct device *restored = NULL;
	ops->destroy(d);
	CHECK_EQ(ops->create(&m->env, "dev0", cfg, &node, &restored), 0);
	ops->resume(restored);
	state_writer_destroy(w);
	return restored;
}

static void machine_enough(void *opaque)
{
	*(bool *)opaque = true;
}

/* Runs the loop for so long. */
static inline void machine_run_ms(struct machine *m, unsigned int ms)
{
	bool done = false;
	struct loop_timer t = { .fn = machine_enough, .opaque = &done };
	loop_timer_arm(m->env.loop, &t, clock_now_ns() + ms * NS_PER_MS);
	loop_run_until(m->env.loop, &done);
}

#endif
