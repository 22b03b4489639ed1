/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deferred port writes: a write to a port that only says what the next access is about (the index of a
 * pair of ports) is kept by KVM in a ring until some vCPU leaves the guest anyway, which the access to
 * the other port of the pair makes it do. Half the exits of such a pair.
 * (Linux Documentation/virt/kvm/api.rst, KVM_REGISTER_COALESCED_MMIO.)
 */
#ifndef KVM_DEFERRED_H
#define KVM_DEFERRED_H

#include <pthread.h>
#include <stdint.h>

#include "vmm/kvm/kvm.h"

struct bus;
struct kvm_run;
struct kvm_coalesced_mmio_ring;

/* The ring is one for the whole machine; each vCPU drains it. */
struct deferred {
	pthread_mutex_t lock; /* of who takes out: what is in the ring takes effect in its order */
	struct kvm_coalesced_mmio_ring *ring; /* in the mapping of vCPU 0; NULL: none */
	struct bus *pio;
};

/*
 * Defers writes of one byte to @port, which go to @pio. A host that cannot do it makes an exit of each,
 * which is only slower. @run is the mapping of vCPU 0, valid until deferred_fini().
 */
void deferred_init(struct deferred *d, const struct kvm *kvm, struct kvm_run *run, uint16_t port,
		   struct bus *pio);
/* Of a zeroed one too. */
void deferred_fini(struct deferred *d);

/*
 * Makes what is in the ring happen. On a vCPU's thread each time that it is out of the guest, before
 * its exit is served; takes the locks of the devices that are written to.
 */
void deferred_drain(struct deferred *d);

#endif
