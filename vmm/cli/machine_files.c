/* SPDX-License-Identifier: Apache-2.0 */
/* A machine on disk. */
#include "vmm/cli/machine_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block/lock.h"
#include "vmm/base/log.h"
#include "vmm/control/control_client.h"

enum { ANSWER_TIMEOUT_MS = 10000 };

const char *machine_files_image(const char *word, char *path)
{
	int n = snprintf(path, PATH_MAX, "%s.qcow2", word);
	bool found = access(word, F_OK) == 0 || n < 0 || n >= PATH_MAX || access(path, F_OK) < 0;
	return found ? word : path;
}

struct by_name {
	const char *name;
	struct machine_files *f;
};

static void take_named(void *opaque, const struct record *r)
{
	const struct by_name *by = opaque;
	if (strcmp(r->name, by->name))
		return;
	by->f->running = true;
	by->f->record = *r;
}

bool machine_files_runs(const char *name)
{
	struct machine_files f = { 0 };
	struct by_name by = { name, &f };
	record_each(take_named, &by);
	return f.running;
}

/* The image of a machine that runs, as it says itself. */
static enum exit_status ask_image(struct machine_files *f)
{
	struct control_client c;
	json_t *answer = NULL;
	int err = control_client_connect(&c, &f->record, ANSWER_TIMEOUT_MS);
	err = err ? err : control_client_ask(&c, "status", NULL, NULL, NULL, &answer);
	const char *image =
		json_string_value(json_object_get(json_object_get(answer, "ok"), "image"));
	snprintf(f->image, sizeof(f->image), "%s", image ? image : "");
	json_decref(answer);
	control_client_close(&c);
	if (*f->image)
		return EXIT_STATUS_OK;
	log_error(err ? "machine '%s' runs and does not answer; its image is not known"
		      : "machine '%s' was started without --image: there is nothing of it on disk",
		  f->name);
	return EXIT_STATUS_FAILED;
}

enum exit_status machine_files_find(const char *word, struct machine_files *f)
{
	char path[PATH_MAX];
	struct by_name by = { word, f };
	struct stat st;
	*f = (struct machine_files){ .fd = -1 };
	record_each(take_named, &by);
	if (f->running) {
		snprintf(f->name, sizeof(f->name), "%s", f->record.name);
		return ask_image(f);
	}
	if (!realpath(machine_files_image(word, path), f->image)) {
		log_error("%s: %s; name a machine that runs, an image, or one of this directory "
			  "without its .qcow2",
			  word, strerror(errno));
		return EXIT_STATUS_FILE;
	}
	if (stat(f->image, &st) || !S_ISREG(st.st_mode)) {
		log_error("%s: not a file; a machine's image is one", f->image);
		return EXIT_STATUS_FILE;
	}
	config_name_after(f->image, f->name);
	return EXIT_STATUS_OK;
}

enum exit_status machine_files_lock(struct machine_files *f, bool writer)
{
	f->fd = open(f->image, (writer ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (f->fd < 0) {
		log_error("%s: %s", f->image, strerror(errno));
		return EXIT_STATUS_FILE;
	}
	int err = lock_image(f->fd, f->image, writer);
	return err == -EBUSY ? EXIT_STATUS_IN_USE : err ? EXIT_STATUS_FILE : EXIT_STATUS_OK;
}

void machine_files_close(struct machine_files *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

enum exit_status machine_files_target(const struct machine_files *f, const char *to, char *path,
				      char name[CONFIG_NAME_MAX + 1])
{
	const char *base = strrchr(f->image, '/') + 1; /* realpath's: it has one */
	const char *dot = strrchr(base, '.');
	int n = strchr(to, '/') ? snprintf(path, PATH_MAX, "%s", to)
				: snprintf(path, PATH_MAX, "%.*s%s%s", (int)(base - f->image),
					   f->image, to, dot && dot != base ? dot : "");
	if (n < 0 || n >= PATH_MAX) {
		log_error("'%s': too long", to);
		return EXIT_STATUS_USAGE;
	}
	if (strchr(to, '/'))
		config_name_after(path, name);
	else
		snprintf(name, CONFIG_NAME_MAX + 1, "%s", to);
	if (!config_name_ok(to + (strchr(to, '/') ? strrchr(to, '/') + 1 - to : 0)) ||
	    strchr(to, ' ')) {
		log_error("'%s': a name has 1 to %d characters, no blanks, and no dot at its "
			  "beginning",
			  to, CONFIG_NAME_MAX);
		return EXIT_STATUS_USAGE;
	}
	if (access(path, F_OK) == 0) {
		log_error("%s: is there already; take another name, or charmvm destroy it", path);
		return EXIT_STATUS_FILE;
	}
	return EXIT_STATUS_OK;
}
