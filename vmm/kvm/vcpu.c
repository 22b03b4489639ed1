/* SPDX-License-Identifier: Apache-2.0 */
/* vCPU threads. */
/*
 * How it works. `lock` guards the wish (`mode`) and the count of threads that have parked. A thread in the
 * guest is brought out by writing immediate_exit into its kvm_run and then signalling it: if the
 * signal comes before KVM_RUN, KVM_RUN sees immediate_exit and returns at once; if it comes during
 * KVM_RUN, it interrupts. The handler does nothing. No flag can be lost between the two, and a thread
 * is never cancelled: it is asked, and joined.
 *
 * A finished exit of a port or MMIO read takes effect only at the next KVM_RUN. Before a thread
 * parks it therefore enters KVM_RUN once more with immediate_exit set, so that registers read while
 * paused are whole (api.rst, KVM_RUN).
 */
#include "vmm/kvm/vcpu.h"

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/log.h"
#include "vmm/core/bus.h"
#include "vmm/kvm/deferred.h"

enum vcpus_mode { MODE_PAUSE, MODE_RUN, MODE_END };

enum { VCPU_STACK_BYTES = 128 * 1024 };

struct vcpu {
	struct vcpus *all;
	unsigned int index;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool started;
};

struct vcpus {
	struct vcpus_config cfg;
	struct deferred deferred;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum vcpus_mode mode;
	unsigned int generation; /* of vcpus_run(): a vCPU that had an event parks until the next */
	unsigned int parked;
	unsigned int count;
	struct vcpu vcpu[VCPU_MAX];
};

static int kick_signal(void)
{
	return SIGRTMIN;
}

static void on_kick(int sig)
{
	(void)sig; /* its only work is to interrupt KVM_RUN */
}

/* ---- exits ---- */

static uint64_t load(const void *p, unsigned int size)
{
	uint64_t v = 0;
	memcpy(&v, p, size); /* little-endian host, as x86 and our arm64 are */
	return v;
}

static void serve_pio(struct vcpu *c)
{
	struct kvm_run *run = c->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		uint64_t v;
		if (run->io.direction == KVM_EXIT_IO_OUT) {
			bus_write(c->all->cfg.pio, run->io.port, run->io.size,
				  load(data, run->io.size));
		} else {
			bus_read(c->all->cfg.pio, run->io.port, run->io.size, &v);
			memcpy(data, &v, run->io.size);
		}
	}
}

static void serve_mmio(struct vcpu *c)
{
	struct kvm_run *run = c->run;
	unsigned int size = run->mmio.len;
	uint64_t v;
	if (size > sizeof(v))
		return;
	if (run->mmio.is_write) {
		bus_write(c->all->cfg.mmio, run->mmio.phys_addr, size, load(run->mmio.data, size));
		return;
	}
	bus_read(c->all->cfg.mmio, run->mmio.phys_addr, size, &v);
	memcpy(run->mmio.data, &v, size);
}

/* true: go on; false: an event was told, park. */
static bool serve_exit(struct vcpu *c)
{
	struct vcpus *v = c->all;
	switch (c->run->exit_reason) {
	case KVM_EXIT_IO: serve_pio(c); return true;
	case KVM_EXIT_MMIO: serve_mmio(c); return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN: return true;
	case KVM_EXIT_SHUTDOWN:
		log_info("vCPU %u: triple fault, the machine is reset", c->index);
		v->cfg.event(v->cfg.opaque, VCPU_EVENT_RESET);
		return false;
	case KVM_EXIT_FAIL_ENTRY:
		log_error("vCPU %u: the processor refuses to enter the guest (reason 0x%llx); the "
			  "machine "
			  "is stopped",
			  c->index,
			  (unsigned long long)c->run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		log_error("vCPU %u: KVM cannot emulate what the guest did (internal error %u); the "
			  "machine is stopped",
			  c->index, c->run->internal.suberror);
		break;
	default:
		log_error("vCPU %u: unexpected exit %u from KVM; the machine is stopped", c->index,
			  c->run->exit_reason);
	}
	v->cfg.event(v->cfg.opaque, VCPU_EVENT_DEAD);
	return false;
}

/* -> 0 for an exit to serve, or -errno. What the guest has written and KVM has kept is done by then. */
static int enter(struct vcpu *c)
{
	int err = ioctl(c->fd, KVM_RUN, 0) ? -errno : 0;
	deferred_drain(&c->all->deferred);
	return err;
}

/* In the guest until somebody wants otherwise. */
static void run_guest(struct vcpu *c)
{
	for (;;) {
		int err = enter(c);
		if (!err) {
			if (!serve_exit(c))
				return;
			continue;
		}
		if (err == -EAGAIN)
			continue;
		if (err == -EINTR) {
			if (__atomic_load_n(&c->run->immediate_exit, __ATOMIC_ACQUIRE))
				return;
			continue;
		}
		log_error("vCPU %u: KVM_RUN: %s; the machine is stopped", c->index, strerror(-err));
		c->all->cfg.event(c->all->cfg.opaque, VCPU_EVENT_DEAD);
		return;
	}
}

/* Completes an exit that has been served: see the head of the file. */
static void settle(struct vcpu *c)
{
	__atomic_store_n(&c->run->immediate_exit, 1, __ATOMIC_RELEASE);
	while (!enter(c) && c->run->exit_reason != KVM_EXIT_SHUTDOWN)
		serve_exit(c);
}

/* Parks until there is a run that this vCPU has not had; false at the end. */
static bool park(struct vcpu *c, unsigned int *seen)
{
	struct vcpus *v = c->all;
	pthread_mutex_lock(&v->lock);
	v->parked++;
	pthread_cond_broadcast(&v->changed);
	while (v->mode != MODE_END && (v->mode == MODE_PAUSE || v->generation == *seen))
		pthread_cond_wait(&v->changed, &v->lock);
	v->parked--;
	*seen = v->generation;
	bool go = v->mode == MODE_RUN;
	__atomic_store_n(&c->run->immediate_exit, 0, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&v->lock);
	return go;
}

static void *vcpu_thread(void *opaque)
{
	struct vcpu *c = opaque;
	char name[16];
	snprintf(name, sizeof(name), "vcpu%u", c->index);
	pthread_setname_np(pthread_self(), name);
	unsigned int seen = 0;
	while (park(c, &seen)) {
		run_guest(c);
		settle(c);
	}
	return NULL;
}

/* ---- all of them ---- */

/* Brings every thread out of the guest. The lock is held, so none of them is on its way in. */
static void kick_all(struct vcpus *v)
{
	for (unsigned int i = 0; i < v->count; i++) {
		if (!v->vcpu[i].started)
			continue;
		__atomic_store_n(&v->vcpu[i].run->immediate_exit, 1, __ATOMIC_RELEASE);
		pthread_kill(v->vcpu[i].thread, kick_signal());
	}
}

void vcpus_run(struct vcpus *v)
{
	pthread_mutex_lock(&v->lock);
	assert(v->mode == MODE_PAUSE);
	v->mode = MODE_RUN;
	v->generation++;
	pthread_cond_broadcast(&v->changed);
	pthread_mutex_unlock(&v->lock);
}

void vcpus_pause(struct vcpus *v)
{
	pthread_mutex_lock(&v->lock);
	if (v->mode == MODE_RUN) {
		/* One that has not woken since vcpus_run() still counts as parked and stays so. */
		v->mode = MODE_PAUSE;
		kick_all(v);
	}
	while (v->parked < v->count)
		pthread_cond_wait(&v->changed, &v->lock);
	pthread_mutex_unlock(&v->lock);
}

unsigned int vcpus_count(const struct vcpus *v)
{
	return v->count;
}

int vcpus_fd(const struct vcpus *v, unsigned int i)
{
	return v->vcpu[i].fd;
}

static int start_thread(struct vcpu *c)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, VCPU_STACK_BYTES);
	/* Signals are the main thread's business, but for the kick. */
	sigset_t all, old;
	sigfillset(&all);
	sigdelset(&all, kick_signal());
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = -pthread_create(&c->thread, &attr, vcpu_thread, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	c->started = !err;
	return err;
}

static int create_one(struct vcpus *v, unsigned int i)
{
	struct vcpu *c = &v->vcpu[i];
	struct kvm *kvm = v->cfg.kvm;
	c->all = v;
	c->index = i;
	c->fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, (unsigned long)i);
	if (c->fd < 0)
		return -errno;
	v->count++;
	c->run = mmap(NULL, (size_t)kvm->run_len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd,
		      0);
	if (c->run == MAP_FAILED) {
		c->run = NULL;
		return -errno;
	}
	return 0;
}

int vcpus_create(const struct vcpus_config *cfg, struct vcpus **out)
{
	struct vcpus *v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->cfg = *cfg;
	pthread_mutex_init(&v->lock, NULL);
	pthread_cond_init(&v->changed, NULL);
	struct sigaction sa = { .sa_handler = on_kick };
	sigaction(kick_signal(), &sa, NULL);
	int err = 0;
	for (unsigned int i = 0; i < cfg->count && !err; i++)
		err = create_one(v, i);
	if (!err && cfg->index_port)
		deferred_init(&v->deferred, cfg->kvm, v->vcpu[0].run, cfg->index_port, cfg->pio);
	for (unsigned int i = 0; i < cfg->count && !err; i++)
		err = start_thread(&v->vcpu[i]);
	if (err) {
		log_error("cannot create %u vCPUs: %s", cfg->count, strerror(-err));
		vcpus_destroy(v);
		return err;
	}
	*out = v;
	return 0;
}

void vcpus_destroy(struct vcpus *v)
{
	if (!v)
		return;
	pthread_mutex_lock(&v->lock);
	v->mode = MODE_END;
	kick_all(v);
	pthread_cond_broadcast(&v->changed);
	pthread_mutex_unlock(&v->lock);
	for (unsigned int i = 0; i < v->count; i++) {
		struct vcpu *c = &v->vcpu[i];
		if (c->started)
			pthread_join(c->thread, NULL);
		if (c->run)
			munmap(c->run, (size_t)v->cfg.kvm->run_len_bytes);
		close(c->fd);
	}
	deferred_fini(&v->deferred);
	pthread_cond_destroy(&v->changed);
	pthread_mutex_destroy(&v->lock);
	free(v);
}
