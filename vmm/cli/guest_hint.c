/* SPDX-License-Identifier: Apache-2.0 */
/* Hints to what is wrong in a guest. */
#include "vmm/cli/guest_hint.h"

#include "vmm/control/control_client.h"

enum { ANSWER_TIMEOUT_MS = 10000 };

const char *guest_disk_hint(const struct record *r)
{
	struct control_client c = { 0 };
	json_t *answer = NULL;
	int err = control_client_connect(&c, r, ANSWER_TIMEOUT_MS);
	err = err ? err : control_client_ask(&c, "status", NULL, NULL, NULL, &answer);
	json_t *driver = json_object_get(json_object_get(answer, "ok"), "disk_driver");
	bool none = !err && json_is_false(driver);
	json_decref(answer);
	control_client_close(&c);
	return none ? ", and nothing in the guest drives its disk: its kernel, or its initrd, "
		      "needs "
		      "virtio_pci and virtio_blk"
		    : "";
}
