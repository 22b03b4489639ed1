/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest and a hostile client at the two sides of the host's end of the agent. The input is a list of steps: who
 * speaks (raw bytes, or a frame of the session that is under way), and what. A frame's numbers come from the input, but for the
 * session's, which nobody could guess.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/agent/agent_priv.h"
#include "vmm/base/checked.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum who {
	GUEST_RAW,
	GUEST_FRAME,
	GUEST_WELCOME,
	CLIENT_RAW,
	CLIENT_FRAME,
	CLIENT_READS,
	DEVICE_ANEW,
	KINDS
};

struct rig {
	struct loop *loop;
	struct agent *agent;
	pthread_mutex_t lock;
	struct chardev_port port;
	size_t room; /* how much the guest takes of what is for it */
	int client;
};

static size_t on_input(struct chardev_port *p, const uint8_t *buf, size_t len)
{
	struct rig *r = container_of(p, struct rig, port);
	size_t n = MIN(len, r->room);
	(void)buf;
	r->room -= n;
	return n;
}

static void turn(struct rig *r)
{
	static const bool now = true;
	loop_run_until(r->loop, &now);
}

static size_t frame_of(struct rig *r, const uint8_t *p, size_t len, uint8_t *out)
{
	struct frame f = { .session = r->agent->session };
	if (len < 2)
		return 0;
	f.type = (enum frame_type)(p[0] % (FRAME_TYPES + 1));
	f.stream = p[1];
	f.payload = p + 2;
	f.len = (uint16_t)(len - 2);
	return frame_put(out, &f);
}

static void guest_says(struct rig *r, const uint8_t *p, size_t len)
{
	pthread_mutex_lock(&r->lock);
	if (chardev_write(agent_chardev(r->agent), p, len) != len)
		abort(); /* a guest's agent is never held up: its credit bounds it */
	pthread_mutex_unlock(&r->lock);
}

static void welcome(struct rig *r)
{
	uint8_t payload[FRAME_HELLO_BYTES], out[FRAME_HEADER_BYTES + FRAME_HELLO_BYTES];
	const struct frame f = { .type = FRAME_WELCOME,
				 .session = r->agent->session,
				 .len = sizeof(payload),
				 .payload = payload };
	frame_set_u32(payload, AGENT_PROTOCOL);
	memcpy(payload + 4, r->agent->nonce, sizeof(r->agent->nonce));
	guest_says(r, out, frame_put(out, &f));
}

static void client_says(struct rig *r, const uint8_t *p, size_t len)
{
	if (send(r->client, p, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return;
	int pair[2];
	close(r->client);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair))
		abort();
	r->client = pair[0];
	agent_add_client(r->agent, pair[1]);
}

static void device_anew(struct rig *r)
{
	pthread_mutex_lock(&r->lock);
	chardev_detach(agent_chardev(r->agent));
	chardev_attach(agent_chardev(r->agent), &r->port, &r->lock);
	pthread_mutex_unlock(&r->lock);
}

static void step(struct rig *r, enum who who, const uint8_t *p, size_t len)
{
	uint8_t buf[FRAME_HEADER_BYTES + 256];
	switch (who) {
	case GUEST_RAW: guest_says(r, p, len); break;
	case GUEST_FRAME: guest_says(r, buf, frame_of(r, p, len, buf)); break;
	case GUEST_WELCOME: welcome(r); break;
	case CLIENT_RAW: client_says(r, p, len); break;
	case CLIENT_FRAME: client_says(r, buf, frame_of(r, p, len, buf)); break;
	case CLIENT_READS:
		if (read(r->client, buf, sizeof(buf)) < 0) {
			/* Nothing to read, or hung up on. */
		}
		break;
	case DEVICE_ANEW: device_anew(r); break;
	case KINDS: break;
	}
	r->room += 8 * len;
	chardev_input_ready(agent_chardev(r->agent));
	turn(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rig r = { .port = { .input = on_input }, .room = 1 << 16, .client = -1 };
	log_set_level(LOG_LEVEL_ERROR);
	pthread_mutex_init(&r.lock, NULL);
	if (loop_create(&r.loop) || agent_create(r.loop, &r.agent))
		abort();
	chardev_attach(agent_chardev(r.agent), &r.port, &r.lock);
	client_says(&r, (const uint8_t *)"", 1); /* which makes one */
	while (len >= 2) {
		size_t n = MIN((size_t)data[1], len - 2);
		step(&r, (enum who)(data[0] % KINDS), data + 2, n);
		data += 2 + n;
		len -= 2 + n;
	}
	chardev_detach(agent_chardev(r.agent));
	agent_destroy(r.agent);
	loop_destroy(r.loop);
	close(r.client);
	return 0;
}
