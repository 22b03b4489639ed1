/* SPDX-License-Identifier: Apache-2.0 */
/* The list of what a guest is handed. */
#include "vmm/credentials.h"

#include <assert.h>
#include <stdio.h>

#include "vmm/backends.h"

static void add(struct credentials *c, const char *name, const char *value)
{
	assert(c->n < CREDENTIALS_MAX);
	c->v[c->n++] = (struct agent_credential){ name, value };
}

void credentials_of(const struct backends *hosts, struct credentials *out)
{
	*out = (struct credentials){ .n = 0 };
	add(out, "charmvm.hostname", hosts->record.name);
	if (hosts->ports.code) {
		snprintf(out->code, sizeof(out->code), "%02u", hosts->ports.code);
		add(out, "charmvm.code", out->code);
	}
	if (!hosts->have_keys)
		return;
	add(out, "charmvm.authorized_keys", hosts->keys.user_public);
	add(out, "charmvm.ssh_host_ed25519_key", hosts->keys.host_private);
	/* Throw-away machines from one snapshot have the same keys; a token each makes for itself. */
	if (!hosts->fork_base)
		add(out, "charmvm.notebook_token", hosts->keys.notebook_token);
}
