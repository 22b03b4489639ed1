/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm snapshot on a running machine: through its control socket. */
#include <stdio.h>
#include <string.h>

#include "vmm/base/log.h"
#include "vmm/cli/cmd_snapshot.h"
#include "vmm/control/control_client.h"

static enum exit_status call(const struct snapshot_args *a, const char *verb, json_t *args,
			     json_t **result)
{
	struct control_client c;
	enum exit_status status = control_client_open(&c, a->vm.name);
	if (status == EXIT_STATUS_NO_MACHINE)
		log_info("of a machine that does not run: --image FILE");
	if (status)
		json_decref(args);
	else
		status = control_client_call(&c, verb, args, NULL, NULL, result);
	control_client_close(&c);
	return status;
}

enum exit_status snapshot_online_list(const struct snapshot_args *a, json_t **table)
{
	json_t *o = NULL;
	enum exit_status status = call(a, "snapshot-list", NULL, &o);
	if (!status)
		*table = json_incref(json_object_get(o, "snapshots"));
	json_decref(o);
	return status;
}

enum exit_status snapshot_online_change(const struct snapshot_args *a, const char *verb,
					const char *name, const char *to)
{
	char full[32];
	json_t *args = json_pack("{s:s, s:s*, s:s*}", "name", name, "note", a->note, "to", to);
	if (!args) {
		log_error("snapshot '%s': names and notes are UTF-8", name);
		return EXIT_STATUS_USAGE;
	}
	snprintf(full, sizeof(full), "snapshot-%s", verb);
	return call(a, full, args, NULL);
}

static char *path_in(const json_t *o, const char *key)
{
	const char *path = json_string_value(json_object_get(o, key));
	return path && *path ? strdup(path) : NULL;
}

enum exit_status snapshot_online_files(const struct snapshot_args *a, char **image, char **cdrom)
{
	json_t *o = NULL;
	enum exit_status status = call(a, "status", NULL, &o);
	*image = path_in(o, "image");
	if (cdrom)
		*cdrom = path_in(o, "cdrom");
	json_decref(o);
	if (status || *image)
		return status;
	log_error("the machine has no image, and so no snapshots");
	return EXIT_STATUS_FILE;
}
