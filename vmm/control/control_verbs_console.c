/* SPDX-License-Identifier: Apache-2.0 */
/* The verb that leads to the console: the connection becomes one of those at its other end. */
#include "devices/chardev/chardev.h"
#include "vmm/backends.h"
#include "vmm/control/control_verbs.h"

void verb_console(struct control_call *call, const json_t *request)
{
	const struct backends *b = control_hosts(call);
	const struct chardev_join how = {
		.watch = control_arg_bool(request, "watch", false),
		.force = control_arg_bool(request, "force", false),
		.no_history = !control_arg_bool(request, "history", true),
	};
	if (how.watch && how.force) {
		control_fail(call, EXIT_STATUS_USAGE,
			     "to watch and to take over at once cannot be; choose one");
		return;
	}
	if (!chardev_is_shared(b->console)) {
		control_fail(call, EXIT_STATUS_FAILED,
			     "machine '%s': its console is elsewhere (%s); start it with --detach "
			     "or --console socket:PATH",
			     b->record.name, b->console_spec);
		return;
	}
	int fd = control_take(call, NULL);
	if (fd >= 0)
		chardev_join(b->console, fd, &how); /* who cannot is told there */
}
