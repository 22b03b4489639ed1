/* SPDX-License-Identifier: Apache-2.0 */
/* Forwards that come and go while the machine runs. */
/*
 * The network lets go of all forwards, the list changes, and the network serves what is there then: one way for every
 * change, in which no entrance can be left that leads nowhere. Ports stay bound meanwhile, and a client that comes in
 * this moment waits in the backlog.
 */
#include <errno.h>

#include "devices/net/net.h"
#include "vmm/backends.h"
#include "vmm/base/log.h"

enum { FORWARDS_MAX = 256 };

/* The card's code runs under its lock, on vCPU threads too. */
static int tell_network(struct backends *b, bool serve)
{
	if (!b->net || !b->net->ops->forwards)
		return -ENOTSUP;
	if (b->net->lock)
		pthread_mutex_lock(b->net->lock);
	int err = b->net->ops->forwards(b->net, serve);
	if (b->net->lock)
		pthread_mutex_unlock(b->net->lock);
	return err;
}

/* The record says where SSH is. */
static void publish(struct backends *b)
{
	b->record.ssh_port = backends_ssh_port(b);
	int err = record_publish(&b->record);
	if (err)
		log_warn("the machine's record %s is out of date: it cannot be written",
			 b->record.path);
}

int backends_add_forward(struct backends *b, const struct forward_spec *spec)
{
	unsigned int before = forward_list_count(&b->forwards);
	if (before >= FORWARDS_MAX)
		return -ENOSPC;
	int err = tell_network(b, false);
	if (err)
		return err;
	err = forward_try(&b->forwards, spec);
	int served = tell_network(b, true);
	if (!err && served) {
		tell_network(b, false);
		forward_list_trim(&b->forwards, before);
		tell_network(b, true);
		err = served;
	}
	publish(b);
	return err;
}

int backends_remove_forward(struct backends *b, bool udp, uint16_t host_port)
{
	int err = tell_network(b, false);
	if (err)
		return err;
	unsigned int n = forward_list_remove(&b->forwards, udp, host_port);
	err = tell_network(b, true);
	publish(b);
	return err ? err : n ? 0 : -ENOENT;
}
