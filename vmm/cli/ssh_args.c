/* SPDX-License-Identifier: Apache-2.0 */
/* What OpenSSH's client is told of a machine. */
#include "vmm/cli/ssh_args.h"

#include <errno.h>
#include <stdio.h>

#include "vmm/base/log.h"

static void set(struct ssh_setting *s, const char *key, const char *value)
{
	s->key = key;
	snprintf(s->value, sizeof(s->value), "%s", value);
}

void ssh_settings(const struct record *r, const char *user, struct ssh_setting out[SSH_SETTINGS])
{
	unsigned int n = 0;
	set(&out[n++], "HostName", "127.0.0.1");
	out[n].key = "Port";
	snprintf(out[n++].value, SSH_VALUE_MAX, "%u", r->ssh_port);
	set(&out[n++], "User", user);
	/* Quoted: a home directory may have blanks in its name. */
	out[n].key = "IdentityFile";
	snprintf(out[n++].value, SSH_VALUE_MAX, "\"%s\"", r->user_key);
	set(&out[n++], "IdentitiesOnly", "yes");
	out[n].key = "UserKnownHostsFile";
	snprintf(out[n++].value, SSH_VALUE_MAX, "\"%s\"", r->known_hosts);
	set(&out[n++], "HostKeyAlias", "charmvm");
	set(&out[n++], "StrictHostKeyChecking", "yes");
	set(&out[n++], "LogLevel", "ERROR");
}

int ssh_check(const struct record *r)
{
	if (r->ssh_port)
		return 0;
	log_error("machine '%s' has no SSH port: it was started with --net none", r->name);
	return -ENOENT;
}
