/* SPDX-License-Identifier: Apache-2.0 */
/* Framing of the lab's control port; the messages are described in lab_wire.h.
 */
#include "lab_wire.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	FILL_BYTES = 64 << 10,
};

static int write_all(int fd, const void *data, size_t len_bytes)
{
	const uint8_t *at = data;

	while (len_bytes) {
		ssize_t done = write(fd, at, len_bytes);

		if (done >= 0) {
			at += done;
			len_bytes -= (size_t)done;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
	}
	return 0;
}

int lab_wire_send(int fd, enum lab_msg_type type, const void *payload, size_t len_bytes)
{
	struct lab_msg_head head = { .type = type, .len_bytes = (uint32_t)len_bytes };
	int rc;

	if (len_bytes > LAB_MSG_MAX)
		return -E2BIG;
	rc = write_all(fd, &head, sizeof(head));
	return rc ? rc : write_all(fd, payload, len_bytes);
}

int lab_wire_fill(struct lab_rx *rx, int fd)
{
	ssize_t got;

	if (rx->cap_bytes - rx->len_bytes < FILL_BYTES) {
		size_t cap_bytes = rx->len_bytes + 2 * FILL_BYTES;
		uint8_t *buf = realloc(rx->buf, cap_bytes);

		if (!buf)
			return -ENOMEM;
		rx->buf = buf;
		rx->cap_bytes = cap_bytes;
	}
	got = read(fd, rx->buf + rx->len_bytes, FILL_BYTES);
	if (got < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	rx->len_bytes += (size_t)got;
	return (int)got;
}

const struct lab_msg_head *lab_wire_peek(const struct lab_rx *rx)
{
	const struct lab_msg_head *head = (const void *)rx->buf;

	if (rx->len_bytes < sizeof(*head))
		return NULL;
	if (rx->len_bytes - sizeof(*head) < head->len_bytes)
		return NULL;
	return head;
}

void lab_wire_drop(struct lab_rx *rx)
{
	const struct lab_msg_head *head = (const void *)rx->buf;
	size_t whole_bytes = sizeof(*head) + head->len_bytes;

	rx->len_bytes -= whole_bytes;
	memmove(rx->buf, rx->buf + whole_bytes, rx->len_bytes);
}
