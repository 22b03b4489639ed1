/* SPDX-License-Identifier: Apache-2.0 */
/* Power button, power off, a new VM generation. */
/*
 * How it works. An event sets its bit and the line goes up; the guest's AML method reads the
 * pending register, which takes all bits and lowers the line. Entering S5 ends the machine; there
 * is no other sleep state, so WAK is never set.
 */
#include "devices/platform/event_dev.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/core/bus.h"
#include "vmm/core/irq.h"
#include "vmm/core/loop.h"

enum {
	SLEEP_ENABLE = 1 << 5,
	SLEEP_TYPE_SHIFT = 2,
	SLEEP_TYPE_MASK = 7 << SLEEP_TYPE_SHIFT,
};

struct event_dev {
	struct device dev;
	struct bus_range range;
	struct irq_line line;
	struct loop_task button;
	struct log_limit limit;

	uint32_t pending;
	uint8_t sleep_type; /* as in the sleep control register */
};

static struct event_dev *event_dev_of(struct device *d)
{
	return container_of(d, struct event_dev, dev);
}

static void update_line(struct event_dev *e)
{
	irq_line_set(&e->line, e->pending != 0);
}

static void on_button(void *opaque)
{
	struct event_dev *e = opaque;
	e->pending |= EVENT_DEV_POWER_BUTTON;
	update_line(e);
}

void event_dev_power_button(struct device *d)
{
	loop_task_post(d->env->loop, &event_dev_of(d)->button);
}

void event_dev_vm_generation(struct device *d)
{
	event_dev_of(d)->pending |= EVENT_DEV_VM_GENERATION; /* resume() sets the line */
}

static uint32_t take_pending(struct event_dev *e)
{
	uint32_t pending = e->pending;
	e->pending = 0;
	update_line(e);
	return pending;
}

static uint64_t event_read(void *opaque, uint64_t off, unsigned int size)
{
	struct event_dev *e = opaque;
	if (off == EVENT_DEV_PENDING && size == 4)
		return take_pending(e);
	if (off == EVENT_DEV_SLEEP_CONTROL && size == 1)
		return e->sleep_type; /* SLP_EN is write-only */
	if (off == EVENT_DEV_SLEEP_STATUS && size == 1)
		return 0;
	log_guest(&e->limit, "%s: read of %u bytes at offset 0x%x, where nothing is", e->dev.name,
		  size, (unsigned int)off);
	return 0;
}

static void write_sleep_control(struct event_dev *e, uint8_t v)
{
	e->sleep_type = v & SLEEP_TYPE_MASK;
	if (!(v & SLEEP_ENABLE))
		return;
	if (e->sleep_type >> SLEEP_TYPE_SHIFT == EVENT_DEV_SLEEP_TYPE_S5)
		e->dev.env->power_off(e->dev.env->power_opaque);
	else
		log_guest(&e->limit, "%s: sleep type %d is not there", e->dev.name,
			  e->sleep_type >> SLEEP_TYPE_SHIFT);
}

static void event_write(void *opaque, uint64_t off, unsigned int size, uint64_t value)
{
	struct event_dev *e = opaque;
	if (off == EVENT_DEV_SLEEP_CONTROL && size == 1)
		write_sleep_control(e, (uint8_t)value);
	else if (off != EVENT_DEV_SLEEP_STATUS || size != 1)
		log_guest(&e->limit, "%s: write of %u bytes at offset 0x%x, where nothing is",
			  e->dev.name, size, (unsigned int)off);
}

/* ---- life ---- */

static void event_reset(struct device *d)
{
	struct event_dev *e = event_dev_of(d);
	e->pending = 0;
	e->sleep_type = 0;
	update_line(e);
}

static int event_quiesce(struct device *d)
{
	(void)d; /* a button that is pressed while we are quiet waits in its task */
	return 0;
}

static void event_save(struct device *d, struct state_writer *w)
{
	const struct event_dev *e = event_dev_of(d);
	state_put_u32(w, "pending", e->pending);
	state_put_u32(w, "sleep-type", e->sleep_type);
}

static void event_resume(struct device *d)
{
	update_line(event_dev_of(d));
}

static int load(struct event_dev *e, struct state_node n)
{
	uint32_t sleep_type = 0;
	int err = state_check(n, event_dev_ops.compatible);
	if (err)
		return err;
	if ((err = state_get_u32(n, "pending", &e->pending)) ||
	    (err = state_get_u32(n, "sleep-type", &sleep_type))) {
		log_error("%s: its saved state is not valid; the snapshot is damaged", e->dev.name);
		return err;
	}
	e->sleep_type = sleep_type & SLEEP_TYPE_MASK;
	return 0;
}

static void fill_in(struct event_dev *e, const struct device_env *env,
		    const struct event_dev_config *cfg)
{
	e->line = (struct irq_line){ .chip = env->irq, .gsi = cfg->gsi };
	e->button = (struct loop_task){ .lock = &e->dev.lock, .fn = on_button, .opaque = e };
	e->range = (struct bus_range){
		.base = cfg->gpa,
		.len_bytes = EVENT_DEV_LEN,
		.lock = &e->dev.lock,
		.read = event_read,
		.write = event_write,
		.opaque = e,
		.name = e->dev.name,
	};
}

static int event_create(const struct device_env *env, const char *name, const void *cfg,
			const struct state_node *from, struct device **out)
{
	struct event_dev *e = calloc(1, sizeof(*e));
	if (!e) {
		log_error("%s: out of memory", name);
		return -ENOMEM;
	}
	device_init(&e->dev, &event_dev_ops, env, name);
	fill_in(e, env, cfg);
	int err = from ? load(e, *from) : 0;
	if (err)
		goto out_free;
	err = bus_map(env->mmio, &e->range);
	if (err) {
		log_error("%s: address 0x%llx is taken", name, (unsigned long long)e->range.base);
		goto out_free;
	}
	*out = &e->dev;
	return 0;
out_free:
	device_fini(&e->dev);
	free(e);
	return err;
}

static void event_destroy(struct device *d)
{
	struct event_dev *e = event_dev_of(d);
	loop_task_cancel(d->env->loop, &e->button);
	bus_unmap(d->env->mmio, &e->range);
	irq_line_set(&e->line, false);
	device_fini(d);
	free(e);
}

const struct device_ops event_dev_ops = {
	.compatible = "charmvm,event-dev-1",
	.create = event_create,
	.reset = event_reset,
	.quiesce = event_quiesce,
	.save = event_save,
	.resume = event_resume,
	.destroy = event_destroy,
};
