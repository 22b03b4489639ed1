/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng: getrandom(2) straight into the guest's buffers. */
/*
 * How it works. Each chain is filled at once, with no more than RNG_REQUEST_BYTES of it: a driver
 * asks again for what it still wants (5.4.6), and a guest that asks for a gigabyte keeps nobody
 * waiting. getrandom() does not block on a host that has booted, and does not return short for so
 * few bytes.
 */
#include "devices/virtio/virtio_rng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <linux/virtio_ids.h>

#include "devices/virtio/virtio.h"
#include "vmm/base/checked.h"

static const char state_compatible[] = "charmvm,virtio-rng-1";

enum {
	QUEUE_SIZE = 8,
	RNG_CALL_BYTES = 256, /* getrandom() gives as many without being interrupted */
	RNG_REQUEST_BYTES = 4096,
};

struct virtio_rng {
	struct virtio_device v;
	struct iovec iov[QUEUE_SIZE + GUESTMEM_REGIONS_MAX];
};

/* -> bytes written. */
static size_t fill(struct iovec *iov, unsigned int niov)
{
	size_t done = 0;
	while (niov && done < RNG_REQUEST_BYTES) {
		ssize_t n = getrandom(iov->iov_base, MIN(iov->iov_len, (size_t)RNG_CALL_BYTES), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
		iov_skip(&iov, &niov, (size_t)n);
	}
	return done;
}

static bool serve_one(struct virtio_device *v, unsigned int q)
{
	struct virtio_rng *d = (struct virtio_rng *)v;
	struct vq_chain c = { .iov = d->iov, .iov_max = ARRAY_SIZE(d->iov) };
	if (!virtio_pop(v, q, &c))
		return false;
	size_t n = fill(c.iov + c.nout, c.nin);
	if (!n) {
		virtio_broken(v, q, "a request with nothing to write to");
		return false;
	}
	vq_push(virtio_vq(v, q), c.head, (uint32_t)n);
	return true;
}

static void rng_kick(struct virtio_device *v, unsigned int q)
{
	virtio_serve(v, q, serve_one);
}

static const struct virtio_ops rng_virtio_ops = {
	.kick = rng_kick,
};

static void rng_destroy(struct device *dev)
{
	struct virtio_device *v = virtio_of(dev);
	virtio_fini(v);
	free(v);
}

static void rng_save(struct device *dev, struct state_writer *w)
{
	virtio_save(virtio_of(dev), w);
}

static int rng_create(const struct device_env *env, const char *name, const void *cfg,
		      const struct state_node *from, struct device **out)
{
	const struct virtio_rng_config *config = cfg;
	struct virtio_rng *d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	const struct virtio_params params = {
		.dev_ops = &virtio_rng_device,
		.ops = &rng_virtio_ops,
		.device_id = VIRTIO_ID_RNG,
		.pci_class = 0x00ff00,
		.pci_slot = config->pci_slot,
		.nqueues = 1,
		.queue_size = QUEUE_SIZE,
	};
	int err = virtio_init(&d->v, &params, env, name);
	if (!err && from)
		err = state_check(*from, state_compatible);
	if (!err)
		err = virtio_ready(&d->v, from);
	if (err) {
		rng_destroy(&d->v.dev);
		return err;
	}
	*out = &d->v.dev;
	return 0;
}

const struct device_ops virtio_rng_device = {
	.compatible = state_compatible,
	.create = rng_create,
	.reset = virtio_device_reset,
	.quiesce = virtio_device_quiesce,
	.save = rng_save,
	.resume = virtio_device_resume,
	.destroy = rng_destroy,
};
