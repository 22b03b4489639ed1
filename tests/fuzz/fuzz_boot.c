/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile kernel file, bzImage or ELF, loaded into 32 MiB of guest memory with an initrd. If it is taken, the
 * firmware range and the memory map are as the guest has to find them, whatever the file says.
 */
#include <stdlib.h>
#include <string.h>

#include "firmware/boot.h"
#include "tests/unit/firmware/guest_ram.h"
#include "vmm/base/checked.h"
#include "vmm/x86/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint8_t initrd[5000] = { 1 };
	struct guestmem gm = guest_ram_new(32 * MIB, 0);
	uint8_t *firmware = guestmem_ptr(&gm, X86_FIRMWARE_BASE, X86_FIRMWARE_LEN);
	const struct boot_config cfg = {
		.kernel_name = "fuzz",
		.kernel = data,
		.kernel_bytes = len,
		.initrd = initrd,
		.initrd_bytes = sizeof(initrd),
		.cmdline = "quiet",
		.rsdp_gpa = X86_FIRMWARE_BASE,
	};
	struct boot_entry entry;
	firmware[0] = 0x55;
	if (!boot_load(&gm, &cfg, &entry)) {
		if (entry.rip < MIB || !guestmem_ptr(&gm, entry.rip, 1))
			abort();
		if (entry.kind == BOOT_LINUX64 && !guestmem_ptr(&gm, entry.rsi, 4096))
			abort();
		if (entry.kind == BOOT_PVH && !guestmem_ptr(&gm, entry.rbx, 4096))
			abort();
		for (size_t i = 1; i < X86_FIRMWARE_LEN; i++)
			if (firmware[i])
				abort();
	}
	if (firmware[0] != 0x55)
		abort();
	guest_ram_free(&gm);
	return 0;
}
