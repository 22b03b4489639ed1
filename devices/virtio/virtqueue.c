/* SPDX-License-Identifier: Apache-2.0 */
/* Split virtqueues, the device's side. */
/*
 * How it works
 *
 * Taking (vq_pop): avail.idx is loaded when what was seen before is used up; the chain at
 * ring[last_avail] is walked descriptor by descriptor, each copied out of guest memory once and
 * only the copy looked at. A walk ends by a descriptor without NEXT or breaks the queue: after
 * `size` descriptors a chain can only be a loop. An indirect table (2.7.5.3) takes the walk over;
 * it is the last descriptor of the chain.
 *
 * Giving back (vq_push, vq_publish): entries are written first and shown together by one store of
 * used.idx, so a batch costs one barrier and at most one interrupt.
 *
 * Suppression, with EVENT_IDX (2.7.7, 2.7.10): the guest interrupts us ("kick") when its idx passes
 * avail_event, we it when ours passes used_event. vq_kicks_off() parks avail_event one behind
 * last_avail, where no step of less than 2^16 passes it. Without EVENT_IDX the flags words say the
 * same more coarsely.
 */
#include "devices/virtio/virtqueue.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <linux/virtio_ring.h>

#include "vmm/base/checked.h"

/* Words of the two rings, as 16-bit indices. */
enum { RING_FLAGS = 0, RING_IDX = 1, RING_ENTRIES = 2 };

enum { DESC_ALIGN = 16, AVAIL_ALIGN = 2, USED_ALIGN = 4, USED_ENTRY_BYTES = 8 };

static uint16_t ring_load(const uint16_t *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

static void ring_store(uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, htole16(v), __ATOMIC_RELAXED);
}

static uint16_t *used_event(const struct virtqueue *vq)
{
	return vq->avail + RING_ENTRIES + vq->size;
}

static uint16_t *avail_event(const struct virtqueue *vq)
{
	return vq->used + RING_ENTRIES + (size_t)vq->size * (USED_ENTRY_BYTES / 2);
}

/* ---- set-up ---- */

void vq_init(struct virtqueue *vq, const struct guestmem *mem, uint16_t size_max)
{
	assert(is_pow2(size_max) && size_max <= VQ_SIZE_MAX);
	*vq = (struct virtqueue){ .mem = mem, .size_max = size_max, .size = size_max };
}

void vq_reset(struct virtqueue *vq)
{
	vq_init(vq, vq->mem, vq->size_max);
}

static int break_queue(struct virtqueue *vq, const char *why)
{
	vq->broken = why;
	return -EPROTO;
}

/* The host address of a ring that is aligned and all in one region of RAM, or NULL. */
static void *ring_ptr(const struct virtqueue *vq, uint64_t gpa, uint64_t len_bytes, uint64_t align)
{
	return gpa & (align - 1) ? NULL : guestmem_ptr(vq->mem, gpa, len_bytes);
}

int vq_enable(struct virtqueue *vq, bool event_idx, bool indirect)
{
	uint64_t n = vq->size;
	/* The event words are there whether or not they are used (2.7.6, 2.7.8). */
	vq->desc = ring_ptr(vq, vq->desc_gpa, n * sizeof(struct vring_desc), DESC_ALIGN);
	vq->avail = ring_ptr(vq, vq->avail_gpa, 2 * (RING_ENTRIES + n + 1), AVAIL_ALIGN);
	vq->used = ring_ptr(vq, vq->used_gpa, 2 * (RING_ENTRIES + 1) + n * USED_ENTRY_BYTES,
			    USED_ALIGN);
	if (!vq->desc || !vq->avail || !vq->used) {
		break_queue(vq, "its rings are misaligned or not in RAM");
		return -EINVAL;
	}
	vq->event_idx = event_idx;
	vq->indirect = indirect;
	vq->enabled = true;
	return 0;
}

/* ---- taking ---- */

bool vq_has_avail(struct virtqueue *vq)
{
	if (!vq->enabled || vq->broken)
		return false;
	if (vq->avail_seen != vq->last_avail)
		return true;
	/* Acquire: the entries and descriptors behind idx are read after it. Pairs with the
	 * driver's barrier between filling in an entry and raising avail.idx. */
	vq->avail_seen = le16toh(__atomic_load_n(&vq->avail[RING_IDX], __ATOMIC_ACQUIRE));
	return vq->avail_seen != vq->last_avail;
}

/* One descriptor, copied once: the guest may change it, the copy stays. Tables may have any
 * alignment. */
static struct vring_desc desc_copy(const struct vring_desc *table, unsigned int i)
{
	struct vring_desc d;
	memcpy(&d, (const uint8_t *)table + i * sizeof(d), sizeof(d));
	/* Or the compiler might read guest memory again where it finds no room for the copy. */
	__asm__ volatile("" : "+m"(d));
	return (struct vring_desc){
		.addr = le64toh(d.addr),
		.len = le32toh(d.len),
		.flags = le16toh(d.flags),
		.next = le16toh(d.next),
	};
}

/* Where a walk is: the queue's own table first, an indirect one later. */
struct walk {
	const struct vring_desc *table;
	unsigned int len; /* descriptors in the table */
	unsigned int next;
	unsigned int seen; /* descriptors in the chain so far */
	bool in_indirect;
};

static int walk_indirect(struct virtqueue *vq, struct walk *w, const struct vring_desc *d)
{
	if (!vq->indirect)
		return break_queue(vq, "an indirect descriptor without the feature");
	if (w->in_indirect || d->flags & VRING_DESC_F_NEXT)
		return break_queue(vq, "an indirect descriptor in a table or with a successor");
	if (!d->len || d->len % sizeof(*d) || d->len / sizeof(*d) > vq->size_max)
		return break_queue(vq, "an indirect table of a bad length");
	const struct vring_desc *table = ring_ptr(vq, d->addr, d->len, 1);
	if (!table)
		return break_queue(vq, "an indirect table outside RAM");
	*w = (struct walk){
		.table = table,
		.len = d->len / (unsigned int)sizeof(*d),
		.seen = w->seen,
		.in_indirect = true,
	};
	return 0;
}

static int chain_add(struct virtqueue *vq, struct vq_chain *c, const struct vring_desc *d)
{
	bool in = d->flags & VRING_DESC_F_WRITE;
	if (!d->len)
		return break_queue(vq, "an empty buffer");
	if (c->nin && !in)
		return break_queue(vq, "a readable buffer behind a writable one");
	uint64_t *sum = in ? &c->in_bytes : &c->out_bytes;
	*sum += d->len;
	if (*sum > VQ_CHAIN_BYTES_MAX)
		return break_queue(vq, "a chain of more than 4 GiB");
	unsigned int n = c->nout + c->nin, before = n;
	switch (guestmem_iov(vq->mem, d->addr, d->len, c->iov, c->iov_max, &n)) {
	case 0: break;
	case -ENOSPC: return break_queue(vq, "a chain of too many buffers");
	default: return break_queue(vq, "a buffer outside RAM");
	}
	*(in ? &c->nin : &c->nout) += n - before;
	return 0;
}

static int chain_walk(struct virtqueue *vq, struct vq_chain *c, struct walk *w)
{
	for (;;) {
		if (w->next >= w->len)
			return break_queue(vq, "a descriptor index beyond the table");
		if (w->seen++ > vq->size_max)
			return break_queue(vq, "a chain that loops");
		struct vring_desc d = desc_copy(w->table, w->next);
		int err;
		if (d.flags & VRING_DESC_F_INDIRECT) {
			err = walk_indirect(vq, w, &d);
			if (err)
				return err;
			continue;
		}
		err = chain_add(vq, c, &d);
		if (err || !(d.flags & VRING_DESC_F_NEXT))
			return err;
		w->next = d.next;
	}
}

int vq_pop(struct virtqueue *vq, struct vq_chain *c)
{
	if (!vq_has_avail(vq))
		return 0;
	if ((uint16_t)(vq->avail_seen - vq->last_avail) > vq->size)
		return break_queue(vq, "an avail index ahead of the queue");
	if (vq->in_use >= vq->size)
		return break_queue(vq, "more chains in flight than the queue has");
	c->head = ring_load(&vq->avail[RING_ENTRIES + (vq->last_avail & (vq->size - 1))]);
	c->nout = c->nin = 0;
	c->out_bytes = c->in_bytes = 0;
	struct walk w = { .table = vq->desc, .len = vq->size, .next = c->head };
	int err = chain_walk(vq, c, &w);
	if (err)
		return err;
	vq->last_avail++;
	vq->in_use++;
	return 1;
}

void vq_unpop(struct virtqueue *vq, unsigned int n)
{
	assert(n <= vq->in_use);
	vq->last_avail = (uint16_t)(vq->last_avail - n);
	vq->in_use = (uint16_t)(vq->in_use - n);
}

/* ---- giving back ---- */

void vq_push(struct virtqueue *vq, uint16_t head, uint32_t len_bytes)
{
	assert(vq->in_use);
	vq->in_use--;
	uint16_t *entry = vq->used + RING_ENTRIES +
			  (size_t)(vq->used_idx & (vq->size - 1)) * (USED_ENTRY_BYTES / 2);
	struct vring_used_elem e = { .id = htole32(head), .len = htole32(len_bytes) };
	memcpy(entry, &e, sizeof(e));
	vq->used_idx++;
}

bool vq_wants_interrupt(struct virtqueue *vq)
{
	if (!vq->event_idx)
		return !(ring_load(&vq->avail[RING_FLAGS]) & VRING_AVAIL_F_NO_INTERRUPT);
	uint16_t old = vq->signalled;
	bool first = !vq->signalled_valid;
	vq->signalled = vq->used_shown;
	vq->signalled_valid = true;
	return first || vring_need_event(ring_load(used_event(vq)), vq->used_shown, old);
}

bool vq_show(struct virtqueue *vq)
{
	if (vq->used_idx == vq->used_shown)
		return false;
	vq->used_shown = vq->used_idx;
	/* Release: the entries and the data are there before the index. Pairs with the driver's
	 * read barrier between used.idx and the entry. */
	__atomic_store_n(&vq->used[RING_IDX], htole16(vq->used_idx), __ATOMIC_RELEASE);
	/* The index is out before used_event or the flags are looked at. Pairs with the driver's
	 * full barrier between asking for an interrupt and looking at used.idx a last time: one of
	 * the two sees the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return true;
}

bool vq_publish(struct virtqueue *vq)
{
	return vq_show(vq) && vq_wants_interrupt(vq);
}

/* ---- kicks ---- */

void vq_kicks_off(struct virtqueue *vq)
{
	if (!vq->enabled)
		return;
	if (vq->event_idx)
		ring_store(avail_event(vq), (uint16_t)(vq->last_avail - 1));
	else
		ring_store(&vq->used[RING_FLAGS], VRING_USED_F_NO_NOTIFY);
}

bool vq_kicks_on(struct virtqueue *vq)
{
	if (!vq->enabled)
		return false;
	if (vq->event_idx)
		ring_store(avail_event(vq), vq->last_avail);
	else
		ring_store(&vq->used[RING_FLAGS], 0);
	/* The wish is out before avail.idx is looked at. Pairs with the driver's full barrier
	 * between raising avail.idx and looking at avail_event or the flags: one of the two sees
	 * the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return vq_has_avail(vq);
}

/* ---- state ---- */

void vq_save(const struct virtqueue *vq, struct state_writer *w)
{
	/* A chain that broke the queue was never given back. */
	assert((!vq->in_use || vq->broken) && vq->used_idx == vq->used_shown);
	state_put_u32(w, "size", vq->size);
	state_put_bool(w, "enabled", vq->enabled);
	state_put_u64(w, "desc", vq->desc_gpa);
	state_put_u64(w, "driver", vq->avail_gpa);
	state_put_u64(w, "device", vq->used_gpa);
	state_put_u32(w, "last-avail", vq->last_avail);
	state_put_u32(w, "used-idx", vq->used_idx);
}

int vq_restore(struct virtqueue *vq, struct state_node n, bool *enabled)
{
	uint32_t size, last_avail, used_idx;
	if (state_get_u32(n, "size", &size) || state_get_bool(n, "enabled", enabled) ||
	    state_get_u64(n, "desc", &vq->desc_gpa) || state_get_u64(n, "driver", &vq->avail_gpa) ||
	    state_get_u64(n, "device", &vq->used_gpa) ||
	    state_get_u32(n, "last-avail", &last_avail) || state_get_u32(n, "used-idx", &used_idx))
		return -EINVAL;
	if (!is_pow2(size) || size > vq->size_max || last_avail > UINT16_MAX ||
	    used_idx > UINT16_MAX)
		return -EINVAL;
	vq->size = (uint16_t)size;
	vq->last_avail = vq->avail_seen = (uint16_t)last_avail;
	vq->used_idx = vq->used_shown = (uint16_t)used_idx;
	return 0;
}

/* ---- iovecs ---- */

static size_t iov_copy(const struct iovec *iov, unsigned int niov, size_t off, uint8_t *buf,
		       size_t len_bytes, bool to_iov)
{
	size_t done = 0;
	for (unsigned int i = 0; i < niov && done < len_bytes; i++) {
		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		size_t n = MIN(iov[i].iov_len - off, len_bytes - done);
		uint8_t *p = (uint8_t *)iov[i].iov_base + off;
		memcpy(to_iov ? p : buf + done, to_iov ? buf + done : p, n);
		done += n;
		off = 0;
	}
	return done;
}

size_t iov_get(const struct iovec *iov, unsigned int niov, size_t off, void *buf, size_t len_bytes)
{
	return iov_copy(iov, niov, off, buf, len_bytes, false);
}

size_t iov_put(const struct iovec *iov, unsigned int niov, size_t off, const void *buf,
	       size_t len_bytes)
{
	return iov_copy(iov, niov, off, (uint8_t *)buf, len_bytes, true);
}

void iov_skip(struct iovec **iov, unsigned int *niov, size_t n)
{
	while (*niov && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		(*niov)--;
	}
	if (*niov && n) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
	}
}
