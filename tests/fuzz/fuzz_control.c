/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile client of the control socket. The input, cut at bytes 0xff, is what it sends between two turns of the loop; it
 * reads after every other piece. Every line that was taken has one answer, and memory is what ASan watches.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/control/control_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct peer {
	struct control_call *held;
};

static void verb_echo(struct control_call *call, const json_t *request)
{
	control_progress(call, json_pack("{s:s*}", "t", control_arg_str(request, "t")));
	control_ok(call, json_pack("{s:O*}", "echo", json_object_get(request, "t")));
}

static void verb_fail(struct control_call *call, const json_t *request)
{
	const char *t = control_arg_str(request, "t");
	control_fail(call, EXIT_STATUS_FAILED, "%s %lld", t ? t : "",
		     (long long)control_arg_int(request, "n", 0));
}

static void on_gone(void *opaque)
{
	((struct peer *)opaque)->held = NULL;
}

static void verb_hold(struct control_call *call, const json_t *request)
{
	struct peer *p = control_opaque(call);
	(void)request;
	if (p->held)
		abort(); /* one call at a time */
	p->held = call;
	control_on_gone(call, on_gone, p);
}

static void verb_take(struct control_call *call, const json_t *request)
{
	(void)request;
	int fd = control_take(call, NULL);
	if (fd >= 0)
		close(fd);
}

static const struct control_verb verbs[] = {
	{ "e", verb_echo }, { "f", verb_fail }, { "h", verb_hold }, { "t", verb_take }
};

static void end_turn(void *opaque)
{
	*(bool *)opaque = true;
}

static void turn(struct loop *loop)
{
	bool done = false;
	struct loop_timer t = { .fn = end_turn, .opaque = &done };
	loop_timer_arm(loop, &t, 1);
	loop_run_until(loop, &done);
}

static void run(struct control *c, struct peer *p, int fd, const uint8_t *data, size_t len)
{
	static char answers[1 << 16];
	for (unsigned int i = 0; len; i++) {
		const uint8_t *cut = memchr(data, 0xff, len);
		size_t n = cut ? (size_t)(cut - data) : len;
		if (n && send(fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			return;
		turn(c->loop);
		if (i % 2 && recv(fd, answers, sizeof(answers), MSG_DONTWAIT) == 0)
			return;
		if (i % 3 == 2 && p->held) {
			struct control_call *call = p->held;
			p->held = NULL;
			control_ok(call, NULL);
		}
		data += n + (cut != NULL);
		len -= n + (cut != NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct peer p = { NULL };
	struct control c = {
		.cfg = { .name = "m", .verbs = verbs, .nverbs = ARRAY_SIZE(verbs), .opaque = &p }
	};
	int fds[2];
	list_init(&c.conns);
	if (loop_create(&c.loop) || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) ||
	    control_conn_create(&c, fds[0]))
		abort();
	run(&c, &p, fds[1], data, len);
	close(fds[1]);
	turn(c.loop);
	while (!list_empty(&c.conns))
		control_conn_destroy(list_first(&c.conns, struct control_conn, link));
	if (p.held || c.nconns)
		abort();
	loop_destroy(c.loop);
	return 0;
}
