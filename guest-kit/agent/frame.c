/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: a header of 12 bytes and a payload of a bounded length. */
/*
 * Header, little-endian: mark (1 byte, 0xc5), type (1), length of the payload (2), session (4), stream (4).
 */
#include "guest-kit/agent/frame.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

void frame_set_u32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static uint32_t get_u32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

uint32_t frame_u32(const struct frame *f, size_t off)
{
	return off + 4 <= f->len ? get_u32(f->payload + off) : 0;
}

void frame_put_header(uint8_t out[FRAME_HEADER_BYTES], const struct frame *f)
{
	assert(f->len <= FRAME_PAYLOAD_MAX);
	out[0] = FRAME_MARK;
	out[1] = (uint8_t)f->type;
	out[2] = (uint8_t)f->len;
	out[3] = (uint8_t)(f->len >> 8);
	frame_set_u32(out + 4, f->session);
	frame_set_u32(out + 8, f->stream);
}

size_t frame_put(uint8_t *out, const struct frame *f)
{
	frame_put_header(out, f);
	if (f->len)
		memcpy(out + FRAME_HEADER_BYTES, f->payload, f->len);
	return FRAME_HEADER_BYTES + (size_t)f->len;
}

static uint16_t payload_len(const struct frame_decoder *d)
{
	return (uint16_t)(d->buf[2] | d->buf[3] << 8);
}

static bool matches(const uint8_t *header, const uint8_t *want)
{
	return !memcmp(header, want, 2) && !memcmp(header + 4, want + 4, 8);
}

static bool wanted(const struct frame_decoder *d)
{
	return matches(d->buf, d->want[0]) || matches(d->buf, d->want[1]);
}

/* Takes up to @need bytes in all; -> whether they are there. */
static bool fill(struct frame_decoder *d, const uint8_t **p, size_t *len, size_t need)
{
	size_t n = need - d->have < *len ? need - d->have : *len;
	memcpy(d->buf + d->have, *p, n);
	d->have += n;
	*p += n;
	*len -= n;
	return d->have == need;
}

/* Lets what cannot be the beginning of a frame pass. */
static void skip(struct frame_decoder *d, const uint8_t **p, size_t *len, bool only_padding)
{
	while (!d->have && *len && (only_padding ? !**p : **p != FRAME_MARK)) {
		(*p)++;
		(*len)--;
	}
}

/* -> 1: a header is there; 0: more is needed; -1: not a header. */
static int get_header(struct frame_decoder *d, const uint8_t **p, size_t *len)
{
	if (d->have >= FRAME_HEADER_BYTES)
		return 1;
	for (;;) {
		skip(d, p, len, !d->hunting);
		if (!fill(d, p, len, FRAME_HEADER_BYTES))
			return 0;
		if (!d->hunting || wanted(d))
			break;
		/* The next mark in what was read, if there is one, may be it. */
		const uint8_t *next = memchr(d->buf + 1, FRAME_MARK, FRAME_HEADER_BYTES - 1);
		d->have = next ? (size_t)(d->buf + FRAME_HEADER_BYTES - next) : 0;
		if (next)
			memmove(d->buf, next, d->have);
	}
	return d->buf[0] == FRAME_MARK && d->buf[1] && d->buf[1] < FRAME_TYPES &&
			       payload_len(d) <= FRAME_PAYLOAD_MAX
		       ? 1
		       : -1;
}

int frame_get(struct frame_decoder *d, const uint8_t **p, size_t *len, struct frame *f)
{
	int got = get_header(d, p, len);
	if (got <= 0)
		return got;
	if (!fill(d, p, len, FRAME_HEADER_BYTES + (size_t)payload_len(d)))
		return 0;
	*f = (struct frame){
		.type = d->buf[1],
		.session = get_u32(d->buf + 4),
		.stream = get_u32(d->buf + 8),
		.len = payload_len(d),
		.payload = d->buf + FRAME_HEADER_BYTES,
	};
	d->have = 0;
	d->hunting = false;
	return 1;
}

void frame_hunt(struct frame_decoder *d, const struct frame *want, const struct frame *or_this)
{
	d->hunting = true;
	d->have = 0;
	frame_put_header(d->want[0], want);
	frame_put_header(d->want[1], or_this ? or_this : want);
}
