/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMBIOS tables (DMTF DSP0134 3.6): who the machine is, and strings for the guest's systemd, which
 * takes credentials out of them (systemd.system-credentials(7)) before anything else runs.
 */
#ifndef FIRMWARE_SMBIOS_H
#define FIRMWARE_SMBIOS_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/core/guestmem.h"

enum {
	SMBIOS_OEM_STRINGS_MAX = 255, /* the count is one byte (7.12) */
	SMBIOS_OEM_BYTES_MAX =
		0xf000, /* all of them, with their NULs: the firmware range is small */
	SMBIOS_UUID_BYTES = 16,

	SMBIOS_ENTRY_BYTES = 24,    /* the entry point is the start of what is built (5.2.2) */
	SMBIOS_STRUCTURES_OFF = 32, /* and the structures follow */
};

/* What is told to the guest. Zero it, then add; smbios_clear() frees it. */
struct smbios {
	char *oem; /* NUL-terminated strings, one after the other */
	size_t oem_bytes;
	unsigned int noem;
};

/*
 * One OEM string, copied. -> 0, -EINVAL (empty, or with control characters), -ENOSPC (too many, too
 * long), -ENOMEM.
 */
int smbios_add_oem_string(struct smbios *s, const char *string);

/*
 * One credential for systemd: plain where @data is printable ASCII, in base64 where it is not.
 * @name as a file name: 1 to 255 of letters, digits, '.', '-', '_', '@', ':'. -> as above.
 */
int smbios_add_credential(struct smbios *s, const char *name, const void *data, size_t len_bytes);

/*
 * Entry point and structures, as they are at their place in guest memory; a BIOS puts them elsewhere and mends the
 * entry point. @product: the machine's name, for /sys/class/dmi/id/product_name; cut at 64 characters.
 * @uuid in the order of RFC 4122. -> 0 and *out, to be freed; -ENOMEM.
 */
int smbios_build(const struct smbios *s, const char *product, const uint8_t uuid[SMBIOS_UUID_BYTES],
		 uint8_t **out, size_t *len_bytes);

/* What was built, to its place. Before the vCPUs run. -> 0, -EFAULT (no RAM there). */
int smbios_install(const struct guestmem *gm, const uint8_t *built, size_t len_bytes);

void smbios_clear(struct smbios *s);

#endif
