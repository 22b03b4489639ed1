/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm snapshot: the snapshots of a machine, whether it runs or not. */
#include "vmm/cli/cmd_snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/image/image.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/commands.h"
#include "vmm/snapshot/snapshot_table.h"

struct verb {
	const char *name;
	unsigned int nwords; /* before [VM] */
	const char *usage, *about;
	enum exit_status (*fn)(const struct snapshot_args *a);
};

/* ---- the verbs ---- */

static enum exit_status read_table(const struct snapshot_args *a, json_t **table)
{
	*table = NULL;
	return a->image ? snapshot_offline_list(a, table) : snapshot_online_list(a, table);
}

static enum exit_status print_table(const struct snapshot_args *a,
				    void (*print)(const json_t *table))
{
	json_t *table;
	enum exit_status status = read_table(a, &table);
	if (!status && a->vm.json) {
		vm_print_json(table);
		return status;
	}
	if (!status)
		print(table);
	json_decref(table);
	return status;
}

static enum exit_status do_list(const struct snapshot_args *a)
{
	return print_table(a, snapshot_print_list);
}

static enum exit_status do_tree(const struct snapshot_args *a)
{
	return print_table(a, snapshot_print_tree);
}

static enum exit_status do_show(const struct snapshot_args *a)
{
	json_t *table;
	enum exit_status status = read_table(a, &table);
	const json_t *s = status ? NULL : snapshot_table_find(table, a->words[0]);
	if (!status && !s) {
		log_error("snapshot '%s': %s", a->words[0], snapshot_table_explain(-ENOENT));
		status = EXIT_STATUS_FILE;
	} else if (!status && a->vm.json) {
		vm_print_json(json_incref((json_t *)(uintptr_t)s));
	} else if (!status) {
		snapshot_print_one(table, s);
	}
	json_decref(table);
	return status;
}

static enum exit_status change(const struct snapshot_args *a, const char *verb, const char *name,
			       const char *to)
{
	return a->image ? snapshot_offline_change(a, verb, name, to)
			: snapshot_online_change(a, verb, name, to);
}

static enum exit_status check_name(const char *name)
{
	if (snapshot_name_ok(name))
		return EXIT_STATUS_OK;
	log_error("snapshot '%.64s': %s", name, snapshot_table_explain(-EINVAL));
	return EXIT_STATUS_USAGE;
}

static enum exit_status do_save(const struct snapshot_args *a)
{
	enum exit_status status = check_name(a->words[0]);
	if (!status && a->image && a->note) {
		log_error("a snapshot of a stopped machine has no place for a --note");
		status = EXIT_STATUS_USAGE;
	}
	return status ? status : change(a, "save", a->words[0], NULL);
}

static enum exit_status do_revert(const struct snapshot_args *a)
{
	return change(a, "revert", a->words[0], NULL);
}

static enum exit_status do_delete(const struct snapshot_args *a)
{
	return change(a, "delete", a->words[0], NULL);
}

static enum exit_status do_rename(const struct snapshot_args *a)
{
	enum exit_status status = check_name(a->words[1]);
	return status ? status : change(a, "rename", a->words[0], a->words[1]);
}

/*
 * A snapshot's clusters stay as they are as long as it is there, so they may be read beside the machine that
 * writes others.
 */
enum exit_status snapshot_export(const char *image, const char *name, const char *to)
{
	char convert[] = "convert", share[] = "-U", format[] = "-O", qcow2[] = "qcow2", of[] = "-l",
	     machine[] = "--machine";
	char *argv[] = { convert,
			 convert,
			 share,
			 format,
			 qcow2,
			 machine,
			 of,
			 (char *)(uintptr_t)name,
			 (char *)(uintptr_t)image,
			 (char *)(uintptr_t)to,
			 NULL };
	return image_main((int)ARRAY_SIZE(argv) - 1, argv) ? EXIT_STATUS_FILE : EXIT_STATUS_OK;
}

static enum exit_status do_export(const struct snapshot_args *a)
{
	char *image = NULL;
	if (!a->image) {
		enum exit_status status = snapshot_online_files(a, &image, NULL);
		if (status)
			return status;
	}
	enum exit_status status =
		snapshot_export(a->image ? a->image : image, a->words[0], a->words[1]);
	free(image);
	return status;
}

#define WHERE " [VM | --image FILE]"
static const struct verb verbs[] = {
	{ "delete", 1, "charmvm snapshot delete NAME" WHERE,
	  "Deletes a snapshot; what only it held is free for others.", do_delete },
	{ "export", 2, "charmvm snapshot export NAME OUT" WHERE,
	  "Writes a snapshot, its disk and its machine, into OUT, a qcow2 image of its own.",
	  do_export },
	{ "list", 0, "charmvm snapshot list" WHERE " [--json]",
	  "Lists the snapshots, oldest first.", do_list },
	{ "rename", 2, "charmvm snapshot rename NAME NEW" WHERE, "Gives a snapshot another name.",
	  do_rename },
	{ "revert", 1, "charmvm snapshot revert NAME" WHERE,
	  "Makes the machine what it was. What it did since is gone, unless another snapshot has "
	  "it. "
	  "With --image: the disk alone; --from starts a machine with its memory.",
	  do_revert },
	{ "save", 1, "charmvm snapshot save NAME [--note TEXT]" WHERE,
	  "Saves the running machine, memory and disk of one instant, into its image. With "
	  "--image: "
	  "the disk.",
	  do_save },
	{ "show", 1, "charmvm snapshot show NAME" WHERE " [--json]", "Tells all of one snapshot.",
	  do_show },
	{ "tree", 0, "charmvm snapshot tree" WHERE " [--json]", "Shows which was made on which.",
	  do_tree },
};

/* ---- the command line ---- */

static int set_image(void *cfg, const char *value)
{
	((struct snapshot_args *)cfg)->image = value;
	return 0;
}

static int set_note(void *cfg, const char *value)
{
	((struct snapshot_args *)cfg)->note = value;
	return 0;
}

static int operand(void *cfg, const char *value)
{
	struct snapshot_args *a = cfg;
	if (a->nwords == SNAPSHOT_WORDS_MAX) {
		log_error("unexpected argument '%s'; see charmvm snapshot --help", value);
		return -EINVAL;
	}
	a->words[a->nwords++] = value;
	return 0;
}

static const struct option_spec options[] = {
	{ "image", 'i', "FILE", "the image of a machine that does not run", set_image },
	{ "note", 0, "TEXT", "of save: a word on it, for list and show", set_note },
	VM_OPTION_JSON,
};

/* The machine's name is the word behind those that the verb wants. */
static bool take_machine(const struct verb *v, struct snapshot_args *a)
{
	if (a->nwords < v->nwords) {
		log_error("a name is missing: %s", v->usage);
		return false;
	}
	if (a->nwords > v->nwords + !a->image) {
		log_error("unexpected argument '%s': %s", a->words[a->nwords - 1], v->usage);
		return false;
	}
	if (a->nwords > v->nwords)
		a->vm.name = a->words[v->nwords];
	return true;
}

static int run(const struct verb *v, int argc, char **argv)
{
	const struct command_spec command = {
		.usage = v->usage,
		.about = v->about,
		.options = options,
		.noptions = ARRAY_SIZE(options),
		.operand = operand,
	};
	struct snapshot_args a = { 0 };
	int over;
	if (!vm_parse(&command, &a, argc, argv, &over))
		return over;
	return take_machine(v, &a) ? v->fn(&a) : EXIT_STATUS_USAGE;
}

static void help(FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(out, "%s %s\n", i ? "      " : "Usage:", verbs[i].usage);
	if (out != stdout)
		return;
	printf("\nVerbs:\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		options_help_verb(verbs[i].name, verbs[i].about);
	printf("\ncharmvm snapshot VERB --help tells a verb's options.\n");
}

int cmd_snapshot(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(word, verbs[i].name))
			return run(&verbs[i], argc - 1, argv + 1);
	bool asked = !strcmp(word, "--help") || !strcmp(word, "-h");
	help(asked ? stdout : stderr);
	return asked ? EXIT_STATUS_OK : EXIT_STATUS_USAGE;
}
