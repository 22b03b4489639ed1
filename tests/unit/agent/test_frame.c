/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: what is written is read, in any pieces; what is no frame is refused; the beginning of a session is found. */
#include "guest-kit/agent/frame.h"
#include "tests/unit/test.h"

static const uint8_t data[] = "data of a frame";

static size_t example(uint8_t *out, enum frame_type type, uint32_t session)
{
	const struct frame f = {
		.type = type, .session = session, .stream = 7, .len = sizeof(data), .payload = data
	};
	return frame_put(out, &f);
}

/* Feeds @n bytes, a piece at a time; -> frames seen, or -1. */
static int feed(struct frame_decoder *d, const uint8_t *p, size_t n, size_t piece,
		struct frame *last)
{
	int seen = 0;
	while (n) {
		size_t len = n < piece ? n : piece, left = len;
		const uint8_t *q = p;
		while (left) {
			int got = frame_get(d, &q, &left, last);
			if (got < 0)
				return -1;
			seen += got;
		}
		p += len;
		n -= len;
	}
	return seen;
}

TEST(frame_comes_back_whole_in_pieces_of_any_size)
{
	uint8_t buf[3 * 64];
	for (size_t piece = 1; piece < sizeof(buf); piece++) {
		struct frame_decoder *d = calloc(1, sizeof(*d));
		struct frame f;
		size_t len = example(buf, FRAME_STDOUT, 99);
		len += example(buf + len, FRAME_STDERR, 99);
		CHECK_EQ(feed(d, buf, len, piece, &f), 2);
		CHECK_EQ(f.type, FRAME_STDERR);
		CHECK_EQ(f.session, 99);
		CHECK_EQ(f.stream, 7);
		CHECK_EQ(f.len, sizeof(data));
		CHECK(!memcmp(f.payload, data, sizeof(data)));
		free(d);
	}
}

TEST(padding_between_frames_is_skipped)
{
	static struct frame_decoder d;
	uint8_t buf[256] = { 0 };
	struct frame f;
	size_t len = 50 + example(buf + 50, FRAME_STDOUT, 1);
	CHECK_EQ(feed(&d, buf, len + 20, 9, &f), 1);
}

TEST(padding_ends_a_frame_that_was_left_half_done)
{
	static struct frame_decoder d;
	static uint8_t buf[2 * FRAME_MAX];
	struct frame f;
	/* The longest one there is, of which nothing but the header came. */
	const struct frame longest = { .type = FRAME_STDIN,
				       .session = 1,
				       .len = FRAME_PAYLOAD_MAX };
	frame_put_header(buf, &longest);
	size_t len = FRAME_HEADER_BYTES + FRAME_MAX;
	len += example(buf + len, FRAME_HELLO, 0);
	CHECK_EQ(feed(&d, buf, len, 1000, &f), 2);
	CHECK_EQ(f.type, FRAME_HELLO);
}

TEST(what_is_no_frame_is_refused)
{
	uint8_t buf[64];
	struct frame f;
	static const struct {
		size_t at;
		uint8_t byte;
	} bad[] = { { 0, 0x11 }, { 1, 0 }, { 1, FRAME_TYPES }, { 1, 0xff }, { 3, 0xff } };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct frame_decoder *d = calloc(1, sizeof(*d));
		size_t len = example(buf, FRAME_STDOUT, 1);
		buf[bad[i].at] = bad[i].byte;
		CHECK_EQ(feed(d, buf, len, len, &f), -1);
		free(d);
	}
}

TEST(hunting_finds_its_frame_in_any_rubbish)
{
	static const struct frame want = { .type = FRAME_WELCOME,
					   .session = 0xc5c5c5c5,
					   .stream = 7 };
	uint8_t buf[400];
	struct frame f;
	for (unsigned int seed = 0; seed < 200; seed++) {
		struct frame_decoder *d = calloc(1, sizeof(*d));
		size_t len = 100 + seed % 20;
		srand(seed);
		for (size_t i = 0; i < len; i++)
			buf[i] = rand() % 3 ? (uint8_t)rand() : FRAME_MARK;
		/* One of another session is rubbish as well. */
		len += example(buf + len, FRAME_WELCOME, 0xc5c5c5c4);
		len += example(buf + len, FRAME_WELCOME, 0xc5c5c5c5);
		frame_hunt(d, &want, NULL);
		CHECK_EQ(feed(d, buf, len, 1 + seed % 50, &f), 1);
		CHECK_EQ(f.session, 0xc5c5c5c5);
		free(d);
	}
}

TEST(number_beyond_the_payload_is_zero)
{
	static const uint8_t four[] = { 1, 0, 0, 0 };
	const struct frame f = { .len = 4, .payload = four };
	CHECK_EQ(frame_u32(&f, 0), 1);
	CHECK_EQ(frame_u32(&f, 1), 0);
	CHECK_EQ(frame_u32(&f, 4), 0);
}

TEST_MAIN(T(frame_comes_back_whole_in_pieces_of_any_size), T(padding_between_frames_is_skipped),
	  T(padding_ends_a_frame_that_was_left_half_done), T(what_is_no_frame_is_refused),
	  T(hunting_finds_its_frame_in_any_rubbish), T(number_beyond_the_payload_is_zero))
