/* SPDX-License-Identifier: Apache-2.0 */
/* What a running machine can be asked for. */
#include "vmm/control/control_verbs.h"

#include "vmm/base/checked.h"

const struct control_verb control_verbs[] = {
	{ "agent", verb_agent },
	{ "console", verb_console },
	{ "events", verb_events },
	{ "forward-add", verb_forward_add },
	{ "forward-remove", verb_forward_remove },
	{ "pause", verb_pause },
	{ "ports", verb_ports },
	{ "reboot", verb_reboot },
	{ "reset", verb_reset },
	{ "resume", verb_resume },
	{ "snapshot-delete", verb_snapshot_delete },
	{ "snapshot-list", verb_snapshot_list },
	{ "snapshot-rename", verb_snapshot_rename },
	{ "snapshot-revert", verb_snapshot_revert },
	{ "snapshot-save", verb_snapshot_save },
	{ "status", verb_status },
	{ "stop", verb_stop },
	{ "suspend", verb_suspend },
};

const size_t control_nverbs = ARRAY_SIZE(control_verbs);
