/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs forward-add and forward-remove. */
#include <errno.h>
#include <string.h>

#include "vmm/backends.h"
#include "vmm/control/control_verbs.h"

static bool read_spec(struct control_call *call, const json_t *request, struct forward_spec *spec)
{
	const char *text = control_arg_str(request, "spec"), *why = "a spec is wanted";
	if (text && !forward_read(text, spec, &why))
		return true;
	control_fail(call, EXIT_STATUS_USAGE,
		     "forward '%.100s': %s; expected [tcp|udp:][addr:]port:guestport",
		     text ? text : "", why);
	return false;
}

static void answer(struct control_call *call, const struct forward_spec *spec, int err)
{
	char why[FORWARD_WHY];
	switch (err) {
	case 0: control_ok(call, NULL); return;
	case -ENOENT:
		control_fail(call, EXIT_STATUS_PORT,
			     "no forward has %s port %u of this host ('charmvm ports' lists them)",
			     spec->udp ? "udp" : "tcp", spec->host_port);
		return;
	case -ENOTSUP:
		if (control_hosts(call)->net)
			control_fail(
				call, EXIT_STATUS_PORT,
				"a udp forward can be added only to a machine that was started "
				"with one (--forward) or with --host-loopback");
		else
			control_fail(call, EXIT_STATUS_PORT,
				     "it has no network (--net none); start it with one");
		return;
	case -ENOSPC:
		control_fail(call, EXIT_STATUS_PORT, "it has too many forwards; remove one first");
		return;
	default:
		forward_explain(spec, err, why);
		control_fail(call, EXIT_STATUS_PORT, "forward %s", why);
	}
}

void verb_forward_add(struct control_call *call, const json_t *request)
{
	struct forward_spec spec;
	if (read_spec(call, request, &spec))
		answer(call, &spec, backends_add_forward(control_hosts(call), &spec));
}

void verb_forward_remove(struct control_call *call, const json_t *request)
{
	json_int_t port = control_arg_int(request, "port", 0);
	struct forward_spec spec = { .udp = control_arg_bool(request, "udp", false),
				     .host_port = (uint16_t)port };
	if (port < 1 || port > UINT16_MAX)
		control_fail(call, EXIT_STATUS_USAGE, "a port is a number from 1 to 65535");
	else
		answer(call, &spec,
		       backends_remove_forward(control_hosts(call), spec.udp, spec.host_port));
}
