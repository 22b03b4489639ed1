/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest, host and snapshot against the small chips. The input is a program: each step touches a
 * register, moves the clock, types, changes what the stream takes, resets, goes through a snapshot, or
 * offers a saved state of arbitrary bytes. Nothing may crash, a chip's own state is
 * always taken back, and no interrupt line stays up behind a chip that is gone.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/chardev/chardev.h"
#include "devices/device.h"
#include "devices/platform/acpi_pm.h"
#include "devices/platform/event_dev.h"
#include "devices/platform/fw_cfg.h"
#include "devices/platform/mc146818.h"
#include "devices/platform/ns16550.h"
#include "devices/platform/reset_port.h"
#include "tests/unit/fake_irqchip.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/core/bus.h"
#include "vmm/core/guestmem.h"
#include "vmm/core/loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { UART, RTC, EVENTS, RESET, FILES, PM, CHIPS };
enum { STEP_BYTES = 4, RAM_BYTES = 4096 };
#define VALUE_BYTES ((size_t)32) /* of a property that come from the input */
#define EVENTS_GPA  UINT64_C(0xfed00000)

static const struct device_ops *const chip_ops[CHIPS] = { &ns16550_ops,	  &mc146818_ops,
							  &event_dev_ops, &reset_port_ops,
							  &fw_cfg_ops,	  &acpi_pm_ops };

struct world {
	struct device_env env;
	struct fake_irqchip irq;
	struct chardev stream;
	size_t stream_room;
	int64_t now_ns;
	struct ns16550_config uart;
	struct mc146818_config rtc;
	struct event_dev_config events;
	struct reset_port_config reset;
	struct fw_cfg_config files;
	struct acpi_pm_config pm;
	struct guestmem mem;
	uint8_t ram[RAM_BYTES];
	const void *configs[CHIPS];
	struct device *chips[CHIPS];
};

static size_t stream_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	struct world *w = container_of(c, struct world, stream);
	size_t n = MIN(len, w->stream_room);
	(void)buf;
	w->stream_room -= n;
	return n;
}

static void stream_input_ready(struct chardev *c)
{
	static const uint8_t text[] = "more";
	chardev_deliver(c, text, sizeof(text));
}

static int64_t now_ns(void *opaque)
{
	return ((struct world *)opaque)->now_ns;
}

static void nothing(void *opaque)
{
	(void)opaque;
}

static void must(bool fine)
{
	if (!fine)
		abort();
}

static void world_create(struct world *w)
{
	static const struct chardev_ops ops = { .name = "fuzz",
						.write = stream_write,
						.input_ready = stream_input_ready };
	memset(w, 0, sizeof(*w));
	fake_irqchip_init(&w->irq);
	must(!loop_create(&w->env.loop) && !bus_create(&w->env.pio) && !bus_create(&w->env.mmio));
	w->env.irq = &w->irq.base;
	w->env.power_off = w->env.reset = nothing;
	w->stream.ops = &ops;
	w->now_ns = INT64_C(1795391998) * 1000000000;
	w->uart = (struct ns16550_config){ .port = 0x3f8, .gsi = 4, .chardev = &w->stream };
	w->rtc = (struct mc146818_config){ .port = 0x70, .gsi = 8, .now_ns = now_ns, .opaque = w };
	w->events = (struct event_dev_config){ EVENTS_GPA, 9 };
	w->reset = (struct reset_port_config){ 0x64, 0xcf9 };
	w->files = (struct fw_cfg_config){ 0x510, 2 };
	w->pm = (struct acpi_pm_config){ 0x600 };
	must(!guestmem_add(&w->mem, 0, sizeof(w->ram), w->ram));
	w->env.mem = &w->mem;
	w->configs[FILES] = &w->files;
	w->configs[PM] = &w->pm;
	w->configs[UART] = &w->uart;
	w->configs[RTC] = &w->rtc;
	w->configs[EVENTS] = &w->events;
	w->configs[RESET] = &w->reset;
	for (int i = 0; i < CHIPS; i++) {
		must(!chip_ops[i]->create(&w->env, "chip", w->configs[i], NULL, &w->chips[i]));
		w->chips[i]->ops->resume(w->chips[i]);
	}
}

static void world_destroy(struct world *w)
{
	for (int i = 0; i < CHIPS; i++)
		w->chips[i]->ops->destroy(w->chips[i]);
	for (int i = 0; i < FAKE_LINES; i++)
		must(!w->irq.level[i]);
	bus_destroy(w->env.pio);
	bus_destroy(w->env.mmio);
	loop_destroy(w->env.loop);
}

static void done(void *opaque)
{
	*(bool *)opaque = true;
}

static void turn(struct world *w)
{
	bool enough = false;
	struct loop_timer t = { .fn = done, .opaque = &enough };
	loop_timer_arm(w->env.loop, &t, clock_now_ns());
	loop_run_until(w->env.loop, &enough);
}

static void put_fuzzed(struct state_writer *w, const uint8_t *p, size_t len)
{
	static const char *const names[] = { "ier",	     "fcr",	 "lcr",	      "mcr",
					     "msr",	     "scr",	 "divisor",   "overrun",
					     "index",	     "received", "unsent",    "registers",
					     "seen-ns",	     "pending",	 "offset-ns", "sleep-type",
					     "thre-pending", "key",	 "offset",    "dma-high",
					     "enable",	     "control" };
	static const size_t sizes[ARRAY_SIZE(names)] = { 4,   4, 4, 4, 4, 4, 4, 4, 4, 0, 0,
							 128, 8, 4, 8, 4, 4, 4, 4, 4, 4, 4 };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		uint8_t value[4096] = { 0 };
		size_t size = sizes[i];
		uint8_t how = len ? *p++ : 0;
		len -= len > 0;
		if (how == 0xfe)
			continue;
		if (how == 0xff || !size) /* of any size, and of another than it should have */
			size = (len ? *p : 3) * 16U;
		/* Numbers are mostly small, so that what is behind their checks is reached. */
		size_t from = size && size <= 8 && how < 0xc0 ? size - 1 : 0;
		memcpy(value + from, p, MIN(len, VALUE_BYTES));
		state_put_bytes(w, names[i], value, size);
	}
}

/* Creates chip @i from a state: its own, or one that the rest of the input makes up. */
static void restore(struct world *w, int i, const uint8_t *p, size_t len)
{
	struct state_writer *sw = NULL;
	struct state_node root, node;
	const void *blob;
	size_t blob_len;
	const struct device_ops *ops = chip_ops[i];
	bool own = !p;
	must(!w->chips[i]->ops->quiesce(w->chips[i]) && !state_writer_create(&sw));
	state_begin(sw, "", "charmvm,machine-1");
	state_begin(sw, "chip", ops->compatible);
	if (own)
		ops->save(w->chips[i], sw);
	else
		put_fuzzed(sw, p, len);
	state_end(sw);
	state_end(sw);
	must(!state_finish(sw, &blob, &blob_len) && !state_open(blob, blob_len, &root) &&
	     !state_child(root, "chip", &node));
	ops->destroy(w->chips[i]);
	int err = ops->create(&w->env, "chip", w->configs[i], &node, &w->chips[i]);
	must(!err || !own);
	if (err)
		must(!ops->create(&w->env, "chip", w->configs[i], NULL, &w->chips[i]));
	w->chips[i]->ops->resume(w->chips[i]);
	state_writer_destroy(sw);
}

static void touch(struct world *w, const uint8_t *s)
{
	static const uint16_t ports[] = { 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe,
					  0x3ff, 0x70,	0x71,  0x64,  0xcf9, 0x510, 0x511,
					  0x514, 0x518, 0x600, 0x602, 0x603, 0x604 };
	uint64_t v;
	unsigned int size = 1U << (s[3] & 3);
	if (s[1] < 0xc0)
		for (int n = s[3] >> 2; n >= 0; n--) /* bursts, as drivers make them */
			bus_write(w->env.pio, ports[s[1] % ARRAY_SIZE(ports)], s[3] & 2 ? 1 : size,
				  s[2]);
	else if (s[1] < 0xe0)
		bus_read(w->env.pio, ports[s[2] % ARRAY_SIZE(ports)], size, &v);
	else if (s[1] < 0xf0)
		bus_write(w->env.mmio, EVENTS_GPA + (s[1] & 15), size, s[2]);
	else
		bus_read(w->env.mmio, EVENTS_GPA + (s[1] & 15), size, &v);
}

static void step(struct world *w, const uint8_t *s, size_t left)
{
	switch (s[0] % 16) {
	default: touch(w, s); break;
	case 1: w->now_ns += (int64_t)s[1] << (s[2] % 40); break;
	case 2: w->now_ns -= (int64_t)s[1] << (s[2] % 40); break;
	case 3: chardev_deliver(&w->stream, s, MIN((size_t)s[1] * 8, left)); break;
	case 4:
		w->stream_room = s[1] * 32U;
		if (w->stream.port)
			w->stream.port->output_ready(w->stream.port);
		break;
	case 5: turn(w); break;
	case 6: event_dev_power_button(w->chips[EVENTS]); break;
	case 7: restore(w, s[1] % CHIPS, NULL, 0); break;
	case 8: restore(w, s[1] % CHIPS, s, left); break;
	case 10: /* a request of the firmware's, and perhaps its address */
		memcpy(w->ram + s[1], s, MIN(left, (size_t)16));
		bus_write(w->env.pio, 0x518, 4, (uint32_t)s[1] << 24 | (uint32_t)s[2] << 31);
		break;
	case 11:
		(void)fw_cfg_add_file(w->chips[FILES], &"f"[s[1] & 1], s, MIN(left, (size_t)s[2]));
		break;
	case 9: {
		struct device *d = w->chips[s[1] % CHIPS];
		must(!d->ops->quiesce(d));
		d->ops->reset(d);
		d->ops->resume(d);
		break;
	}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct world w;
	log_set_level((enum log_level) - 1); /* not even errors */
	world_create(&w);
	for (; len >= STEP_BYTES; data += STEP_BYTES, len -= STEP_BYTES)
		step(&w, data, len);
	world_destroy(&w);
	return 0;
}
