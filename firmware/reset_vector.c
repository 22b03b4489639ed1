/* SPDX-License-Identifier: Apache-2.0 */
/* The code at a PC's reset vector. */
#include "firmware/reset_vector.h"

#include <assert.h>

#include "firmware/acpi.h"
#include "firmware/firmware_layout.h"

/* 16-bit code: mov dx, X86_RESET_PORT; mov al, ACPI_RESET_VALUE; out dx, al; stay: hlt; jmp stay */
static const uint8_t code[] = {
	0xba, X86_RESET_PORT & 0xff, X86_RESET_PORT >> 8, 0xb0, ACPI_RESET_VALUE, 0xee, 0xf4, 0xeb,
	0xfd,
};

int reset_vector_install(const struct guestmem *gm)
{
	static_assert(sizeof(code) <= FIRMWARE_RESET_LEN,
		      "the reset vector is the end of the first MiB");
	return guestmem_write(gm, FIRMWARE_RESET_GPA, code, sizeof(code));
}
