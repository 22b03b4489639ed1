/* SPDX-License-Identifier: Apache-2.0 */
/* The image's snapshot `ready`: a machine of it that has booted, and is nobody's. */
/*
 * How it works. The finished disk is booted once more, in a machine as `charmvm up` would make it, but without keys or a token of
 * anybody's. A program of the guest kit in it takes out what the guest has made for itself, and has what is used first in memory. Then it
 * is kept, as any step is, and ends at once: the image that is given away has the disk of that very instant, so that it
 * may go on from there (vmm/snapshot/ready.h).
 */
#include <stdio.h>
#include <stdlib.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/build.h"
#include "vmm/snapshot/ready.h"

enum { NOT_THERE = 95 };

static const char script[] = "[ -x /usr/lib/charmvm/ready ] || exit 95\n"
			     "exec /usr/lib/charmvm/ready\n";

static enum exit_status failed(const struct build *b, int status)
{
	if (status == NOT_THERE)
		log_error("--ready: the image has no /usr/lib/charmvm/ready, which the guest kit's "
			  "have: what FROM names was not made by it, or by an older one");
	else if (status == EXIT_STATUS_TIMEOUT)
		log_error("--ready: the machine was not ready after %llu s; --time gives it longer",
			  (unsigned long long)b->time_s);
	else
		log_error("--ready: /usr/lib/charmvm/ready failed in the machine (status %d)",
			  status);
	return status == EXIT_STATUS_TIMEOUT ? EXIT_STATUS_TIMEOUT : EXIT_STATUS_FAILED;
}

static enum exit_status make(struct build *b)
{
	static const char *const no_words[] = { NULL };
	const char *const apply[] = {
		"image", "snapshot", "-q", "-a", b->plan.key, b->image, NULL
	};
	if (build_image_command(apply))
		return EXIT_STATUS_FILE;
	enum exit_status status = build_machine_boot(b);
	if (status)
		return status;
	build_machine_set_deadline(b);
	int said = build_machine_script(b, NULL, NULL, script, no_words);
	return said ? failed(b, said) : build_machine_keep(b, b->ready_key);
}

int build_give_away(const struct build *b)
{
	const char *const plain[] = { "image",	   "convert", "-O",   "qcow2", "-l",
				      b->plan.key, b->image,  b->out, NULL };
	const char *const ready[] = { "image",	    "convert",	      "-O",	  "qcow2",
				      "--machine",  "--machine-name", READY_NAME, "-l",
				      b->ready_key, b->image,	      b->out,	  NULL };
	return build_image_command(b->ready ? ready : plain);
}

enum exit_status build_make_ready(struct build *b)
{
	char what[sizeof(script) + 32];
	snprintf(what, sizeof(what), "ready %s %s", b->ready_cpu ? b->ready_cpu : "", script);
	plan_base_key(b->plan.key, what, b->ready_key);
	bool kept = build_cache_has(b, b->ready_key);
	b->step = b->steps;
	fprintf(stderr, "[%zu/%zu] booting it for its snapshot 'ready'%s\n", b->step, b->steps,
		kept ? " (cached)" : "");
	if (kept)
		return EXIT_STATUS_OK;
	enum exit_status status = make(b);
	build_machine_stop(b);
	if (status)
		build_cache_make_room(b);
	return status;
}
