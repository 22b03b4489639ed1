/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that need the agent share: finding it, and copying through it. */
/*
 * A copy has a process of its own at each end: one of ours walks or writes the files and speaks by a pipe, the agent's "send" or
 * "receive" does so in the guest, and between the two is a command like any other.
 */
#include "vmm/cli/cmd_agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest-kit/agent/tree.h"
#include "vmm/agent/agent_call.h"
#include "vmm/base/log.h"
#include "vmm/base/options.h"
#include "vmm/control/control_client.h"

enum { TIME_MAX_S = 7 * 24 * 3600 };

int agent_parse_time(const char *option, const char *value, uint64_t *seconds)
{
	char number[16];
	size_t len = strlen(value);
	char unit = len && (value[len - 1] < '0' || value[len - 1] > '9') ? value[len - 1] : 0;
	uint64_t scale = unit == 'm' ? 60 : unit == 'h' ? 3600 : 1;
	snprintf(number, sizeof(number), "%.*s", (int)(unit && len < 15 ? len - 1 : len), value);
	if ((!unit || strchr("smh", unit)) &&
	    !options_parse_uint(number, 1, TIME_MAX_S / scale, seconds)) {
		*seconds *= scale;
		return 0;
	}
	log_error("--%s %s: a time is wanted, such as 30, 30s, 5m or 1h", option, value);
	return -EINVAL;
}

enum exit_status agent_connect(struct agent_link *l, const char *vm, uint64_t timeout_s)
{
	struct control_client c;
	enum exit_status status = control_client_open(&c, vm);
	if (!status)
		status = control_client_call(&c, "agent", NULL, NULL, NULL, NULL);
	if (!status)
		agent_link_init(l, control_client_take(&c), timeout_s);
	control_client_close(&c);
	return status;
}

int agent_parse_place(const char *text, struct agent_place *p)
{
	size_t len = strcspn(text, ":/");
	*p = (struct agent_place){ .path = text };
	if (text[len] != ':')
		return 0;
	p->remote = true;
	p->path = text + len + 1;
	if (!*p->path)
		p->path = "."; /* the user's home directory, as with scp */
	snprintf(p->vm, sizeof(p->vm), "%.*s", (int)len, text);
	if (len < sizeof(p->vm))
		return 0;
	log_error("'%s': no machine has such a long name", text);
	return -EINVAL;
}

/* ---- copying ---- */

/* Our end, in a process of its own. -> its pid, or -1 (logged). */
static pid_t start_end(bool send, const char *path, int ours, int theirs)
{
	char error[TREE_ERROR_BYTES] = "";
	pid_t pid = fork();
	if (pid < 0)
		log_error("cannot start a process: %s", strerror(errno));
	if (pid)
		return pid;
	/* An interrupt is told by the pipe's end, so that a half file is tidied away. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	close(theirs);
	int err = send ? tree_send(path, ours, error) : tree_receive(ours, path, error);
	if (*error)
		log_error("%s", error);
	_exit(err ? 1 : 0);
}

static enum exit_status end_of(pid_t pid)
{
	int status;
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return EXIT_STATUS_FAILED;
	return WEXITSTATUS(status) ? EXIT_STATUS_FAILED : EXIT_STATUS_OK;
}

static enum exit_status copy(struct agent_link *l, const char *user, bool in, const char *here,
			     const char *there)
{
	char *argv[] = { in ? "receive" : "send", (char *)there };
	struct agent_call call = { .flags = EXEC_BUILTIN,
				   .argv = argv,
				   .argc = 2,
				   .user = user,
				   .in = -1,
				   .out = -1,
				   .err = -1 };
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0) {
		log_error("cannot make a pipe: %s", strerror(errno));
		return EXIT_STATUS_FAILED;
	}
	/* fds[0] reads: the guest's side of a copy into it, ours of one out of it. */
	pid_t pid = start_end(in, here, fds[in], fds[!in]);
	close(fds[in]);
	if (in)
		call.in = fds[0];
	else
		call.out = fds[1];
	enum exit_status status = pid < 0 ? EXIT_STATUS_FAILED : agent_call_run(l, &call);
	close(fds[!in]);
	enum exit_status ours = pid < 0 ? EXIT_STATUS_FAILED : end_of(pid);
	/* Where our end gave up, the guest's end was only told so. */
	return status ? status : ours;
}

enum exit_status agent_copy_in(struct agent_link *l, const char *user, const char *here,
			       const char *there)
{
	return copy(l, user, true, here, there);
}

enum exit_status agent_copy_out(struct agent_link *l, const char *user, const char *there,
				const char *here)
{
	return copy(l, user, false, here, there);
}
