/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of a tree's stream. */
#include "guest-kit/agent/tree_io.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

static int write_all(int fd, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	while (len) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int read_all(int fd, void *buf, size_t len)
{
	uint8_t *p = buf;
	while (len) {
		ssize_t n = read(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPIPE;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int tree_entry_write(int fd, const struct tree_entry *e)
{
	uint32_t mode = htole32(e->mode);
	uint16_t len = htole16((uint16_t)e->len);
	uint8_t header[TREE_HEADER_BYTES] = { (uint8_t)e->kind };
	memcpy(header + 2, &len, sizeof(len));
	memcpy(header + 4, &mode, sizeof(mode));
	int err = write_all(fd, header, sizeof(header));
	return err ? err : write_all(fd, e->payload, e->len);
}

int tree_entry_read(int fd, struct tree_entry *e)
{
	uint8_t header[TREE_HEADER_BYTES];
	uint32_t mode;
	uint16_t len;
	int err = read_all(fd, header, sizeof(header));
	if (err)
		return err;
	memcpy(&len, header + 2, sizeof(len));
	memcpy(&mode, header + 4, sizeof(mode));
	e->kind = header[0];
	e->mode = le32toh(mode);
	e->len = le16toh(len);
	if (e->len > TREE_PAYLOAD_MAX)
		return -EPROTO;
	err = read_all(fd, e->payload, e->len);
	e->payload[e->len] = '\0';
	return err;
}
