/* SPDX-License-Identifier: Apache-2.0 */
/* Files for a firmware in the guest. */
/*
 * How it works. Writing a key to the selector chooses an item and its first byte; each read of the data port gives
 * the next byte, zeroes behind the item's end and for a key that nobody has. The items are a signature, what
 * the device can do, the number of CPUs, the directory of files, and the files from key KEY_FILE on.
 *
 * DMA does the same for many bytes at once: the guest writes the address of a request, its lower half last, and
 * finds it carried out, with its control word cleared, or ERROR in it. Nothing can be written, so a request that
 * wants to gets ERROR. The request is copied once; data goes to RAM only, and no more than DMA_BYTES_MAX at a
 * time, so that a vCPU does not stay here for long.
 */
#include "devices/platform/fw_cfg.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/base/log.h"
#include "vmm/core/bus.h"
#include "vmm/core/guestmem.h"

enum {
	PORT_SELECTOR = 0, /* 16 bits */
	PORT_DATA = 1,	   /* 8 bits */
	PORT_DMA_HIGH = 4, /* 32 bits each, big-endian */
	PORT_DMA_LOW = 8,

	KEY_SIGNATURE = 0x00,
	KEY_ID = 0x01,
	KEY_CPUS = 0x05,
	KEY_DIRECTORY = 0x19,
	KEY_FILE = 0x20,

	ID_TRADITIONAL = 1 << 0,
	ID_DMA = 1 << 1,

	DMA_ERROR = 1 << 0,
	DMA_READ = 1 << 1,
	DMA_SKIP = 1 << 2,
	DMA_SELECT = 1 << 3,
	DMA_WRITE = 1 << 4,
	DMA_KEY_SHIFT = 16,
	DMA_REQUEST_BYTES = 16,
	DMA_BYTES_MAX = 2 * FW_CFG_FILE_BYTES_MAX,

	ENTRY_BYTES = 8 + FW_CFG_NAME_CHARS + 1, /* of the directory: size, key, -, name */
	DIRECTORY_BYTES = 4 + FW_CFG_FILES_MAX * ENTRY_BYTES,
};

/* What the DMA address reads as: that there is DMA. */
#define DMA_SIGNATURE_HIGH UINT32_C(0x51454d55) /* "QEMU" */
#define DMA_SIGNATURE_LOW  UINT32_C(0x20434647) /* " CFG" */

static const char file_compatible[] = "charmvm,fw-cfg-file-1";

struct file {
	char name[FW_CFG_NAME_CHARS + 1];
	uint8_t *data;
	size_t len_bytes;
};

struct fw_cfg {
	struct device dev;
	struct bus_range range;
	uint8_t ncpus[2]; /* little-endian, as they are read */
	struct file files[FW_CFG_FILES_MAX];
	unsigned int nfiles;
	uint8_t directory[DIRECTORY_BYTES]; /* of these files */

	uint16_t key;
	uint32_t off; /* of the next byte */
	uint32_t dma_high;
};

/* ---- items ---- */

/* What is behind a key; NULL for nothing, *len_bytes 0. */
static const uint8_t *item(const struct fw_cfg *f, size_t *len_bytes)
{
	static const uint8_t signature[] = { 'Q', 'E', 'M', 'U' };
	static const uint8_t id[] = { ID_TRADITIONAL | ID_DMA, 0, 0, 0 };
	switch (f->key) {
	case KEY_SIGNATURE: *len_bytes = sizeof(signature); return signature;
	case KEY_ID: *len_bytes = sizeof(id); return id;
	case KEY_CPUS: *len_bytes = sizeof(f->ncpus); return f->ncpus;
	case KEY_DIRECTORY: *len_bytes = 4 + f->nfiles * (size_t)ENTRY_BYTES; return f->directory;
	default: break;
	}
	if (f->key >= KEY_FILE && f->key < KEY_FILE + f->nfiles) {
		*len_bytes = f->files[f->key - KEY_FILE].len_bytes;
		return f->files[f->key - KEY_FILE].data;
	}
	*len_bytes = 0;
	return NULL;
}

static void select_key(struct fw_cfg *f, uint16_t key)
{
	f->key = key;
	f->off = 0;
}

static void skip(struct fw_cfg *f, uint32_t n)
{
	if (!ck_add(f->off, n, &f->off))
		f->off = UINT32_MAX; /* behind every end */
}

/* The next @n bytes. */
static void take(struct fw_cfg *f, uint8_t *to, uint32_t n)
{
	size_t len, have = 0;
	const uint8_t *p = item(f, &len);
	if (f->off < len) {
		have = MIN((size_t)n, len - f->off);
		memcpy(to, p + f->off, have);
	}
	memset(to + have, 0, n - have);
	skip(f, n);
}

/* ---- DMA ---- */

/* -> whether the request could be carried out. */
static bool dma_request(struct fw_cfg *f, uint32_t control, uint32_t len, uint64_t gpa)
{
	if (control & DMA_SELECT)
		select_key(f, (uint16_t)(control >> DMA_KEY_SHIFT));
	if (control & DMA_READ) {
		if (!len)
			return true;
		uint8_t *to = len <= DMA_BYTES_MAX ? guestmem_ptr(f->dev.env->mem, gpa, len) : NULL;
		if (to)
			take(f, to, len);
		return to;
	}
	if (control & DMA_WRITE)
		return false;
	if (control & DMA_SKIP)
		skip(f, len);
	return true;
}

static void dma(struct fw_cfg *f, uint64_t gpa)
{
	const struct guestmem *gm = f->dev.env->mem;
	uint8_t request[DMA_REQUEST_BYTES], control[4];
	if (guestmem_read(gm, gpa, request, sizeof(request)))
		return;
	bool done = dma_request(f, get_be32(request), get_be32(request + 4), get_be64(request + 8));
	put_be32(control, done ? 0 : DMA_ERROR);
	(void)guestmem_write(gm, gpa, control, sizeof(control)); /* it was RAM a moment ago */
}

/* ---- ports ---- */

static uint64_t swap32(uint32_t v)
{
	uint8_t b[4];
	put_be32(b, v);
	return get_le32(b);
}

static uint64_t port_read(void *opaque, uint64_t off, unsigned int size)
{
	struct fw_cfg *f = opaque;
	uint8_t byte;
	if (off == PORT_DATA && size == 1) {
		take(f, &byte, 1);
		return byte;
	}
	if (off == PORT_DMA_HIGH && size == 4)
		return swap32(DMA_SIGNATURE_HIGH);
	if (off == PORT_DMA_LOW && size == 4)
		return swap32(DMA_SIGNATURE_LOW);
	return UINT64_MAX;
}

static void port_write(void *opaque, uint64_t off, unsigned int size, uint64_t value)
{
	struct fw_cfg *f = opaque;
	if (off == PORT_SELECTOR && size == 2) {
		select_key(f, (uint16_t)value);
	} else if (off == PORT_DMA_HIGH && size == 4) {
		f->dma_high = (uint32_t)swap32((uint32_t)value);
	} else if (off == PORT_DMA_LOW && size == 4) {
		uint64_t gpa = (uint64_t)f->dma_high << 32 | swap32((uint32_t)value);
		f->dma_high = 0;
		dma(f, gpa);
	}
}

/* ---- files ---- */

static struct fw_cfg *fw_cfg_of(struct device *d)
{
	return container_of(d, struct fw_cfg, dev);
}

static bool has_file(const struct fw_cfg *f, const char *name)
{
	for (unsigned int i = 0; i < f->nfiles; i++)
		if (!strcmp(f->files[i].name, name))
			return true;
	return false;
}

int fw_cfg_add_file(struct device *d, const char *name, const void *data, size_t len_bytes)
{
	struct fw_cfg *f = fw_cfg_of(d);
	if (!*name || strlen(name) > FW_CFG_NAME_CHARS || has_file(f, name) || !len_bytes ||
	    len_bytes > FW_CFG_FILE_BYTES_MAX)
		return -EINVAL;
	if (f->nfiles == FW_CFG_FILES_MAX)
		return -ENOSPC;
	struct file *file = &f->files[f->nfiles];
	file->data = malloc(len_bytes);
	if (!file->data)
		return -ENOMEM;
	memcpy(file->data, data, len_bytes);
	file->len_bytes = len_bytes;
	snprintf(file->name, sizeof(file->name), "%s", name);
	uint8_t *entry = f->directory + 4 + f->nfiles * (size_t)ENTRY_BYTES;
	put_be32(entry, (uint32_t)len_bytes);
	put_be16(entry + 4, (uint16_t)(KEY_FILE + f->nfiles));
	memcpy(entry + 8, file->name, sizeof(file->name));
	put_be32(f->directory, ++f->nfiles);
	return 0;
}

static void drop_files(struct fw_cfg *f)
{
	while (f->nfiles)
		free(f->files[--f->nfiles].data);
	memset(f->files, 0, sizeof(f->files));
	memset(f->directory, 0, sizeof(f->directory));
}

/* ---- life ---- */

static void fw_cfg_reset(struct device *d)
{
	struct fw_cfg *f = fw_cfg_of(d);
	drop_files(f);
	select_key(f, KEY_SIGNATURE);
	f->dma_high = 0;
}

static int fw_cfg_quiesce(struct device *d)
{
	(void)d;
	return 0;
}

static void fw_cfg_resume(struct device *d)
{
	(void)d;
}

static void file_node_name(char name[16], unsigned int i)
{
	snprintf(name, 16, "file@%u", i);
}

static void fw_cfg_save(struct device *d, struct state_writer *w)
{
	const struct fw_cfg *f = fw_cfg_of(d);
	char node[16];
	state_put_u32(w, "key", f->key);
	state_put_u32(w, "offset", f->off);
	state_put_u32(w, "dma-high", f->dma_high);
	for (unsigned int i = 0; i < f->nfiles; i++) {
		file_node_name(node, i);
		state_begin(w, node, file_compatible);
		state_put_str(w, "name", f->files[i].name);
		state_put_bytes(w, "data", f->files[i].data, f->files[i].len_bytes);
		state_end(w);
	}
}

static int load_file(struct fw_cfg *f, struct state_node n)
{
	char name[FW_CFG_NAME_CHARS + 1];
	const void *data;
	size_t len;
	int err = state_check(n, file_compatible);
	err = err ? err : state_get_str(n, "name", name, sizeof(name));
	err = err ? err : state_get_blob(n, "data", &data, &len);
	return err ? err : fw_cfg_add_file(&f->dev, name, data, len);
}

static int load(struct fw_cfg *f, struct state_node n)
{
	struct state_node file;
	uint32_t key = 0;
	char node[16];
	int err = state_check(n, fw_cfg_ops.compatible);
	if (err)
		return err;
	err = state_get_u32(n, "key", &key);
	err = err ? err : state_get_u32(n, "offset", &f->off);
	err = err ? err : state_get_u32(n, "dma-high", &f->dma_high);
	f->key = (uint16_t)key;
	for (unsigned int i = 0; i < FW_CFG_FILES_MAX && !err; i++) {
		file_node_name(node, i);
		if (state_child(n, node, &file))
			break;
		err = load_file(f, file);
	}
	if (err || key > UINT16_MAX)
		log_error("%s: its saved state is not valid; the snapshot is damaged", f->dev.name);
	return !err && key > UINT16_MAX ? -EINVAL : err;
}

static void fw_cfg_destroy(struct device *d)
{
	struct fw_cfg *f = fw_cfg_of(d);
	bus_unmap(d->env->pio, &f->range);
	drop_files(f);
	device_fini(d);
	free(f);
}

static int map_ports(struct fw_cfg *f, uint16_t port)
{
	f->range = (struct bus_range){
		.base = port,
		.len_bytes = FW_CFG_PORTS,
		.lock = &f->dev.lock,
		.read = port_read,
		.write = port_write,
		.opaque = f,
		.name = f->dev.name,
	};
	int err = bus_map(f->dev.env->pio, &f->range);
	if (err)
		log_error("%s: port 0x%x is taken", f->dev.name, port);
	return err;
}

static int fw_cfg_create(const struct device_env *env, const char *name, const void *cfg,
			 const struct state_node *from, struct device **out)
{
	const struct fw_cfg_config *config = cfg;
	struct fw_cfg *f = calloc(1, sizeof(*f));
	if (!f) {
		log_error("%s: out of memory", name);
		return -ENOMEM;
	}
	device_init(&f->dev, &fw_cfg_ops, env, name);
	put_le16(f->ncpus, config->ncpus);
	int err = from ? load(f, *from) : 0;
	err = err ? err : map_ports(f, config->port);
	if (err) {
		fw_cfg_destroy(&f->dev);
		return err;
	}
	*out = &f->dev;
	return 0;
}

const struct device_ops fw_cfg_ops = {
	.compatible = "charmvm,fw-cfg-1",
	.create = fw_cfg_create,
	.reset = fw_cfg_reset,
	.quiesce = fw_cfg_quiesce,
	.save = fw_cfg_save,
	.resume = fw_cfg_resume,
	.destroy = fw_cfg_destroy,
};
