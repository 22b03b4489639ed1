/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the serial port share: ns16550.c, ns16550_flow.c, ns16550_state.c. */
#ifndef DEVICES_PLATFORM_NS16550_INT_H
#define DEVICES_PLATFORM_NS16550_INT_H

#include "devices/chardev/chardev.h"
#include "devices/chardev/ring.h"
#include "devices/platform/ns16550.h"
#include "vmm/core/bus.h"
#include "vmm/core/irq.h"
#include "vmm/core/loop.h"

enum {
	FIFO_BYTES = 16,
	RX_RING_BYTES = 1024,
	TX_RING_BYTES = 4096,
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
	struct loop_timer rx_timer; /* a guest that polls has had time to look */
	struct loop_task rx_task;   /* stream, rx has room again */
	bool quiet;
	bool eager; /* takes input without RTS */

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
	bool rx_paced;	 /* rx_timer is armed */
	bool rx_refused; /* the stream holds bytes for us */
	bool tx_refused; /* the stream will call output_ready */
	uint8_t rx_buf[RX_RING_BYTES];
	uint8_t tx_buf[TX_RING_BYTES];
};

static inline struct ns16550 *uart_of(struct device *d)
{
	return container_of(d, struct ns16550, dev);
}

/* A driver that saw THRE writes a burst of FIFO_BYTES without looking again. */
static inline bool has_tx_room(const struct ns16550 *u)
{
	return ring_room(&u->tx) >= FIFO_BYTES;
}

/* All with the device's lock held. */

/* ---- ns16550_flow.c ---- */

/* The interrupt of the highest priority (data sheet, table III), or IIR_NONE. */
uint8_t uart_pending(const struct ns16550 *u);
/* Raises or lowers the line as uart_pending() says. */
void uart_update_line(struct ns16550 *u);
/* A byte that the guest has written to THR. */
void uart_send(struct ns16550 *u, uint8_t byte);
/* The next byte for RBR, 0: there is none. */
uint8_t uart_receive(struct ns16550 *u);
/* Something that the receiver's readiness depends on has changed: the stream may be asked for what it holds. */
void uart_ask_for_input(struct ns16550 *u);
/* Hands to the stream what it takes. Loop thread. */
void uart_drain(struct ns16550 *u);
/* The stream's entrances, the timer and the task; before the device is attached to anything. */
void uart_flow_init(struct ns16550 *u);
/* After a stop: what waited flows on. */
void uart_flow_resume(struct ns16550 *u);

/* ---- ns16550_state.c ---- */

void uart_save(struct device *d, struct state_writer *w);
/* -> 0 or -errno, logged. */
int uart_load(struct ns16550 *u, struct state_node n);

#endif
