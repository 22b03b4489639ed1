/* SPDX-License-Identifier: Apache-2.0 */
/* All verbs of the control socket, in one table; charmvm-protocol(7) has one entry for each. */
#ifndef VMM_CONTROL_VERBS_H
#define VMM_CONTROL_VERBS_H

#include <stddef.h>

#include "vmm/control/control.h"

extern const struct control_verb control_verbs[];
extern const size_t control_nverbs;

/* control_verbs_status.c */
void verb_status(struct control_call *call, const json_t *request);
void verb_ports(struct control_call *call, const json_t *request);

/* control_verbs_forward.c */
void verb_forward_add(struct control_call *call, const json_t *request);
void verb_forward_remove(struct control_call *call, const json_t *request);

/* control_verbs_agent.c */
void verb_agent(struct control_call *call, const json_t *request);

/* control_verbs_console.c */
void verb_console(struct control_call *call, const json_t *request);

/* control_verbs_event.c */
void verb_events(struct control_call *call, const json_t *request);

/* control_verbs_run.c */
void verb_stop(struct control_call *call, const json_t *request);
void verb_pause(struct control_call *call, const json_t *request);
void verb_resume(struct control_call *call, const json_t *request);
void verb_reboot(struct control_call *call, const json_t *request);
void verb_reset(struct control_call *call, const json_t *request);

/* control_verbs_snapshot.c */
void verb_snapshot_delete(struct control_call *call, const json_t *request);
void verb_snapshot_list(struct control_call *call, const json_t *request);
void verb_snapshot_rename(struct control_call *call, const json_t *request);
void verb_snapshot_revert(struct control_call *call, const json_t *request);
void verb_snapshot_save(struct control_call *call, const json_t *request);
void verb_suspend(struct control_call *call, const json_t *request);

#endif
