/* SPDX-License-Identifier: Apache-2.0 */
/* metadata.json and Vagrantfile of a box. */
#include "vmm/import/box_meta.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/log.h"

static int refuse(const char *shown, const char *what, const char *value)
{
	log_error("%s: %s '%.64s'", shown, what, value);
	return -EINVAL;
}

static int check_format(const json_t *o, const char *shown)
{
	const char *format = json_string_value(json_object_get(o, "format"));
	if (!format || !strcmp(format, "qcow2"))
		return 0;
	return refuse(shown,
		      "a libvirt box has its disk in qcow2, and metadata.json of this one says",
		      format);
}

/* Version 2 has a list of them; version 1 has one, and it is called box.img. */
static int parse_disks(const json_t *o, const char *shown, struct box_metadata *m)
{
	const json_t *disks = json_object_get(o, "disks");
	const json_t *first = json_array_get(disks, 0);
	const char *path = json_string_value(json_object_get(first, "path"));
	size_t n = json_array_size(disks);
	int err = check_format(o, shown);
	err = err ? err : check_format(first, shown);
	if (err)
		return err;
	if (n && !path) {
		log_error("%s: metadata.json does not say which file its first disk is", shown);
		return -EINVAL;
	}
	if (path && strlen(path) > BOX_NAME_MAX)
		return refuse(shown, "metadata.json names a disk of a very long name,", path);
	m->more_disks = n > 1 ? (unsigned int)n - 1 : 0;
	snprintf(m->disk, sizeof(m->disk), "%s", path ? path : "box.img");
	return 0;
}

static int parse_provider(const json_t *o, const char *shown, struct box_metadata *m)
{
	const char *provider = json_string_value(json_object_get(o, "provider"));
	if (!provider) {
		log_error("%s: metadata.json names no provider: this is no box", shown);
		return -EINVAL;
	}
	if (!strcmp(provider, "libvirt")) {
		m->provider = BOX_LIBVIRT;
		return parse_disks(o, shown, m);
	}
	m->provider = BOX_VIRTUALBOX;
	if (!strcmp(provider, "virtualbox"))
		return 0;
	return refuse(shown,
		      "only boxes for libvirt and virtualbox can be imported; this one is for",
		      provider);
}

int box_metadata_parse(const char *text, const char *shown, struct box_metadata *m)
{
	json_error_t why;
	*m = (struct box_metadata){ 0 };
	json_t *o = json_loads(text, 0, &why);
	if (!json_is_object(o)) {
		log_error("%s: metadata.json is not a JSON object%s%s", shown, o ? "" : ": ",
			  o ? "" : why.text);
		json_decref(o);
		return -EINVAL;
	}
	int err = parse_provider(o, shown, m);
	json_decref(o);
	return err;
}

/* ---- the Vagrantfile ---- */

static const char *skip_blanks(const char *p)
{
	return p + strspn(p, " \t");
}

/* Is what stands before @p on its line, down to @text, part of a comment? */
static bool in_comment(const char *text, const char *p)
{
	while (p > text && p[-1] != '\n')
		if (*--p == '#')
			return true;
	return false;
}

bool vagrantfile_user(const char *text, char user[LOGIN_USER_MAX + 1])
{
	static const char key[] = ".ssh.username";
	for (const char *p = text; (p = strstr(p, key));) {
		const char *at = p;
		p = skip_blanks(p + strlen(key));
		if (*p != '=' || in_comment(text, at))
			continue;
		p = skip_blanks(p + 1);
		size_t n = *p == '"' || *p == '\'' ? strcspn(p + 1, "\"'\n") : 0;
		if (!n || n > LOGIN_USER_MAX || p[n + 1] != *p)
			continue;
		snprintf(user, LOGIN_USER_MAX + 1, "%.*s", (int)n, p + 1);
		return login_user_ok(user);
	}
	return false;
}
