/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small AML encoder (ACPI 6.5, chapter 20): definition blocks are written in the order they read,
 * into a buffer of the caller's. Blocks (scope, device, method, if) are opened and closed by
 * aml_close(); the package length in front is filled in there. Names have up to four letters for
 * each segment and are padded: "\\_SB.PCI0".
 *
 * A buffer that is too small, or nesting that is too deep, is remembered and told by aml_done();
 * nothing is written outside. One thread at a time.
 */
#ifndef FIRMWARE_AML_H
#define FIRMWARE_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AML_DEPTH_MAX = 8, AML_CRS_BYTES_MAX = 128 };

struct aml {
	uint8_t *buf;
	size_t cap_bytes;
	size_t len_bytes;
	size_t open[AML_DEPTH_MAX]; /* where the package length of each open block goes */
	unsigned int depth;
	bool failed;
};

void aml_init(struct aml *a, void *buf, size_t cap_bytes);
/* -> 0 and the bytes written, or -ENOSPC. Every block is closed (asserted). */
int aml_done(const struct aml *a, size_t *len_bytes);

/* Blocks. */
void aml_scope(struct aml *a, const char *name);
void aml_device(struct aml *a, const char *name);
void aml_method(struct aml *a, const char *name, unsigned int nargs, bool serialized);
/* If: the predicate is what is written next. */
void aml_if(struct aml *a);
/* If ((Local0 & mask) != 0) */
void aml_if_local0_has(struct aml *a, uint32_t mask);
void aml_close(struct aml *a);

/* Named objects. */
void aml_name_int(struct aml *a, const char *name, uint64_t value);
void aml_name_string(struct aml *a, const char *name, const char *value);
/* @id "PNP0501": three capital letters and four hexadecimal digits. */
void aml_name_eisaid(struct aml *a, const char *name, const char *id);
void aml_name_buffer(struct aml *a, const char *name, const void *data, size_t len_bytes);
/* A package of @n small integers. */
void aml_name_package(struct aml *a, const char *name, const uint64_t *values, unsigned int n);
/* A region of system memory and one field, 32 bits wide, at its start. */
void aml_field32(struct aml *a, const char *region, const char *field, uint32_t address);

/* Statements. */
void aml_store_to_local0(struct aml *a, const char *from);
void aml_notify(struct aml *a, const char *object, uint8_t value);
/* Bytes as they are, for the few statements written once only. */
void aml_bytes(struct aml *a, const void *bytes, size_t len_bytes);
#define AML_RAW(a, ...)                                                                            \
	aml_bytes((a), (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* Resource templates (ACPI 6.5, 6.4): zero the struct, add, then name it _CRS. */
struct aml_crs {
	uint8_t bytes[AML_CRS_BYTES_MAX];
	size_t len_bytes;
};

void aml_crs_io(struct aml_crs *c, uint16_t port, uint8_t nports);
/* An edge-triggered, active-high interrupt of the ISA kind, 0 to 15. */
void aml_crs_irq(struct aml_crs *c, unsigned int irq);
/* A level-triggered, active-high interrupt of one device, by its global number. */
void aml_crs_gsi(struct aml_crs *c, uint32_t gsi);
void aml_crs_memory32(struct aml_crs *c, uint32_t base, uint32_t len_bytes);
/* Windows of a host bridge. */
void aml_crs_bus_window(struct aml_crs *c, uint8_t first, uint8_t last);
void aml_crs_memory_window(struct aml_crs *c, uint32_t base, uint32_t len_bytes);
void aml_name_crs(struct aml *a, struct aml_crs *c);

#endif
