/* SPDX-License-Identifier: Apache-2.0 */
/* The command for the lab, to bytes and back: struct lab_job_head, the groups,
 * the strings. */
#include "lab_job.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* --- pack --- */

/* What belongs to the host's session and would mislead in the lab. */
static bool env_is_passed(const char *entry)
{
	static const char *const dropped[] = {
		"DBUS_SESSION_BUS_ADDRESS=",
		"DISPLAY=",
		"GPG_AGENT_INFO=",
		"INVOCATION_ID=",
		"JOURNAL_STREAM=",
		"LAB_SCRATCH=",
		"LAB_SCRATCH_DIR=",
		"LISTEN_FDS=",
		"LISTEN_PID=",
		"NOTIFY_SOCKET=",
		"SSH_AGENT_PID=",
		"SSH_AUTH_SOCK=",
		"TMPDIR=",
		"WAYLAND_DISPLAY=",
		"XAUTHORITY=",
		"XDG_RUNTIME_DIR=",
	};

	for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++) {
		if (!strncmp(entry, dropped[i], strlen(dropped[i])))
			return false;
	}
	return true;
}

static uint32_t put_strings(FILE *f, char **list, bool (*pick)(const char *))
{
	uint32_t count = 0;

	for (; *list; list++) {
		if (pick && !pick(*list))
			continue;
		fwrite(*list, 1, strlen(*list) + 1, f);
		count++;
	}
	return count;
}

static uint32_t put_groups(FILE *f)
{
	gid_t groups[NGROUPS_MAX];
	int count = getgroups(NGROUPS_MAX, groups);

	return count < 0 ? 0 : (uint32_t)fwrite(groups, sizeof(groups[0]), (size_t)count, f);
}

static void head_fill(struct lab_job_head *head, bool as_root)
{
	mode_t mask = umask(022);
	struct timespec now;

	umask(mask);
	head->umask = mask;
	head->uid = as_root ? 0 : getuid();
	head->gid = as_root ? 0 : getgid();
	clock_gettime(CLOCK_REALTIME, &now);
	head->now_s = now.tv_sec;
	head->now_ns = now.tv_nsec;
}

int lab_job_pack(char **argv, bool as_root, uint32_t flags, struct lab_winsize win, void **blob,
		 size_t *blob_bytes)
{
	struct lab_job_head head = { .flags = flags, .win = win };
	char cwd[PATH_MAX];
	char runtime[64];
	char *extra[] = { runtime, "TMPDIR=/run/lab/scratch/tmp", "LAB_SCRATCH=/run/lab/scratch",
			  "CHARMVM_LAB=1", NULL };
	char *bytes = NULL;
	FILE *f;

	if (!getcwd(cwd, sizeof(cwd)))
		return -errno;
	f = open_memstream(&bytes, blob_bytes);
	if (!f)
		return -ENOMEM;
	head_fill(&head, as_root);
	snprintf(runtime, sizeof(runtime), "XDG_RUNTIME_DIR=/run/user/%u", head.uid);
	fwrite(&head, sizeof(head), 1, f);
	head.ngroups = as_root ? 0 : put_groups(f);
	put_strings(f, (char *[]){ cwd, NULL }, NULL);
	head.argc = put_strings(f, argv, NULL);
	head.envc = put_strings(f, environ, env_is_passed);
	head.envc += put_strings(f, extra, NULL);
	if (fclose(f))
		return -ENOMEM;
	memcpy(bytes, &head, sizeof(head)); /* now with its counts */
	*blob = bytes;
	return 0;
}

/* --- unpack --- */

/* Moves *at past count strings. Returns them as a list of their own, or NULL.
 */
static char **take_strings(char **at, const char *end, uint32_t count)
{
	char **list = calloc((size_t)count + 1, sizeof(*list));

	for (uint32_t i = 0; list && i < count; i++) {
		size_t left_bytes = (size_t)(end - *at);
		size_t len_bytes = strnlen(*at, left_bytes);

		if (len_bytes == left_bytes) {
			free(list);
			return NULL;
		}
		list[i] = *at;
		*at += len_bytes + 1;
	}
	return list;
}

int lab_job_unpack(struct lab_job *job, void *blob, size_t blob_bytes)
{
	char *at = blob;
	const char *end = at + blob_bytes;
	char **cwd;

	if (blob_bytes < sizeof(job->head))
		return -EINVAL;
	memcpy(&job->head, at, sizeof(job->head));
	at += sizeof(job->head);
	if ((size_t)(end - at) / sizeof(gid_t) < job->head.ngroups)
		return -EINVAL;
	job->groups = (gid_t *)at;
	at += job->head.ngroups * sizeof(gid_t);
	cwd = take_strings(&at, end, 1);
	if (!cwd)
		return -EINVAL;
	job->cwd = cwd[0];
	free(cwd);
	job->argv = take_strings(&at, end, job->head.argc);
	job->envp = take_strings(&at, end, job->head.envc);
	return job->argv && job->envp ? 0 : -EINVAL;
}
