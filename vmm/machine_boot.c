/* SPDX-License-Identifier: Apache-2.0 */
/* Getting the guest started: firmware tables, kernel, first registers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "devices/block/block.h"
#include "firmware/acpi.h"
#include "firmware/bios.h"
#include "firmware/boot.h"
#include "firmware/boot_sector.h"
#include "firmware/image_boot.h"
#include "firmware/reset_vector.h"
#include "firmware/smbios.h"
#include "vmm/backends.h"
#include "vmm/base/log.h"
#include "vmm/boot_file.h"
#include "vmm/core/guestmem.h"
#include "vmm/machine_priv.h"
#include "vmm/x86/cpu_state.h"

/* What is to be booted, and who owns the memory it is in. */
struct boot_source {
	struct boot_config config;
	struct boot_file kernel; /* of --kernel and --initrd */
	struct boot_file initrd;
	struct image_boot image; /* of the kernel inside the image */
};

/* ---- --kernel and --initrd ---- */

static enum exit_status source_from_files(const struct machine_config *cfg, struct boot_source *s)
{
	enum exit_status status = boot_file_map(cfg->kernel, &s->kernel);
	if (!status && cfg->initrd)
		status = boot_file_map(cfg->initrd, &s->initrd);
	s->config.kernel_name = cfg->kernel;
	s->config.kernel = s->kernel.data;
	s->config.kernel_bytes = s->kernel.len_bytes;
	s->config.initrd = s->initrd.data;
	s->config.initrd_bytes = s->initrd.len_bytes;
	s->config.cmdline = cfg->append ? cfg->append : "console=ttyS0";
	return status;
}

/* ---- the kernel inside the image ---- */

/*
 * Early PCI lookups go through ports that no machine of ours has (devices/pci/pci.h), for chipsets that
 * none has: two exits each, some 140 of them on a present AMD processor, and all of 256 buses on one of
 * the first with AMD-V.
 */
static const char no_early_pci[] = "pci=noearly";

static int find_kernel(struct machine *m, bool none_is_fine, struct image_boot *out)
{
	char append[BOOT_CMDLINE_MAX + sizeof(no_early_pci) + 1];
	snprintf(append, sizeof(append), "%s %s", no_early_pci,
		 m->cfg->append ? m->cfg->append : "");
	const struct image_boot_config cfg = { .console = "ttyS0",
					       .append = append,
					       .none_is_fine = none_is_fine };
	return image_boot_find(m->hosts->disks[0], &cfg, out);
}

static enum exit_status source_from_image(struct machine *m, struct boot_source *s)
{
	if (m->kernel) {
		s->image = *m->kernel;
		free(m->kernel); /* what it held is the source's now */
		m->kernel = NULL;
	} else if (find_kernel(m, false, &s->image)) {
		return EXIT_STATUS_FILE;
	}
	log_info("%s", s->image.description);
	log_info("command line: %s", s->image.cmdline);
	s->config.kernel_name = s->image.kernel_name;
	s->config.kernel = s->image.kernel.data;
	s->config.kernel_bytes = s->image.kernel.len_bytes;
	s->config.initrd = s->image.initrd.data;
	s->config.initrd_bytes = s->image.initrd.len_bytes;
	s->config.cmdline = s->image.cmdline;
	return EXIT_STATUS_OK;
}

/* ---- who starts the guest ---- */

/* Whether a BIOS finds something on the disk, or on the CD. */
static enum exit_status look(struct blk_node *disk, bool is_cd, bool *bootable)
{
	bool found = false;
	int err = !disk	  ? 0
		  : is_cd ? boot_record_find(disk, &found)
			  : boot_sector_find(disk, &found);
	*bootable = *bootable || found;
	if (!err)
		return EXIT_STATUS_OK;
	log_error("%s: whether it can be booted cannot be read: %s", blk_name(disk),
		  strerror(-err));
	return EXIT_STATUS_FILE;
}

static struct blk_node *first_disk(const struct machine *m)
{
	return m->hosts->ndisks ? m->hosts->disks[0] : NULL;
}

static enum exit_status choose_bios(struct machine *m, bool bootable)
{
	const struct blk_node *disk = first_disk(m);
	m->bios = bootable;
	if (bootable)
		return EXIT_STATUS_OK;
	log_error("%s: nothing that a BIOS could start: %s",
		  blk_name(disk ? disk : m->hosts->cdrom),
		  disk ? "its first sector has no boot code; without --firmware bios the kernel "
			 "inside is booted"
		       : "it is no bootable CD");
	return EXIT_STATUS_FILE;
}

static enum exit_status choose_by_image(struct machine *m, bool bootable)
{
	struct image_boot *k = calloc(1, sizeof(*k));
	int err = k ? find_kernel(m, bootable, k) : -ENOMEM;
	if (!k)
		log_error("out of memory");
	if (!err) {
		m->kernel = k;
		m->image_has_cloud_init = k->cloud_init;
		return EXIT_STATUS_OK;
	}
	free(k);
	if (err != -ENOENT || !bootable)
		return EXIT_STATUS_FILE;
	log_info("%s: no kernel inside; a BIOS starts %s", blk_name(first_disk(m)),
		 m->hosts->cdrom ? "what is there" : "its boot sector");
	if (m->cfg->append)
		log_warn("--append is not used: the disk's boot loader has its own command line");
	m->bios = true;
	return EXIT_STATUS_OK;
}

enum exit_status machine_choose_firmware(struct machine *m)
{
	bool bootable = false;
	if (m->cfg->kernel)
		return EXIT_STATUS_OK;
	if (m->cfg->firmware == CONFIG_FIRMWARE_NONE)
		return choose_by_image(m, false);
	enum exit_status status = look(first_disk(m), false, &bootable);
	status = status ? status : look(m->hosts->cdrom, true, &bootable);
	if (status)
		return status;
	return m->cfg->firmware == CONFIG_FIRMWARE_BIOS || !first_disk(m)
		       ? choose_bios(m, bootable)
		       : choose_by_image(m, bootable);
}

void machine_forget_kernel(struct machine *m)
{
	if (m->kernel)
		image_boot_release(m->kernel);
	free(m->kernel);
	m->kernel = NULL;
}

static void source_release(struct boot_source *s)
{
	boot_file_unmap(&s->kernel);
	boot_file_unmap(&s->initrd);
	image_boot_release(&s->image);
}

/* ---- tables ---- */

/* The same for a machine of this name on this host for ever, and no other's: from its host key. */
static void machine_uuid(const struct backends *hosts, uint8_t uuid[SMBIOS_UUID_BYTES])
{
	const char *seed = hosts->have_keys ? hosts->keys.host_public : hosts->record.name;
	uint64_t h[2] = { UINT64_C(0xcbf29ce484222325), UINT64_C(0x84222325cbf29ce4) };
	for (; *seed; seed++)
		for (int i = 0; i < 2; i++)
			h[i] = (h[i] ^ (uint8_t)*seed) * UINT64_C(0x100000001b3) + (uint64_t)i;
	memcpy(uuid, h, SMBIOS_UUID_BYTES);
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x80); /* version 8: of our own making (RFC 9562) */
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

/* -> 0 and *out, to be freed. */
static int build_smbios(const struct machine *m, uint8_t **out, size_t *len_bytes)
{
	const struct credentials *c = &m->hosts->credentials;
	struct smbios s = { 0 };
	uint8_t uuid[SMBIOS_UUID_BYTES];
	int err = 0;
	machine_uuid(m->hosts, uuid);
	for (unsigned int i = 0; i < c->n && !err; i++)
		err = smbios_add_credential(&s, c->v[i].name, c->v[i].value, strlen(c->v[i].value));
	err = err ? err : smbios_build(&s, m->hosts->record.name, uuid, out, len_bytes);
	smbios_clear(&s);
	return err;
}

static uint64_t acpi_gpa(const struct machine *m)
{
	return m->bios ? bios_acpi_gpa(&m->ram.mem) : ACPI_GPA;
}

int machine_new_generation(struct machine *m)
{
	uint8_t id[ACPI_VM_GENERATION_LEN];
	if (getrandom(id, sizeof(id), 0) != sizeof(id))
		return -errno;
	return guestmem_write(&m->ram.mem, acpi_gpa(m) + ACPI_VM_GENERATION_OFF, id, sizeof(id));
}

static int install_acpi(struct machine *m)
{
	const struct acpi_config acpi = { .ncpus = m->cfg->cpus,
					  .gpa = acpi_gpa(m),
					  .bios = m->bios };
	int err = acpi_install(&m->ram.mem, &acpi);
	return err ? err : machine_new_generation(m);
}

static int complain_of_tables(int err)
{
	if (err)
		log_error("cannot write the firmware's tables: %s", strerror(-err));
	return err;
}

static int install_tables(struct machine *m)
{
	uint8_t *smbios = NULL;
	size_t len;
	int err = install_acpi(m);
	err = err ? err : build_smbios(m, &smbios, &len);
	err = err ? err : smbios_install(&m->ram.mem, smbios, len);
	err = err ? err : reset_vector_install(&m->ram.mem);
	free(smbios);
	return complain_of_tables(err);
}

static int set_first_registers(const struct machine *m, const struct boot_entry *e)
{
	const struct x86_boot_regs regs = {
		.mode = e->kind == BOOT_PVH ? X86_BOOT_PVH32 : X86_BOOT_LINUX64,
		.rip = e->rip,
		.rsi = e->rsi,
		.rbx = e->rbx,
		.cr3 = e->cr3,
		.gdt_base = e->gdt_gpa,
		.gdt_limit = e->gdt_limit,
	};
	return x86_cpu_set_boot_regs(vcpus_fd(m->vcpus, 0), &regs);
}

static enum exit_status load_kernel(struct machine *m)
{
	struct boot_source s = { .config = { .rsdp_gpa = ACPI_GPA } };
	struct boot_entry entry;
	enum exit_status status =
		m->cfg->kernel ? source_from_files(m->cfg, &s) : source_from_image(m, &s);
	if (!status && install_tables(m))
		status = EXIT_STATUS_FAILED;
	if (!status && boot_load(&m->ram.mem, &s.config, &entry))
		status = EXIT_STATUS_FILE;
	if (!status && set_first_registers(m, &entry))
		status = EXIT_STATUS_FAILED;
	source_release(&s);
	return status;
}

static enum exit_status load_bios(struct machine *m)
{
	uint8_t *smbios = NULL;
	size_t len;
	int err = install_acpi(m);
	err = err ? err : build_smbios(m, &smbios, &len);
	enum exit_status status =
		complain_of_tables(err) ? EXIT_STATUS_FAILED : machine_load_bios(m, smbios, len);
	free(smbios);
	return status;
}

enum exit_status machine_load_boot(struct machine *m)
{
	return m->bios ? load_bios(m) : load_kernel(m);
}
