/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that change the run state: pause, resume, reset, stop. */
#include "vmm/control/control_verbs.h"
#include "vmm/machine.h"

/* Answered first: after the machine's end nobody would. */
void verb_stop(struct control_call *call, const json_t *request)
{
	struct machine *m = control_machine(call);
	bool now = control_arg_bool(request, "now", false);
	control_ok(call, NULL);
	if (now)
		machine_quit(m, EXIT_STATUS_OK);
	else
		machine_power_button(m);
}

void verb_pause(struct control_call *call, const json_t *request)
{
	(void)request;
	machine_pause(control_machine(call));
	control_ok(call, NULL);
}

void verb_resume(struct control_call *call, const json_t *request)
{
	(void)request;
	machine_resume(control_machine(call));
	control_ok(call, NULL);
}

void verb_reset(struct control_call *call, const json_t *request)
{
	struct machine *m = control_machine(call);
	(void)request;
	control_ok(call, NULL);
	machine_reset(m);
}

void verb_reboot(struct control_call *call, const json_t *request)
{
	(void)request;
	machine_reboot(control_machine(call));
	control_ok(call, NULL);
}
