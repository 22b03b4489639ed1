/* SPDX-License-Identifier: Apache-2.0 */
/* What every virtio device shares: features, status, queues, kicks, reset. */
/*
 * How it works
 *
 *   status (virtio 1.2, 3.1.1)          virtio_set_status()
 *   0 -> ACKNOWLEDGE -> DRIVER -> FEATURES_OK (only if the model agrees) -> DRIVER_OK: live
 *   any --(0 written)--> resetting --(in_flight == 0: finish_reset())--> 0
 *   live --(virtio_broken())--> NEEDS_RESET, only a reset leads on
 *
 * Kicks: each queue has an eventfd on the home loop, added once at creation (a loop's descriptors
 * are its own thread's business, and the driver enables queues on a vCPU's). It is edge-triggered
 * and never read. A kick that arrives before DRIVER_OK is remembered; after a quiet time, and when
 * the transport may reach memory again, all queues are looked at by a posted task.
 */
#include "devices/virtio/virtio.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "devices/virtio/virtio_int.h"
#include "devices/virtio/virtio_pci.h"
#include "vmm/base/checked.h"

#define RING_FEATURES                                                                              \
	(UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX |              \
	 UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC)

/* Chains served in one go, before the loop gets its turn. */
enum { TURN_CHAINS = 2 * VQ_SIZE_MAX };

bool virtio_live(const struct virtio_device *v)
{
	return v->status & VIRTIO_CONFIG_S_DRIVER_OK &&
	       !(v->status & VIRTIO_CONFIG_S_NEEDS_RESET) && !v->resetting && !v->quiescing &&
	       v->dma;
}

/* ---- queues ---- */

void virtio_broken(struct virtio_device *v, unsigned int q, const char *why)
{
	log_guest(&v->limit, "%s: the guest misused queue %u: %s; the device needs a reset",
		  v->dev.name, q, why);
	virtio_vq(v, q)->broken = why;
	v->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	if (v->status & VIRTIO_CONFIG_S_DRIVER_OK)
		v->transport->ops->config_signal(v);
}

bool virtio_pop(struct virtio_device *v, unsigned int q, struct vq_chain *c)
{
	if (!virtio_live(v))
		return false;
	struct virtqueue *vq = virtio_vq(v, q);
	int n = vq_pop(vq, c);
	if (n < 0)
		virtio_broken(v, q, vq->broken);
	return n == 1;
}

void virtio_publish(struct virtio_device *v, unsigned int q)
{
	if (vq_publish(virtio_vq(v, q)))
		v->transport->ops->queue_signal(v, q);
}

void virtio_config_changed(struct virtio_device *v)
{
	v->config_generation++;
	if (v->status & VIRTIO_CONFIG_S_DRIVER_OK)
		v->transport->ops->config_signal(v);
}

static void on_kick(void *opaque, uint32_t events)
{
	(void)events;
	struct virtio_queue *q = opaque;
	struct virtio_device *v = q->v;
	if (!virtio_live(v))
		v->kicked_early = true;
	else if (q->vq.enabled)
		v->ops->kick(v, q->index);
}

static void on_rekick(void *opaque)
{
	struct virtio_device *v = opaque;
	v->kicked_early = false;
	for (unsigned int i = 0; i < v->nqueues && virtio_live(v); i++)
		if (v->queues[i].vq.enabled)
			v->ops->kick(v, i);
}

static void rekick_if_live(struct virtio_device *v)
{
	if (virtio_live(v))
		loop_task_post(v->dev.env->loop, &v->rekick);
}

void virtio_ring_doorbell(struct virtio_device *v, unsigned int q)
{
	uint64_t one = 1;
	if (q < v->nqueues && write(v->queues[q].kick.fd, &one, sizeof(one)) < 0) {
		/* EAGAIN: the count is at its end, and the loop has been told long ago. */
	}
}

bool virtio_serve_quietly(struct virtio_device *v, unsigned int q,
			  bool (*one)(struct virtio_device *v, unsigned int q))
{
	struct virtqueue *vq = virtio_vq(v, q);
	unsigned int left = TURN_CHAINS;
	bool more;
	do {
		vq_kicks_off(vq);
		more = true;
		while (more && left && vq_has_avail(vq)) {
			more = one(v, q);
			left--;
		}
		if (!left) {
			/* The rest in the next turn, after what else is waiting. */
			virtio_ring_doorbell(v, q);
			break;
		}
	} while (more && vq_kicks_on(vq));
	return vq_show(vq);
}

void virtio_interrupt(struct virtio_device *v, unsigned int q)
{
	if (vq_wants_interrupt(virtio_vq(v, q)))
		v->transport->ops->queue_signal(v, q);
}

void virtio_serve(struct virtio_device *v, unsigned int q,
		  bool (*one)(struct virtio_device *v, unsigned int q))
{
	if (virtio_serve_quietly(v, q, one))
		virtio_interrupt(v, q);
}

/* ---- work in flight, reset ---- */

static void queues_reset(struct virtio_device *v)
{
	for (unsigned int i = 0; i < v->nqueues; i++) {
		if (v->queues[i].vq.enabled)
			v->transport->ops->doorbell(v, i, false);
		vq_reset(&v->queues[i].vq);
	}
}

static void finish_reset(struct virtio_device *v)
{
	queues_reset(v);
	if (v->ops->reset)
		v->ops->reset(v);
	v->status = 0;
	v->features = 0;
	v->resetting = false;
	v->kicked_early = false;
	v->transport->ops->driver_reset(v);
}

void virtio_begin(struct virtio_device *v, unsigned int n)
{
	v->in_flight += n;
}

void virtio_end(struct virtio_device *v, unsigned int n)
{
	assert(n && n <= v->in_flight);
	v->in_flight -= n;
	if (v->in_flight)
		return;
	if (v->resetting)
		finish_reset(v);
	if (v->quiescing)
		device_quiet(&v->dev);
}

/* ---- registers ---- */

uint8_t virtio_status(const struct virtio_device *v)
{
	return v->status;
}

bool virtio_features_fit(struct virtio_device *v)
{
	if (v->features & ~v->offered || !virtio_has(v, VIRTIO_F_VERSION_1))
		return false;
	return !v->ops->features_ok || v->ops->features_ok(v, v->features);
}

void virtio_set_features(struct virtio_device *v, unsigned int word, uint32_t value)
{
	if (word > 1 || v->status & VIRTIO_CONFIG_S_FEATURES_OK)
		return;
	v->features &= ~((uint64_t)UINT32_MAX << (32 * word));
	v->features |= (uint64_t)value << (32 * word);
}

void virtio_set_status(struct virtio_device *v, uint8_t value)
{
	if (v->resetting)
		return;
	if (!value) {
		/* With work in flight the driver sees the old status until the last of it is back.
		 */
		v->resetting = true;
		if (!v->in_flight)
			finish_reset(v);
		return;
	}
	/* Bits are only ever added (2.1.1). */
	uint8_t added = (uint8_t)(value & STATUS_DRIVER & ~v->status);
	if (added & VIRTIO_CONFIG_S_FEATURES_OK && !virtio_features_fit(v)) {
		log_guest(&v->limit, "%s: the guest wants features 0x%llx of 0x%llx; refused",
			  v->dev.name, (unsigned long long)v->features,
			  (unsigned long long)v->offered);
		added &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	}
	if (!((v->status | added) & VIRTIO_CONFIG_S_FEATURES_OK))
		added &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
	v->status |= added;
	if (added & VIRTIO_CONFIG_S_DRIVER_OK && v->kicked_early)
		rekick_if_live(v);
}

int virtio_enable_queue(struct virtio_device *v, unsigned int q)
{
	struct virtqueue *vq = virtio_vq(v, q);
	int err = vq_enable(vq, virtio_has(v, VIRTIO_RING_F_EVENT_IDX),
			    virtio_has(v, VIRTIO_RING_F_INDIRECT_DESC));
	if (!err)
		v->transport->ops->doorbell(v, q, true);
	return err;
}

void virtio_queue_enable(struct virtio_device *v, unsigned int q)
{
	if (!(v->status & VIRTIO_CONFIG_S_FEATURES_OK) || v->resetting || virtio_vq(v, q)->enabled)
		return;
	if (virtio_enable_queue(v, q))
		virtio_broken(v, q, virtio_vq(v, q)->broken);
}

void virtio_set_dma(struct virtio_device *v, bool on)
{
	if (v->dma == on)
		return;
	v->dma = on;
	rekick_if_live(v);
}

/* ---- life cycle ---- */

static int queue_init(struct virtio_device *v, unsigned int i, uint16_t size)
{
	struct virtio_queue *q = &v->queues[i];
	q->v = v;
	q->index = i;
	vq_init(&q->vq, v->dev.env->mem, size);
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	q->kick = (struct loop_fd){
		.fd = fd,
		.events = EPOLLIN | EPOLLET,
		.lock = &v->dev.lock,
		.fn = on_kick,
		.opaque = q,
	};
	return loop_fd_add(v->dev.env->loop, &q->kick);
}

int virtio_init(struct virtio_device *v, const struct virtio_params *p,
		const struct device_env *env, const char *name)
{
	assert(p->nqueues && p->nqueues <= VIRTIO_QUEUES_MAX &&
	       p->config_len <= VIRTIO_CONFIG_BYTES_MAX);
	device_init(&v->dev, p->dev_ops, env, name);
	v->ops = p->ops;
	v->device_id = p->device_id;
	v->supported = v->offered = p->features | RING_FEATURES;
	v->config_len = p->config_len;
	v->rekick = (struct loop_task){ .lock = &v->dev.lock, .fn = on_rekick, .opaque = v };
	v->quiescing = true; /* until the first resume */
	v->queues = calloc(p->nqueues, sizeof(*v->queues));
	int err = v->queues ? 0 : -ENOMEM;
	for (unsigned int i = 0; !err && i < p->nqueues; i++) {
		v->queues[i].kick.fd = -1;
		v->nqueues = i + 1;
		err = queue_init(v, i, p->queue_size);
	}
	if (err) {
		log_error("%s: its queues cannot be set up: %s", name, strerror(-err));
		return err;
	}
	return virtio_pci_create(v, p);
}

void virtio_fini(struct virtio_device *v)
{
	loop_task_cancel(v->dev.env->loop, &v->rekick);
	if (v->transport)
		v->transport->ops->destroy(v);
	for (unsigned int i = 0; i < v->nqueues; i++) {
		loop_fd_remove(v->dev.env->loop, &v->queues[i].kick);
		if (v->queues[i].kick.fd >= 0)
			close(v->queues[i].kick.fd);
	}
	free(v->queues);
	device_fini(&v->dev);
}

void virtio_device_reset(struct device *d)
{
	struct virtio_device *v = virtio_of(d);
	assert(!v->in_flight);
	finish_reset(v);
	v->offered = v->supported;
	v->config_generation = 0;
	v->transport->ops->reset(v);
}

int virtio_device_quiesce(struct device *d)
{
	struct virtio_device *v = virtio_of(d);
	if (v->ops->quiesce)
		v->ops->quiesce(v);
	v->quiescing = true;
	return v->in_flight ? -EBUSY : 0;
}

void virtio_device_resume(struct device *d)
{
	struct virtio_device *v = virtio_of(d);
	v->quiescing = false;
	/* Nothing can wait in the queues of a device without a driver. */
	rekick_if_live(v);
}
