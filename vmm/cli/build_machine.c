/* SPDX-License-Identifier: Apache-2.0 */
/* The machine that an image is built in. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/agent/agent_call.h"
#include "vmm/base/checked.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/base/options.h"
#include "vmm/cli/build.h"
#include "vmm/control/control_client.h"

enum {
	ARGS_MAX = 64,
	WORDS_MAX = CHARMFILE_OPERANDS_MAX + 4,
	POWER_OFF_MS = 180 * 1000,
	BOOT_S = 600, /* an image without an agent is not waited for as long as for a step */
};

/*
 * The agent answers early in a boot. Commands may want the rest, and the network: waits until the system has done what it does at
 * its start, and has a way out, but not for ever: an image may have neither.
 */
static const char wait_until_booted[] =
	"i=0\n"
	"if command -v systemctl >/dev/null; then\n"
	"	while [ $i -lt 240 ]; do\n"
	"		case $(systemctl is-system-running 2>/dev/null) in\n"
	"		running | degraded | maintenance) break ;;\n"
	"		esac\n"
	"		i=$((i + 1))\n"
	"		sleep 0.5\n"
	"	done\n"
	"fi\n"
	"i=0\n"
	"while [ $i -lt 20 ] && ! grep -q '^[^[:space:]]*[[:space:]]00000000' /proc/net/route; do\n"
	"	i=$((i + 1))\n"
	"	sleep 0.5\n"
	"done\n";

/*
 * The disk has become larger than FROM's (--size): the partition of the root file system, the last one, and that itself follow. The table's
 * second copy goes to the new end first, since it says where the disk ends.
 */
static const char grow[] =
	"set -e\n"
	"root=$(findmnt -n -o SOURCE /)\n"
	"disk=${root%%[0-9]*} number=${root##*[!0-9]}\n"
	"if [ -n \"$number\" ]; then\n"
	"	sfdisk -q --no-reread --relocate gpt-bak-std $disk\n"
	"	echo ', +' | sfdisk -q --no-reread --no-tell-kernel -N $number $disk\n"
	"	partx -u --nr $number $disk\n"
	"fi\n"
	"resize2fs $root\n";

/* ---- what machine it is ---- */

static const struct command_spec no_options = { .usage = "charmvm build" };

/* @own: its options beside those of all of them, up to NULL. */
static enum exit_status configure(struct build *b, const char *const *own)
{
	char *argv[ARGS_MAX] = { NULL };
	int argc = 0, rest;
	const char *const words[] = { "build", "--image", b->image, "--allow-backing", b->base,
				      /* The guest fails and says so, rather than wait for room. */
				      "--on-disk-error", "report", "--console", "none" };
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		argv[argc++] = (char *)(uintptr_t)words[i];
	for (; *own; own++)
		argv[argc++] = (char *)(uintptr_t)*own;
	if (config_parse_as(&no_options, &b->machine, argc, argv, &rest))
		return EXIT_STATUS_USAGE;
	snprintf(b->machine.name_buf, sizeof(b->machine.name_buf), "build-%.50s", b->name);
	b->machine.name = b->machine.name_buf;
	return EXIT_STATUS_OK;
}

static void take_name(void *opaque, const struct record *r)
{
	struct build *b = opaque;
	if (r->pid == b->own.pid)
		snprintf(b->vm, sizeof(b->vm), "%s", r->name);
}

/* ---- starting and ending ---- */

/* After a boot; the state that is kept has it behind it. */
static int prepare_guest(struct build *b)
{
	static const char *const no_words[] = { NULL };
	build_machine_set_deadline(b);
	int status = build_machine_script(b, NULL, NULL, wait_until_booted, no_words);
	if (status || !b->disk_bytes)
		return status;
	status = build_machine_script(b, NULL, NULL, grow, no_words);
	if (status)
		log_error("--size: the file system of FROM's disk cannot be grown (status %d)",
			  status);
	return status ? EXIT_STATUS_FAILED : 0;
}

static enum exit_status wait_for_guest(struct build *b, bool booted)
{
	b->own.link.deadline_ns = clock_now_ns() + MIN(b->time_s, (uint64_t)BOOT_S) * NS_PER_S;
	int status = own_machine_wait_for_agent(&b->own);
	if (status == EXIT_STATUS_GUEST_GONE) {
		int machine = build_machine_stop(b);
		if (!machine)
			log_error("the guest ended before its agent answered");
		return machine > 0 ? (enum exit_status)machine : EXIT_STATUS_FAILED;
	}
	if (!status && !booted)
		status = prepare_guest(b);
	record_each(take_name, b);
	return (enum exit_status)status;
}

enum exit_status build_machine_start(struct build *b, const char *key)
{
	const char *const own[] = { "--mem", b->mem, "--cpus", b->cpus, NULL };
	enum exit_status status = configure(b, own);
	if (status)
		return status;
	b->machine.from = key;
	b->machine.discard = key;
	if (own_machine_start(&b->own, &b->machine, b->time_s))
		return EXIT_STATUS_FAILED;
	b->runs = true;
	return wait_for_guest(b, key);
}

enum exit_status build_machine_boot(struct build *b)
{
	static const char *const no_words[] = { NULL };
	const char *const own[] = { b->ready_cpu ? "--cpu" : NULL, b->ready_cpu, NULL };
	enum exit_status status = configure(b, own);
	if (status)
		return status;
	b->machine.nobodys = true;
	if (own_machine_start(&b->own, &b->machine, b->time_s))
		return EXIT_STATUS_FAILED;
	b->runs = true;
	status = wait_for_guest(b, true);
	build_machine_set_deadline(b);
	return status ? status
		      : (enum exit_status)build_machine_script(b, NULL, NULL, wait_until_booted,
							       no_words);
}

int build_machine_stop(struct build *b)
{
	int status = b->runs ? own_machine_stop(&b->own) : 0;
	b->runs = false;
	return status;
}

enum exit_status build_machine_wait(struct build *b)
{
	int status = own_machine_wait(&b->own, POWER_OFF_MS);
	b->runs = false;
	if (!status)
		return EXIT_STATUS_OK;
	log_error("the machine did not power off as it should (status %d)", status);
	return EXIT_STATUS_FAILED;
}

/* ---- states ---- */

enum exit_status build_machine_keep(struct build *b, const char *key)
{
	struct control_client c;
	enum exit_status status = control_client_open(&c, b->vm);
	if (!status)
		status = control_client_call(&c, "snapshot-save", json_pack("{s:s}", "name", key),
					     NULL, NULL, NULL);
	control_client_close(&c);
	return status;
}

/* ---- programs in it ---- */

void build_machine_set_deadline(struct build *b)
{
	b->own.link.deadline_ns = b->time_s ? clock_now_ns() + b->time_s * NS_PER_S : 0;
}

int build_machine_call(struct build *b, const char *user, const char *const *env,
		       const char *const *argv)
{
	char *copy[WORDS_MAX];
	int argc = 0;
	for (; argc < WORDS_MAX && argv[argc]; argc++)
		copy[argc] = (char *)(uintptr_t)argv[argc];
	const struct agent_call call = { .argv = copy,
					 .argc = argc,
					 .env = env,
					 .user = user ? user : "root",
					 .in = -1,
					 .out = STDERR_FILENO,
					 .err = STDERR_FILENO };
	return agent_call_run(&b->own.link, &call);
}

int build_machine_script(struct build *b, const char *user, const char *const *env,
			 const char *script, const char *const *words)
{
	const char *argv[WORDS_MAX] = { "/bin/sh", "-c", script, "sh" };
	for (size_t i = 0; words[i] && i + 5 < WORDS_MAX; i++)
		argv[i + 4] = words[i];
	return build_machine_call(b, user, env, argv);
}
