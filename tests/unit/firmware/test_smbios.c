/* SPDX-License-Identifier: Apache-2.0 */
/* SMBIOS: walked as a guest walks it. */
#include <errno.h>
#include <stdlib.h>

#include "firmware/smbios.h"
#include "tests/unit/firmware/guest_ram.h"
#include "tests/unit/test.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

static const uint8_t uuid[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
				  0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };

static struct guestmem installed(const struct smbios *s)
{
	struct guestmem gm = guest_ram_new(2 * MIB, 0);
	uint8_t *built;
	size_t len;
	CHECK_EQ(smbios_build(s, "charmed311", uuid, &built, &len), 0);
	CHECK_EQ(smbios_install(&gm, built, len), 0);
	free(built);
	return gm;
}

/* The structure of @type, found by the entry point; checks that the table ends where it says. */
static const uint8_t *find(const struct guestmem *gm, uint8_t type)
{
	const uint8_t *ep = guestmem_ptr(gm, 0xf0000, 24), *found = NULL;
	uint8_t sum = 0;
	for (int i = 0; i < 24; i++)
		sum += ep[i];
	CHECK(!memcmp(ep, "_SM3_", 5));
	CHECK_EQ(sum, 0);
	uint32_t size = get_le32(ep + 12);
	const uint8_t *start = guestmem_ptr(gm, get_le64(ep + 16), size), *p = start;
	CHECK(start);
	while (p < start + size) {
		uint8_t t = p[0];
		if (t == type && !found)
			found = p;
		p += p[1];
		while (p[0] || p[1])
			p++;
		p += 2;
		if (t == 127)
			break;
	}
	CHECK_EQ(p - start, size);
	return found;
}

/* String @n, from 1, of a structure. */
static const char *string_of(const uint8_t *s, unsigned int n)
{
	const char *p = (const char *)s + s[1];
	while (--n)
		p += strlen(p) + 1;
	return p;
}

TEST(system_structure_has_maker_product_and_uuid)
{
	struct smbios s = { .noem = 0 };
	struct guestmem gm = installed(&s);
	const uint8_t *sys = find(&gm, 1);
	static const uint8_t wire[16] = { 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66,
					  0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
	CHECK(sys);
	CHECK_STR(string_of(sys, sys[4]), "charmvm");
	CHECK_STR(string_of(sys, sys[5]), "charmed311");
	CHECK(!memcmp(sys + 8, wire, 16));
	CHECK(find(&gm, 0));
	CHECK(!find(&gm, 11));
	guest_ram_free(&gm);
}

TEST(printable_credential_is_plain_and_other_bytes_are_base64)
{
	struct smbios s = { .noem = 0 };
	CHECK_EQ(smbios_add_credential(&s, "ssh.authorized_keys.root", "ssh-ed25519 AAAA x", 18),
		 0);
	CHECK_EQ(smbios_add_credential(&s, "a", "\n", 1), 0);
	CHECK_EQ(smbios_add_credential(&s, "b", "ab\0cd", 5), 0);
	CHECK_EQ(smbios_add_credential(&s, "c", "line\n!", 6), 0);
	CHECK_EQ(smbios_add_credential(&s, "empty", "", 0), 0);
	struct guestmem gm = installed(&s);
	const uint8_t *oem = find(&gm, 11);
	CHECK(oem);
	CHECK_EQ(oem[4], 5);
	CHECK_STR(string_of(oem, 1),
		  "io.systemd.credential:ssh.authorized_keys.root=ssh-ed25519 AAAA x");
	CHECK_STR(string_of(oem, 2), "io.systemd.credential.binary:a=Cg==");
	CHECK_STR(string_of(oem, 3), "io.systemd.credential.binary:b=YWIAY2Q=");
	CHECK_STR(string_of(oem, 4), "io.systemd.credential.binary:c=bGluZQoh");
	CHECK_STR(string_of(oem, 5), "io.systemd.credential.binary:empty=");
	guest_ram_free(&gm);
	smbios_clear(&s);
}

TEST(bad_names_and_control_characters_are_refused)
{
	struct smbios s = { .noem = 0 };
	CHECK_EQ(smbios_add_credential(&s, "", "x", 1), -EINVAL);
	CHECK_EQ(smbios_add_credential(&s, "..", "x", 1), -EINVAL);
	CHECK_EQ(smbios_add_credential(&s, "a/b", "x", 1), -EINVAL);
	CHECK_EQ(smbios_add_credential(&s, "a=b", "x", 1), -EINVAL);
	CHECK_EQ(smbios_add_oem_string(&s, ""), -EINVAL);
	CHECK_EQ(smbios_add_oem_string(&s, "a\nb"), -EINVAL);
	CHECK_EQ(s.noem, 0);
	smbios_clear(&s);
}

TEST(strings_are_bounded_in_number_and_in_bytes_and_the_fullest_table_fits)
{
	struct smbios s = { .noem = 0 };
	for (unsigned int i = 0; i < SMBIOS_OEM_STRINGS_MAX; i++)
		CHECK_EQ(smbios_add_oem_string(&s, "x"), 0);
	CHECK_EQ(smbios_add_oem_string(&s, "x"), -ENOSPC);
	smbios_clear(&s);

	char *big = malloc(SMBIOS_OEM_BYTES_MAX + 1);
	memset(big, 'y', SMBIOS_OEM_BYTES_MAX);
	big[SMBIOS_OEM_BYTES_MAX] = '\0';
	CHECK_EQ(smbios_add_oem_string(&s, big), -ENOSPC);
	CHECK_EQ(smbios_add_credential(&s, "n", big, SMBIOS_OEM_BYTES_MAX), -ENOSPC);
	CHECK_EQ(smbios_add_oem_string(&s, big + 1), 0);
	CHECK_EQ(smbios_add_oem_string(&s, "z"), -ENOSPC);
	struct guestmem gm = installed(&s);
	CHECK_EQ(strlen(string_of(find(&gm, 11), 1)), SMBIOS_OEM_BYTES_MAX - 1);
	guest_ram_free(&gm);
	smbios_clear(&s);
	free(big);
}

TEST_MAIN(T(system_structure_has_maker_product_and_uuid),
	  T(printable_credential_is_plain_and_other_bytes_are_base64),
	  T(bad_names_and_control_characters_are_refused),
	  T(strings_are_bounded_in_number_and_in_bytes_and_the_fullest_table_fits))
