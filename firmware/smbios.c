/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMBIOS 3: the 64-bit entry point at the start of the last 64 KiB below 1 MiB, where the guest
 * looks for it on 16-byte boundaries, and the structures right behind it:
 *
 *     type 0 BIOS, type 1 system, type 11 OEM strings (if any), type 127 end
 *
 * A structure is a fixed part and its strings, each ended by a NUL, and one NUL more (6.1.3).
 */
#include "firmware/smbios.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/firmware_layout.h"
#include "vmm/base/base64.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

enum {
	PRODUCT_CHARS_MAX = 64,
	CREDENTIAL_NAME_MAX = 255,

	TYPE_BIOS = 0,
	TYPE_SYSTEM = 1,
	TYPE_OEM_STRINGS = 11,
	TYPE_END = 127,

	BIOS_LEN = 0x18,
	BIOS_CHARACTERISTICS_NONE = 1 << 3, /* "not supported", 7.1.1 */
	BIOS_EXT2_VIRTUAL_MACHINE = 1 << 4, /* 7.1.2.2 */
	SYSTEM_LEN = 0x1b,
	SYSTEM_WAKE_POWER_SWITCH = 6,
};

struct out {
	uint8_t *buf;
	size_t len_bytes;
	uint16_t handle;
};

/* The fixed part of a structure, zeroed, with its header filled in. */
static uint8_t *structure(struct out *o, uint8_t type, uint8_t len_bytes)
{
	uint8_t *p = o->buf + o->len_bytes;
	p[0] = type;
	p[1] = len_bytes;
	put_le16(p + 2, o->handle++);
	o->len_bytes += len_bytes;
	return p;
}

static void put_strings(struct out *o, const char *strings, size_t len_bytes)
{
	memcpy(o->buf + o->len_bytes, strings, len_bytes);
	o->len_bytes += len_bytes + 1;
}

static void put_bios(struct out *o)
{
	static const char strings[] = "charmvm\0" CHARMVM_VERSION;
	uint8_t *p = structure(o, TYPE_BIOS, BIOS_LEN);
	p[4] = 1; /* vendor */
	p[5] = 2; /* version */
	put_le16(p + 6, (uint16_t)(FIRMWARE_SMBIOS_GPA >> 4));
	p[0x0a] = BIOS_CHARACTERISTICS_NONE;
	p[0x13] = BIOS_EXT2_VIRTUAL_MACHINE;
	p[0x14] = p[0x15] = p[0x16] = p[0x17] = 0xff; /* no releases */
	put_strings(o, strings, sizeof(strings));
}

static void put_system(struct out *o, const char *product, const uint8_t uuid[SMBIOS_UUID_BYTES])
{
	char strings[PRODUCT_CHARS_MAX + 64];
	int n = snprintf(strings, sizeof(strings), "charmvm%c%.*s", 0, PRODUCT_CHARS_MAX, product);
	uint8_t *p = structure(o, TYPE_SYSTEM, SYSTEM_LEN);
	p[4] = 1; /* manufacturer */
	p[5] = 2; /* product */
	/* The first three fields of the UUID are little-endian here (7.2.1). */
	put_le32(p + 8, get_be32(uuid));
	put_le16(p + 12, get_be16(uuid + 4));
	put_le16(p + 14, get_be16(uuid + 6));
	memcpy(p + 16, uuid + 8, 8);
	p[0x18] = SYSTEM_WAKE_POWER_SWITCH;
	put_strings(o, strings, (size_t)n + 1);
}

static void put_oem_strings(struct out *o, const struct smbios *s)
{
	if (!s->noem)
		return;
	uint8_t *p = structure(o, TYPE_OEM_STRINGS, 5);
	p[4] = (uint8_t)s->noem;
	put_strings(o, s->oem, s->oem_bytes);
}

static void put_end(struct out *o)
{
	structure(o, TYPE_END, 4);
	o->len_bytes += 2; /* no strings: two NULs */
}

static void put_entry_point(uint8_t *p, size_t structures_bytes)
{
	memcpy(p, "_SM3_", 5);
	p[6] = SMBIOS_ENTRY_BYTES;
	p[7] = 3; /* 3.6.0 */
	p[8] = 6;
	p[10] = 1; /* revision of this entry point */
	put_le32(p + 12, (uint32_t)structures_bytes);
	put_le64(p + 16, FIRMWARE_SMBIOS_GPA + SMBIOS_STRUCTURES_OFF);
	uint8_t sum = 0;
	for (unsigned int i = 0; i < SMBIOS_ENTRY_BYTES; i++)
		sum += p[i];
	p[5] = (uint8_t)-sum;
}

int smbios_build(const struct smbios *s, const char *product, const uint8_t uuid[SMBIOS_UUID_BYTES],
		 uint8_t **out, size_t *len_bytes)
{
	static_assert(SMBIOS_STRUCTURES_OFF + SMBIOS_OEM_BYTES_MAX + 512 <= FIRMWARE_SMBIOS_LEN,
		      "the fixed structures need less than 512 bytes");
	struct out o = { .buf = calloc(1, FIRMWARE_SMBIOS_LEN),
			 .len_bytes = SMBIOS_STRUCTURES_OFF };
	if (!o.buf)
		return -ENOMEM;
	put_bios(&o);
	put_system(&o, *product ? product : "charmvm", uuid);
	put_oem_strings(&o, s);
	put_end(&o);
	put_entry_point(o.buf, o.len_bytes - SMBIOS_STRUCTURES_OFF);
	*out = o.buf;
	*len_bytes = o.len_bytes;
	return 0;
}

int smbios_install(const struct guestmem *gm, const uint8_t *built, size_t len_bytes)
{
	return guestmem_write(gm, FIRMWARE_SMBIOS_GPA, built, len_bytes);
}

static bool printable(const char *s, size_t len_bytes)
{
	for (size_t i = 0; i < len_bytes; i++)
		if (s[i] < 0x20 || s[i] > 0x7e)
			return false;
	return len_bytes > 0;
}

int smbios_add_oem_string(struct smbios *s, const char *string)
{
	size_t len = strlen(string);
	if (!printable(string, len))
		return -EINVAL;
	if (s->noem == SMBIOS_OEM_STRINGS_MAX || len >= SMBIOS_OEM_BYTES_MAX - s->oem_bytes)
		return -ENOSPC;
	char *oem = realloc(s->oem, s->oem_bytes + len + 1);
	if (!oem)
		return -ENOMEM;
	memcpy(oem + s->oem_bytes, string, len + 1);
	s->oem = oem;
	s->oem_bytes += len + 1;
	s->noem++;
	return 0;
}

static bool credential_name_ok(const char *name)
{
	static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789.-_@:";
	size_t len = strlen(name);
	return len && len <= CREDENTIAL_NAME_MAX && strspn(name, chars) == len &&
	       strcmp(name, ".") && strcmp(name, "..");
}

int smbios_add_credential(struct smbios *s, const char *name, const void *data, size_t len_bytes)
{
	if (!credential_name_ok(name))
		return -EINVAL;
	if (len_bytes > SMBIOS_OEM_BYTES_MAX)
		return -ENOSPC;
	bool plain = printable(data, len_bytes);
	size_t cap = 64 + strlen(name) + base64_size(len_bytes);
	char *string = malloc(cap);
	if (!string)
		return -ENOMEM;
	int n = snprintf(string, cap, "io.systemd.credential%s:%s=", plain ? "" : ".binary", name);
	if (plain) {
		memcpy(string + n, data, len_bytes);
		string[(size_t)n + len_bytes] = '\0';
	} else {
		base64_encode(string + n, data, len_bytes);
	}
	int err = smbios_add_oem_string(s, string);
	free(string);
	return err;
}

void smbios_clear(struct smbios *s)
{
	free(s->oem);
	*s = (struct smbios){ .oem = NULL };
}
