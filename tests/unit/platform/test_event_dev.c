/* SPDX-License-Identifier: Apache-2.0 */
/* Power button, power off, and the keyboard controller's reset. */
#include "devices/platform/event_dev.h"

#include "devices/platform/reset_port.h"
#include "tests/unit/platform/machine.h"

enum { GSI = 9, RESET_PORT = 0x64, CONTROL_PORT = 0xcf9 };
#define BASE UINT64_C(0xfed00000)

static struct machine m;
static struct device *dev;
static const struct event_dev_config config = { BASE, GSI };

static void setup(void)
{
	machine_init(&m);
	dev = machine_add(&m, &event_dev_ops, &config);
}

static void teardown(void)
{
	dev->ops->destroy(dev);
	machine_fini(&m);
}

static uint64_t rd(unsigned int off, unsigned int size)
{
	uint64_t v;
	CHECK(bus_read(m.env.mmio, BASE + off, size, &v));
	return v;
}

static void wr(unsigned int off, unsigned int size, uint64_t v)
{
	CHECK(bus_write(m.env.mmio, BASE + off, size, v));
}

static void press(void)
{
	event_dev_power_button(dev);
	machine_run_ms(&m, 1);
}

TEST(power_button_raises_the_line_until_it_is_read)
{
	setup();
	CHECK_EQ(rd(EVENT_DEV_PENDING, 4), 0);
	press();
	CHECK(m.irq.level[GSI]);
	CHECK_EQ(rd(EVENT_DEV_PENDING, 4), EVENT_DEV_POWER_BUTTON);
	CHECK(!m.irq.level[GSI]);
	CHECK_EQ(rd(EVENT_DEV_PENDING, 4), 0);
	press();
	CHECK_EQ(m.irq.rises[GSI], 2);
	teardown();
}

TEST(new_generation_is_told_when_the_machine_goes_on)
{
	setup();
	dev->ops->quiesce(dev);
	event_dev_vm_generation(dev);
	CHECK(!m.irq.level[GSI]);
	dev->ops->resume(dev);
	CHECK(m.irq.level[GSI]);
	CHECK_EQ(rd(EVENT_DEV_PENDING, 4), EVENT_DEV_VM_GENERATION);
	CHECK(!m.irq.level[GSI]);
	teardown();
}

TEST(only_the_whole_pending_register_takes_the_events)
{
	setup();
	press();
	CHECK_EQ(rd(EVENT_DEV_PENDING, 1), 0);
	CHECK_EQ(rd(EVENT_DEV_PENDING, 8), 0);
	CHECK(m.irq.level[GSI]);
	CHECK_EQ(rd(EVENT_DEV_PENDING, 4), EVENT_DEV_POWER_BUTTON);
	teardown();
}

TEST(s5_with_enable_powers_off_and_nothing_else_does)
{
	setup();
	for (unsigned int v = 0; v < 256; v++)
		if ((v & 0x3c) != (0x20 | 5 << 2))
			wr(EVENT_DEV_SLEEP_CONTROL, 1, v);
	wr(EVENT_DEV_SLEEP_CONTROL, 4, 0x34);
	wr(EVENT_DEV_SLEEP_STATUS, 1, 0x34);
	CHECK_EQ(m.power_offs, 0);
	wr(EVENT_DEV_SLEEP_CONTROL, 1, 5 << 2);
	CHECK_EQ(m.power_offs, 0);
	wr(EVENT_DEV_SLEEP_CONTROL, 1, 0x20 | 5 << 2);
	CHECK_EQ(m.power_offs, 1);
	CHECK_EQ(rd(EVENT_DEV_SLEEP_CONTROL, 1), 5 << 2);
	teardown();
}

TEST(sleep_status_is_zero)
{
	setup();
	wr(EVENT_DEV_SLEEP_STATUS, 1, 0x80);
	CHECK_EQ(rd(EVENT_DEV_SLEEP_STATUS, 1), 0);
	teardown();
}

TEST(pending_event_survives_a_snapshot)
{
	setup();
	press();
	wr(EVENT_DEV_SLEEP_CONTROL, 1, 5 << 2);
	dev = machine_round_trip(&m, dev, &config);
	CHECK(m.irq.level[GSI]);
	CHECK_EQ(rd(EVENT_DEV_PENDING, 4), EVENT_DEV_POWER_BUTTON);
	CHECK_EQ(rd(EVENT_DEV_SLEEP_CONTROL, 1), 5 << 2);
	teardown();
}

TEST(reset_takes_events_back)
{
	setup();
	press();
	CHECK_EQ(dev->ops->quiesce(dev), 0);
	dev->ops->reset(dev);
	dev->ops->resume(dev);
	CHECK(!m.irq.level[GSI]);
	CHECK_EQ(rd(EVENT_DEV_PENDING, 4), 0);
	teardown();
}

TEST(reset_command_resets_and_the_status_says_that_nobody_is_there)
{
	const struct reset_port_config reset_config = { RESET_PORT, 0 };
	setup();
	struct device *d = machine_add(&m, &reset_port_ops, &reset_config);
	for (int i = 0; i < 20; i++)
		CHECK_EQ(inb(&m, RESET_PORT) & 0x03, 0x01); /* OBF for ever, IBF never */
	for (unsigned int v = 0; v < 0xfe; v++)
		outb(&m, RESET_PORT, (uint8_t)v);
	CHECK_EQ(m.resets, 0);
	outb(&m, RESET_PORT, 0xfe);
	CHECK_EQ(m.resets, 1);
	d = machine_round_trip(&m, d, &reset_config);
	outb(&m, RESET_PORT, 0xfe);
	CHECK_EQ(m.resets, 2);
	d->ops->destroy(d);
	CHECK_EQ(inb(&m, RESET_PORT), 0xff);
	teardown();
}

TEST(reset_control_register_resets_with_bit_2)
{
	const struct reset_port_config reset_config = { RESET_PORT, CONTROL_PORT };
	setup();
	struct device *d = machine_add(&m, &reset_port_ops, &reset_config);
	CHECK_EQ(inb(&m, CONTROL_PORT), 0);
	outb(&m, CONTROL_PORT, 0x02);
	CHECK_EQ(m.resets, 0);
	outb(&m, CONTROL_PORT, 0x06);
	CHECK_EQ(m.resets, 1);
	struct device *second = NULL;
	CHECK(reset_port_ops.create(&m.env, "dev1", &reset_config, NULL, &second) < 0);
	CHECK(!second);
	d->ops->destroy(d);
	teardown();
}

TEST_MAIN(T(new_generation_is_told_when_the_machine_goes_on),
	  T(power_button_raises_the_line_until_it_is_read),
	  T(only_the_whole_pending_register_takes_the_events),
	  T(s5_with_enable_powers_off_and_nothing_else_does), T(sleep_status_is_zero),
	  T(pending_event_survives_a_snapshot), T(reset_takes_events_back),
	  T(reset_command_resets_and_the_status_says_that_nobody_is_there),
	  T(reset_control_register_resets_with_bit_2))
