/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a machine's notebook. */
/*
 * How it works. The guest says which port its notebook server has and which token it wants, since a guest that goes on from a
 * snapshot makes a token of its own; the machine says which port of this host leads there. The guest is not trusted: what
 * it says is a number and a token (vmm/notebook_token.h), or it is refused.
 */
#include "vmm/cli/notebook_find.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/agent/agent_call.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/base/options.h"
#include "vmm/cli/cmd_agent.h"
#include "vmm/control/control_client.h"

enum { SAID_MAX = 256, LOOK_TIME_S = 20 };

/* ---- what the guest says ---- */

/* "8811 0123abcd...\n". -> whether it is that. */
static bool understand(char *said, struct notebook *nb)
{
	uint64_t port;
	said[strcspn(said, "\n")] = '\0';
	char *space = strchr(said, ' ');
	if (!space)
		return false;
	*space = '\0';
	if (options_parse_uint(said, 1, UINT16_MAX, &port) || !notebook_token_ok(space + 1))
		return false;
	*nb = (struct notebook){ .guest_port = (unsigned int)port };
	snprintf(nb->token, sizeof(nb->token), "%s", space + 1);
	return true;
}

static const char where_is_it[] =
	"[ -x /usr/lib/charmvm/notebook-url ] && exec /usr/lib/charmvm/notebook-url\n"
	"echo 'no notebook server of guest-kit is in this image' >&2; exit 1";

static const char is_there_one[] =
	"[ -x /usr/lib/charmvm/notebook-url ] && [ -x /usr/bin/jupyter-notebook ] && echo yes; :";

/* The script's output into @said: a pipe holds more than that, and who writes more waits until the time is up. */
static enum exit_status ask_guest(struct agent_link *l, const char *script, char said[SAID_MAX])
{
	char *argv[] = { "sh", "-c", (char *)(uintptr_t)script };
	struct agent_call call = { .argv = argv, .argc = ARRAY_SIZE(argv), .in = -1, .err = -1 };
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0) {
		log_error("cannot make a pipe: %s", strerror(errno));
		return EXIT_STATUS_FAILED;
	}
	call.out = fds[1];
	enum exit_status status = agent_call_run(l, &call);
	close(fds[1]);
	ssize_t n = read(fds[0], said, SAID_MAX - 1);
	said[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	return status;
}

static enum exit_status find_server(const char *vm, uint64_t time_s, struct notebook *nb)
{
	char said[SAID_MAX];
	struct agent_link *l = malloc(sizeof(*l));
	enum exit_status status = l ? agent_connect(l, vm, time_s) : EXIT_STATUS_FAILED;
	if (!status) {
		status = ask_guest(l, where_is_it, said);
		close(l->fd);
	}
	free(l);
	if (status || understand(said, nb))
		return status;
	log_error("machine '%s' does not say where its notebook is: '%s'", vm, said);
	return EXIT_STATUS_FAILED;
}

/* ---- the way there ---- */

/* How good a forward's address is for a browser on this host: 0: none. */
static int rank(const char *address)
{
	if (!strcmp(address, "127.0.0.1") || !strcmp(address, "0.0.0.0"))
		return 3;
	return !strcmp(address, "::1") || !strcmp(address, "::") ? 2 : 1;
}

/* The best of the forwards in @ports. -> whether there is one. */
static bool make_url(const json_t *ports, struct notebook *nb)
{
	size_t i;
	const json_t *f;
	int best = 0;
	json_array_foreach (json_object_get(ports, "forwards"), i, f) {
		const char *proto = "", *address = "";
		int host_port = 0, guest_port = 0;
		json_unpack((json_t *)f, "{s:s, s:s, s:i, s:i}", "proto", &proto, "address",
			    &address, "host_port", &host_port, "guest_port", &guest_port);
		if (strcmp(proto, "tcp") || guest_port != (int)nb->guest_port ||
		    rank(address) <= best)
			continue;
		best = rank(address);
		bool v6 = strchr(address, ':');
		snprintf(nb->url, sizeof(nb->url), "http://%s%.100s%s:%d/tree?token=%s",
			 best == 1 && v6 ? "[" : "", best > 1 ? "localhost" : address,
			 best == 1 && v6 ? "]" : "", host_port, nb->token);
	}
	return best;
}

static enum exit_status find_way(struct control_client *c, struct notebook *nb)
{
	json_t *ports = NULL;
	enum exit_status status = control_client_call(c, "ports", NULL, NULL, NULL, &ports);
	if (!status && !make_url(ports, nb)) {
		log_error("no port of this host leads to the notebook, which is on port %u in the "
			  "guest; add one: charmvm forward add %u:%u",
			  nb->guest_port, nb->guest_port, nb->guest_port);
		status = EXIT_STATUS_PORT;
	}
	json_decref(ports);
	return status;
}

/* ---- both ---- */

enum exit_status notebook_find(const char *vm, uint64_t time_s, struct notebook *nb)
{
	struct control_client c;
	enum exit_status status = find_server(vm, time_s, nb);
	if (status)
		return status;
	status = control_client_open(&c, vm);
	status = status ? status : find_way(&c, nb);
	control_client_close(&c);
	return status;
}

/* Its agent and an answer, or neither, with nothing logged. */
bool notebook_is_there(const struct record *r)
{
	struct control_client c;
	char said[SAID_MAX] = "";
	json_t *answer = NULL;
	struct agent_link *l = malloc(sizeof(*l));
	bool open = l && !control_client_connect(&c, r, LOOK_TIME_S * 1000);
	if (open && !control_client_ask(&c, "agent", NULL, NULL, NULL, &answer) &&
	    json_object_get(answer, "ok")) {
		agent_link_init(l, control_client_take(&c), LOOK_TIME_S);
		if (!agent_link_wait(l))
			ask_guest(l, is_there_one, said);
		close(l->fd);
	}
	if (open)
		control_client_close(&c);
	json_decref(answer);
	free(l);
	return !strcmp(said, "yes\n");
}
