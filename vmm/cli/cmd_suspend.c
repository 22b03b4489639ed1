/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm suspend: saves a running machine into its image and ends it; the next start goes on there. */
/*
 * How it works. The suspended state of the last time, if there is one, gets another name, and is deleted when the new one is
 * whole and the machine has ended: its memory may still be that state's. So there is always one.
 */
#include <stdlib.h>
#include <string.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_snapshot.h"
#include "vmm/cli/cmd_stop.h"
#include "vmm/cli/commands.h"
#include "vmm/control/control_client.h"
#include "vmm/snapshot/snapshot_table.h"
#include "vmm/snapshot/suspend.h"

enum { END_TIME_S = 60 };

static enum exit_status rename_snapshot(struct control_client *c, const char *from, const char *to)
{
	return control_client_call(c, "snapshot-rename",
				   json_pack("{s:s, s:s}", "name", from, "to", to), NULL, NULL,
				   NULL);
}

/* Makes room for the new one. *renamed: the last one is out of the way. */
static enum exit_status make_room(struct control_client *c, bool *renamed)
{
	json_t *o = NULL;
	enum exit_status status = control_client_call(c, "snapshot-list", NULL, NULL, NULL, &o);
	const json_t *table = json_object_get(o, "snapshots");
	bool is = snapshot_table_find(table, SUSPEND_NAME);
	bool was = snapshot_table_find(table, SUSPEND_OLD_NAME);
	json_decref(o);
	if (!status && is && was) /* left by one that was killed */
		status = control_client_call(c, "snapshot-delete",
					     json_pack("{s:s}", "name", SUSPEND_OLD_NAME), NULL,
					     NULL, NULL);
	if (!status && is)
		status = rename_snapshot(c, SUSPEND_NAME, SUSPEND_OLD_NAME);
	*renamed = !status && (is || was);
	return status;
}

/* The image's name; NULL: it could not be told. */
static char *image_of(struct control_client *c)
{
	json_t *o = NULL;
	const char *image = NULL;
	if (!control_client_call(c, "status", NULL, NULL, NULL, &o))
		image = json_string_value(json_object_get(o, "image"));
	char *copy = image ? strdup(image) : NULL;
	json_decref(o);
	return copy;
}

static enum exit_status suspend(struct control_client *c, const char *image)
{
	bool renamed = false;
	enum exit_status status = make_room(c, &renamed);
	if (status)
		return status;
	status = control_client_call(c, "suspend", NULL, NULL, NULL, NULL);
	if (status) {
		if (renamed)
			rename_snapshot(c, SUSPEND_OLD_NAME, SUSPEND_NAME);
		return status;
	}
	if (!stop_has_ended(&c->record, END_TIME_S)) {
		log_error("machine '%s' is saved, but its process %lld does not end",
			  c->record.name, (long long)c->record.pid);
		return EXIT_STATUS_FAILED;
	}
	const struct snapshot_args a = { .image = image };
	return renamed ? snapshot_offline_change(&a, "delete", SUSPEND_OLD_NAME, NULL)
		       : EXIT_STATUS_OK;
}

int cmd_suspend(int argc, char **argv)
{
	static const struct command_spec command = {
		.usage = "charmvm suspend [VM]",
		.about = "Saves a running machine, memory and all, into its image and ends it. The "
			 "next "
			 "start of the image goes on there; --cold boots it instead.",
		.operand = vm_operand,
	};
	struct vm_args a = { 0 };
	struct control_client c;
	int over;
	if (!vm_parse(&command, &a, argc, argv, &over))
		return over;
	enum exit_status status = control_client_open(&c, a.name);
	if (status)
		return status;
	char *image = image_of(&c);
	status = image ? suspend(&c, image) : EXIT_STATUS_FAILED;
	free(image);
	control_client_close(&c);
	return status;
}
