/* SPDX-License-Identifier: Apache-2.0 */
/* The verb events: news of the machine, each as a line of progress, until the client hangs up or the machine ends. */
#include <stdlib.h>
#include <time.h>

#include "vmm/control/control_verbs.h"
#include "vmm/machine_event.h"

struct audience {
	struct machine_listener listener;
	struct control_call *call;
};

static void hear(void *opaque, const char *event, const char *of)
{
	const struct audience *a = opaque;
	json_t *o = json_pack("{s:s, s:I}", "event", event, "time", (json_int_t)time(NULL));
	if (o && of)
		json_object_set_new(o, "of", json_string(of));
	if (o)
		control_progress(a->call, o);
}

static void gone(void *opaque)
{
	struct audience *a = opaque;
	machine_unlisten(&a->listener);
	free(a);
}

void verb_events(struct control_call *call, const json_t *request)
{
	struct audience *a = calloc(1, sizeof(*a));
	(void)request;
	if (!a) {
		control_fail(call, EXIT_STATUS_FAILED, "out of memory");
		return;
	}
	*a = (struct audience){ .listener = { .hear = hear, .opaque = a }, .call = call };
	control_on_gone(call, gone, a);
	machine_listen(control_machine(call), &a->listener);
	/* So that the client knows from when on it misses nothing. */
	hear(a, "listening", NULL);
}
