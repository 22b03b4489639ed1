/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm rename, charmvm clone: another name for a machine that does not run, or another machine like it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/image/common.h"
#include "tools/image/output.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/machine_files.h"
#include "vmm/config_file.h"
#include "vmm/keys.h"
#include "vmm/login.h"

static int take_word(void *cfg, const char *value)
{
	return image_word(cfg, value, 2);
}

/* What is done with the first name's machine: its image becomes, or is copied to, @path of the machine @name. */
typedef enum exit_status do_fn(const struct machine_files *f, const char *path, const char *name);

/* The two names of a command line. -> true: go on; else the command ends with *status. */
static bool parse(const struct command_spec *cmd, struct image_words *w, int argc, char **argv,
		  int *status)
{
	if (!vm_parse(cmd, w, argc, argv, status))
		return false;
	if (w->n == 2)
		return true;
	log_error("%s: two names are needed; see charmvm %s --help", argv[0], argv[0]);
	*status = EXIT_STATUS_USAGE;
	return false;
}

/* The first is a machine that does not run, locked, and the second is free. */
static enum exit_status find(const struct image_words *w, bool writer, struct machine_files *f,
			     char *path, char name[CONFIG_NAME_MAX + 1])
{
	enum exit_status status = machine_files_find(w->v[0], f);
	if (!status && f->running) {
		log_error("machine '%s' is running; charmvm stop or suspend it first", f->name);
		status = EXIT_STATUS_IN_USE;
	}
	status = status ? status : machine_files_target(f, w->v[1], path, name);
	return status ? status : machine_files_lock(f, writer);
}

/* @writer: the image is locked against readers, too. */
static int run(const struct command_spec *command, bool writer, do_fn *fn, int argc, char **argv)
{
	struct image_words w = { 0 };
	struct machine_files f;
	char path[PATH_MAX], name[CONFIG_NAME_MAX + 1];
	int over;
	if (!parse(command, &w, argc, argv, &over))
		return over;
	enum exit_status status = find(&w, writer, &f, path, name);
	status = status ? status : fn(&f, path, name);
	machine_files_close(&f);
	return status;
}

/* ---- rename ---- */

/* What was written down for the machine goes along. */
static void move_config(const char *from, const char *to)
{
	char old[PATH_MAX], new[PATH_MAX];
	if (config_file_of(from, old) || config_file_of(to, new) ||
	    !renameat2(AT_FDCWD, old, AT_FDCWD, new, RENAME_NOREPLACE) || errno == ENOENT ||
	    errno == ENOTDIR)
		return;
	log_warn("%s stays what it is, and is not read for '%s': %s: %s", old, to, new,
		 strerror(errno));
}

static enum exit_status move(const struct machine_files *f, const char *path, const char *name)
{
	if (machine_files_runs(name)) {
		log_error("a machine called '%s' is running; take another name", name);
		return EXIT_STATUS_IN_USE;
	}
	if (renameat2(AT_FDCWD, f->image, AT_FDCWD, path, RENAME_NOREPLACE) < 0) {
		log_error("%s: cannot become %s: %s", f->image, path, strerror(errno));
		return EXIT_STATUS_FILE;
	}
	int err = keys_rename(f->name, name);
	if (err)
		log_warn("the host key of '%s' stays there, '%s' gets a new one: %s", f->name, name,
			 strerror(-err));
	move_config(f->name, name);
	return EXIT_STATUS_OK;
}

int cmd_rename(int argc, char **argv)
{
	static const struct command_spec command = {
		.usage = "charmvm rename VM|IMAGE NEW",
		.about = "Gives a machine that does not run another name: NAME.qcow2 becomes "
			 "NEW.qcow2,\n"
			 "and it keeps its snapshots, its host key and its configuration file.",
		.operand = take_word,
	};
	return run(&command, true, move, argc, argv);
}

/* ---- clone ---- */

/* [from, to) of the file; holes are left out by the caller. -> 0, -EINTR (a signal waits) or -errno. */
static int copy_range(int in, int out, off_t from, off_t to, void *buf)
{
	while (from < to) {
		ssize_t n = pread(in, buf, (size_t)MIN(to - from, (off_t)IMAGE_CHUNK_BYTES), from);
		if (n <= 0)
			return n ? -errno : -EIO;
		for (ssize_t done = 0, w; done < n; done += w) {
			w = pwrite(out, (char *)buf + done, (size_t)(n - done), from + done);
			if (w < 0)
				return -errno;
		}
		from += n;
		if (output_interrupted())
			return -EINTR;
	}
	return 0;
}

/* A file system that can shares the blocks; others get a copy of what is not a hole. */
static int copy_file(int in, int out)
{
	struct stat st;
	if (!ioctl(out, FICLONE, in))
		return 0;
	void *buf = malloc(IMAGE_CHUNK_BYTES);
	struct image_progress progress = { 0 };
	int err = !buf ? -ENOMEM : fstat(in, &st) || ftruncate(out, st.st_size) ? -errno : 0;
	off_t at = 0;
	if (!err)
		image_progress_begin(&progress, (uint64_t)st.st_size, false, false);
	while (!err && at < st.st_size) {
		off_t data = lseek(in, at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0) /* it cannot tell: all of it */
			data = at;
		off_t hole = lseek(in, data, SEEK_HOLE);
		at = hole < 0 || hole <= data ? st.st_size : hole;
		err = copy_range(in, out, data, at, buf);
		image_progress(&progress, (uint64_t)at);
	}
	if (buf && err != -ENOMEM)
		image_progress_end(&progress);
	free(buf);
	return err;
}

static enum exit_status copy(const struct machine_files *f, const char *path, const char *name)
{
	struct output o;
	if (output_begin(&o, path))
		return EXIT_STATUS_FILE;
	int err = copy_file(f->fd, o.fd);
	if (!err) {
		if (output_end(&o))
			return EXIT_STATUS_FILE;
		/* Its host key is made when it is first started; who logs in is the same. */
		if ((err = login_copy(f->name, name)))
			log_warn("how one logs in to '%s' is not known of '%s': %s", f->name, name,
				 strerror(-err));
		return EXIT_STATUS_OK;
	}
	output_drop(&o);
	log_error("%s: %s", path, err == -EINTR ? "interrupted" : strerror(-err));
	return err == -EINTR ? EXIT_STATUS_FAILED : EXIT_STATUS_FILE;
}

int cmd_clone(int argc, char **argv)
{
	static const struct command_spec command = {
		.usage = "charmvm clone VM|IMAGE NEW",
		.about = "Makes another machine like one that does not run: NEW.qcow2 beside its "
			 "image, a\n"
			 "copy with all snapshots, which has ports and a host key of its own. "
			 "Where the\n"
			 "file system can, the two share their blocks until they are written to.",
		.operand = take_word,
	};
	return run(&command, false, copy, argc, argv);
}
