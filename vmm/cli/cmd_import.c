/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm import: a Vagrant box, an OVA or a disk of another hypervisor becomes a machine. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/image/common.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/machine_files.h"
#include "vmm/import/import.h"

struct import_args {
	const char *file;
	const char *out, *name, *user;
};

static int set_out(void *cfg, const char *value)
{
	((struct import_args *)cfg)->out = value;
	return 0;
}

static int set_name(void *cfg, const char *value)
{
	if (!config_name_ok(value)) {
		log_error("--name '%s': a name has 1 to %d characters, no '/' and no blanks", value,
			  CONFIG_NAME_MAX);
		return -EINVAL;
	}
	((struct import_args *)cfg)->name = value;
	return 0;
}

static int set_user(void *cfg, const char *value)
{
	if (!login_user_ok(value)) {
		log_error("--login '%s': no user is called that", value);
		return -EINVAL;
	}
	((struct import_args *)cfg)->user = value;
	return 0;
}

static int set_file(void *cfg, const char *value)
{
	struct import_args *a = cfg;
	if (a->file) {
		log_error("'%s': one file at a time", value);
		return -EINVAL;
	}
	a->file = value;
	return 0;
}

static const struct option_spec options[] = {
	{ "output", 'o', "OUT", "the image to be made [NAME.qcow2 in this directory]", set_out },
	{ "name", 'n', "NAME", "what the machine is called [as OUT, or FILE]", set_name },
	{ "login", 'l', "USER", "who logs in [what a box says, or vagrant]", set_user },
};

static const struct command_spec command = {
	.usage = "charmvm import FILE [-o OUT.qcow2] [--name NAME] [--login USER]",
	.about = "Makes a machine of a Vagrant box (libvirt, virtualbox), an OVA, or a raw, VMDK, "
		 "VDI or\n"
		 "qcow2 disk: OUT appears when it is complete, and FILE stays as it is. VMDK and "
		 "VDI need\n"
		 "qemu-img. How one logs in to a box is recorded for charmvm ssh; the well-known "
		 "key that\n"
		 "it trusts is replaced by yours when the machine first answers.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = set_file,
};

/* What the image is called and the machine; nothing must be there. @path: PATH_MAX. */
static enum exit_status choose_names(const struct import_args *a, char *path,
				     char name[CONFIG_NAME_MAX + 1])
{
	if (a->name)
		snprintf(name, CONFIG_NAME_MAX + 1, "%s", a->name);
	else
		config_name_after(a->out ? a->out : a->file, name);
	int n = a->out ? snprintf(path, PATH_MAX, "%s", a->out)
		       : snprintf(path, PATH_MAX, "%s.qcow2", name);
	if (n < 0 || n >= PATH_MAX || !config_name_ok(name)) {
		log_error("'%s': no machine can be called that; say --name", name);
		return EXIT_STATUS_USAGE;
	}
	if (access(path, F_OK) == 0) {
		log_error("%s: is there already; take another name (-o), or charmvm destroy it",
			  path);
		return EXIT_STATUS_FILE;
	}
	if (machine_files_runs(name)) {
		log_error("a machine called '%s' is running; take another --name", name);
		return EXIT_STATUS_IN_USE;
	}
	return EXIT_STATUS_OK;
}

/* The image is there, and its login with it. */
static enum exit_status record_login(const struct import *im, const char *name)
{
	char dir[PATH_MAX];
	int err = login_dir(name, dir);
	if (!err)
		err = *im->login ? login_save(dir, im->login, im->key) : login_forget(dir);
	if (!err)
		return EXIT_STATUS_OK;
	log_error("%s: it was imported, but how one logs in cannot be recorded in %s: %s", im->out,
		  dir, strerror(-err));
	return EXIT_STATUS_FAILED;
}

static void say_what(const struct import *im, const char *name)
{
	char size[IMAGE_SIZE_TEXT], own[CONFIG_NAME_MAX + 1];
	image_size_text(im->bytes, size);
	config_name_after(im->out, own);
	if (im->more_disks)
		log_warn("%s: %u more disk%s in it, left out: unpack it (tar -xf), import them as "
			 "well, and give them to the machine by --disk",
			 im->file, im->more_disks, im->more_disks == 1 ? " is" : "s are");
	printf("%s: from %s, a disk of %s%s%s\n", im->out, im->what, size,
	       *im->login ? ", login " : "", im->login);
	printf("start it: charmvm up %s%s%s\n", im->out, strcmp(own, name) ? " --name " : "",
	       strcmp(own, name) ? name : "");
}

int cmd_import(int argc, char **argv)
{
	struct import_args a = { 0 };
	char path[PATH_MAX], name[CONFIG_NAME_MAX + 1];
	int over;
	if (!vm_parse(&command, &a, argc, argv, &over))
		return over;
	if (!a.file) {
		log_error("import: which file? see charmvm import --help");
		return EXIT_STATUS_USAGE;
	}
	enum exit_status status = choose_names(&a, path, name);
	if (status)
		return status;
	struct import im = { .file = a.file, .out = path, .user = a.user };
	status = import_run(&im);
	status = status ? status : record_login(&im, name);
	if (!status)
		say_what(&im, name);
	import_free(&im);
	return status;
}
