/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port to the state tree and back. */
#include <errno.h>

#include "devices/platform/ns16550_int.h"
#include "devices/platform/state_u8.h"
#include "vmm/base/log.h"

static void put_ring(struct state_writer *w, const char *name, const struct ring *r)
{
	uint8_t bytes[TX_RING_BYTES];
	state_put_bytes(w, name, bytes, ring_copy(r, bytes, sizeof(bytes)));
}

void uart_save(struct device *d, struct state_writer *w)
{
	const struct ns16550 *u = uart_of(d);
	state_put_u32(w, "ier", u->ier);
	state_put_u32(w, "fcr", u->fcr);
	state_put_u32(w, "lcr", u->lcr);
	state_put_u32(w, "mcr", u->mcr);
	state_put_u32(w, "msr", u->msr);
	state_put_u32(w, "scr", u->scr);
	state_put_u32(w, "divisor", (uint32_t)u->dlm << 8 | u->dll);
	state_put_bool(w, "overrun", u->overrun);
	state_put_bool(w, "thre-pending", u->thre_pending);
	put_ring(w, "received", &u->rx);
	put_ring(w, "unsent", &u->tx);
}

static int get_ring(struct state_node n, const char *name, struct ring *r)
{
	const void *p;
	size_t len;
	int err = state_get_blob(n, name, &p, &len);
	if (!err && ring_push(r, p, len) != len)
		err = -EINVAL;
	return err;
}

int uart_load(struct ns16550 *u, struct state_node n)
{
	uint32_t divisor = 0;
	int err = state_check(n, ns16550_ops.compatible);
	if (err)
		return err;
	if ((err = state_get_u8(n, "ier", &u->ier)) || (err = state_get_u8(n, "fcr", &u->fcr)) ||
	    (err = state_get_u8(n, "lcr", &u->lcr)) || (err = state_get_u8(n, "mcr", &u->mcr)) ||
	    (err = state_get_u8(n, "msr", &u->msr)) || (err = state_get_u8(n, "scr", &u->scr)) ||
	    (err = state_get_u32(n, "divisor", &divisor)) ||
	    (err = state_get_bool(n, "overrun", &u->overrun)) ||
	    (err = state_get_bool(n, "thre-pending", &u->thre_pending)) ||
	    (err = get_ring(n, "received", &u->rx)) || (err = get_ring(n, "unsent", &u->tx))) {
		log_error("%s: its saved state is not valid; the snapshot is damaged", u->dev.name);
		return err;
	}
	u->ier &= IER_MASK;
	u->fcr &= FCR_KEPT;
	u->mcr &= MCR_MASK;
	u->dll = (uint8_t)divisor;
	u->dlm = (uint8_t)(divisor >> 8);
	return 0;
}
