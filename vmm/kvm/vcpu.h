/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vCPUs of a machine: a thread each, started paused, run and paused together.
 *
 *   vcpus_create -> (paused) --vcpus_run()--> (running) --vcpus_pause()--> (paused) --> vcpus_destroy
 *
 * Registers are read and written only while paused, by the caller's thread (KVM lets any thread of
 * the process use the vCPU's descriptor then).
 */
#ifndef KVM_VCPU_H
#define KVM_VCPU_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/kvm/kvm.h"

struct bus;
struct vcpus;

enum { VCPU_MAX = 64 };

/* Why a vCPU cannot go on by itself. */
enum vcpu_event {
	VCPU_EVENT_RESET, /* triple fault, or the kernel says that the guest asked for it */
	VCPU_EVENT_DEAD,  /* an entry or an emulation that KVM cannot do; it has been logged */
};

struct vcpus_config {
	struct kvm *kvm;
	unsigned int count; /* 1 .. VCPU_MAX */
	struct bus *pio;
	struct bus *mmio;
	uint16_t
		index_port; /* bytes written there only name the next access (deferred.h); 0: none */
	/* On the vCPU's thread, which parks until the next vcpus_run(): post, do not wait. */
	void (*event)(void *opaque, enum vcpu_event ev);
	void *opaque;
};

/* Makes the vCPUs and their threads, paused. -> 0 or -errno, logged. */
int vcpus_create(const struct vcpus_config *cfg, struct vcpus **out);
/* Ends the threads; paused or running. NULL is fine. */
void vcpus_destroy(struct vcpus *v);

/* Lets them run. / Returns when every one is out of the guest and parked. Loop thread only. */
void vcpus_run(struct vcpus *v);
void vcpus_pause(struct vcpus *v);

unsigned int vcpus_count(const struct vcpus *v);
/* The descriptor of vCPU @i, for register ioctls while paused. */
int vcpus_fd(const struct vcpus *v, unsigned int i);

#endif
