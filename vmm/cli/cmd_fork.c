/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm fork: machines in the background that go on from one snapshot, beside whoever has the image. */
/*
 * How it works. Each fork is a process of its own, made by fork(2) of this one, and is what "charmvm --image F --from NAME
 * --throw-away --detach" would be: memory and disk are the snapshot's clusters, its writes go to an unlinked
 * overlay. One that is kept has the snapshot exported into an image of its own first, and runs from there. All of them start at once; each says its name through a pipe when it runs, and this process ends when the last one
 * does. If one cannot start, those that have started stay, and the status is the first failure's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_snapshot.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/detach.h"
#include "vmm/config.h"
#include "vmm/record.h"
#include "vmm/run.h"

enum {
	FORKS_MAX = 1000,
	ARGS_MAX = 16,
	NAME_BYTES = RECORD_NAME_MAX + 16, /* with a number */
	FRESH_NAME_BYTES = 64
};

struct fork_args {
	struct snapshot_args where; /* the first member: its vm.name is the operand */
	const char *from;
	const char *name;
	const char *keep;
	const char *cdrom; /* NULL: none */
	uint64_t n;
};

struct forked {
	pid_t pid;
	int fd; /* where it says its name, when it runs */
	char name[RECORD_NAME_MAX + 1];
};

/* ---- the command line ---- */

static int set_from(void *cfg, const char *value)
{
	((struct fork_args *)cfg)->from = value;
	return 0;
}

static int set_name(void *cfg, const char *value)
{
	((struct fork_args *)cfg)->name = value;
	return 0;
}

static int set_keep(void *cfg, const char *value)
{
	((struct fork_args *)cfg)->keep = value;
	return 0;
}

static int set_cdrom(void *cfg, const char *value)
{
	((struct fork_args *)cfg)->cdrom = value;
	return 0;
}

static int set_image(void *cfg, const char *value)
{
	((struct fork_args *)cfg)->where.image = value;
	return 0;
}

static int set_number(void *cfg, const char *value)
{
	if (!options_parse_uint(value, 1, FORKS_MAX, &((struct fork_args *)cfg)->n))
		return 0;
	log_error("-n %s: a number of machines, 1 to %d", value, FORKS_MAX);
	return -EINVAL;
}

static const struct option_spec options[] = {
	{ "number", 'n', "N", "how many machines [1]", set_number },
	{ "from", 0, "NAME", "the snapshot; of a running machine: else one that is saved now",
	  set_from },
	{ "image", 'i', "FILE",
	  "fork from this image, whether its machine runs or not; needs --from", set_image },
	{ "name", 0, "NAME",
	  "call them NAME-1, NAME-2, ... [the image's, with the next free number]", set_name },
	{ "keep", 0, "OUT",
	  "one that is no throw-away: OUT is its image, with all that the snapshot has", set_keep },
	{ "cdrom", 0, "FILE", "the CD in the drive [the running machine's]", set_cdrom },
	VM_OPTION_JSON,
};

static const struct command_spec command = {
	.usage = "charmvm fork [VM] [-n N | --keep OUT] [--from NAME] [--name NAME] [--json]\n"
		 "       charmvm fork --image FILE --from NAME [-n N | --keep OUT] [--name NAME] "
		 "[--json]",
	.about = "Starts machines in the background that go on from a snapshot, each with a "
		 "throw-away disk, a "
		 "network\nand ports of its own. Prints the name and the SSH port of each.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = vm_operand,
};

/* ---- what is forked ---- */

static const char fresh_prefix[] = "fork-", fresh_note[] = "saved by charmvm fork";

/* Those that earlier forks of this machine were made from, once nothing runs from them any more. */
static void drop_stale(const struct fork_args *a)
{
	json_t *table = NULL;
	const json_t *s;
	size_t i;
	if (snapshot_online_list(&a->where, &table))
		return;
	json_array_foreach (table, i, s) {
		const char *name = json_string_value(json_object_get(s, "name"));
		const char *note = json_string_value(json_object_get(s, "note"));
		if (name && note && !strncmp(name, fresh_prefix, sizeof(fresh_prefix) - 1) &&
		    !strcmp(note, fresh_note) && !json_is_true(json_object_get(s, "in_use")))
			snapshot_online_change(&a->where, "delete", name, NULL);
	}
	json_decref(table);
}

/* A snapshot of the running machine, made now. */
static enum exit_status save_fresh(struct fork_args *a, char name[FRESH_NAME_BYTES])
{
	const time_t now = time(NULL);
	struct tm tm;
	if (!localtime_r(&now, &tm) || !strftime(name, FRESH_NAME_BYTES, "fork-%Y%m%d-%H%M%S", &tm))
		return EXIT_STATUS_FAILED;
	drop_stale(a);
	a->where.note = fresh_note;
	enum exit_status status = snapshot_online_change(&a->where, "save", name, NULL);
	if (!status)
		fprintf(stderr,
			"saved snapshot '%s'; the next fork drops it, if its own have ended; to "
			"keep it: charmvm snapshot rename %s NAME\n",
			name, name);
	return status;
}

/* ---- the machines ---- */

static void __attribute__((noreturn))
be_the_machine(const struct fork_args *a, const char *image, unsigned int i, int out)
{
	char image_option[] = "--image", from[] = "--from", throw_away[] = "--throw-away",
	     detach[] = "--detach", cdrom[] = "--cdrom", name_option[] = "--name",
	     self[] = "charmvm", name[NAME_BYTES];
	char *argv[ARGS_MAX] = {
		self,  image_option, (char *)(uintptr_t)image, from, (char *)(uintptr_t)a->from,
		detach
	};
	int argc = 6;
	struct machine_config cfg;
	if (!a->keep)
		argv[argc++] = throw_away;
	if (a->cdrom) {
		argv[argc++] = cdrom;
		argv[argc++] = (char *)(uintptr_t)a->cdrom;
	}
	if (a->name) {
		snprintf(name, sizeof(name), "%s-%u", a->name, i + 1);
		argv[argc++] = name_option;
		argv[argc++] = a->keep ? (char *)(uintptr_t)a->name : name;
	}
	int err = config_parse(&cfg, argc, argv);
	_exit(err ? EXIT_STATUS_USAGE : run_machine_detached(&cfg, out));
}

/* The machine number @i of @all. */
static int start(const struct fork_args *a, const char *image, unsigned int i, struct forked *all)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	all[i].pid = fork();
	if (!all[i].pid) {
		close(fds[0]);
		for (unsigned int j = 0; j < i;
		     j++) /* a machine lives long, and these are not its own */
			close(all[j].fd);
		be_the_machine(a, image, i, fds[1]);
	}
	int err = all[i].pid < 0 ? -errno : 0;
	close(fds[1]);
	all[i].fd = fds[0];
	if (err)
		close(fds[0]);
	return err;
}

/* -> how it ended where it did not come so far that it runs. */
static int finish(struct forked *f)
{
	int status;
	bool runs = detach_name(f->fd, f->name);
	close(f->fd);
	if (runs)
		return EXIT_STATUS_OK;
	if (waitpid(f->pid, &status, 0) != f->pid)
		return EXIT_STATUS_FAILED;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_STATUS_FAILED;
}

static void tell(const struct forked *f, json_t *all)
{
	struct record r = { .ssh_port = 0 };
	if (record_find(&r, f->name))
		return; /* it has ended already */
	if (all)
		json_array_append_new(all,
				      json_pack("{s:s, s:I, s:i}", "name", r.name, "pid",
						(json_int_t)r.pid, "ssh_port", (int)r.ssh_port));
	else if (r.ssh_port)
		printf("%s\tssh port %u\n", r.name, r.ssh_port);
	else
		printf("%s\n", r.name);
}

static int fork_all(const struct fork_args *a, const char *image)
{
	struct forked *f = calloc(a->n, sizeof(*f));
	json_t *all = a->where.vm.json ? json_array() : NULL;
	unsigned int started = 0;
	int status = EXIT_STATUS_OK, err = f ? 0 : -ENOMEM;
	fflush(NULL);
	while (!err && started < a->n) {
		err = start(a, image, started, f);
		started += !err;
	}
	if (err) {
		log_error("only %u of %llu machines could be started: %s", started,
			  (unsigned long long)a->n, strerror(-err));
		status = EXIT_STATUS_FAILED;
	}
	for (unsigned int i = 0; i < started; i++) {
		int one = finish(&f[i]);
		if (!one)
			tell(&f[i], all);
		status = status ? status : one;
	}
	if (all)
		vm_print_json(all);
	free(f);
	return status;
}

/* A machine with an image of its own, which nothing that happens to the original's can touch. */
static int fork_kept(const struct fork_args *a, const char *image)
{
	int status = (int)snapshot_export(image, a->from, a->keep);
	return status ? status : fork_all(a, a->keep);
}

int cmd_fork(int argc, char **argv)
{
	struct fork_args a = { .n = 1 };
	char fresh[FRESH_NAME_BYTES], *image = NULL, *cdrom = NULL;
	int status;
	if (!vm_parse(&command, &a, argc, argv, &status))
		return status;
	if (a.where.image && (!a.from || a.where.vm.name)) {
		log_error(a.from ? "a machine or an --image, not both"
				 : "--image needs --from NAME: the snapshot to fork");
		return EXIT_STATUS_USAGE;
	}
	if (a.keep && a.n != 1) {
		log_error("--keep is for one machine, not for %llu", (unsigned long long)a.n);
		return EXIT_STATUS_USAGE;
	}
	status = a.where.image
			 ? EXIT_STATUS_OK
			 : (int)snapshot_online_files(&a.where, &image, a.cdrom ? NULL : &cdrom);
	if (cdrom)
		a.cdrom = cdrom;
	if (!status && !a.from) {
		status = (int)save_fresh(&a, fresh);
		a.from = fresh;
	}
	if (!status)
		status = a.keep ? fork_kept(&a, a.where.image ? a.where.image : image)
				: fork_all(&a, a.where.image ? a.where.image : image);
	free(image);
	free(cdrom);
	return status;
}
