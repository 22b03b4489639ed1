/* SPDX-License-Identifier: Apache-2.0 */
/* What a capture holds, and what becomes of the frames that pass through it. */
#include "devices/net/pcap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/net/csum.h"
#include "devices/net/net.h"
#include "tests/unit/net/netns.h"
#include "tests/unit/test.h"
#include "vmm/base/checked.h"
#include "vmm/base/clock.h"
#include "vmm/core/loop.h"

/* A backend that counts, and a card that takes or refuses. */
struct fixture {
	struct net_backend inner;
	struct net_sink card;
	struct net_backend *net;
	struct loop *loop;
	pthread_mutex_t lock;
	char path[64];
	unsigned int sent, delivered, woken, resets, destroyed;
	bool full;
};

static void count_send(struct net_backend *b, const struct iovec *iov, unsigned int niov,
		       size_t len, const struct net_offload *off)
{
	(void)iov, (void)niov, (void)len, (void)off;
	container_of(b, struct fixture, inner)->sent++;
}

static void count_wake(struct net_backend *b)
{
	container_of(b, struct fixture, inner)->woken++;
}

static void count_reset(struct net_backend *b)
{
	container_of(b, struct fixture, inner)->resets++;
}

static void count_destroy(struct net_backend *b)
{
	container_of(b, struct fixture, inner)->destroyed++;
}

static const struct net_backend_ops counting = {
	.send = count_send,
	.wake = count_wake,
	.reset = count_reset,
	.destroy = count_destroy,
};

static bool card_deliver(struct net_sink *s, const struct iovec *iov, unsigned int niov, size_t len)
{
	struct fixture *f = container_of(s, struct fixture, card);
	(void)iov, (void)niov, (void)len;
	f->delivered += !f->full;
	return !f->full;
}

static void setup(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->inner.ops = &counting;
	f->inner.mtu_bytes = 1234;
	f->card.deliver = card_deliver;
	pthread_mutex_init(&f->lock, NULL);
	snprintf(f->path, sizeof(f->path), "/tmp/test_pcap.%d", (int)getpid());
	CHECK_EQ(loop_create(&f->loop), 0);
	CHECK_EQ(pcap_create(f->loop, f->path, &f->inner, &f->net), 0);
	net_attach(f->net, &f->card, &f->lock);
}

static void finish(struct fixture *f)
{
	f->net->ops->destroy(f->net);
	loop_destroy(f->loop);
	unlink(f->path);
}

static void send_frame(struct fixture *f, uint8_t *frame, size_t len, const struct net_offload *off)
{
	struct iovec iov[2] = { { frame, 10 }, { frame + 10, len - 10 } };
	f->net->ops->send(f->net, iov, 2, len, off);
}

static bool to_guest(struct fixture *f, uint8_t *frame, size_t len)
{
	struct iovec iov = { frame, len };
	return f->inner.sink->deliver(f->inner.sink, &iov, 1, len);
}

static void set_true(void *opaque)
{
	*(bool *)opaque = true;
}

static void one_turn(struct fixture *f)
{
	bool done = false;
	struct loop_task t = { .fn = set_true, .opaque = &done };
	loop_task_post(f->loop, &t);
	loop_run_until(f->loop, &done);
}

static uint8_t file[1 << 20];

static size_t read_file(const struct fixture *f)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, file, sizeof(file));
	close(fd);
	return n > 0 ? (size_t)n : 0;
}

static uint32_t u32(size_t at)
{
	uint32_t v;
	memcpy(&v, file + at, sizeof(v));
	return v;
}

TEST(file_is_a_capture_of_both_directions)
{
	struct fixture f;
	uint8_t frame[60];
	setup(&f);
	memset(frame, 0x5a, sizeof(frame));
	send_frame(&f, frame, sizeof(frame), NULL);
	frame[0] = 0xa5;
	CHECK(to_guest(&f, frame, 42));
	CHECK_EQ(f.sent, 1);
	CHECK_EQ(f.delivered, 1);
	one_turn(&f);
	CHECK_EQ(read_file(&f), 24 + 16 + 60 + 16 + 42);
	CHECK_EQ(u32(0), 0xa1b2c3d4);
	CHECK_EQ(u32(20), 1);
	CHECK_EQ(u32(24 + 8), 60);
	CHECK_EQ(u32(24 + 12), 60);
	CHECK_EQ(file[24 + 16], 0x5a);
	CHECK_EQ(u32(24 + 16 + 60 + 8), 42);
	CHECK_EQ(file[24 + 16 + 60 + 16], 0xa5);
	time_t then = (time_t)u32(24);
	struct timespec now; /* time(2) may be a tick behind it, and then a second */
	clock_gettime(CLOCK_REALTIME, &now);
	CHECK(then <= now.tv_sec && then > now.tv_sec - 60);
	finish(&f);
}

TEST(refused_frame_is_not_in_it)
{
	struct fixture f;
	uint8_t frame[60] = { 0 };
	setup(&f);
	f.full = true;
	CHECK(!to_guest(&f, frame, sizeof(frame)));
	one_turn(&f);
	CHECK_EQ(read_file(&f), 24);
	finish(&f);
}

TEST(open_checksum_is_filled_in_for_the_reader)
{
	struct fixture f;
	uint8_t frame[60];
	struct net_offload off = { .needs_csum = true, .csum_start = 34, .csum_offset = 16 };
	setup(&f);
	memset(frame, 1, sizeof(frame));
	memset(frame + 50, 0, 2);
	send_frame(&f, frame, sizeof(frame), &off);
	CHECK_EQ(frame[50], 0); /* the frame itself stays as it is */
	one_turn(&f);
	read_file(&f);
	CHECK_EQ(csum_sum(file + 24 + 16 + 34, 60 - 34, 0), 0xffff);
	finish(&f);
}

TEST(wrapper_is_transparent)
{
	struct fixture f;
	setup(&f);
	CHECK_EQ(f.net->mtu_bytes, 1234);
	CHECK(f.inner.lock == &f.lock);
	f.net->ops->wake(f.net);
	f.net->ops->reset(f.net);
	CHECK_EQ(f.woken, 1);
	CHECK_EQ(f.resets, 1);
	finish(&f);
	CHECK_EQ(f.destroyed, 1);
}

TEST(more_than_the_buffer_goes_out_within_a_turn)
{
	struct fixture f;
	static uint8_t frame[65536];
	setup(&f);
	for (int i = 0; i < 10; i++)
		send_frame(&f, frame, sizeof(frame), NULL);
	one_turn(&f);
	CHECK_EQ(read_file(&f), 24 + 10 * (16 + 65536));
	finish(&f);
}

TEST(slow_reader_of_a_fifo_holds_up_nothing)
{
	struct fixture f;
	static uint8_t frame[65536];
	memset(&f, 0, sizeof(f));
	f.inner.ops = &counting;
	snprintf(f.path, sizeof(f.path), "/tmp/test_pcap_fifo.%d", (int)getpid());
	CHECK_EQ(mkfifo(f.path, 0600), 0);
	CHECK_EQ(loop_create(&f.loop), 0);
	log_capture_begin();
	int err = pcap_create(f.loop, f.path, &f.inner, &f.net);
	CHECK(strstr(log_capture_end(), "nobody reads this FIFO"));
	CHECK_EQ(err, -ENXIO);
	int reader = open(f.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	CHECK_EQ(pcap_create(f.loop, f.path, &f.inner, &f.net), 0);
	for (int i = 0; i < 20; i++)
		send_frame(&f, frame, sizeof(frame), NULL);
	CHECK_EQ(f.sent, 20);
	log_capture_begin();
	finish(&f);
	CHECK(strstr(log_capture_end(), "packets were left out"));
	close(reader);
}

TEST(file_that_cannot_be_made_is_told)
{
	struct fixture f;
	memset(&f, 0, sizeof(f));
	log_capture_begin();
	int err = pcap_create(NULL, "/nonexistent/x.pcap", &f.inner, &f.net);
	CHECK(strstr(log_capture_end(), "/nonexistent/x.pcap"));
	CHECK_EQ(err, -ENOENT);
	CHECK_EQ(f.destroyed, 0);
}

TEST_MAIN(T(file_is_a_capture_of_both_directions), T(refused_frame_is_not_in_it),
	  T(open_checksum_is_filled_in_for_the_reader), T(wrapper_is_transparent),
	  T(more_than_the_buffer_goes_out_within_a_turn), T(slow_reader_of_a_fifo_holds_up_nothing),
	  T(file_that_cannot_be_made_is_told))
