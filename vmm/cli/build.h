/* SPDX-License-Identifier: Apache-2.0 */
/*
 * charmvm build, by its parts: what it is told (build_input.c), what it is made from (build_base.c, build_kit.c), what is kept of earlier builds (build_cache.c), the
 * machine it is done in (build_machine.c), the steps (build_step.c), what the image is left with (build_finish.c), and the
 * whole (cmd_build.c). One thread; each function logs what went wrong, once.
 */
#ifndef VMM_BUILD_H
#define VMM_BUILD_H

#include <limits.h>
#include <stdbool.h>

#include "vmm/build/plan.h"
#include "vmm/cli/own_machine.h"
#include "vmm/exit_status.h"
#include "vmm/record.h"

enum build_from {
	BUILD_FROM_FILE,   /* an image file */
	BUILD_FROM_RECIPE, /* an image of the guest kit */
	BUILD_FROM_BASE,   /* what such an image is made from */
};

struct build {
	/* The command line. */
	const char *file;   /* the Charmfile */
	const char *recipe; /* whose file that is, in the guest kit, or NULL */
	const char *out_given;
	const char *mem, *cpus; /* of the machine it is done in */
	uint64_t time_s;	/* that one step may take */
	uint64_t disk_bytes;	/* of the image; 0: as FROM has it */
	bool no_cache, debug;
	bool cached;	       /* the image is to be kept, and its path printed */
	bool ready;	       /* the image is to have booted */
	const char *ready_cpu; /* and seen this processor; NULL: the host's */

	char recipe_file[PATH_MAX], out_default[CONFIG_NAME_MAX + 8];
	char context[PATH_MAX]; /* the Charmfile's directory */
	char out[PATH_MAX];
	char name[CONFIG_NAME_MAX + 1]; /* of a machine of the image */
	struct charmfile cf;
	struct plan plan;
	size_t step, steps; /* which one it is, of how many; for people */

	enum build_from from;
	char kit[PATH_MAX]; /* where the guest kit is, unless FROM_FILE */
	size_t in_base;	    /* steps behind FROM that are done when the base is made */
	char base[PATH_MAX];
	const char *base_format; /* "raw", "qcow2" */

	char image[PATH_MAX]; /* the cache's, which the machine works on: one for each base */
	int lock_fd;	      /* who has it may use that; -1 */
	char **kept;	      /* the keys of the states in it */
	size_t nkept;
	char ready_key[PLAN_KEY_TEXT]; /* what the image's own `ready` is kept as; "" without one */

	struct machine_config machine;
	struct own_machine own;
	bool runs;
	char vm[RECORD_NAME_MAX + 1]; /* what the machine is called */
};

/* ---- build_input.c ---- */

/* b->recipe's Charmfile, if there is one, and what its image is called unless that was said. -> EXIT_STATUS_OK, _FILE */
enum exit_status build_find_recipe(struct build *b);
/* b->out and whether it can be made in the end, by the name b->name. -> EXIT_STATUS_OK, _FILE, _IN_USE */
enum exit_status build_find_output(struct build *b);
/* Reads b->file into b->cf, and sets b->context. -> EXIT_STATUS_OK, _FILE */
enum exit_status build_read(struct build *b);

/* ---- build_base.c ---- */

/* What FROM names: b->from, b->in_base, and b->base where that is a file. -> EXIT_STATUS_OK, _FILE. */
enum exit_status build_find_base(struct build *b);
/* Makes it where it is not there: b->base, b->base_format. -> EXIT_STATUS_OK, _FILE, _FAILED. */
enum exit_status build_make_base(struct build *b);

/* ---- build_kit.c ---- */

/* b->base becomes the image called @name of FROM's base and the packages behind it, from the cache or made. */
bool build_kit_make_base(struct build *b, const char *name);

/* ---- build_cache.c ---- */

/* What a machine that has booted the base is kept as. */
#define BUILD_BOOTED "booted"

/*
 * Takes the image that is kept for b->base, for this process alone (another build is waited for), and reads what is kept in
 * it; makes it where there is none, or with b->no_cache. -> EXIT_STATUS_OK, _FILE, _IN_USE, _FAILED.
 */
enum exit_status build_cache_open(struct build *b);
void build_cache_close(struct build *b);
/* The host has no room where it is. */
bool build_cache_is_full(const struct build *b);
/* After a build that failed, when no machine is on the image: where there is no room left, the image goes. */
void build_cache_make_room(struct build *b);
bool build_cache_has(const struct build *b, const char *key);
/* A command of charmvm image, in a process of its own. @argv up to NULL. -> its status. */
int build_image_command(const char *const *argv);

/* ---- build_machine.c ---- */

/* Starts the machine from the state @key, or boots it where that is NULL, and waits until it can work. -> EXIT_STATUS_OK or
 * what the command is to end with. */
enum exit_status build_machine_start(struct build *b, const char *key);
/* Boots what the disk of b->image is now, as a machine of the image is (MEM, CPUS), and waits until it has started all it does. */
enum exit_status build_machine_boot(struct build *b);
/* Keeps what it is now as @key. */
enum exit_status build_machine_keep(struct build *b, const char *key);
/* Runs a program in it, as @user or root, with its output on our standard error. -> as agent_call_run(). */
int build_machine_call(struct build *b, const char *user, const char *const *env,
		       const char *const *argv);
/* The same for a script of /bin/sh; @words: its "$@", up to NULL. */
int build_machine_script(struct build *b, const char *user, const char *const *env,
			 const char *script, const char *const *words);
/* Waits until its guest has powered itself off. */
enum exit_status build_machine_wait(struct build *b);
/* Ends it, if it runs. -> its status. */
int build_machine_stop(struct build *b);
/* Sets when what is done next has to be done (--time). */
void build_machine_set_deadline(struct build *b);

/* ---- build_step.c ---- */

/* "[2/5] Charmfile:3: RUN make" on standard error, with @what behind it. */
void build_say(const struct build *b, const struct charmfile_step *step, const char *what);
enum exit_status build_do_step(struct build *b, const struct plan_step *ps);
/* One line on @step that ended with @status of build_machine_call(). -> what the command is to end with. */
enum exit_status build_step_failed(struct build *b, const struct charmfile_step *step, int status);

/* ---- build_ready.c ---- */

/* After all else: the image's first start, which every user of it goes on from; b->ready_key. */
enum exit_status build_make_ready(struct build *b);
/* The image under its name, with `ready` where that was wanted. -> the status of charmvm image. */
int build_give_away(const struct build *b);

/* ---- build_finish.c ---- */

/* What goes into the key of the finished image: how it is finished. */
extern const char build_finish_script[];
/* Leaves the image as it is to be given away, and powers the machine off. */
enum exit_status build_finish(struct build *b);
/* How a machine of the image is started, for people. */
void build_tell_use(const struct build *b);

#endif
