/* SPDX-License-Identifier: Apache-2.0 */
/* A machine that belongs to a command. */
/*
 * How it works. The child is the machine, as `charmvm --image` runs one, but without ports that were not asked for, and with
 * our connection as the agent's first client. A pipe is the leash: when its other end closes, because we are done or were
 * killed, the machine ends at once; a byte in it lets it go on alone.
 */
#include "vmm/cli/own_machine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/log.h"
#include "vmm/exit_status.h"
#include "vmm/run.h"

enum {
	END_MS = 20 * 1000, /* how long the machine's process may take to end */
};

static void __attribute__((noreturn))
be_the_machine(struct own_machine *m, struct machine_config *cfg, int client, int leash)
{
	/* What is typed at the terminal is for the command, and the parent passes it on. */
	setpgid(0, 0);
	close(m->link.fd);
	close(m->leash);
	cfg->transient = true;
	cfg->agent = cfg->agent_given = true; /* a snapshot without its port is refused */
	cfg->agent_client = client;
	cfg->leash = leash;
	_exit(run_machine_config(cfg));
}

int own_machine_start(struct own_machine *m, struct machine_config *cfg, uint64_t time_s)
{
	int client[2], leash[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, client) < 0 ||
	    pipe2(leash, O_CLOEXEC) < 0) {
		log_error("cannot start a machine: %s", strerror(errno));
		return -1;
	}
	agent_link_init(&m->link, client[0], time_s);
	m->leash = leash[1];
	m->pid = fork();
	if (!m->pid)
		be_the_machine(m, cfg, client[1], leash[0]);
	if (m->pid < 0)
		log_error("cannot start a machine: %s", strerror(errno));
	close(client[1]);
	close(leash[0]);
	return m->pid < 0 ? -1 : 0;
}

/* -> true: it has ended, with *status of waitpid(2). */
static bool ends_within(pid_t pid, uint64_t ms, int *status)
{
	struct pollfd p = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	poll(&p, 1, (int)ms); /* without a descriptor of it, this only waits */
	if (p.fd >= 0)
		close(p.fd);
	return waitpid(pid, status, WNOHANG);
}

int own_machine_wait(struct own_machine *m, uint64_t ms)
{
	int status = 0;
	bool ended = ends_within(m->pid, ms, &status);
	close(m->link.fd);
	close(m->leash);
	if (!ended && !ends_within(m->pid, END_MS, &status)) {
		kill(m->pid, SIGKILL);
		waitpid(m->pid, &status, 0);
		log_error("the machine did not end in time, and was killed");
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int own_machine_stop(struct own_machine *m)
{
	return own_machine_wait(m, 0);
}

void own_machine_leave(struct own_machine *m)
{
	char rest[512];
	struct pollfd p = { .fd = m->link.fd, .events = POLLIN };
	int ready;
	close(m->leash);
	while ((ready = poll(&p, 1, END_MS)) > 0 && read(p.fd, rest, sizeof(rest)) > 0)
		continue; /* what the agent still had to say, to nobody */
	if (!ready) {
		kill(m->pid, SIGKILL);
		log_error("the machine did not end in time, and was killed");
	}
	close(m->link.fd);
}

void own_machine_let_go(struct own_machine *m)
{
	ssize_t n = write(m->leash, "", 1);
	if (n < 0)
		log_warn("the machine ends with this command: %s", strerror(errno));
	close(m->link.fd);
	close(m->leash);
}

int own_machine_wait_for_agent(struct own_machine *m)
{
	int err = agent_link_wait(&m->link);
	if (!err)
		return 0;
	if (err == -ETIMEDOUT) {
		log_error("the time was up before the guest's agent answered; it is charmvm-agent "
			  "of guest-kit");
		return EXIT_STATUS_TIMEOUT;
	}
	return EXIT_STATUS_GUEST_GONE;
}
