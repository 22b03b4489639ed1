/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel that jumps to the reset vector restarts the machine. */
#include "firmware/reset_vector.h"

#include <errno.h>

#include "tests/unit/test.h"

enum { MIB_BYTES = 1 << 20, VECTOR = 0xffff0 };

TEST(vector_asks_for_a_reset_and_stays_there)
{
	static uint8_t ram[MIB_BYTES];
	struct guestmem gm = { 0 };
	static const uint8_t want[] = { 0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4, 0xeb, 0xfd };
	CHECK_EQ(guestmem_add(&gm, 0, sizeof(ram), ram), 0);
	CHECK_EQ(reset_vector_install(&gm), 0);
	CHECK_EQ(memcmp(ram + VECTOR, want, sizeof(want)), 0);
}

TEST(machine_without_low_ram_is_told)
{
	static uint8_t ram[4096];
	struct guestmem gm = { 0 };
	CHECK_EQ(guestmem_add(&gm, 0, sizeof(ram), ram), 0);
	CHECK_EQ(reset_vector_install(&gm), -EFAULT);
}

TEST_MAIN(T(vector_asks_for_a_reset_and_stays_there), T(machine_without_low_ram_is_told))
