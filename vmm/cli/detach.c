/* SPDX-License-Identifier: Apache-2.0 */
/* A machine in the background. */
#include "vmm/cli/detach.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm/backends.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/guest_hint.h"
#include "vmm/cli/login_settle.h"
#include "vmm/cli/notebook_find.h"
#include "vmm/exit_status.h"

enum { SSH_TIME_S = 300, SSH_TRY_MS = 5000, NOTEBOOK_TIME_S = 300 };
#define SSH_PAUSE_NS (200 * NS_PER_MS)

/* ---- the parent ---- */

/* Somebody who speaks SSH is behind the port: it says so first (RFC 4253, 4.2). */
static bool ssh_answers(uint16_t port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	char hello[4];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	bool yes = fd >= 0 && !connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) &&
		   poll(&p, 1, SSH_TRY_MS) == 1 &&
		   recv(fd, hello, sizeof(hello), MSG_WAITALL) == sizeof(hello) &&
		   !memcmp(hello, "SSH-", sizeof(hello));
	if (fd >= 0)
		close(fd);
	return yes;
}

static int wait_for_ssh(const struct record *r)
{
	uint64_t end_ns = clock_now_ns() + SSH_TIME_S * NS_PER_S;
	const struct timespec pause = { .tv_nsec = SSH_PAUSE_NS };
	while (!ssh_answers(r->ssh_port)) {
		if (!record_is_running(r)) {
			log_error("machine '%s' ended before SSH answered; charmvm logs %s",
				  r->name, r->name);
			return EXIT_STATUS_FAILED;
		}
		if (clock_now_ns() > end_ns) {
			log_error("machine '%s' runs, but SSH has not answered for %d s%s; charmvm "
				  "console %s shows what it does",
				  r->name, SSH_TIME_S, guest_disk_hint(r), r->name);
			return EXIT_STATUS_FAILED;
		}
		nanosleep(&pause, NULL);
	}
	return EXIT_STATUS_OK;
}

bool detach_name(int fd, char name[RECORD_NAME_MAX + 1])
{
	size_t len = 0;
	ssize_t n;
	while (len < RECORD_NAME_MAX && (n = read(fd, name + len, RECORD_NAME_MAX - len)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		len += (size_t)(n > 0 ? n : 0);
	}
	name[len] = '\0';
	return len;
}

static int child_status(pid_t pid)
{
	int status;
	if (waitpid(pid, &status, 0) != pid)
		return EXIT_STATUS_FAILED;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_STATUS_SIGNAL + WTERMSIG(status);
}

/* The machine's name, and where its notebook is, if it has one: the last line is the URL. */
static void tell(const struct record *r, bool json, const struct notebook *nb)
{
	if (!json) {
		printf("%s\n%s%s", r->name, nb ? nb->url : "", nb ? "\n" : "");
		return;
	}
	json_t *o = json_pack("{s:s, s:I, s:i}", "name", r->name, "pid", (json_int_t)r->pid,
			      "ssh_port", (int)r->ssh_port);
	if (o && nb) {
		json_object_set_new(o, "url", json_string(nb->url));
		json_object_set_new(o, "token", json_string(nb->token));
		json_object_set_new(o, "guest_port", json_integer(nb->guest_port));
	}
	vm_print_json(o);
}

/* A server that does not answer, or that no port leads to, is told of; the machine runs all the same. */
static bool find_notebook(const struct record *r, struct notebook *nb)
{
	if (!notebook_is_there(r))
		return false;
	fprintf(stderr, "waiting for its notebook\n");
	return !notebook_find(r->name, NOTEBOOK_TIME_S, nb);
}

static int wait_for_machine(pid_t pid, int fd, const struct machine_config *cfg)
{
	bool wait = cfg->wait;
	struct notebook nb;
	char name[RECORD_NAME_MAX + 1];
	struct record r;
	if (!detach_name(fd, name))
		return child_status(pid); /* it has said why */
	if (record_find(&r, name))
		return EXIT_STATUS_FAILED;
	int status = wait && r.ssh_port ? wait_for_ssh(&r) : EXIT_STATUS_OK;
	if (!status && wait && r.ssh_port)
		login_settle(&r);
	if (!status)
		tell(&r, cfg->json, wait && find_notebook(&r, &nb) ? &nb : NULL);
	return status;
}

/* ---- the child ---- */

static void redirect(const char *path, int flags, int to, int to_too)
{
	int fd = open(path, flags | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0)
		return;
	dup2(fd, to);
	if (to_too >= 0)
		dup2(fd, to_too);
	close(fd);
}

void detach_here(struct detach *d, int ready_fd)
{
	d->ready_fd = ready_fd;
	setsid();
	redirect("/dev/null", O_RDONLY, STDIN_FILENO, -1);
}

bool detach_fork(struct detach *d, const struct machine_config *cfg, int *status)
{
	int fds[2];
	fflush(NULL);
	pid_t pid = pipe2(fds, O_CLOEXEC) < 0 ? -1 : fork();
	if (pid < 0) {
		log_error("--detach: cannot start a process: %s", strerror(errno));
		*status = EXIT_STATUS_FAILED;
		return false;
	}
	close(fds[pid ? 1 : 0]);
	if (pid) {
		*status = wait_for_machine(pid, fds[0], cfg);
		close(fds[0]);
		return false;
	}
	detach_here(d, fds[1]);
	return true;
}

void detach_ready(struct detach *d, const struct backends *hosts)
{
	char path[PATH_MAX];
	if (d->ready_fd < 0)
		return;
	if (record_beside(&hosts->record, ".log", path))
		snprintf(path, sizeof(path), "/dev/null");
	fflush(NULL);
	redirect(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, STDOUT_FILENO, STDERR_FILENO);
	if (write(d->ready_fd, hosts->record.name, strlen(hosts->record.name)) < 0)
		log_debug("whoever started this machine has gone");
	close(d->ready_fd);
	d->ready_fd = -1;
}
