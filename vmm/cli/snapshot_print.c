/* SPDX-License-Identifier: Apache-2.0 */
/* The snapshots of an image as people are told of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/image/common.h"
#include "vmm/cli/cmd_snapshot.h"
#include "vmm/snapshot/snapshot_table.h"

enum { DATE_TEXT = 32, TREE_DEPTH_MAX = 64 };

static const char *text(const json_t *s, const char *key)
{
	const char *v = json_string_value(json_object_get(s, key));
	return v ? v : "";
}

static json_int_t number(const json_t *s, const char *key)
{
	return json_integer_value(json_object_get(s, key));
}

static bool has_machine(const json_t *s)
{
	return json_is_true(json_object_get(s, "machine"));
}

static void date_text(const json_t *s, char out[DATE_TEXT])
{
	time_t when = (time_t)number(s, "time");
	struct tm tm;
	if (!localtime_r(&when, &tm) || !strftime(out, DATE_TEXT, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(out, DATE_TEXT, "-");
}

static void memory_text(const json_t *s, char out[IMAGE_SIZE_TEXT])
{
	snprintf(out, IMAGE_SIZE_TEXT, "%s", number(s, "state_bytes") ? "foreign" : "-");
	if (has_machine(s))
		image_size_text((uint64_t)number(s, "mem_bytes"), out);
}

/* Of a parent, by its name. */
static const char *parent_name(const json_t *table, const json_t *s)
{
	size_t i;
	const json_t *p;
	json_array_foreach (table, i, p) {
		if (*text(s, "parent") && !strcmp(text(p, "id"), text(s, "parent")))
			return text(p, "name");
	}
	return "";
}

void snapshot_print_list(const json_t *table)
{
	char date[DATE_TEXT], memory[IMAGE_SIZE_TEXT];
	size_t i;
	const json_t *s;
	if (json_array_size(table))
		printf("%-20s %-19s %9s  %-16s %s\n", "NAME", "SAVED", "MEMORY", "PARENT", "NOTE");
	json_array_foreach (table, i, s) {
		date_text(s, date);
		memory_text(s, memory);
		vm_print_text(text(s, "name"), 20);
		printf(" %-19s %9s  ", date, memory);
		vm_print_text(*parent_name(table, s) ? parent_name(table, s) : "-", 16);
		putchar(' ');
		vm_print_text(text(s, "note"), 0);
		putchar('\n');
	}
}

/* Parents in an image may be anything, a circle too: each snapshot is printed once. */
struct tree {
	const json_t *table;
	bool *printed;
};

static void print_branch(struct tree *t, const char *parent, unsigned int depth)
{
	size_t i;
	const json_t *s;
	json_array_foreach (t->table, i, s) {
		if (t->printed[i] || strcmp(text(s, "parent"), parent))
			continue;
		t->printed[i] = true;
		printf("%*s", (int)(2 * depth), "");
		vm_print_text(text(s, "name"), 0);
		if (*text(s, "note")) {
			printf("  (");
			vm_print_text(text(s, "note"), 0);
			putchar(')');
		}
		putchar('\n');
		if (depth < TREE_DEPTH_MAX && *text(s, "id"))
			print_branch(t, text(s, "id"), depth + 1);
	}
}

void snapshot_print_tree(const json_t *table)
{
	size_t n = json_array_size(table), i;
	struct tree t = { table, calloc(n + 1, sizeof(bool)) };
	if (!t.printed)
		return;
	print_branch(&t, "", 0);
	/* What hangs on a snapshot that was deleted. */
	const json_t *s;
	json_array_foreach (table, i, s) {
		if (!t.printed[i] && !*parent_name(table, s))
			print_branch(&t, text(s, "parent"), 0);
	}
	json_array_foreach (table, i, s) {
		if (!t.printed[i])
			print_branch(&t, text(s, "parent"), 0);
	}
	free(t.printed);
}

static void print_line(const char *what, const char *value)
{
	printf("%-9s", what);
	vm_print_text(value, 0);
	putchar('\n');
}

void snapshot_print_one(const json_t *table, const json_t *s)
{
	char date[DATE_TEXT], size[IMAGE_SIZE_TEXT];
	date_text(s, date);
	print_line("name:", text(s, "name"));
	print_line("id:", text(s, "id"));
	print_line("parent:", *parent_name(table, s) ? parent_name(table, s) : "none");
	print_line("saved:", date);
	image_size_text((uint64_t)number(s, "disk_bytes"), size);
	print_line("disk:", size);
	memory_text(s, size);
	print_line("memory:", size);
	if (has_machine(s)) {
		printf("cpus:    %" JSON_INTEGER_FORMAT "\n", number(s, "cpus"));
		print_line("writer:", text(s, "writer"));
	}
	if (json_is_true(json_object_get(s, "in_use")))
		print_line("in use:", "machines run from it (--throw-away)");
	if (*text(s, "note"))
		print_line("note:", text(s, "note"));
}
