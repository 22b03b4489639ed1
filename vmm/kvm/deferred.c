/* SPDX-License-Identifier: Apache-2.0 */
/* Port writes that wait in KVM's ring until a vCPU comes out. */
#include "vmm/kvm/deferred.h"

#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/core/bus.h"

/* How many entries follow the ring's head in its page, as KVM counts them. */
static uint32_t ring_entries(void)
{
	return (uint32_t)((size_t)sysconf(_SC_PAGESIZE) - sizeof(struct kvm_coalesced_mmio_ring)) /
	       sizeof(struct kvm_coalesced_mmio);
}

void deferred_init(struct deferred *d, const struct kvm *kvm, struct kvm_run *run, uint16_t port,
		   struct bus *pio)
{
	struct kvm_coalesced_mmio_zone zone = { .addr = port, .size = 1, .pio = 1 };
	*d = (struct deferred){ .pio = pio };
	pthread_mutex_init(&d->lock, NULL);
	if (ioctl(kvm->dev_fd, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_PIO) <= 0)
		return;
	int page = ioctl(kvm->dev_fd, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_MMIO);
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	if (page <= 0 || ((size_t)page + 1) * page_bytes > (size_t)kvm->run_len_bytes)
		return;
	if (!ioctl(kvm->vm_fd, KVM_REGISTER_COALESCED_MMIO, &zone))
		d->ring = (void *)((uint8_t *)run + (size_t)page * page_bytes);
}

void deferred_fini(struct deferred *d)
{
	if (d->pio) /* else there was no deferred_init() */
		pthread_mutex_destroy(&d->lock);
}

/* The lock is held. */
static void take_one(struct deferred *d, uint32_t first)
{
	const struct kvm_coalesced_mmio *e = &d->ring->coalesced_mmio[first];
	uint64_t value = 0;
	if (e->pio && e->len <= sizeof(value)) {
		memcpy(&value, e->data, e->len);
		bus_write(d->pio, e->phys_addr, e->len, value);
	}
}

void deferred_drain(struct deferred *d)
{
	struct kvm_coalesced_mmio_ring *ring = d->ring;
	/*
	 * Without the lock: this vCPU's own writes are in the ring, since it has left the guest, and
	 * `first` passes an entry only after that has happened; so equal means that nothing of ours
	 * is outstanding. Pairs with the release below on another vCPU.
	 */
	if (!ring || __atomic_load_n(&ring->first, __ATOMIC_ACQUIRE) ==
			     __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE))
		return;
	uint32_t entries = ring_entries();
	pthread_mutex_lock(&d->lock);
	uint32_t first = ring->first;
	/* The acquire pairs with the barrier by which KVM fills an entry before it counts it. */
	while (first != __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE) && first < entries) {
		take_one(d, first);
		first = (first + 1) % entries;
		__atomic_store_n(&ring->first, first, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&d->lock);
}
