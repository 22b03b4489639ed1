/* SPDX-License-Identifier: Apache-2.0 */
/* The definition block of the DSDT: devices that the guest cannot find by itself. */
#ifndef FIRMWARE_ACPI_DSDT_H
#define FIRMWARE_ACPI_DSDT_H

struct acpi_config;
struct aml;

void acpi_dsdt_build(struct aml *a, const struct acpi_config *cfg);

#endif
