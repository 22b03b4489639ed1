/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port, as a driver sees it and as a stream sees it. */
#include "devices/platform/ns16550.h"

#include "devices/chardev/chardev.h"
#include "tests/unit/platform/machine.h"

enum { PORT = 0x3f8, GSI = 4 };
enum { DATA = PORT, IER, IIR, LCR, MCR, LSR, MSR, SCR };
enum { DTR = 1, RTS = 2, OUT1 = 4, OUT2 = 8, LOOP = 0x10 };

/* A stream that takes `limit` bytes in all. */
struct fake_stream {
	struct chardev base;
	char got[16384];
	size_t len;
	size_t limit;
	unsigned int writes;
	unsigned int input_ready;
};

static struct machine m;
static struct device *uart;
static struct fake_stream stream;
static const struct ns16550_config config = { .port = PORT, .gsi = GSI, .chardev = &stream.base };

static size_t stream_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	struct fake_stream *s = container_of(c, struct fake_stream, base);
	size_t n = len < s->limit - s->len ? len : s->limit - s->len;
	memcpy(s->got + s->len, buf, n);
	s->len += n;
	s->writes++;
	return n;
}

static void stream_input_ready(struct chardev *c)
{
	container_of(c, struct fake_stream, base)->input_ready++;
}

static const struct chardev_ops stream_ops = {
	.name = "fake",
	.write = stream_write,
	.input_ready = stream_input_ready,
};

static void setup(void)
{
	machine_init(&m);
	memset(&stream, 0, sizeof(stream));
	stream.base.ops = &stream_ops;
	stream.limit = sizeof(stream.got);
	uart = machine_add(&m, &ns16550_ops, &config);
	stream.input_ready = 0;
}

static void teardown(void)
{
	uart->ops->destroy(uart);
	machine_fini(&m);
}

static void send(const char *text)
{
	for (; *text; text++)
		outb(&m, DATA, (uint8_t)*text);
}

static size_t type(const char *text)
{
	return stream.base.port->input(stream.base.port, (const uint8_t *)text, strlen(text));
}

/* As a driver that has opened the port: FIFOs, DTR, RTS and OUT2. */
static void open_port(uint8_t ier)
{
	outb(&m, IIR, 0x81);
	outb(&m, MCR, DTR | RTS | OUT2);
	outb(&m, IER, ier);
}

static bool line(void)
{
	return m.irq.level[GSI];
}

TEST(registers_after_power_on)
{
	static const uint8_t want[] = { 0, 0, 0x01, 0, 0, 0x60, 0xb0, 0 };
	setup();
	for (unsigned int i = 0; i < 8; i++)
		CHECK_EQ(inb(&m, PORT + i), want[i]);
	CHECK(!line());
	teardown();
}

TEST(registers_keep_what_the_chip_keeps)
{
	static const struct {
		uint16_t port;
		uint8_t written, read;
	} table[] = {
		{ IER, 0xff, 0x0f }, /* bit 6 reads as zero: no XScale UART */
		{ LCR, 0x5b, 0x5b }, { MCR, 0xef, 0x0f }, { SCR, 0xa5, 0xa5 }, { LSR, 0xff, 0x60 },
		{ MSR, 0x00, 0xb0 }, { IIR, 0x00, 0x02 }, /* THRI is enabled since the first line */
		{ IIR, 0x01, 0xc1 }, /* FIFOs on: a 16550A; the THRE above has been read */
		{ IIR, 0xc8, 0x01 }, /* without bit 0 the others are not stored */
	};
	setup();
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		outb(&m, table[i].port, table[i].written);
		CHECK_EQ(inb(&m, table[i].port), table[i].read);
	}
	teardown();
}

TEST(divisor_hides_behind_dlab)
{
	setup();
	outb(&m, IER, 0x01);
	outb(&m, LCR, 0x83);
	outb(&m, DATA, 0x0c);
	outb(&m, IER, 0x34);
	CHECK_EQ(inb(&m, DATA), 0x0c);
	CHECK_EQ(inb(&m, IER), 0x34);
	outb(&m, LCR, 0x03);
	CHECK_EQ(inb(&m, IER), 0x01);
	machine_run_ms(&m, 10);
	CHECK_EQ(stream.len, 0);
	teardown();
}

TEST(wide_accesses_touch_nothing)
{
	uint64_t v;
	setup();
	bus_write(m.env.pio, PORT, 4, 0x41414141);
	bus_read(m.env.pio, PORT, 2, &v);
	CHECK_EQ(v, 0xffff);
	machine_run_ms(&m, 10);
	CHECK_EQ(stream.len, 0);
	teardown();
}

TEST(line_of_text_is_one_write_to_the_stream)
{
	setup();
	for (int i = 0; i < 10; i++) {
		send("Linux version\r\n");
		CHECK_EQ(inb(&m, LSR) & 0x60, 0x60);
	}
	CHECK_EQ(stream.writes, 0);
	machine_run_ms(&m, 20);
	CHECK_EQ(stream.len, 150);
	CHECK_EQ(stream.writes, 1);
	teardown();
}

TEST(thre_interrupt_comes_when_it_is_enabled_and_goes_when_it_is_read)
{
	setup();
	outb(&m, IER, 0x02);
	CHECK(line());
	CHECK_EQ(inb(&m, IIR), 0x02);
	CHECK(!line());
	CHECK_EQ(inb(&m, IIR), 0x01);
	/* Enabling it again raises it again: Linux tests for that and works around its absence. */
	outb(&m, IER, 0x02);
	CHECK(!line());
	outb(&m, IER, 0x00);
	outb(&m, IER, 0x02);
	CHECK(line());
	outb(&m, IER, 0x00);
	CHECK(!line());
	teardown();
}

/* The handler of Linux: as long as IIR says so, 16 bytes and another look. */
static unsigned int transmit_handler(unsigned int bytes)
{
	unsigned int turns = 0;
	while (inb(&m, IIR) != 0xc1) {
		turns++;
		for (int i = 0; i < 16 && bytes; i++, bytes--)
			outb(&m, DATA, 'x');
		if (!bytes)
			outb(&m, IER, 0x01);
	}
	return turns;
}

TEST(bursts_in_the_handler_need_no_further_interrupts)
{
	setup();
	open_port(0x03);
	unsigned int before = m.irq.calls;
	CHECK_EQ(transmit_handler(160), 10);
	CHECK_EQ(m.irq.calls - before, 1); /* the line going down */
	CHECK_EQ(m.irq.rises[GSI], 1);
	machine_run_ms(&m, 20);
	CHECK_EQ(stream.len, 160);
	CHECK(!line());
	teardown();
}

TEST(driver_that_leaves_its_handler_early_is_interrupted_again)
{
	setup();
	open_port(0x02);
	CHECK_EQ(inb(&m, IIR), 0xc2);
	send("0123456789abcdef");
	CHECK(!line());
	machine_run_ms(&m, 20);
	CHECK(line());
	CHECK_EQ(m.irq.rises[GSI], 2);
	CHECK_EQ(inb(&m, IIR), 0xc2);
	teardown();
}

TEST(slow_stream_takes_thre_away_and_gives_it_back)
{
	setup();
	stream.limit = 100;
	outb(&m, IER, 0x02);
	inb(&m, IIR);
	unsigned int sent = 0;
	for (; (inb(&m, LSR) & 0x20) && sent < 10000; sent++) {
		outb(&m, DATA, (uint8_t)sent);
		if (sent % 512 == 0)
			machine_run_ms(&m, 6);
	}
	CHECK(sent > 4000 && sent < 5000);
	CHECK_EQ(inb(&m, LSR), 0);
	inb(&m, IIR);
	CHECK_EQ(inb(&m, IIR), 0x01);
	CHECK_EQ(stream.len, 100);
	machine_run_ms(&m, 20);
	CHECK_EQ(stream.len, 100);
	stream.limit = sizeof(stream.got);
	stream.base.port->output_ready(stream.base.port);
	CHECK_EQ(stream.len, sent);
	for (unsigned int i = 0; i < sent; i++)
		CHECK_EQ((uint8_t)stream.got[i], (uint8_t)i);
	CHECK_EQ(inb(&m, LSR), 0x60);
	CHECK(line());
	CHECK_EQ(inb(&m, IIR), 0x02);
	teardown();
}

TEST(burst_after_the_last_thre_fits)
{
	setup();
	stream.limit = 0;
	unsigned int sent = 1;
	outb(&m, DATA, 0); /* the room is no multiple of a burst */
	while (inb(&m, LSR) & 0x20) {
		for (int i = 0; i < 16; i++, sent++)
			outb(&m, DATA, (uint8_t)sent);
		CHECK(sent < 10000);
	}
	for (int i = 0; i < 100; i++)
		outb(&m, DATA, '!'); /* a driver that does not look: lost or not, no harm */
	stream.limit = sizeof(stream.got);
	machine_run_ms(&m, 20);
	CHECK(stream.len >= sent);
	for (unsigned int i = 0; i < sent; i++)
		CHECK_EQ((uint8_t)stream.got[i], (uint8_t)i);
	teardown();
}

enum { MANY = 12000 };

static void *vcpu(void *opaque)
{
	bool *done = opaque;
	for (unsigned int i = 0; i < MANY; i++) {
		while (!(inb(&m, LSR) & 0x20))
			;
		outb(&m, DATA, (uint8_t)(i % 251));
	}
	struct loop_timer *last = malloc(sizeof(*last));
	*last = (struct loop_timer){ .fn = machine_enough, .opaque = done };
	loop_timer_arm(m.env.loop, last, clock_now_ns() + 20 * NS_PER_MS);
	return last;
}

TEST(guest_and_loop_work_on_it_at_the_same_time)
{
	pthread_t thread;
	bool done = false;
	void *last;
	setup();
	CHECK_EQ(pthread_create(&thread, NULL, vcpu, &done), 0);
	CHECK_EQ(loop_run_until(m.env.loop, &done), 0);
	pthread_join(thread, &last);
	free(last);
	CHECK_EQ(stream.len, MANY);
	for (unsigned int i = 0; i < MANY; i++)
		CHECK_EQ((uint8_t)stream.got[i], i % 251);
	CHECK(stream.writes < MANY / 10);
	teardown();
}

TEST(input_waits_until_the_driver_is_ready)
{
	setup();
	CHECK_EQ(type("root\n"), 0);
	outb(&m, IIR, 0x07); /* the driver's probing and clearing loses nothing */
	inb(&m, DATA);
	machine_run_ms(&m, 5);
	CHECK_EQ(stream.input_ready, 0);
	outb(&m, MCR, DTR | RTS);
	machine_run_ms(&m, 5);
	CHECK_EQ(stream.input_ready, 1);
	CHECK_EQ(type("root\n"), 5);
	for (const char *p = "root\n"; *p; p++) {
		CHECK_EQ(inb(&m, LSR) & 1, 1);
		CHECK_EQ(inb(&m, DATA), *p);
	}
	CHECK_EQ(inb(&m, LSR) & 1, 0);
	teardown();
}

TEST(receive_interrupt_alone_opens_the_way_too)
{
	setup();
	CHECK_EQ(type("x"), 0);
	outb(&m, IER, 0x01);
	machine_run_ms(&m, 5);
	CHECK_EQ(stream.input_ready, 1);
	CHECK_EQ(type("x"), 1);
	teardown();
}

TEST(received_bytes_interrupt_until_the_last_is_read)
{
	setup();
	open_port(0x01); /* FIFOs on, trigger level 8 */
	CHECK_EQ(type("abcdefghi"), 9);
	CHECK(line());
	CHECK_EQ(inb(&m, IIR), 0xc4);
	inb(&m, DATA);
	inb(&m, DATA);
	CHECK_EQ(inb(&m, IIR), 0xcc); /* fewer than the trigger level: the time-out */
	for (int i = 0; i < 7; i++) {
		CHECK(line());
		CHECK_EQ(inb(&m, DATA), "cdefghi"[i]);
	}
	CHECK(!line());
	CHECK_EQ(inb(&m, IIR), 0xc1);
	teardown();
}

TEST(receive_comes_before_transmit)
{
	setup();
	open_port(0x03);
	type("a");
	CHECK_EQ(inb(&m, IIR), 0xcc);
	inb(&m, DATA);
	CHECK_EQ(inb(&m, IIR), 0xc2);
	CHECK_EQ(inb(&m, IIR), 0xc1);
	teardown();
}

TEST(stream_is_asked_again_when_half_of_the_room_is_free)
{
	char text[3001];
	memset(text, 'k', 3000);
	text[3000] = '\0';
	setup();
	open_port(0);
	size_t taken = type(text);
	CHECK(taken >= 16 && taken < 3000);
	for (size_t i = 0; i < taken / 2 - 1; i++)
		inb(&m, DATA);
	machine_run_ms(&m, 2);
	CHECK_EQ(stream.input_ready, 0);
	inb(&m, DATA);
	machine_run_ms(&m, 2);
	CHECK_EQ(stream.input_ready, 1);
	teardown();
}

TEST(clearing_the_receive_fifo_drops_what_is_in_it)
{
	setup();
	open_port(0x01);
	type("abc");
	outb(&m, IIR, 0x83);
	CHECK_EQ(inb(&m, LSR) & 1, 0);
	CHECK(!line());
	type("d");
	outb(&m, IIR, 0x81);
	CHECK_EQ(inb(&m, DATA), 'd');
	teardown();
}

TEST(loop_back_returns_bytes_and_modem_lines)
{
	static const uint8_t lines[][2] = {
		{ 0, 0x00 },	{ DTR, 0x20 },	      { RTS, 0x10 },
		{ OUT1, 0x40 }, { OUT2 | RTS, 0x90 }, /* Linux's test for the port's presence */
	};
	setup();
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		outb(&m, MCR, LOOP | lines[i][0]);
		CHECK_EQ(inb(&m, MSR) & 0xf0, lines[i][1]);
	}
	outb(&m, IIR, 0x01);
	send("hello");
	CHECK_EQ(type("from outside"), 0);
	for (const char *p = "hello"; *p; p++)
		CHECK_EQ(inb(&m, DATA), *p);
	machine_run_ms(&m, 10);
	CHECK_EQ(stream.len, 0);
	teardown();
}

TEST(loop_back_overrun_sets_oe_once_and_interrupts)
{
	setup();
	outb(&m, IIR, 0x01);
	outb(&m, IER, 0x04);
	outb(&m, MCR, LOOP);
	send("0123456789abcdef");
	CHECK(!line());
	send("g");
	CHECK(line());
	CHECK_EQ(inb(&m, IIR), 0xc6);
	CHECK_EQ(inb(&m, LSR), 0x63);
	CHECK(!line());
	CHECK_EQ(inb(&m, LSR), 0x61);
	for (const char *p = "0123456789abcdef"; *p; p++)
		CHECK_EQ(inb(&m, DATA), *p);
	outb(&m, IIR, 0x00); /* without FIFOs there is room for one */
	send("ab");
	CHECK_EQ(inb(&m, LSR), 0x63);
	CHECK_EQ(inb(&m, DATA), 'a');
	teardown();
}

TEST(modem_changes_interrupt_and_are_read_once)
{
	setup();
	outb(&m, IER, 0x08);
	outb(&m, MCR, LOOP | DTR | RTS | OUT1 | OUT2);
	CHECK_EQ(inb(&m, MSR), 0xf0); /* CTS, DSR and DCD were on; RI rose, which does not count */
	CHECK(!line());
	outb(&m, MCR, LOOP | DTR);
	CHECK(line());
	CHECK_EQ(inb(&m, IIR), 0x00);
	CHECK_EQ(inb(&m, MSR), 0x2d);
	CHECK(!line());
	CHECK_EQ(inb(&m, MSR), 0x20);
	teardown();
}

TEST(reset_is_as_after_power_on)
{
	setup();
	open_port(0x0f);
	outb(&m, LCR, 0x83);
	type("abc");
	CHECK(line());
	CHECK_EQ(uart->ops->quiesce(uart), 0);
	uart->ops->reset(uart);
	uart->ops->resume(uart);
	static const uint8_t want[] = { 0, 0, 0x01, 0, 0, 0x60, 0xb0, 0 };
	for (unsigned int i = 0; i < 8; i++)
		CHECK_EQ(inb(&m, PORT + i), want[i]);
	CHECK(!line());
	teardown();
}

TEST(last_words_before_the_end_reach_the_stream)
{
	setup();
	send("reboot: Power down\r\n");
	uart->ops->destroy(uart);
	CHECK_EQ(stream.len, 20);
	CHECK(!stream.base.port);
	machine_fini(&m);
}

TEST(line_falls_when_the_port_goes)
{
	setup();
	outb(&m, IER, 0x02);
	CHECK(line());
	uart->ops->destroy(uart);
	CHECK(!line());
	machine_fini(&m);
}

TEST(quiet_port_takes_no_input)
{
	setup();
	open_port(0x01);
	CHECK_EQ(uart->ops->quiesce(uart), 0);
	CHECK_EQ(type("x"), 0);
	uart->ops->resume(uart);
	CHECK_EQ(stream.input_ready, 1);
	CHECK_EQ(type("x"), 1);
	teardown();
}

TEST(snapshot_in_the_middle_of_the_fifos_loses_nothing)
{
	setup();
	open_port(0x03);
	outb(&m, LCR, 0x1b);
	outb(&m, SCR, 0x77);
	CHECK_EQ(inb(&m, IIR), 0xc2);
	type("received");
	CHECK_EQ(inb(&m, DATA), 'r');
	stream.limit = 3;
	send("unsent");
	uart = machine_round_trip(&m, uart, &config);
	CHECK_EQ(stream.len, 3);
	CHECK(line());
	CHECK_EQ(inb(&m, IER), 0x03);
	CHECK_EQ(inb(&m, LCR), 0x1b);
	CHECK_EQ(inb(&m, MCR), DTR | RTS | OUT2);
	CHECK_EQ(inb(&m, SCR), 0x77);
	CHECK_EQ(inb(&m, IIR), 0xcc);
	for (const char *p = "eceived"; *p; p++)
		CHECK_EQ(inb(&m, DATA), *p);
	CHECK_EQ(inb(&m, IIR), 0xc2); /* THRE was pending */
	stream.limit = sizeof(stream.got);
	stream.base.port->output_ready(stream.base.port);
	CHECK_EQ(stream.len, 6);
	CHECK(!memcmp(stream.got, "unsent", 6));
	teardown();
}

TEST(divisor_and_loop_back_survive_a_snapshot)
{
	setup();
	outb(&m, LCR, 0x80);
	outb(&m, DATA, 0x12);
	outb(&m, IER, 0x34);
	outb(&m, MCR, LOOP | RTS);
	uart = machine_round_trip(&m, uart, &config);
	CHECK_EQ(inb(&m, DATA), 0x12);
	CHECK_EQ(inb(&m, IER), 0x34);
	CHECK_EQ(inb(&m, MSR), 0x1a); /* DSR and DCD fell; nobody has read that yet */
	teardown();
}

/* A node with one property of the wrong size in the place of a saved one. */
static int create_from(const char *name, const void *p, size_t len, const char *compatible)
{
	static const char *const cells[] = { "ier", "fcr",     "lcr",	  "mcr",	 "msr",
					     "scr", "divisor", "overrun", "thre-pending" };
	struct state_writer *w;
	struct state_node root, node;
	const void *blob;
	size_t blob_len;
	struct device *d = NULL;
	CHECK_EQ(state_writer_create(&w), 0);
	state_begin(w, "", "charmvm,machine-1");
	state_begin(w, "dev0", compatible);
	for (size_t i = 0; i < ARRAY_SIZE(cells); i++)
		if (strcmp(cells[i], name))
			state_put_u32(w, cells[i], i >= 7 ? 1 : 0);
	state_put_bytes(w, "unsent", "", 0);
	if (strcmp(name, "received"))
		state_put_bytes(w, "received", "", 0);
	if (p)
		state_put_bytes(w, name, p, len);
	state_end(w);
	state_end(w);
	CHECK_EQ(state_finish(w, &blob, &blob_len), 0);
	CHECK_EQ(state_open(blob, blob_len, &root), 0);
	CHECK_EQ(state_child(root, "dev0", &node), 0);
	int err = ns16550_ops.create(&m.env, "dev0", &config, &node, &d);
	if (d)
		d->ops->destroy(d);
	state_writer_destroy(w);
	return err;
}

TEST(damaged_state_is_refused)
{
	static const uint8_t big[2000], word[4] = { 0, 0, 1, 0 };
	const char *ok = ns16550_ops.compatible;
	machine_init(&m);
	memset(&stream, 0, sizeof(stream));
	stream.base.ops = &stream_ops;
	CHECK_EQ(create_from("scr", "\0\0\0\x7f", 4, ok), 0);
	CHECK(create_from("scr", word, 4, ok) < 0);
	CHECK(create_from("scr", word, 2, ok) < 0);
	CHECK(create_from("scr", NULL, 0, ok) < 0);
	CHECK(create_from("received", big, sizeof(big), ok) < 0);
	CHECK(create_from("scr", "\0\0\0\0", 4, "charmvm,ns16550-9") < 0);
	CHECK(!stream.base.port);
	machine_fini(&m);
}

TEST(taken_port_is_an_error)
{
	struct device *second = NULL;
	setup();
	CHECK(ns16550_ops.create(&m.env, "dev1", &config, NULL, &second) < 0);
	CHECK(!second);
	teardown();
}

TEST(eager_port_takes_input_once_its_fifos_are_on)
{
	setup();
	CHECK_EQ(type("a"), 0);
	outb(&m, IIR, 0x01);
	CHECK_EQ(type("a"), 0); /* RTS is still to come */
	uart->ops->destroy(uart);
	struct ns16550_config eager = config;
	eager.eager = true;
	uart = machine_add(&m, &ns16550_ops, &eager);
	CHECK_EQ(type("a"), 0);
	outb(&m, IIR, 0x01);
	CHECK_EQ(type("a"), 1);
	CHECK_EQ(inb(&m, DATA), 'a');
	outb(&m, MCR, LOOP);
	CHECK_EQ(type("a"), 0);
	teardown();
}

TEST(guest_that_polls_gets_few_bytes_at_a_time_until_it_asserts_rts)
{
	setup();
	uart->ops->destroy(uart);
	struct ns16550_config eager = config;
	eager.eager = true;
	uart = machine_add(&m, &ns16550_ops, &eager);
	outb(&m, IIR, 0x01);
	stream.input_ready = 0;
	CHECK_EQ(type("0123456789"), 4);
	CHECK_EQ(type("456789"), 0); /* until they have been read and some time is over */
	for (int i = 0; i < 4; i++)
		CHECK_EQ(inb(&m, DATA), '0' + i);
	CHECK_EQ(type("456789"), 0);
	machine_run_ms(&m, 80);
	CHECK_EQ(stream.input_ready, 1);
	CHECK_EQ(type("456789"), 4);
	outb(&m, MCR, RTS);
	CHECK_EQ(type("89"), 2);
	teardown();
}

TEST_MAIN(T(eager_port_takes_input_once_its_fifos_are_on),
	  T(guest_that_polls_gets_few_bytes_at_a_time_until_it_asserts_rts),
	  T(registers_after_power_on), T(registers_keep_what_the_chip_keeps),
	  T(divisor_hides_behind_dlab), T(wide_accesses_touch_nothing),
	  T(line_of_text_is_one_write_to_the_stream),
	  T(thre_interrupt_comes_when_it_is_enabled_and_goes_when_it_is_read),
	  T(bursts_in_the_handler_need_no_further_interrupts),
	  T(driver_that_leaves_its_handler_early_is_interrupted_again),
	  T(slow_stream_takes_thre_away_and_gives_it_back), T(burst_after_the_last_thre_fits),
	  T(guest_and_loop_work_on_it_at_the_same_time), T(input_waits_until_the_driver_is_ready),
	  T(receive_interrupt_alone_opens_the_way_too),
	  T(received_bytes_interrupt_until_the_last_is_read), T(receive_comes_before_transmit),
	  T(stream_is_asked_again_when_half_of_the_room_is_free),
	  T(clearing_the_receive_fifo_drops_what_is_in_it),
	  T(loop_back_returns_bytes_and_modem_lines),
	  T(loop_back_overrun_sets_oe_once_and_interrupts),
	  T(modem_changes_interrupt_and_are_read_once), T(reset_is_as_after_power_on),
	  T(last_words_before_the_end_reach_the_stream), T(line_falls_when_the_port_goes),
	  T(quiet_port_takes_no_input), T(snapshot_in_the_middle_of_the_fifos_loses_nothing),
	  T(divisor_and_loop_back_survive_a_snapshot), T(damaged_state_is_refused),
	  T(taken_port_is_an_error))
