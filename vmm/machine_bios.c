/* SPDX-License-Identifier: Apache-2.0 */
/* A machine that a BIOS starts: SeaBIOS of the distribution, and what it is told. */
/*
 * How it works. SeaBIOS is put where it runs, below 1 MiB, and the first vCPU starts there: nothing is at the top of 4 GiB,
 * where a PC has the flash that it would be copied from. It takes the machine for one of QEMU's, by the host bridge's
 * subsystem, finds the firmware configuration device, and reads the files that are made here. Its screen and
 * keyboard are the serial port. A reset does all this again, so what it has changed of itself does not matter.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "devices/platform/fw_cfg.h"
#include "firmware/acpi.h"
#include "firmware/bios.h"
#include "firmware/smbios.h"
#include "vmm/backends.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/base/log.h"
#include "vmm/boot_file.h"
#include "vmm/core/guestmem.h"
#include "vmm/machine_priv.h"
#include "vmm/x86/cpu_state.h"
#include "vmm/x86/layout.h"

enum { BOOT_PATH_CHARS = 48, WAIT_BYTES = 4, PORT_BYTES = 2 };

/* Where distributions have it; the first is Debian's, whose seabios package is the one that was tried. */
static const char *const places[] = {
	"/usr/share/seabios/bios-256k.bin",
	"/usr/share/qemu/bios-256k.bin",
	"/usr/share/seabios/bios.bin",
};

static const char *find_rom(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (!access(places[i], R_OK))
			return places[i];
	return NULL;
}

static enum exit_status install_rom(const struct guestmem *gm)
{
	struct boot_file rom;
	const char *path = find_rom();
	if (!path) {
		log_error("the disk needs a BIOS, and SeaBIOS is not installed: sudo apt install "
			  "seabios");
		return EXIT_STATUS_FILE;
	}
	enum exit_status status = boot_file_map(path, &rom);
	if (status)
		return status;
	if (bios_install(gm, rom.data, rom.len_bytes)) {
		log_error("%s: not a BIOS; install the package seabios again", path);
		status = EXIT_STATUS_FILE;
	}
	boot_file_unmap(&rom);
	return status;
}

/*
 * One a line, as Open Firmware would call them: the disks in their order. A CD comes before them when the machine is
 * switched on, and behind them when the guest reboots: then it has been installed.
 */
static int add_boot_order(struct machine *m)
{
	char text[(CONFIG_DISKS_MAX + 1) * BOOT_PATH_CHARS] = "";
	char cd[BOOT_PATH_CHARS] = "";
	size_t len = 0;
	if (m->hosts->cdrom)
		snprintf(cd, sizeof(cd), "/pci@i0cf8/scsi@%x/channel@0/disk@0,0\n",
			 MACHINE_SLOT_CDROM);
	if (!m->resets)
		len += (size_t)snprintf(text, sizeof(text), "%s", cd);
	for (unsigned int i = 0; i < m->hosts->ndisks; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"/pci@i0cf8/scsi@%x/disk@0,0\n", MACHINE_SLOT_DISK + i);
	if (m->resets)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", cd);
	return fw_cfg_add_file(m->fw_cfg, BIOS_FILE_BOOT_ORDER, text, len + 1);
}

static int add_settings(struct machine *m)
{
	uint8_t port[PORT_BYTES], wait[WAIT_BYTES];
	put_le16(port, X86_UART_PORT);
	put_le32(wait, UINT32_MAX); /* does not try again and again where nothing boots */
	int err = fw_cfg_add_file(m->fw_cfg, BIOS_FILE_SERIAL_CONSOLE, port, sizeof(port));
	err = err ? err : fw_cfg_add_file(m->fw_cfg, BIOS_FILE_FAIL_WAIT, wait, sizeof(wait));
	return err ? err : add_boot_order(m);
}

static int add_tables(struct machine *m)
{
	uint8_t map[BIOS_MEMORY_MAP_MAX], rsdp[ACPI_RSDP_BYTES], loader[BIOS_LOADER_BYTES];
	const struct guestmem *gm = &m->ram.mem;
	size_t map_bytes = bios_memory_map(gm, map);
	bios_loader(loader);
	int err = guestmem_read(gm, bios_acpi_gpa(gm), rsdp, sizeof(rsdp));
	err = err ? err : fw_cfg_add_file(m->fw_cfg, BIOS_FILE_MEMORY_MAP, map, map_bytes);
	err = err ? err : fw_cfg_add_file(m->fw_cfg, BIOS_FILE_RSDP, rsdp, sizeof(rsdp));
	return err ? err : fw_cfg_add_file(m->fw_cfg, BIOS_FILE_LOADER, loader, sizeof(loader));
}

static int add_smbios(struct machine *m, const uint8_t *smbios, size_t len_bytes)
{
	int err = fw_cfg_add_file(m->fw_cfg, BIOS_FILE_SMBIOS_ENTRY, smbios, SMBIOS_ENTRY_BYTES);
	return err ? err
		   : fw_cfg_add_file(m->fw_cfg, BIOS_FILE_SMBIOS_TABLES,
				     smbios + SMBIOS_STRUCTURES_OFF,
				     len_bytes - SMBIOS_STRUCTURES_OFF);
}

enum exit_status machine_load_bios(struct machine *m, const uint8_t *smbios, size_t smbios_bytes)
{
	const struct x86_boot_regs start = { .mode = X86_BOOT_REAL16,
					     .cs = BIOS_SEGMENT,
					     .rip = BIOS_OFFSET };
	enum exit_status status = install_rom(&m->ram.mem);
	if (status)
		return status;
	int err = add_tables(m);
	err = err ? err : add_smbios(m, smbios, smbios_bytes);
	err = err ? err : add_settings(m);
	if (err) {
		log_error("cannot tell the BIOS of the machine: %s", strerror(-err));
		return EXIT_STATUS_FAILED;
	}
	return x86_cpu_set_boot_regs(vcpus_fd(m->vcpus, 0), &start) ? EXIT_STATUS_FAILED
								    : EXIT_STATUS_OK;
}
