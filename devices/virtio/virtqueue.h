/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a split virtqueue (virtio 1.2, 2.7).
 *
 *   guest memory                                         here
 *   +---------------------------+
 *   | desc[size]                |  <---- chain walked and copied by vq_pop()
 *   |   addr len flags next     |
 *   +---------------------------+
 *   | avail: flags idx          |  ----> last_avail .. idx: chains offered and not taken
 *   |   ring[size] used_event   |  ----> "interrupt me when used.idx passes this"
 *   +---------------------------+
 *   | used: flags idx           |  <---- used_idx after vq_publish()
 *   |   ring[size] avail_event  |  <---- "kick me when avail.idx passes this"
 *   +---------------------------+
 *
 * Everything the guest wrote is hostile, and changes while it is looked at: each field is read
 * once, and the checks are all here; a device model sees only host ranges that lie in RAM. Whatever
 * no correct driver does (an index beyond the queue, a loop, an empty or a huge buffer, memory that
 * is not RAM, a readable buffer behind a writable one, more chains in flight than the queue has)
 * breaks the queue: nothing more is taken from it until the driver resets the device.
 *
 * The rings' host addresses are looked up once, when the queue is enabled. All functions: the
 * device's lock held.
 */
#ifndef VIRTIO_VIRTQUEUE_H
#define VIRTIO_VIRTQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/core/guestmem.h"
#include "vmm/core/state.h"

struct vring_desc;

enum {
	VQ_SIZE_MAX = 256,
	/* Ranges of the longest chain: one for each descriptor, and room for those that cross
	   regions. */
	VQ_IOV_MAX = VQ_SIZE_MAX + GUESTMEM_REGIONS_MAX,
};
/* Bytes in all of one chain, in one direction (virtio 1.2, 2.7.5: 2^32 is the limit). */
#define VQ_CHAIN_BYTES_MAX UINT64_C(0x100000000)

struct virtqueue {
	const struct guestmem *mem;
	uint16_t size_max; /* what we offer */

	/* By the driver, before it enables the queue. */
	uint16_t size;
	uint64_t desc_gpa, avail_gpa, used_gpa;

	bool enabled;
	bool event_idx, indirect; /* negotiated */
	const char *broken;	  /* what the guest did, or NULL */

	const struct vring_desc *desc; /* host addresses, of the whole rings */
	uint16_t *avail;
	uint16_t *used;

	uint16_t last_avail; /* the next entry of avail that is ours to take */
	uint16_t avail_seen; /* avail.idx when last looked at */
	uint16_t used_idx;   /* the next entry of used to write; those before may be unpublished */
	uint16_t used_shown; /* used.idx as the guest sees it */
	uint16_t signalled;  /* used.idx at the last interrupt */
	bool signalled_valid;
	uint16_t in_use; /* chains taken and not given back */
};

/* A chain that has been taken, as host ranges: first those to read, then those to write. */
struct vq_chain {
	struct iovec *iov;    /* the caller's, filled in before vq_pop() */
	unsigned int iov_max; /* VQ_IOV_MAX takes any chain */
	unsigned int nout;    /* iov[0 .. nout): the device reads */
	unsigned int nin;     /* iov[nout .. nout + nin): the device writes */
	uint64_t out_bytes;
	uint64_t in_bytes;
	uint16_t head; /* for vq_push() */
};

/* @size_max: a power of two, VQ_SIZE_MAX at most. */
void vq_init(struct virtqueue *vq, const struct guestmem *mem, uint16_t size_max);
/* Not enabled, nothing in flight, size as offered. */
void vq_reset(struct virtqueue *vq);
/* With size and addresses set. -> 0, or -EINVAL with vq->broken set: misaligned or not in RAM. */
int vq_enable(struct virtqueue *vq, bool event_idx, bool indirect);

/*
 * Takes the next chain. -> 1; 0: none is there (or the queue is off or broken); -EPROTO: the queue
 * has just been broken, vq->broken says by what.
 */
int vq_pop(struct virtqueue *vq, struct vq_chain *c);
/* Gives the last @n chains taken back, as if they had never been taken. */
void vq_unpop(struct virtqueue *vq, unsigned int n);
/* True when vq_pop() would find something. */
bool vq_has_avail(struct virtqueue *vq);

/* Done with a chain: @len bytes were written to it. The guest sees it after vq_publish(). */
void vq_push(struct virtqueue *vq, uint16_t head, uint32_t len_bytes);
/* Shows all pushed chains to the guest. -> true when it wants an interrupt for them. */
bool vq_publish(struct virtqueue *vq);
/* The two halves of it. Shows them; -> true if there were any. Then, once, maybe later: does it want one? */
bool vq_show(struct virtqueue *vq);
bool vq_wants_interrupt(struct virtqueue *vq);

/* Kicks are not needed now. Only a hint: some may come all the same. */
void vq_kicks_off(struct virtqueue *vq);
/* Kicks are needed again. -> true when chains came in meanwhile, for which no kick may follow. */
bool vq_kicks_on(struct virtqueue *vq);

/*
 * Properties of the queue into the node that the caller has begun / out of it, before vq_enable(),
 * which the caller calls when the queue was enabled. Nothing is in flight. -> 0 or -EINVAL.
 */
void vq_save(const struct virtqueue *vq, struct state_writer *w);
int vq_restore(struct virtqueue *vq, struct state_node n, bool *enabled);

/* ---- iovecs ---- */

/* Copies up to @len bytes from / to a list of ranges, from its byte @off on; -> bytes copied. */
size_t iov_get(const struct iovec *iov, unsigned int niov, size_t off, void *buf, size_t len_bytes);
size_t iov_put(const struct iovec *iov, unsigned int niov, size_t off, const void *buf,
	       size_t len_bytes);
/* Drops the first @n bytes: *iov and *niov advance, the entry in which the cut falls is shortened.
 */
void iov_skip(struct iovec **iov, unsigned int *niov, size_t n);

#endif
