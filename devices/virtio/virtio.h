/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every virtio device shares, between its model (virtio_blk.c, ...) and its transport
 * (virtio_pci.c): features, status, queues, kicks, reset and state. A model never names PCI; a
 * transport never looks into a model.
 *
 *      driver writes registers          kick (eventfd)        completion (posted task)
 *               v                            v                         v
 *         virtio_pci.c  ------------->   virtio.c   -- ops->kick -->  model  -- virtio_pop /
 * vq_push / ^  virtio_set_status ...     |                           |      virtio_publish
 *               +---- transport->signal -----+---------------------------+
 *
 * Work that outlives a call is counted (virtio_begin, virtio_end). A reset by the driver waits for
 * the count to be zero: the status register reads non-zero until then (virtio 1.2, 2.4.2), nothing
 * new is taken, and what completes meanwhile is thrown away by the model (virtio_discards()).
 *
 * All functions: the device's lock held, as everywhere behind the bus and the loop; the functions
 * for device_ops as device.h says.
 */
#ifndef VIRTIO_VIRTIO_H
#define VIRTIO_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/virtio/virtqueue.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"

enum { VIRTIO_QUEUES_MAX = 64, VIRTIO_CONFIG_BYTES_MAX = 256 };

struct virtio_device;

/* The model. Members may be NULL where it says so. */
struct virtio_ops {
	/* The driver accepts @features, a part of what was offered: false refuses them. NULL: all
	 * are fine. */
	bool (*features_ok)(struct virtio_device *v, uint64_t features);
	/* The driver writes its part of the configuration. NULL: there is nothing to write. */
	void (*config_write)(struct virtio_device *v, unsigned int off, const void *buf,
			     unsigned int len);
	/* There may be chains in queue @q. Home loop's thread; the device is live. */
	void (*kick)(struct virtio_device *v, unsigned int q);
	/* Forget everything of the driver's; nothing is in flight. NULL: there is nothing. */
	void (*reset)(struct virtio_device *v);
	/* The machine wants quiet: publish what is held back, give back what can be. NULL: nothing
	 * is. */
	void (*quiesce)(struct virtio_device *v);
};

/* The transport. */
struct virtio_transport_ops {
	/* An interrupt for queue @q, or for a change of configuration. */
	void (*queue_signal)(struct virtio_device *v, unsigned int q);
	void (*config_signal)(struct virtio_device *v);
	/* The driver's writes to the doorbell of @q reach its eventfd without an exit from now on,
	 * or no more. */
	void (*doorbell)(struct virtio_device *v, unsigned int q, bool on);
	/* A reset by the driver has come to its end: per-queue registers to their first values. */
	void (*driver_reset)(struct virtio_device *v);
	/* A machine reset. */
	void (*reset)(struct virtio_device *v);
	void (*save)(struct virtio_device *v, struct state_writer *w);
	/* The device's features, status and queues are as saved, none of them enabled. Also on a
	 * cold start
	 * (@from NULL): the set-up is complete. */
	int (*ready)(struct virtio_device *v, const struct state_node *from);
	void (*destroy)(struct virtio_device *v);
};

struct virtio_transport {
	const struct virtio_transport_ops *ops;
};

struct virtio_queue {
	struct virtio_device *v;
	unsigned int index;
	struct virtqueue vq;
	struct loop_fd kick; /* edge-triggered: the eventfd is never read */
};

/* First member of every model. */
struct virtio_device {
	struct device dev;
	const struct virtio_ops *ops;
	struct virtio_transport *transport;

	uint16_t device_id; /* VIRTIO_ID_* */
	uint64_t supported;
	uint64_t offered;  /* all that is supported, or what was offered before a restore */
	uint64_t features; /* what the driver accepted */
	uint8_t status;	   /* VIRTIO_CONFIG_S_* */
	uint8_t config_generation;
	bool resetting; /* by the driver, waiting for what is in flight */
	bool quiescing; /* by the machine */
	bool dma;	/* the transport may reach memory (PCI's bus master bit) */
	bool kicked_early;

	unsigned int in_flight;
	unsigned int nqueues;
	struct virtio_queue *queues;
	unsigned int config_len;
	uint8_t config[VIRTIO_CONFIG_BYTES_MAX]; /* as the driver sees it, little-endian */
	struct loop_task rekick;
	struct log_limit limit;
};

/* What a model is made of. */
struct virtio_params {
	const struct device_ops *dev_ops;
	const struct virtio_ops *ops;
	uint16_t device_id;
	uint32_t pci_class; /* 0xCCSSPP */
	uint8_t pci_slot;
	uint64_t features; /* beside those that the transport and the rings add */
	unsigned int nqueues;
	uint16_t queue_size; /* of each, a power of two */
	unsigned int config_len;
};

/*
 * For create(). virtio_init() makes queues and transport; then the model fills in config[] and its
 * own state; then virtio_ready() puts back what was saved (@from, or NULL) and opens for business.
 * After a failure of either, virtio_fini(). -> 0 or -errno, logged.
 */
int virtio_init(struct virtio_device *v, const struct virtio_params *p,
		const struct device_env *env, const char *name);
int virtio_ready(struct virtio_device *v, const struct state_node *from);
/* Also after a virtio_init() that failed. */
void virtio_fini(struct virtio_device *v);

/* For the model's device_ops. Save writes "virtio" and the transport's nodes, after the model's
 * properties. */
void virtio_device_reset(struct device *d);
int virtio_device_quiesce(struct device *d);
void virtio_device_resume(struct device *d);
void virtio_save(struct virtio_device *v, struct state_writer *w);

static inline struct virtio_device *virtio_of(struct device *d)
{
	return (struct virtio_device *)d;
}

/* ---- for models ---- */

static inline bool virtio_has(const struct virtio_device *v, unsigned int feature_bit)
{
	return v->features >> feature_bit & 1;
}

static inline struct virtqueue *virtio_vq(struct virtio_device *v, unsigned int q)
{
	return &v->queues[q].vq;
}

/* The driver is there and nobody wants quiet: queues may be served. */
bool virtio_live(const struct virtio_device *v);
/* Completions are to be dropped without touching the rings. */
static inline bool virtio_discards(const struct virtio_device *v)
{
	return v->resetting;
}

/* The next chain of @q, as vq_pop(). false: none, or not live, or the queue broke and the driver
 * was told. */
bool virtio_pop(struct virtio_device *v, unsigned int q, struct vq_chain *c);
/*
 * What a kick does with a queue of requests: calls @one for as long as there are chains, publishes
 * what it pushed, and asks for kicks again. @one takes a chain with virtio_pop(); false: it can
 * take no more now, and kicks stay parked until the model serves the queue again. A guest that
 * never stops gets no more than its share of a loop turn.
 */
void virtio_serve(struct virtio_device *v, unsigned int q,
		  bool (*one)(struct virtio_device *v, unsigned int q));
/* The same, but shows what was pushed without an interrupt; -> true if there was anything: the model sees to
 * virtio_interrupt() within this turn. */
bool virtio_serve_quietly(struct virtio_device *v, unsigned int q,
			  bool (*one)(struct virtio_device *v, unsigned int q));
/* An interrupt if the driver wants one for what virtio_serve_quietly() has shown. */
void virtio_interrupt(struct virtio_device *v, unsigned int q);
/* Shows what was pushed to @q, with an interrupt if the driver wants one. */
void virtio_publish(struct virtio_device *v, unsigned int q);

/* The driver broke a rule in a way that has no status to answer with: NEEDS_RESET and a logged
 * line. */
void virtio_broken(struct virtio_device *v, unsigned int q, const char *why);
/* config[] has changed. */
void virtio_config_changed(struct virtio_device *v);

/* @n pieces of work in flight more / fewer. The end is on the home loop's thread. */
void virtio_begin(struct virtio_device *v, unsigned int n);
void virtio_end(struct virtio_device *v, unsigned int n);

/* ---- for transports ---- */

/* What reading the status register gives. */
uint8_t virtio_status(const struct virtio_device *v);
void virtio_set_status(struct virtio_device *v, uint8_t value);
/* The driver's choice of features: what it has written, checked when it sets FEATURES_OK. */
void virtio_set_features(struct virtio_device *v, unsigned int word, uint32_t value);
void virtio_queue_enable(struct virtio_device *v, unsigned int q);
void virtio_set_dma(struct virtio_device *v, bool on);
/* A doorbell that came as a register access. Any thread. */
void virtio_ring_doorbell(struct virtio_device *v, unsigned int q);

#endif
