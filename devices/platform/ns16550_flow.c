/* SPDX-License-Identifier: Apache-2.0 */
/* What flows through the serial port, and its interrupts. */
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
 * clears its FIFOs. (An eager port waits for the FIFOs only: a BIOS turns them on and then looks.
 * That is 18 times a second, and it keeps 15 keys; so until somebody asserts RTS it gets few at a time, and what is
 * pasted arrives whole.)
 *
 * Interrupts. The line is high while IIR has something to tell, and goes to an edge-triggered
 * input. THRE is pending when the transmitter has become empty, or when its interrupt is enabled
 * while it is empty; reading it from IIR clears it. A driver in its handler reads IIR again after
 * each burst, so raising the line for each would be two system calls for nothing: a burst's THRE is
 * told by IIR at once and by the line with the timer (`thre_quiet`), as if the burst had taken its
 * time on the wire.
 */
#include "devices/platform/ns16550_int.h"
#include "vmm/base/checked.h"
#include "vmm/base/clock.h"

enum {
	TX_GATHER_NS = 4 * 1000 * 1000, /* a quarter of what a display takes for one picture */
	POLLED_NS = 60 * 1000 * 1000,	/* a little more than a BIOS's tick */
	POLLED_BYTES = 4,
};

/* ---- interrupts ---- */

static uint32_t rx_trigger(const struct ns16550 *u)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };
	return u->fcr & FCR_ENABLE ? levels[u->fcr >> FCR_TRIGGER_SHIFT] : 1;
}

uint8_t uart_pending(const struct ns16550 *u)
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

void uart_update_line(struct ns16550 *u)
{
	uint8_t id = uart_pending(u);
	irq_line_set(&u->line, id != IIR_NONE && !(id == IIR_THRI && u->thre_quiet));
}

/* ---- to the host ---- */

static void transmitter_is_empty(struct ns16550 *u, bool quiet)
{
	if (!u->thre_pending)
		u->thre_quiet = quiet;
	u->thre_pending = true;
}

void uart_drain(struct ns16550 *u)
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
	uart_drain(u);
	u->thre_quiet = false;
	uart_update_line(u);
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

void uart_send(struct ns16550 *u, uint8_t byte)
{
	u->thre_pending = false;
	if (u->mcr & MCR_LOOP)
		loop_back(u, byte);
	else
		send(u, byte);
	if (has_tx_room(u))
		transmitter_is_empty(u, u->tx_armed);
	uart_update_line(u);
}

/* ---- from the host ---- */

static bool receiver_is_ready(const struct ns16550 *u)
{
	return !u->quiet && !(u->mcr & MCR_LOOP) &&
	       ((u->mcr & MCR_RTS) || (u->ier & IER_RDI) || (u->eager && u->fcr & FCR_ENABLE));
}

/* By somebody who is not told when something comes. */
static bool is_polled(const struct ns16550 *u)
{
	return !(u->mcr & MCR_RTS) && !(u->ier & IER_RDI);
}

static bool takes_input(const struct ns16550 *u)
{
	if (is_polled(u) && (u->rx_paced || ring_used(&u->rx)))
		return false;
	return receiver_is_ready(u);
}

static size_t on_input(struct chardev_port *p, const uint8_t *buf, size_t len)
{
	struct ns16550 *u = container_of(p, struct ns16550, port);
	size_t most = is_polled(u) ? MIN(len, (size_t)POLLED_BYTES) : len;
	size_t n = takes_input(u) ? ring_push(&u->rx, buf, most) : 0;
	u->rx_refused = n < len;
	if (n && is_polled(u)) {
		u->rx_paced = true;
		loop_timer_arm(u->dev.env->loop, &u->rx_timer, clock_now_ns() + POLLED_NS);
	}
	if (n)
		uart_update_line(u);
	return n;
}

static void on_rx_task(void *opaque)
{
	struct ns16550 *u = opaque;
	chardev_input_ready(u->chardev);
}

void uart_ask_for_input(struct ns16550 *u)
{
	if (!u->rx_refused || !takes_input(u) || ring_used(&u->rx) > RX_RING_BYTES / 2)
		return;
	u->rx_refused = false;
	loop_task_post(u->dev.env->loop, &u->rx_task);
}

static void on_rx_timer(void *opaque)
{
	struct ns16550 *u = opaque;
	u->rx_paced = false;
	uart_ask_for_input(u);
}

uint8_t uart_receive(struct ns16550 *u)
{
	uint8_t byte = ring_used(&u->rx) ? ring_pop(&u->rx) : 0;
	uart_ask_for_input(u);
	uart_update_line(u);
	return byte;
}

void uart_flow_init(struct ns16550 *u)
{
	u->port.input = on_input;
	u->port.output_ready = on_output_ready;
	u->tx_timer = (struct loop_timer){ .lock = &u->dev.lock, .fn = on_tx_timer, .opaque = u };
	u->rx_timer = (struct loop_timer){ .lock = &u->dev.lock, .fn = on_rx_timer, .opaque = u };
	u->rx_task = (struct loop_task){ .lock = &u->dev.lock, .fn = on_rx_task, .opaque = u };
	ring_init(&u->rx, u->rx_buf, sizeof(u->rx_buf));
	ring_init(&u->tx, u->tx_buf, sizeof(u->tx_buf));
}

void uart_flow_resume(struct ns16550 *u)
{
	on_tx_timer(u);
	chardev_input_ready(u->chardev);
}
