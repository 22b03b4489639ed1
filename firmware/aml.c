/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The AML encoder.
 *
 * How it works: a block is written without its package length; aml_close() knows how long the body
 * became, moves it up by the one to four bytes that the length takes (20.2.4) and puts the length
 * in front. Tables are a few KiB, so the moves cost nothing.
 */
#include "firmware/aml.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

/* Opcodes, ACPI 6.5, 20.3. */
enum {
	AML_NAME = 0x08,
	AML_BYTE = 0x0a,
	AML_WORD = 0x0b,
	AML_DWORD = 0x0c,
	AML_STRING = 0x0d,
	AML_QWORD = 0x0e,
	AML_SCOPE = 0x10,
	AML_BUFFER = 0x11,
	AML_PACKAGE = 0x12,
	AML_METHOD = 0x14,
	AML_DUAL_NAME = 0x2e,
	AML_MULTI_NAME = 0x2f,
	AML_EXT = 0x5b,
	AML_LOCAL0 = 0x60,
	AML_STORE = 0x70,
	AML_AND = 0x7b,
	AML_NOTIFY = 0x86,
	AML_IF = 0xa0,
	AML_EXT_REGION = 0x80,
	AML_EXT_FIELD = 0x81,
	AML_EXT_DEVICE = 0x82,
	AML_REGION_SYSTEM_MEMORY = 0,
	AML_FIELD_DWORD_ACCESS = 3,
};

enum { AML_PKGLEN_BYTES_MAX = 4, AML_SEG_CHARS = 4 };

void aml_init(struct aml *a, void *buf, size_t cap_bytes)
{
	*a = (struct aml){ .buf = buf, .cap_bytes = cap_bytes };
}

int aml_done(const struct aml *a, size_t *len_bytes)
{
	assert(a->failed || !a->depth);
	*len_bytes = a->len_bytes;
	return a->failed ? -ENOSPC : 0;
}

void aml_bytes(struct aml *a, const void *bytes, size_t len_bytes)
{
	if (a->failed || len_bytes > a->cap_bytes - a->len_bytes) {
		a->failed = true;
		return;
	}
	memcpy(a->buf + a->len_bytes, bytes, len_bytes);
	a->len_bytes += len_bytes;
}

/* Up to four letters from *p, padded; *p moves behind them and behind the dot. */
static void put_segment(struct aml *a, const char **p)
{
	char seg[AML_SEG_CHARS] = { '_', '_', '_', '_' };
	size_t n = strcspn(*p, ".");
	assert(n >= 1 && n <= AML_SEG_CHARS);
	memcpy(seg, *p, n);
	aml_bytes(a, seg, sizeof(seg));
	*p += n;
	if (**p == '.')
		++*p;
}

/* A name string, 20.2.2. */
static void put_name(struct aml *a, const char *name)
{
	while (*name == '\\' || *name == '^')
		aml_bytes(a, name++, 1);
	uint8_t nsegs = 1;
	for (const char *p = name; *p; p++)
		nsegs += *p == '.';
	if (nsegs == 2)
		AML_RAW(a, AML_DUAL_NAME);
	else if (nsegs > 2)
		AML_RAW(a, AML_MULTI_NAME, nsegs);
	while (*name)
		put_segment(a, &name);
}

static void put_int(struct aml *a, uint64_t v)
{
	uint8_t b[9];
	size_t len;
	if (v <= 1) {
		b[0] = (uint8_t)v;
		len = 1;
	} else if (v <= UINT8_MAX) {
		b[0] = AML_BYTE;
		b[1] = (uint8_t)v;
		len = 2;
	} else if (v <= UINT16_MAX) {
		b[0] = AML_WORD;
		put_le16(b + 1, (uint16_t)v);
		len = 3;
	} else if (v <= UINT32_MAX) {
		b[0] = AML_DWORD;
		put_le32(b + 1, (uint32_t)v);
		len = 5;
	} else {
		b[0] = AML_QWORD;
		put_le64(b + 1, v);
		len = 9;
	}
	aml_bytes(a, b, len);
}

static void open_block(struct aml *a)
{
	if (a->depth == AML_DEPTH_MAX)
		a->failed = true;
	if (!a->failed)
		a->open[a->depth++] = a->len_bytes;
}

/* The length that counts itself; -> its own bytes. */
static size_t encode_pkglen(size_t body_bytes, uint8_t out[AML_PKGLEN_BYTES_MAX])
{
	if (body_bytes + 1 <= 0x3f) {
		out[0] = (uint8_t)(body_bytes + 1);
		return 1;
	}
	size_t n = 2;
	while (n < AML_PKGLEN_BYTES_MAX && body_bytes + n >= (size_t)1 << (4 + 8 * (n - 1)))
		n++;
	size_t len = body_bytes + n;
	out[0] = (uint8_t)((n - 1) << 6 | (len & 0xf));
	for (size_t i = 1; i < n; i++)
		out[i] = (uint8_t)(len >> (4 + 8 * (i - 1)));
	return n;
}

void aml_close(struct aml *a)
{
	if (a->failed)
		return;
	assert(a->depth);
	size_t at = a->open[--a->depth];
	size_t body_bytes = a->len_bytes - at;
	uint8_t pkglen[AML_PKGLEN_BYTES_MAX];
	size_t n = encode_pkglen(body_bytes, pkglen);
	aml_bytes(a, pkglen, n); /* only for the room */
	if (a->failed)
		return;
	memmove(a->buf + at + n, a->buf + at, body_bytes);
	memcpy(a->buf + at, pkglen, n);
}

void aml_scope(struct aml *a, const char *name)
{
	AML_RAW(a, AML_SCOPE);
	open_block(a);
	put_name(a, name);
}

void aml_device(struct aml *a, const char *name)
{
	AML_RAW(a, AML_EXT, AML_EXT_DEVICE);
	open_block(a);
	put_name(a, name);
}

void aml_method(struct aml *a, const char *name, unsigned int nargs, bool serialized)
{
	AML_RAW(a, AML_METHOD);
	open_block(a);
	put_name(a, name);
	AML_RAW(a, (uint8_t)(nargs | (serialized ? 1 << 3 : 0)));
}

void aml_if(struct aml *a)
{
	AML_RAW(a, AML_IF);
	open_block(a);
}

void aml_if_local0_has(struct aml *a, uint32_t mask)
{
	aml_if(a);
	AML_RAW(a, AML_AND, AML_LOCAL0);
	put_int(a, mask);
	AML_RAW(a, 0); /* the result is stored nowhere */
}

void aml_name_int(struct aml *a, const char *name, uint64_t value)
{
	AML_RAW(a, AML_NAME);
	put_name(a, name);
	put_int(a, value);
}

void aml_name_string(struct aml *a, const char *name, const char *value)
{
	AML_RAW(a, AML_NAME);
	put_name(a, name);
	AML_RAW(a, AML_STRING);
	aml_bytes(a, value, strlen(value) + 1);
}

static unsigned int hex_digit(char c)
{
	return c <= '9' ? (unsigned int)(c - '0') : (unsigned int)(c - 'A') + 10;
}

void aml_name_eisaid(struct aml *a, const char *name, const char *id)
{
	assert(strlen(id) == 7);
	/* Three letters of five bits, then four digits, all big-endian (19.3.4). */
	uint32_t v = 0;
	for (int i = 0; i < 3; i++)
		v = v << 5 | (uint32_t)(id[i] - '@');
	for (int i = 3; i < 7; i++)
		v = v << 4 | hex_digit(id[i]);
	uint8_t b[5] = { AML_DWORD };
	put_be32(b + 1, v);
	AML_RAW(a, AML_NAME);
	put_name(a, name);
	aml_bytes(a, b, sizeof(b));
}

void aml_name_buffer(struct aml *a, const char *name, const void *data, size_t len_bytes)
{
	AML_RAW(a, AML_NAME);
	put_name(a, name);
	AML_RAW(a, AML_BUFFER);
	open_block(a);
	put_int(a, len_bytes);
	aml_bytes(a, data, len_bytes);
	aml_close(a);
}

void aml_name_package(struct aml *a, const char *name, const uint64_t *values, unsigned int n)
{
	AML_RAW(a, AML_NAME);
	put_name(a, name);
	AML_RAW(a, AML_PACKAGE);
	open_block(a);
	AML_RAW(a, (uint8_t)n);
	for (unsigned int i = 0; i < n; i++)
		put_int(a, values[i]);
	aml_close(a);
}

void aml_field32(struct aml *a, const char *region, const char *field, uint32_t address)
{
	AML_RAW(a, AML_EXT, AML_EXT_REGION);
	put_name(a, region);
	AML_RAW(a, AML_REGION_SYSTEM_MEMORY);
	put_int(a, address);
	put_int(a, sizeof(uint32_t));
	AML_RAW(a, AML_EXT, AML_EXT_FIELD);
	open_block(a);
	put_name(a, region);
	AML_RAW(a, AML_FIELD_DWORD_ACCESS);
	put_name(a, field);
	AML_RAW(a, 32); /* its bits, as a package length */
	aml_close(a);
}

void aml_store_to_local0(struct aml *a, const char *from)
{
	AML_RAW(a, AML_STORE);
	put_name(a, from);
	AML_RAW(a, AML_LOCAL0);
}

void aml_notify(struct aml *a, const char *object, uint8_t value)
{
	AML_RAW(a, AML_NOTIFY);
	put_name(a, object);
	put_int(a, value);
}

static void crs_put(struct aml_crs *c, const uint8_t *bytes, size_t len_bytes)
{
	assert(len_bytes <= sizeof(c->bytes) - c->len_bytes);
	memcpy(c->bytes + c->len_bytes, bytes, len_bytes);
	c->len_bytes += len_bytes;
}

void aml_crs_io(struct aml_crs *c, uint16_t port, uint8_t nports)
{
	/* 6.4.2.5: decodes 16 bits, from and to the same port. */
	uint8_t d[8] = { 0x47, 0x01, 0, 0, 0, 0, 1, nports };
	put_le16(d + 2, port);
	put_le16(d + 4, port);
	crs_put(c, d, sizeof(d));
}

void aml_crs_irq(struct aml_crs *c, unsigned int irq)
{
	/* 6.4.2.1, the form without flags: edge, high, exclusive. */
	uint8_t d[3] = { 0x22 };
	put_le16(d + 1, (uint16_t)(1u << irq));
	crs_put(c, d, sizeof(d));
}

void aml_crs_gsi(struct aml_crs *c, uint32_t gsi)
{
	/* 6.4.3.6: consumer, level, high, exclusive; one interrupt. */
	uint8_t d[9] = { 0x89, 6, 0, 0x01, 1 };
	put_le32(d + 5, gsi);
	crs_put(c, d, sizeof(d));
}

void aml_crs_memory32(struct aml_crs *c, uint32_t base, uint32_t len_bytes)
{
	/* 6.4.3.4: fixed, read and write. */
	uint8_t d[12] = { 0x86, 9, 0, 1 };
	put_le32(d + 4, base);
	put_le32(d + 8, len_bytes);
	crs_put(c, d, sizeof(d));
}

void aml_crs_bus_window(struct aml_crs *c, uint8_t first, uint8_t last)
{
	/* 6.4.3.5.3, word address space: bus numbers, produced, fixed at both ends. */
	uint8_t d[16] = { 0x88, 13, 0, 2, 0x0c, 0 };
	put_le16(d + 8, first);
	put_le16(d + 10, last);
	put_le16(d + 14, (uint16_t)(last - first + 1));
	crs_put(c, d, sizeof(d));
}

void aml_crs_memory_window(struct aml_crs *c, uint32_t base, uint32_t len_bytes)
{
	/* 6.4.3.5.2, double word address space: memory, produced, fixed, uncached, read and write.
	 */
	uint8_t d[26] = { 0x87, 23, 0, 0, 0x0c, 0x01 };
	put_le32(d + 10, base);
	put_le32(d + 14, base + len_bytes - 1);
	put_le32(d + 22, len_bytes);
	crs_put(c, d, sizeof(d));
}

void aml_name_crs(struct aml *a, struct aml_crs *c)
{
	static const uint8_t end_tag[2] = { 0x79, 0 };
	crs_put(c, end_tag, sizeof(end_tag));
	aml_name_buffer(a, "_CRS", c->bytes, c->len_bytes);
}
