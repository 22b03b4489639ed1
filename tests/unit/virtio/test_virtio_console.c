/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console through its registers and rings, on streams that the test fills and reads. */
#include "devices/virtio/virtio_console.h"

#include <errno.h>

#include <linux/virtio_config.h>

#include "devices/chardev/chardev.h"
#include "tests/unit/test.h"
#include "tests/unit/virtio/driver.h"

enum { SLOT = 2, RX0 = 0, TX0 = 1, CTRL_IN = 2, CTRL_OUT = 3, RX1 = 4, TX1 = 5, NQUEUES = 6 };
enum { READY = 0, ADD = 1, PORT_READY = 3, CONSOLE = 4, RESIZE = 5, OPEN = 6, NAME = 7 };
enum { F_MULTIPORT = 1 };

struct stream {
	struct chardev base;
	char out[256];
	size_t out_len, room; /* room: what write takes before it is full */
	const char *in;	      /* what the guest has not taken yet */
};

static size_t stream_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	struct stream *s = (struct stream *)c;
	size_t n = len < s->room ? len : s->room;
	memcpy(s->out + s->out_len, buf, n);
	s->out_len += n;
	s->room -= n;
	return n;
}

static void stream_input_ready(struct chardev *c)
{
	struct stream *s = (struct stream *)c;
	if (s->in && *s->in)
		s->in += chardev_deliver(c, (const uint8_t *)s->in, strlen(s->in));
}

static const struct chardev_ops stream_ops = {
	.name = "test",
	.write = stream_write,
	.input_ready = stream_input_ready,
};

struct rig {
	struct guest g;
	struct device *dev;
	struct driver d;
	struct virtio_console_config cfg;
	struct stream tty, agent;
};

static void setup(struct rig *r, uint64_t want)
{
	memset(r, 0, sizeof(*r));
	guest_init(&r->g);
	r->tty = (struct stream){ .base.ops = &stream_ops, .room = 200 };
	r->agent = (struct stream){ .base.ops = &stream_ops, .room = 200 };
	r->cfg = (struct virtio_console_config){
		.pci_slot = SLOT,
		.nports = 2,
		.ports = { { NULL, &r->tty.base }, { "org.charmvm.agent.0", &r->agent.base } },
	};
	CHECK_EQ(virtio_console_device.create(&r->g.env, "console0", &r->cfg, NULL, &r->dev), 0);
	virtio_console_device.resume(r->dev);
	driver_start(&r->d, &r->g, SLOT, want, NQUEUES);
}

static void teardown(struct rig *r)
{
	virtio_console_device.destroy(r->dev);
	CHECK(!r->tty.base.port && !r->agent.base.port);
	guest_fini(&r->g);
}

static void say(struct rig *r, uint32_t id, uint16_t event, uint16_t value)
{
	uint32_t len;
	struct buf b = { guest_alloc(&r->g, 8, 8), 8, false };
	uint8_t *m = guest_ptr(&r->g, b.gpa);
	memcpy(m, &id, 4);
	memcpy(m + 4, &event, 2);
	memcpy(m + 6, &value, 2);
	CHECK(driver_do(&r->d, CTRL_OUT, &b, 1, &len));
}

/* A buffer for control messages; in order, so that the used ring names them in order. */
static void post_ctrl(struct rig *r, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct buf b = { guest_alloc(&r->g, 64, 8), 64, true };
		driver_add(&r->d, CTRL_IN, &b, 1);
	}
	driver_kick(&r->d, CTRL_IN);
	guest_run(&r->g);
}

/* The next message, checked; @rest what follows the header. */
static const char *heard(struct rig *r, uint32_t id, uint16_t event, uint16_t value)
{
	uint32_t head, len, got_id;
	uint16_t got_event, got_value;
	CHECK(driver_used(&r->d, CTRL_IN, &head, &len));
	uint8_t *m = guest_ptr(&r->g, driver_desc(&r->d, CTRL_IN, head)->addr);
	memcpy(&got_id, m, 4);
	memcpy(&got_event, m + 4, 2);
	memcpy(&got_value, m + 6, 2);
	CHECK_EQ(got_event, event);
	CHECK_EQ(got_id, id);
	CHECK_EQ(got_value, value);
	m[len] = 0;
	return (const char *)m + 8;
}

static bool silence(struct rig *r)
{
	uint32_t head, len;
	return !driver_used(&r->d, CTRL_IN, &head, &len);
}

static bool write_port(struct rig *r, unsigned int q, const char *text)
{
	uint32_t len;
	struct buf b = { guest_alloc(&r->g, strlen(text), 1), (uint32_t)strlen(text), false };
	memcpy(guest_ptr(&r->g, b.gpa), text, strlen(text));
	return driver_do(&r->d, q, &b, 1, &len);
}

static void connect_agent(struct rig *r, bool on)
{
	pthread_mutex_lock(r->agent.base.lock);
	chardev_tell_connected(&r->agent.base, on);
	pthread_mutex_unlock(r->agent.base.lock);
	guest_run(&r->g);
}

/* As Linux brings both ports up; everything heard is taken. */
static void bring_up(struct rig *r)
{
	uint32_t head, len;
	post_ctrl(r, 16);
	say(r, 0, READY, 1);
	say(r, 0, PORT_READY, 1);
	say(r, 0, OPEN, 1);
	say(r, 1, PORT_READY, 1);
	say(r, 1, OPEN, 1);
	while (driver_used(&r->d, CTRL_IN, &head, &len))
		;
}

TEST(ports_are_introduced_in_order)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	post_ctrl(&r, 16);
	CHECK(silence(&r));
	say(&r, 0, READY, 1);
	heard(&r, 0, ADD, 1);
	heard(&r, 1, ADD, 1);
	CHECK(silence(&r));
	say(&r, 0, PORT_READY, 1);
	heard(&r, 0, CONSOLE, 1);
	heard(&r, 0, RESIZE, 1);
	heard(&r, 0, OPEN, 1);
	say(&r, 1, PORT_READY, 1);
	CHECK_STR(heard(&r, 1, NAME, 1), "org.charmvm.agent.0");
	CHECK(silence(&r));
	connect_agent(&r, true);
	heard(&r, 1, OPEN, 1);
	connect_agent(&r, false);
	heard(&r, 1, OPEN, 0);
	teardown(&r);
}

TEST(messages_wait_for_buffers)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	say(&r, 0, READY, 1);
	uint16_t old = r.d.q[CTRL_IN].next_avail;
	struct buf b = { guest_alloc(&r.g, 64, 8), 64, true };
	driver_add(&r.d, CTRL_IN, &b, 1);
	CHECK(driver_should_kick(&r.d, CTRL_IN, old));
	driver_kick(&r.d, CTRL_IN);
	guest_run(&r.g);
	heard(&r, 0, ADD, 1);
	CHECK(silence(&r));
	post_ctrl(&r, 1);
	heard(&r, 1, ADD, 1);
	teardown(&r);
}

TEST(output_reaches_the_stream)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	bring_up(&r);
	CHECK(write_port(&r, TX0, "hello "));
	CHECK(write_port(&r, TX0, "world"));
	CHECK_EQ(r.tty.out_len, 11);
	CHECK_STR(r.tty.out, "hello world");
	CHECK(write_port(&r, TX1, "agent"));
	CHECK_STR(r.agent.out, "agent");
	teardown(&r);
}

TEST(full_stream_holds_a_named_port_and_not_the_console)
{
	struct rig r;
	uint32_t id, len;
	setup(&r, UINT64_MAX);
	bring_up(&r);
	r.tty.room = 3;
	CHECK(write_port(&r, TX0, "hello"));
	CHECK_STR(r.tty.out, "hel");
	r.agent.room = 3;
	CHECK(!write_port(&r, TX1, "hello"));
	CHECK(!write_port(&r, TX1, " again"));
	CHECK_STR(r.agent.out, "hel");
	r.agent.room = 200;
	pthread_mutex_lock(r.agent.base.lock);
	chardev_tell_room(&r.agent.base);
	pthread_mutex_unlock(r.agent.base.lock);
	CHECK_STR(r.agent.out, "hello again");
	CHECK(driver_used(&r.d, TX1, &id, &len));
	CHECK(driver_used(&r.d, TX1, &id, &len));
	teardown(&r);
}

static size_t type(struct rig *r, struct stream *s, const char *text)
{
	s->in = text;
	pthread_mutex_lock(s->base.lock);
	stream_input_ready(&s->base);
	pthread_mutex_unlock(s->base.lock);
	guest_run(&r->g);
	return strlen(text) - strlen(s->in);
}

static uint64_t post_input(struct rig *r, unsigned int q, uint32_t len)
{
	struct buf b = { guest_alloc(&r->g, len + 1, 1), len, true };
	driver_add(&r->d, q, &b, 1);
	driver_kick(&r->d, q);
	guest_run(&r->g);
	return b.gpa;
}

TEST(input_flows_as_the_guest_has_buffers)
{
	struct rig r;
	uint32_t id, len;
	setup(&r, UINT64_MAX);
	bring_up(&r);
	uint64_t a = post_input(&r, RX0, 4);
	CHECK_EQ(type(&r, &r.tty, "abcdefg"), 4);
	CHECK_STR((char *)guest_ptr(&r.g, a), "abcd");
	CHECK_EQ(guest_irqs(&r.g, 1 + RX0), 1);
	uint64_t b = post_input(&r, RX0, 100);
	CHECK_STR((char *)guest_ptr(&r.g, b), "efg");
	CHECK(driver_used(&r.d, RX0, &id, &len));
	CHECK_EQ(len, 4);
	CHECK(driver_used(&r.d, RX0, &id, &len));
	CHECK_EQ(len, 3);
	teardown(&r);
}

TEST(input_waits_until_the_guest_opens_the_port)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	post_ctrl(&r, 16);
	uint64_t a = post_input(&r, RX1, 16);
	CHECK_EQ(type(&r, &r.agent, "early"), 0);
	say(&r, 0, READY, 1);
	say(&r, 1, PORT_READY, 1);
	say(&r, 1, OPEN, 1);
	guest_run(&r.g);
	CHECK_STR((char *)guest_ptr(&r.g, a), "early");
	say(&r, 1, OPEN, 0);
	post_input(&r, RX1, 16);
	CHECK_EQ(type(&r, &r.agent, "late"), 0);
	teardown(&r);
}

TEST(driver_without_multiport_has_the_console)
{
	struct rig r;
	setup(&r, ~(UINT64_C(1) << F_MULTIPORT));
	uint64_t a = post_input(&r, RX0, 16);
	CHECK(write_port(&r, TX0, "x"));
	CHECK_STR(r.tty.out, "x");
	CHECK_EQ(type(&r, &r.tty, "y"), 1);
	CHECK_STR((char *)guest_ptr(&r.g, a), "y");
	teardown(&r);
}

TEST(size_of_the_terminal_is_told)
{
	struct rig r;
	uint16_t rows, cols;
	setup(&r, UINT64_MAX);
	bring_up(&r);
	pthread_mutex_lock(r.tty.base.lock);
	chardev_tell_size(&r.tty.base, 132, 43);
	pthread_mutex_unlock(r.tty.base.lock);
	const char *size = heard(&r, 0, RESIZE, 1);
	memcpy(&rows, size, 2);
	memcpy(&cols, size + 2, 2);
	CHECK_EQ(rows, 43);
	CHECK_EQ(cols, 132);
	CHECK_EQ(mmio_read(&r.g, r.d.device, 2), 132);
	CHECK_EQ(mmio_read(&r.g, r.d.device + 2, 2), 43);
	CHECK_EQ(mmio_read(&r.g, r.d.device + 4, 4), 2);
	teardown(&r);
}

TEST(messages_about_ports_that_are_not_there_do_nothing)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	post_ctrl(&r, 4);
	say(&r, 2, PORT_READY, 1);
	say(&r, UINT32_MAX, OPEN, 1);
	say(&r, 0, 1000, 1);
	CHECK(silence(&r));
	CHECK(!(driver_status(&r.d) & VIRTIO_CONFIG_S_NEEDS_RESET));
	teardown(&r);
}

TEST(short_message_and_short_buffer_need_a_reset)
{
	for (int which = 0; which < 2; which++) {
		struct rig r;
		uint32_t len;
		setup(&r, UINT64_MAX);
		if (which) {
			struct buf b = { guest_alloc(&r.g, 8, 1), 7, false };
			CHECK(!driver_do(&r.d, CTRL_OUT, &b, 1, &len));
		} else {
			struct buf b = { guest_alloc(&r.g, 8, 1), 7, true };
			driver_add(&r.d, CTRL_IN, &b, 1);
			say(&r, 0, READY, 1);
		}
		CHECK(driver_status(&r.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
		teardown(&r);
	}
}

TEST(half_written_chain_is_finished_after_a_restore)
{
	struct rig r;
	uint32_t id, len;
	setup(&r, UINT64_MAX);
	bring_up(&r);
	connect_agent(&r, true);
	heard(&r, 1, OPEN, 1);
	r.agent.room = 3;
	CHECK(!write_port(&r, TX1, "hello"));
	CHECK_EQ(virtio_console_device.quiesce(r.dev), 0);
	size_t len_bytes;
	struct state_node root;
	void *state = device_state(r.dev, &len_bytes);
	virtio_console_device.destroy(r.dev);
	CHECK_EQ(state_open(state, len_bytes, &root), 0);
	CHECK_EQ(virtio_console_device.create(&r.g.env, "console0", &r.cfg, &root, &r.dev), 0);
	free(state);
	r.agent.room = 200;
	virtio_console_device.resume(r.dev);
	guest_run(&r.g);
	CHECK_STR(r.agent.out, "hello");
	CHECK(driver_used(&r.d, TX1, &id, &len));
	/* The old session is over, whoever comes now is another. */
	heard(&r, 1, OPEN, 0);
	CHECK(silence(&r));
	connect_agent(&r, true);
	heard(&r, 1, OPEN, 1);
	teardown(&r);
}

TEST(reset_with_a_chain_in_hand_starts_over)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	bring_up(&r);
	r.agent.room = 3;
	CHECK(!write_port(&r, TX1, "hello"));
	driver_reset(&r.d);
	CHECK_EQ(driver_status(&r.d), 0);
	r.agent.room = 200;
	pthread_mutex_lock(r.agent.base.lock);
	chardev_tell_room(&r.agent.base);
	pthread_mutex_unlock(r.agent.base.lock);
	CHECK_STR(r.agent.out, "hel");
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, NQUEUES);
	bring_up(&r);
	CHECK(write_port(&r, TX1, "!"));
	CHECK_STR(r.agent.out, "hel!");
	teardown(&r);
}

TEST_MAIN(T(ports_are_introduced_in_order), T(messages_wait_for_buffers),
	  T(output_reaches_the_stream), T(full_stream_holds_a_named_port_and_not_the_console),
	  T(input_flows_as_the_guest_has_buffers), T(input_waits_until_the_guest_opens_the_port),
	  T(driver_without_multiport_has_the_console), T(size_of_the_terminal_is_told),
	  T(messages_about_ports_that_are_not_there_do_nothing),
	  T(short_message_and_short_buffer_need_a_reset),
	  T(half_written_chain_is_finished_after_a_restore),
	  T(reset_with_a_chain_in_hand_starts_over))
