/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm wait: until a machine's guest is ready for what one wants of it. */
/*
 * A machine may be about to be started: it is waited for as well. "ssh" is looked at from the host, as its
 * user will; "port:N" from inside the guest, so that it needs no forward.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "vmm/agent/agent_call.h"
#include "vmm/base/checked.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/base/options.h"
#include "vmm/cli/cmd_agent.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/guest_hint.h"
#include "vmm/cli/login_settle.h"
#include "vmm/control/control_client.h"
#include "vmm/record.h"

enum { TIME_DEFAULT_S = 120, LOOK_AGAIN_MS = 200, GREETING_MS = 5000 };

struct wait {
	const char *words[2];
	unsigned int nwords;
	const char *vm; /* NULL: the only one */
	const char *what;
	const char *port; /* of "port:N" */
	uint64_t time_s;
	uint64_t deadline_ns;
};

static int opt_time(void *cfg, const char *v)
{
	return agent_parse_time("time", v, &((struct wait *)cfg)->time_s);
}

static int operand(void *cfg, const char *v)
{
	struct wait *w = cfg;
	if (w->nwords == ARRAY_SIZE(w->words)) {
		log_error("'%s': one thing at a time", v);
		return -EINVAL;
	}
	w->words[w->nwords++] = v;
	return 0;
}

static const struct option_spec options[] = {
	{ "time", 't', "TIME", "how long to wait (30s, 5m, 1h) [2m]", opt_time },
};

static const struct command_spec command = {
	.usage = "charmvm wait [VM] agent|ssh|port:N [--time TIME]",
	.about =
		"Waits until the agent in a running machine answers, its SSH does on the forwarded "
		"port, or\nsomething in it listens on a TCP port. Status 124: it did not in time.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = operand,
};

/* -> 0 or -EINVAL (logged). */
static int understand(struct wait *w)
{
	uint64_t port;
	w->what = w->nwords ? w->words[w->nwords - 1] : "";
	w->vm = w->nwords == 2 ? w->words[0] : NULL;
	if (!strncmp(w->what, "port:", 5) && !options_parse_uint(w->what + 5, 1, UINT16_MAX, &port))
		w->port = w->what + 5;
	if (w->port || !strcmp(w->what, "agent") || !strcmp(w->what, "ssh"))
		return 0;
	log_error(
		"what is to be waited for? 'agent', 'ssh' or 'port:N', as in: charmvm wait VM ssh");
	return -EINVAL;
}

static bool time_is_up(const struct wait *w)
{
	return clock_now_ns() >= w->deadline_ns;
}

static uint64_t seconds_left(const struct wait *w)
{
	uint64_t now = clock_now_ns();
	return now >= w->deadline_ns ? 1 : (w->deadline_ns - now) / NS_PER_S + 1;
}

static void pause_a_little(void)
{
	poll(NULL, 0, LOOK_AGAIN_MS);
}

/* ---- the machine ---- */

struct search {
	const char *name;
	bool found;
};

/* One that has its record does not listen at once. */
static void look(void *opaque, const struct record *r)
{
	struct search *s = opaque;
	struct control_client c;
	if (s->found || (s->name && strcmp(s->name, r->name)))
		return;
	s->found = !control_client_connect(&c, r, GREETING_MS);
	if (s->found)
		control_client_close(&c);
}

static void wait_for_machine(const struct wait *w)
{
	struct search s = { .name = w->vm };
	for (;;) {
		record_each(look, &s);
		if (s.found || time_is_up(w))
			return;
		pause_a_little();
	}
}

/* ---- what is waited for ---- */

/* -> whether a server on the forwarded port says that it is one of SSH. */
static bool ssh_answers(uint16_t port)
{
	const struct sockaddr_in to = { .sin_family = AF_INET,
					.sin_port = htons(port),
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct timeval patience = { .tv_sec = 5 };
	char text[4] = "";
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	bool ok = !connect(fd, (const struct sockaddr *)&to, sizeof(to)) &&
		  recv(fd, text, sizeof(text), MSG_WAITALL) == sizeof(text) &&
		  !memcmp(text, "SSH-", sizeof(text));
	close(fd);
	return ok;
}

static enum exit_status wait_for_ssh(const struct wait *w)
{
	struct record r;
	if (record_find(&r, w->vm))
		return EXIT_STATUS_NO_MACHINE;
	if (!r.ssh_port) {
		log_error("machine '%s' has no SSH port: it was started with --net none", r.name);
		return EXIT_STATUS_FAILED;
	}
	while (!ssh_answers(r.ssh_port)) {
		if (time_is_up(w)) {
			log_error("no SSH server answered in '%s' in time%s", r.name,
				  guest_disk_hint(&r));
			return EXIT_STATUS_TIMEOUT;
		}
		if (!record_is_running(&r)) {
			log_error("machine '%s' has ended", r.name);
			return EXIT_STATUS_GUEST_GONE;
		}
		pause_a_little();
	}
	login_settle(&r);
	return EXIT_STATUS_OK;
}

static enum exit_status wait_for_agent(struct agent_link *l)
{
	int err = agent_link_wait(l);
	if (err == -ETIMEDOUT) {
		log_error("no agent answered in the guest in time");
		return EXIT_STATUS_TIMEOUT;
	}
	if (err)
		log_error("the machine has ended");
	return err ? EXIT_STATUS_GUEST_GONE : EXIT_STATUS_OK;
}

static enum exit_status wait_for_port(const struct wait *w, struct agent_link *l)
{
	char *argv[] = { "port", (char *)w->port };
	struct agent_call call = {
		.flags = EXEC_BUILTIN, .argv = argv, .argc = 2, .out = -1, .err = -1
	};
	/* An input in which nothing ever comes: the agent's program goes on as long as it is open. */
	int never[2];
	if (pipe2(never, O_CLOEXEC) < 0) {
		log_error("cannot make a pipe: %s", strerror(errno));
		return EXIT_STATUS_FAILED;
	}
	call.in = never[0];
	enum exit_status status = agent_call_run(l, &call);
	close(never[0]);
	close(never[1]);
	return status;
}

static enum exit_status wait_by_agent(const struct wait *w, struct agent_link *l)
{
	enum exit_status status = agent_connect(l, w->vm, seconds_left(w));
	if (status)
		return status;
	return w->port ? wait_for_port(w, l) : wait_for_agent(l);
}

int cmd_wait(int argc, char **argv)
{
	struct wait w = { .time_s = TIME_DEFAULT_S };
	int rest;
	int err = options_parse(&command, &w, argc, argv, &rest);
	if (err > 0)
		return EXIT_STATUS_OK;
	for (; !err && rest < argc; rest++)
		err = operand(&w, argv[rest]);
	if (err || understand(&w))
		return EXIT_STATUS_USAGE;
	w.deadline_ns = clock_now_ns() + w.time_s * NS_PER_S;
	wait_for_machine(&w);
	if (!strcmp(w.what, "ssh"))
		return wait_for_ssh(&w);
	struct agent_link *l = malloc(sizeof(*l));
	enum exit_status status = l ? wait_by_agent(&w, l) : EXIT_STATUS_FAILED;
	free(l);
	return status;
}
