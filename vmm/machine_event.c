/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to a machine is told to who listens. */
#include "vmm/machine_event.h"

#include "vmm/machine_priv.h"

void machine_listen(struct machine *m, struct machine_listener *l)
{
	list_add_tail(&m->listeners, &l->link);
}

void machine_unlisten(struct machine_listener *l)
{
	list_del(&l->link);
}

void machine_tell(struct machine *m, const char *event, const char *of)
{
	const struct list *pos;
	list_for_each (pos, &m->listeners) {
		const struct machine_listener *l = list_entry(pos, struct machine_listener, link);
		l->hear(l->opaque, event, of);
	}
}
