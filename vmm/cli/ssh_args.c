/* SPDX-License-Identifier: Apache-2.0 */
/* What OpenSSH's client is told of a machine. */
#include "vmm/cli/ssh_args.h"

#include <errno.h>
#include <stdio.h>

#include "vmm/base/log.h"
#include "vmm/login.h"

static void set(struct ssh_setting *s, const char *key, const char *value)
{
	s->key = key;
	snprintf(s->value, sizeof(s->value), "%s", value);
}

/* Quoted: a home directory may have blanks in its name. */
static void set_file(struct ssh_setting *s, const char *key, const char *path)
{
	s->key = key;
	snprintf(s->value, sizeof(s->value), "\"%s\"", path);
}

unsigned int ssh_settings(const struct record *r, const char *user,
			  struct ssh_setting out[SSH_SETTINGS_MAX])
{
	struct login l;
	unsigned int n = 0;
	bool box = !login_load(r->box, &l);
	set(&out[n++], "HostName", "127.0.0.1");
	out[n].key = "Port";
	snprintf(out[n++].value, SSH_VALUE_MAX, "%u", r->ssh_port);
	set(&out[n++], "User", user ? user : box ? l.user : "charm");
	if (box && *l.key && !l.replaced)
		set_file(&out[n++], "IdentityFile", l.key);
	set_file(&out[n++], "IdentityFile", r->user_key);
	set(&out[n++], "IdentitiesOnly", "yes");
	set_file(&out[n++], "UserKnownHostsFile", box ? l.known_hosts : r->known_hosts);
	set(&out[n++], "HostKeyAlias", "charmvm");
	/* The host key of an imported one was not made here: it is learned over loopback, and kept. */
	set(&out[n++], "StrictHostKeyChecking", box ? "accept-new" : "yes");
	if (box) /* its sshd may be too old for any other signature of an RSA key */
		set(&out[n++], "PubkeyAcceptedKeyTypes", "+ssh-rsa");
	set(&out[n++], "LogLevel", "ERROR");
	return n;
}

int ssh_check(const struct record *r)
{
	if (r->ssh_port)
		return 0;
	log_error("machine '%s' has no SSH port: it was started with --net none", r->name);
	return -ENOENT;
}
