/* SPDX-License-Identifier: Apache-2.0 */
/* The PM1 registers. */
#include "devices/platform/acpi_pm.h"

#include "tests/unit/platform/machine.h"

enum { PORT = 0x600, SCI_EN = 1, SLP_EN = 1 << 13, S5 = 5 << 10, S3 = 3 << 10, GBL_EN = 1 << 5 };

static struct machine m;
static struct device *dev;
static const struct acpi_pm_config config = { .port = PORT };

static void setup(void)
{
	machine_init(&m);
	dev = machine_add(&m, &acpi_pm_ops, &config);
}

static void teardown(void)
{
	dev->ops->destroy(dev);
	machine_fini(&m);
}

static uint64_t rd(unsigned int off, unsigned int size)
{
	uint64_t v;
	CHECK(bus_read(m.env.pio, PORT + off, size, &v));
	return v;
}

static void wr(unsigned int off, unsigned int size, uint64_t v)
{
	CHECK(bus_write(m.env.pio, PORT + off, size, v));
}

TEST(entering_s5_powers_off_and_no_other_state_does)
{
	setup();
	wr(ACPI_PM_CONTROL, 2, SLP_EN | S3);
	wr(ACPI_PM_CONTROL, 2, S5);
	CHECK_EQ(m.power_offs, 0);
	wr(ACPI_PM_CONTROL, 2, SLP_EN | S5);
	CHECK_EQ(m.power_offs, 1);
	CHECK_EQ(rd(ACPI_PM_CONTROL, 2), SCI_EN | S5); /* SLP_EN is write-only */
	teardown();
}

TEST(acpi_is_on_and_stays_on)
{
	setup();
	CHECK_EQ(rd(ACPI_PM_CONTROL, 2), SCI_EN);
	wr(ACPI_PM_CONTROL, 2, 0);
	CHECK_EQ(rd(ACPI_PM_CONTROL, 2), SCI_EN);
	teardown();
}

TEST(no_event_ever_happens_and_enable_bits_stay)
{
	setup();
	wr(ACPI_PM_STATUS, 4, UINT64_C(0xffff) | GBL_EN << 16);
	CHECK_EQ(rd(ACPI_PM_STATUS, 2), 0);
	CHECK_EQ(rd(ACPI_PM_ENABLE, 2), GBL_EN);
	CHECK_EQ(rd(ACPI_PM_STATUS, 4), GBL_EN << 16);
	wr(ACPI_PM_ENABLE + 1, 1, 4);
	CHECK_EQ(rd(ACPI_PM_ENABLE, 2), GBL_EN | 4 << 8);
	CHECK_EQ(rd(ACPI_PM_CONTROL + 1, 1), 0);
	teardown();
}

TEST(registers_go_through_a_snapshot_and_a_reset_clears_them)
{
	setup();
	wr(ACPI_PM_ENABLE, 2, GBL_EN);
	wr(ACPI_PM_CONTROL, 2, S3);
	dev = machine_round_trip(&m, dev, &config);
	CHECK_EQ(rd(ACPI_PM_ENABLE, 2), GBL_EN);
	CHECK_EQ(rd(ACPI_PM_CONTROL, 2), S3 | SCI_EN);
	dev->ops->reset(dev);
	CHECK_EQ(rd(ACPI_PM_ENABLE, 2), 0);
	CHECK_EQ(rd(ACPI_PM_CONTROL, 2), SCI_EN);
	teardown();
}

TEST_MAIN(T(entering_s5_powers_off_and_no_other_state_does), T(acpi_is_on_and_stays_on),
	  T(no_event_ever_happens_and_enable_bits_stay),
	  T(registers_go_through_a_snapshot_and_a_reset_clears_them))
