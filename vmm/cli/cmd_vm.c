/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands for running machines share. */
#include "vmm/cli/cmd_vm.h"

#include <errno.h>
#include <stdio.h>

#include "vmm/base/log.h"
#include "vmm/exit_status.h"

int vm_operand(void *cfg, const char *value)
{
	struct vm_args *a = cfg;
	if (a->name) {
		log_error("'%s': one machine at a time", value);
		return -EINVAL;
	}
	a->name = value;
	return 0;
}

int vm_set_json(void *cfg, const char *value)
{
	(void)value;
	((struct vm_args *)cfg)->json = true;
	return 0;
}

bool vm_parse(const struct command_spec *cmd, void *cfg, int argc, char **argv, int *status)
{
	int rest;
	int err = options_parse(cmd, cfg, argc, argv, &rest);
	*status = err > 0 ? EXIT_STATUS_OK : EXIT_STATUS_USAGE;
	if (!err && rest < argc) {
		log_error("unexpected argument '%s'; see charmvm %s --help", argv[rest], argv[0]);
		return false;
	}
	return !err;
}

void vm_print_json(json_t *o)
{
	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(o);
}

void vm_print_text(const char *s, int width)
{
	int n = 0;
	for (; s && *s; s++) {
		unsigned char c = (unsigned char)*s;
		putchar(c < 0x20 || c == 0x7f ? '?' : c);
		n += (c & 0xc0) != 0x80; /* a character's first byte */
	}
	for (; n < width; n++)
		putchar(' ');
}

void vm_time_text(json_int_t seconds, char out[VM_TIME_TEXT])
{
	long long s = seconds < 0 ? 0 : seconds, m = s / 60, h = m / 60;
	if (m < 1)
		snprintf(out, VM_TIME_TEXT, "%llds", s);
	else if (h < 1)
		snprintf(out, VM_TIME_TEXT, "%lldm%02llds", m, s % 60);
	else if (h < 24)
		snprintf(out, VM_TIME_TEXT, "%lldh%02lldm", h, m % 60);
	else
		snprintf(out, VM_TIME_TEXT, "%lldd%02lldh", h / 24 % 100000, h % 24);
}
