/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device to and from the state tree: features, status, queues, and what its transport adds. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "devices/virtio/virtio_int.h"
#include "vmm/base/log.h"

static const char state_compatible[] = "charmvm,virtio-1",
		  queue_compatible[] = "charmvm,virtqueue-1";

void virtio_save(struct virtio_device *v, struct state_writer *w)
{
	assert(!v->in_flight && !v->resetting);
	state_begin(w, "virtio", state_compatible);
	state_put_u64(w, "offered", v->offered);
	state_put_u64(w, "features", v->features);
	state_put_u32(w, "status", v->status);
	state_put_u32(w, "config-generation", v->config_generation);
	for (unsigned int i = 0; i < v->nqueues; i++) {
		char name[16];
		snprintf(name, sizeof(name), "queue%u", i);
		state_begin(w, name, queue_compatible);
		vq_save(&v->queues[i].vq, w);
		state_end(w);
	}
	state_end(w);
	v->transport->ops->save(v, w);
}

static int restore_status(struct virtio_device *v, struct state_node n)
{
	uint32_t status, generation;
	uint64_t offered, features;
	if (state_get_u64(n, "offered", &offered) || state_get_u64(n, "features", &features) ||
	    state_get_u32(n, "status", &status) ||
	    state_get_u32(n, "config-generation", &generation))
		return -EINVAL;
	/* The driver has seen what was offered, and goes on using what it took. */
	if (features & ~v->supported) {
		log_error("%s: the guest uses features 0x%llx and this device has 0x%llx; start it "
			  "with the options it was saved with",
			  v->dev.name, (unsigned long long)features,
			  (unsigned long long)v->supported);
		return -ENOTSUP;
	}
	if (status & ~(uint32_t)STATUS_ALL)
		return -EINVAL;
	v->offered = offered & v->supported;
	v->features = features;
	v->status = (uint8_t)status;
	v->config_generation = (uint8_t)generation;
	return status & VIRTIO_CONFIG_S_FEATURES_OK && !virtio_features_fit(v) ? -EINVAL : 0;
}

/* -> which queues were enabled, in *enabled; they are, once the transport is there to wire them. */
static int restore_queues(struct virtio_device *v, struct state_node n, uint64_t *enabled)
{
	*enabled = 0;
	for (unsigned int i = 0; i < v->nqueues; i++) {
		char name[16];
		struct state_node qn;
		bool on = false;
		snprintf(name, sizeof(name), "queue%u", i);
		int err = state_child(n, name, &qn);
		if (!err)
			err = state_check(qn, queue_compatible);
		if (!err)
			err = vq_restore(&v->queues[i].vq, qn, &on);
		if (err)
			return err == -ENOTSUP ? err : -EINVAL;
		*enabled |= (uint64_t)on << i;
	}
	return 0;
}

static int restore(struct virtio_device *v, struct state_node dev, uint64_t *enabled)
{
	struct state_node n;
	int err = state_child(dev, "virtio", &n);
	if (!err)
		err = state_check(n, state_compatible);
	if (!err)
		err = restore_status(v, n);
	if (!err)
		err = restore_queues(v, n, enabled);
	if (err && err != -ENOTSUP) {
		log_error("%s: the snapshot's virtio state is damaged; use another snapshot",
			  v->dev.name);
		err = -EINVAL;
	}
	return err;
}

int virtio_ready(struct virtio_device *v, const struct state_node *from)
{
	uint64_t enabled = 0;
	int err = from ? restore(v, *from, &enabled) : 0;
	if (!err)
		err = v->transport->ops->ready(v, from);
	for (unsigned int i = 0; !err && i < v->nqueues; i++) {
		if (!(enabled >> i & 1))
			continue;
		/* A queue that cannot be is what a driver gets that sets it up so. */
		if (virtio_enable_queue(v, i))
			virtio_broken(v, i, virtio_vq(v, i)->broken);
	}
	return err;
}
