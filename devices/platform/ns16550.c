/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port of a PC (PC16550D data sheet, SNLS378), as Linux's 8250 driver uses it. */
/*
 * How it works. The line is infinitely fast: a byte that is written to THR has left at once, so
 * THRE and TEMT read as ones and the guest never waits for them. It goes into the `tx` ring; the
 * first byte arms a timer on the loop, which hands all that came within TX_GATHER_NS to the stream
 * in one piece. That is one wake-up and one write(2) for a line of text and not for each character.
 * When the stream takes no more, the ring fills, and only then THRE reads as zero until the stream
 * has room again.
 *
 * Bytes from the host go into the `rx` ring, which is the receive FIFO with more room than the
 * chip's 16 bytes. The guest is not sent anything before it has asserted RTS or enabled the receive
 * interrupt: what is piped into standard input waits outside while the driver probes the chip and
 * clears its FIFOs.
 *
 * Interrupts. The line is high while IIR has something to tell, and goes to an edge-triggered
 * input. THRE is pending when the transmitter has become empty, or when its interrupt is enabled
 * while it is empty; reading it from IIR clears it. A driver in its handler reads IIR again after
 * each burst, so raising the line for each would be two system calls for nothing: a burst's THRE is
 * told by IIR at once and by the line with the timer (`thre_quiet`), as if the burst had taken its
 * time on the wire.
 *
 * Baud rate, character format and break are stored and mean nothing. Modem inputs: DCD, DSR and CTS
 * are on.
 */
#include "devices/platform/ns16550.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/chardev/chardev.h"
#include "devices/chardev/ring.h"
#include "devices/platform/state_u8.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/core/bus.h"
#include "vmm/core/irq.h"
#include "vmm/core/loop.h"

enum {
	FIFO_BYTES = 16,
	RX_RING_BYTES = 1024,
	TX_RING_BYTES = 4096,
	TX_GATHER_NS = 4 * 1000 * 1000, /* a quarter of what a display takes for one picture */
};

enum {
	REG_DATA = 0, /* RBR, THR; DLL with DLAB */
	REG_IER = 1,  /* DLM with DLAB */
	REG_IIR = 2,  /* writes: FCR */
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCR = 7,
	REG_COUNT = 8,
};

enum {
	IER_RDI = 0x01,
	IER_THRI = 0x02,
	IER_RLSI = 0x04,
	IER_MSI = 0x08,
	IER_MASK = 0x0f,

	IIR_NONE = 0x01,
	IIR_MSI = 0x00,
	IIR_THRI = 0x02,
	IIR_RDI = 0x04,
	IIR_RLSI = 0x06,
	IIR_TIMEOUT = 0x0c,
	IIR_FIFO = 0xc0,

	FCR_ENABLE = 0x01,
	FCR_CLEAR_RX = 0x02,
	FCR_TRIGGER_SHIFT = 6,
	FCR_KEPT = 0xc9, /* enable, DMA mode, trigger level */

	LCR_DLAB = 0x80,

	MCR_DTR = 0x01,
	MCR_RTS = 0x02,
	MCR_OUT1 = 0x04,
	MCR_OUT2 = 0x08,
	MCR_LOOP = 0x10,
	MCR_MASK = 0x1f,

	LSR_DR = 0x01,
	LSR_OE = 0x02,
	LSR_THRE = 0x20,
	LSR_TEMT = 0x40,

	MSR_DCTS = 0x01,
	MSR_DDSR = 0x02,
	MSR_TERI = 0x04,
	MSR_DDCD = 0x08,
	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RI = 0x40,
	MSR_DCD = 0x80,
	MSR_DELTAS = 0x0f,
	MSR_LEVELS = 0xf0,
};

struct ns16550 {
	struct device dev;
	struct bus_range range;
	struct irq_line line;
	struct chardev *chardev;
	struct chardev_port port;
	struct loop_timer tx_timer; /* stream, take what is in tx */
	struct loop_task rx_task;   /* stream, rx has room again */
	bool quiet;

	/* Registers. */
	uint8_t ier;
	uint8_t fcr;
	uint8_t lcr;
	uint8_t mcr;
	uint8_t msr;
	uint8_t scr;
	uint8_t dll;
	uint8_t dlm;
	bool overrun;
	bool thre_pending;
	bool thre_quiet; /* thre_pending is not on the line yet */

	struct ring rx;
	struct ring tx;
	bool tx_armed;	 /* tx_timer is */
	bool rx_refused; /* the stream holds bytes for us */
	bool tx_refused; /* the stream will call output_ready */
	uint8_t rx_buf[RX_RING_BYTES];
	uint8_t tx_buf[TX_RING_BYTES];
};

/* ---- interrupts ---- */

/* A driver that saw THRE writes a burst of FIFO_BYTES without looking again. */
static bool has_tx_room(const struct ns16550 *u)
{
	return ring_room(&u->tx) >= FIFO_BYTES;
}

static uint32_t rx_trigger(const struct ns16550 *u)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };
	return u->fcr & FCR_ENABLE ? levels[u->fcr >> FCR_TRIGGER_SHIFT] : 1;
}

/* The interrupt of the highest priority (data sheet, table III), or IIR_NONE. */
static uint8_t pending(const struct ns16550 *u)
{
	if ((u->ier & IER_RLSI) && u->overrun)
		return IIR_RLSI;
	/* Four character times without a new byte have always gone by on this line. */
	if ((u->ier & IER_RDI) && ring_used(&u->rx))
		return ring_used(&u->rx) >= rx_trigger(u) ? IIR_RDI : IIR_TIMEOUT;
	if ((u->ier & IER_THRI) && u->thre_pending)
		return IIR_THRI;
	if ((u->ier & IER_MSI) && (u->msr & MSR_DELTAS))
		return IIR_MSI;
	return IIR_NONE;
}

static void update_line(struct ns16550 *u)
{
	uint8_t id = pending(u);
	irq_line_set(&u->line, id != IIR_NONE && !(id == IIR_THRI && u->thre_quiet));
}

/* ---- to the host ---- */

static void transmitter_is_empty(struct ns16550 *u, bool quiet)
{
	if (!u->thre_pending)
		u->thre_quiet = quiet;
	u->thre_pending = true;
}

/* Hands to the stream what it takes. Loop thread. */
static void drain_tx(struct ns16550 *u)
{
	bool had_room = has_tx_room(u);
	u->tx_refused = false;
	while (ring_used(&u->tx) && !u->tx_refused) {
		uint32_t len;
		const uint8_t *p = ring_front(&u->tx, &len);
		size_t n = chardev_write(u->chardev, p, len);
		ring_drop(&u->tx, (uint32_t)n);
		u->tx_refused = n < len;
	}
	if (!had_room && has_tx_room(u))
		transmitter_is_empty(u, false);
}

static void on_tx_timer(void *opaque)
{
	struct ns16550 *u = opaque;
	u->tx_armed = false;
	drain_tx(u);
	u->thre_quiet = false;
	update_line(u);
}

static void on_output_ready(struct chardev_port *p)
{
	struct ns16550 *u = container_of(p, struct ns16550, port);
	if (!u->quiet)
		on_tx_timer(u);
}

static void loop_back(struct ns16550 *u, uint8_t byte)
{
	if (ring_used(&u->rx) < (u->fcr & FCR_ENABLE ? FIFO_BYTES : 1))
		ring_push(&u->rx, &byte, 1);
	else
		u->overrun = true;
}

static void send(struct ns16550 *u, uint8_t byte)
{
	ring_push(&u->tx, &byte, 1); /* a guest that does not look at THRE loses bytes */
	if (u->tx_refused)
		return;
	if (!u->tx_armed)
		loop_timer_arm(u->dev.env->loop, &u->tx_timer, clock_now_ns() + TX_GATHER_NS);
	else if (ring_used(&u->tx) == TX_RING_BYTES / 2)
		loop_timer_arm(u->dev.env->loop, &u->tx_timer, clock_now_ns());
	u->tx_armed = true;
}

static void write_thr(struct ns16550 *u, uint8_t byte)
{
	u->thre_pending = false;
	if (u->mcr & MCR_LOOP)
		loop_back(u, byte);
	else
		send(u, byte);
	if (has_tx_room(u))
		transmitter_is_empty(u, u->tx_armed);
	update_line(u);
}

/* ---- from the host ---- */

static bool receiver_is_ready(const struct ns16550 *u)
{
	return !u->quiet && !(u->mcr & MCR_LOOP) && ((u->mcr & MCR_RTS) || (u->ier & IER_RDI));
}

static size_t on_input(struct chardev_port *p, const uint8_t *buf, size_t len)
{
	struct ns16550 *u = container_of(p, struct ns16550, port);
	size_t n = receiver_is_ready(u) ? ring_push(&u->rx, buf, len) : 0;
	u->rx_refused = n < len;
	if (n)
		update_line(u);
	return n;
}

static void on_rx_task(void *opaque)
{
	struct ns16550 *u = opaque;
	chardev_input_ready(u->chardev);
}

/* Something that on_input() looks at has changed. */
static void ask_for_input(struct ns16550 *u)
{
	if (!u->rx_refused || !receiver_is_ready(u) || ring_used(&u->rx) > RX_RING_BYTES / 2)
		return;
	u->rx_refused = false;
	loop_task_post(u->dev.env->loop, &u->rx_task);
}

static uint8_t read_rbr(struct ns16550 *u)
{
	uint8_t byte = ring_used(&u->rx) ? ring_pop(&u->rx) : 0;
	ask_for_input(u);
	update_line(u);
	return byte;
}

/* ---- registers ---- */

static uint8_t read_iir(struct ns16550 *u)
{
	uint8_t id = pending(u);
	if (id == IIR_THRI) {
		u->thre_pending = false;
		update_line(u);
	}
	return id | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct ns16550 *u)
{
	uint8_t lsr = ring_used(&u->rx) ? LSR_DR : 0;
	if (has_tx_room(u))
		lsr |= LSR_THRE | LSR_TEMT;
	if (u->overrun) {
		lsr |= LSR_OE;
		u->overrun = false;
		update_line(u);
	}
	return lsr;
}

static uint8_t read_msr(struct ns16550 *u)
{
	uint8_t msr = u->msr;
	u->msr &= MSR_LEVELS;
	update_line(u);
	return msr;
}

static uint64_t uart_read(void *opaque, uint64_t off, unsigned int size)
{
	struct ns16550 *u = opaque;
	if (size != 1)
		return UINT64_MAX;
	switch (off) {
	case REG_DATA: return u->lcr & LCR_DLAB ? u->dll : read_rbr(u);
	case REG_IER: return u->lcr & LCR_DLAB ? u->dlm : u->ier;
	case REG_IIR: return read_iir(u);
	case REG_LCR: return u->lcr;
	case REG_MCR: return u->mcr;
	case REG_LSR: return read_lsr(u);
	case REG_MSR: return read_msr(u);
	default: return u->scr;
	}
}

static void write_ier(struct ns16550 *u, uint8_t v)
{
	bool enabled = (v & ~u->ier) & IER_THRI;
	u->ier = v & IER_MASK;
	if (enabled && has_tx_room(u)) {
		u->thre_pending = true;
		u->thre_quiet = false;
	}
	ask_for_input(u);
	update_line(u);
}

static void write_fcr(struct ns16550 *u, uint8_t v)
{
	/* Switching the FIFOs on or off empties them as well. What is in tx has left long ago. */
	if ((v & FCR_CLEAR_RX) || ((v ^ u->fcr) & FCR_ENABLE))
		ring_drop(&u->rx, ring_used(&u->rx));
	u->fcr = v & FCR_ENABLE ? v & FCR_KEPT : 0;
	ask_for_input(u);
	update_line(u);
}

/* The modem inputs: from the other end, or in loop-back from our own outputs. */
static uint8_t modem_levels(const struct ns16550 *u)
{
	if (!(u->mcr & MCR_LOOP))
		return MSR_DCD | MSR_DSR | MSR_CTS;
	return (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
	       (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static void write_mcr(struct ns16550 *u, uint8_t v)
{
	u->mcr = v & MCR_MASK;
	uint8_t levels = modem_levels(u);
	uint8_t changed = (u->msr ^ levels) & MSR_LEVELS;
	uint8_t deltas = changed >> 4;
	if ((changed & MSR_RI) && (levels & MSR_RI))
		deltas &= (uint8_t)~MSR_TERI; /* only its trailing edge counts */
	u->msr = levels | (u->msr & MSR_DELTAS) | deltas;
	ask_for_input(u);
	update_line(u);
}

static void uart_write(void *opaque, uint64_t off, unsigned int size, uint64_t value)
{
	struct ns16550 *u = opaque;
	uint8_t v = (uint8_t)value;
	if (size != 1)
		return;
	switch (off) {
	case REG_DATA:
		if (u->lcr & LCR_DLAB)
			u->dll = v;
		else
			write_thr(u, v);
		break;
	case REG_IER:
		if (u->lcr & LCR_DLAB)
			u->dlm = v;
		else
			write_ier(u, v);
		break;
	case REG_IIR: write_fcr(u, v); break;
	case REG_LCR: u->lcr = v; break;
	case REG_MCR: write_mcr(u, v); break;
	case REG_SCR: u->scr = v; break;
	default: break; /* LSR and MSR are read-only */
	}
}

/* ---- life ---- */

static struct ns16550 *uart_of(struct device *d)
{
	return container_of(d, struct ns16550, dev);
}

static void uart_reset(struct device *d)
{
	struct ns16550 *u = uart_of(d);
	u->ier = u->fcr = u->lcr = u->mcr = u->scr = u->dlm = 0;
	u->dll = 1;
	u->msr = modem_levels(u);
	u->overrun = u->thre_pending = u->thre_quiet = false;
	ring_drop(&u->rx, ring_used(&u->rx));
	/* tx stays: it is on its way out. */
	update_line(u);
}

static int uart_quiesce(struct device *d)
{
	struct ns16550 *u = uart_of(d);
	u->quiet = true;
	loop_timer_disarm(d->env->loop, &u->tx_timer);
	u->tx_armed = false;
	loop_task_cancel(d->env->loop, &u->rx_task);
	if (!u->tx_refused)
		drain_tx(u);
	return 0;
}

static void uart_resume(struct device *d)
{
	struct ns16550 *u = uart_of(d);
	u->quiet = false;
	on_tx_timer(u);
	chardev_input_ready(u->chardev);
}

static void put_ring(struct state_writer *w, const char *name, const struct ring *r)
{
	uint8_t bytes[TX_RING_BYTES];
	state_put_bytes(w, name, bytes, ring_copy(r, bytes, sizeof(bytes)));
}

static void uart_save(struct device *d, struct state_writer *w)
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

static int load(struct ns16550 *u, struct state_node n)
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

static void fill_in(struct ns16550 *u, const struct device_env *env,
		    const struct ns16550_config *cfg)
{
	u->chardev = cfg->chardev;
	u->line = (struct irq_line){ .chip = env->irq, .gsi = cfg->gsi };
	u->range = (struct bus_range){
		.base = cfg->port,
		.len_bytes = REG_COUNT,
		.lock = &u->dev.lock,
		.read = uart_read,
		.write = uart_write,
		.opaque = u,
		.name = u->dev.name,
	};
	u->port.input = on_input;
	u->port.output_ready = on_output_ready;
	u->tx_timer = (struct loop_timer){ .lock = &u->dev.lock, .fn = on_tx_timer, .opaque = u };
	u->rx_task = (struct loop_task){ .lock = &u->dev.lock, .fn = on_rx_task, .opaque = u };
	ring_init(&u->rx, u->rx_buf, sizeof(u->rx_buf));
	ring_init(&u->tx, u->tx_buf, sizeof(u->tx_buf));
	uart_reset(&u->dev);
}

static int uart_create(const struct device_env *env, const char *name, const void *cfg,
		       const struct state_node *from, struct device **out)
{
	struct ns16550 *u = calloc(1, sizeof(*u));
	if (!u) {
		log_error("%s: out of memory", name);
		return -ENOMEM;
	}
	device_init(&u->dev, &ns16550_ops, env, name);
	fill_in(u, env, cfg);
	int err = from ? load(u, *from) : 0;
	if (err)
		goto out_free;
	err = bus_map(env->pio, &u->range);
	if (err) {
		log_error("%s: port 0x%x is taken", name, (unsigned int)u->range.base);
		goto out_free;
	}
	chardev_attach(u->chardev, &u->port, &u->dev.lock);
	*out = &u->dev;
	return 0;
out_free:
	device_fini(&u->dev);
	free(u);
	return err;
}

static void uart_destroy(struct device *d)
{
	struct ns16550 *u = uart_of(d);
	uart_quiesce(d);
	chardev_detach(u->chardev);
	bus_unmap(d->env->pio, &u->range);
	irq_line_set(&u->line, false);
	device_fini(d);
	free(u);
}

const struct device_ops ns16550_ops = {
	.compatible = "charmvm,ns16550-1",
	.create = uart_create,
	.reset = uart_reset,
	.quiesce = uart_quiesce,
	.save = uart_save,
	.resume = uart_resume,
	.destroy = uart_destroy,
};
