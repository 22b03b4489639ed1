/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm --image FILE ...: runs a machine in the foreground until it ends. */
/*
 * Signals. SIGTERM, SIGINT and SIGHUP come through a signalfd of the loop: the first one presses the guest's
 * power button, a second one stops the machine at once, with the disks flushed. They are blocked before any
 * other thread starts, so that no vCPU can take them.
 */
#include "vmm/cli/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/chardev/chardev.h"
#include "vmm/agent/agent.h"
#include "vmm/backends.h"
#include "vmm/banner.h"
#include "vmm/base/log.h"
#include "vmm/control/control.h"
#include "vmm/control/control_verbs.h"
#include "vmm/core/loop.h"
#include "vmm/image_wishes.h"
#include "vmm/login.h"
#include "vmm/cli/detach.h"
#include "vmm/machine.h"
#include "vmm/run.h"
#include "vmm/snapshot/ready.h"
#include "vmm/snapshot/snapshot.h"
#include "vmm/snapshot/suspend.h"

struct run {
	struct machine_config cfg;
	struct loop *loop;
	struct backends hosts;
	struct machine *machine;
	struct control *control;
	char control_path[PATH_MAX];
	struct detach detach;
	struct loop_fd signals;
	struct loop_fd leash;
	bool let_go; /* the leash's other end was closed */
	bool asked;  /* the power button was pressed */
	pid_t login; /* login_begin()'s, or 0 */
};

static void on_signal(void *opaque, uint32_t events)
{
	struct run *r = opaque;
	struct signalfd_siginfo si;
	(void)events;
	if (read(r->signals.fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (r->machine && !r->asked) {
		r->asked = true;
		log_warn("asked the guest to power down; once more stops it at once");
		machine_power_button(r->machine);
	} else if (r->machine) {
		machine_quit(r->machine, EXIT_STATUS_SIGNAL + (enum exit_status)si.ssi_signo);
	}
}

static int watch_signals(struct run *r)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	r->signals = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .fn = on_signal, .opaque = r };
	return loop_fd_add(r->loop, &r->signals);
}

/* Whoever started us is done with the machine, or was killed; or has no need of the leash any more (own_machine_let_go()). */
static void on_leash(void *opaque, uint32_t events)
{
	struct run *r = opaque;
	char word;
	(void)events;
	bool stays = read(r->leash.fd, &word, 1) == 1;
	loop_fd_remove(r->loop, &r->leash);
	if (stays)
		return;
	r->let_go = true;
	if (r->machine)
		machine_quit(r->machine, EXIT_STATUS_OK);
}

static int watch_leash(struct run *r)
{
	r->leash = (struct loop_fd){
		.fd = r->cfg.leash, .events = EPOLLIN, .fn = on_leash, .opaque = r
	};
	return r->cfg.leash < 0 ? 0 : loop_fd_add(r->loop, &r->leash);
}

static void on_escape(void *opaque)
{
	struct run *r = opaque;
	if (r->machine)
		machine_quit(r->machine, EXIT_STATUS_OK);
}

static enum exit_status serve_control(struct run *r)
{
	const struct control_config cfg = {
		.path = r->control_path,
		.name = r->hosts.record.name,
		.verbs = control_verbs,
		.nverbs = control_nverbs,
		.machine = r->machine,
		.hosts = &r->hosts,
		.machine_config = &r->cfg,
	};
	if (record_socket_path(&r->hosts.record, r->control_path) ||
	    control_create(r->loop, &cfg, &r->control))
		return EXIT_STATUS_FAILED;
	return EXIT_STATUS_OK;
}

/* Whoever waits for SSH of a machine that was imported has the box's key replaced; one in the foreground has nobody who
 * waits, so that is a process of its own. */
static void login_begin(struct run *r)
{
	char self[] = "charmvm", wait[] = "wait", ssh[] = "ssh", time_option[] = "--time=1h";
	char *argv[] = { self, wait, r->hosts.record.name, ssh, time_option, NULL };
	struct login l;
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none;
	if (!*r->hosts.record.box || !r->hosts.record.ssh_port || r->cfg.detach ||
	    login_load(r->hosts.record.box, &l) || l.replaced || !*l.key)
		return;
	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	posix_spawnattr_setsigmask(&attr, &none);
	int err = posix_spawn(&r->login, "/proc/self/exe", &files, &attr, argv, environ);
	if (err) {
		r->login = 0;
		log_warn("the key of its box is not replaced now: %s; charmvm ssh does it",
			 strerror(err));
	}
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
}

static void login_end(const struct run *r)
{
	if (!r->login)
		return;
	kill(r->login, SIGTERM);
	waitpid(r->login, NULL, 0);
}

/* A boot, unless a snapshot was asked for or the image has one for this. */
static void choose_start(struct run *r)
{
	if (!r->cfg.transient)
		suspend_find(&r->cfg, &r->hosts);
	if (!r->cfg.from && r->cfg.image && !r->cfg.kernel)
		image_wishes_apply(&r->cfg, r->hosts.disks[0]);
	if (!r->cfg.transient)
		ready_find(&r->cfg, &r->hosts);
}

static enum exit_status create_machine(struct run *r)
{
	enum exit_status status = machine_create(&r->cfg, &r->hosts, &r->machine);
	if (!status && r->hosts.ready)
		ready_started(&r->hosts);
	if (status != EXIT_STATUS_FILE || !r->hosts.ready)
		return status;
	ready_give_up(&r->cfg, &r->hosts);
	return machine_create(&r->cfg, &r->hosts, &r->machine);
}

/* Of a machine that has ended, nobody keeps anything: no disk, no dump of its packets. */
static bool leaves_nothing(const struct run *r)
{
	return r->let_go && r->cfg.throw_away && !r->cfg.pcap;
}

/*
 * Whoever had us does not wait for the kernel to give everything back, for which it takes some ten milliseconds. What others
 * can see goes first: socket, record, and, with the descriptors, ports and locks; the last that is seen of us is our end of
 * the agent's connection (own_machine_leave()).
 */
static void __attribute__((noreturn)) leave(struct run *r, enum exit_status status)
{
	control_destroy(r->control);
	record_release(&r->hosts.record);
	syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
	_exit(status);
}

static enum exit_status run_machine(struct run *r)
{
	bool terminal = !strcmp(r->cfg.console, "stdio") && isatty(STDIN_FILENO);
	struct chardev_quit quit = { .fn = on_escape, .opaque = r };
	choose_start(r);
	enum exit_status status =
		r->cfg.from ? snapshot_configure(&r->cfg, &r->hosts) : EXIT_STATUS_OK;
	if (!status)
		status = backends_connect(&r->hosts, &r->cfg, &quit);
	if (status)
		return status;
	if (r->cfg.agent_client >= 0 && agent_add_client(r->hosts.agent, r->cfg.agent_client))
		return EXIT_STATUS_FAILED;
	status = create_machine(r);
	if (status)
		return status;
	status = serve_control(r);
	if (!status && !r->let_go) {
		if (!r->cfg.transient)
			banner_print(&r->hosts, &r->cfg, terminal);
		detach_ready(&r->detach, &r->hosts);
		login_begin(r);
		status = machine_run(r->machine);
		login_end(r);
	}
	if (leaves_nothing(r))
		leave(r, status);
	control_destroy(r->control);
	struct machine *m = r->machine;
	r->machine = NULL;
	machine_destroy(m);
	return status;
}

/* The loop is there and signals come through it. */
static enum exit_status run_backends(struct run *r)
{
	enum exit_status status = backends_open(&r->hosts, &r->cfg, r->loop);
	if (status)
		return status;
	status = run_machine(r);
	enum exit_status closing = backends_close(&r->hosts);
	return status ? status : closing;
}

/* Each connection of the guest's is a descriptor or two; the soft limit is for programs that select(). */
static void raise_descriptor_limit(void)
{
	struct rlimit lim;
	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return;
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim); /* what it does not give, the network does without */
}

static int run_it(struct run *r)
{
	if (r->cfg.verbose)
		log_set_level(r->cfg.verbose > 1 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	raise_descriptor_limit();
	int err = loop_create(&r->loop);
	err = err ? err : watch_signals(r);
	err = err ? err : watch_leash(r);
	enum exit_status status = EXIT_STATUS_FAILED;
	if (err)
		log_error("cannot start: %s", strerror(-err));
	else
		status = run_backends(r);
	if (r->signals.fd >= 0) {
		loop_fd_remove(r->loop, &r->signals);
		close(r->signals.fd);
	}
	if (r->loop)
		loop_fd_remove(r->loop, &r->leash);
	loop_destroy(r->loop);
	return status;
}

static void configure(struct run *r, const struct machine_config *cfg)
{
	*r = (struct run){ .cfg = *cfg, .signals.fd = -1, .detach.ready_fd = -1 };
	if (cfg->name == cfg->name_buf)
		r->cfg.name = r->cfg.name_buf;
}

int run_machine_config(const struct machine_config *cfg)
{
	struct run r;
	configure(&r, cfg);
	return run_it(&r);
}

int run_machine_detached(const struct machine_config *cfg, int ready_fd)
{
	struct run r;
	configure(&r, cfg);
	detach_here(&r.detach, ready_fd);
	return run_it(&r);
}

int cmd_run(int argc, char **argv)
{
	struct run r = { .signals.fd = -1, .detach.ready_fd = -1 };
	int over;
	int err = config_parse(&r.cfg, argc, argv);
	if (err) {
		config_free(&r.cfg);
		return err > 0 ? EXIT_STATUS_OK : EXIT_STATUS_USAGE;
	}
	if (r.cfg.detach && !detach_fork(&r.detach, &r.cfg, &over))
		return over;
	int status = run_it(&r);
	config_free(&r.cfg);
	return status;
}
