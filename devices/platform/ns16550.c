/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port of a PC (PC16550D data sheet, SNLS378), as Linux's 8250 driver uses it. */
/*
 * Here are its registers and its life; what flows through it, and when it interrupts, is in ns16550_flow.c, its saved
 * state in ns16550_state.c.
 *
 * Baud rate, character format and break are stored and mean nothing. Modem inputs: DCD, DSR and CTS
 * are on.
 */
#include "devices/platform/ns16550.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/platform/ns16550_int.h"
#include "vmm/base/log.h"

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

/* ---- registers ---- */

static uint8_t read_iir(struct ns16550 *u)
{
	uint8_t id = uart_pending(u);
	if (id == IIR_THRI) {
		u->thre_pending = false;
		uart_update_line(u);
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
		uart_update_line(u);
	}
	return lsr;
}

static uint8_t read_msr(struct ns16550 *u)
{
	uint8_t msr = u->msr;
	u->msr &= MSR_LEVELS;
	uart_update_line(u);
	return msr;
}

static uint64_t uart_read(void *opaque, uint64_t off, unsigned int size)
{
	struct ns16550 *u = opaque;
	if (size != 1)
		return UINT64_MAX;
	switch (off) {
	case REG_DATA: return u->lcr & LCR_DLAB ? u->dll : uart_receive(u);
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
	uart_ask_for_input(u);
	uart_update_line(u);
}

static void write_fcr(struct ns16550 *u, uint8_t v)
{
	/* Switching the FIFOs on or off empties them as well. What is in tx has left long ago. */
	if ((v & FCR_CLEAR_RX) || ((v ^ u->fcr) & FCR_ENABLE))
		ring_drop(&u->rx, ring_used(&u->rx));
	u->fcr = v & FCR_ENABLE ? v & FCR_KEPT : 0;
	uart_ask_for_input(u);
	uart_update_line(u);
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
	uart_ask_for_input(u);
	uart_update_line(u);
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
			uart_send(u, v);
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

static void uart_reset(struct device *d)
{
	struct ns16550 *u = uart_of(d);
	u->ier = u->fcr = u->lcr = u->mcr = u->scr = u->dlm = 0;
	u->dll = 1;
	u->msr = modem_levels(u);
	u->overrun = u->thre_pending = u->thre_quiet = false;
	ring_drop(&u->rx, ring_used(&u->rx));
	/* tx stays: it is on its way out. */
	uart_update_line(u);
}

static int uart_quiesce(struct device *d)
{
	struct ns16550 *u = uart_of(d);
	u->quiet = true;
	loop_timer_disarm(d->env->loop, &u->tx_timer);
	u->tx_armed = false;
	loop_timer_disarm(d->env->loop, &u->rx_timer);
	u->rx_paced = false;
	loop_task_cancel(d->env->loop, &u->rx_task);
	if (!u->tx_refused)
		uart_drain(u);
	return 0;
}

static void uart_resume(struct device *d)
{
	struct ns16550 *u = uart_of(d);
	u->quiet = false;
	uart_flow_resume(u);
}

static void fill_in(struct ns16550 *u, const struct device_env *env,
		    const struct ns16550_config *cfg)
{
	u->chardev = cfg->chardev;
	u->eager = cfg->eager;
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
	uart_flow_init(u);
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
	int err = from ? uart_load(u, *from) : 0;
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
