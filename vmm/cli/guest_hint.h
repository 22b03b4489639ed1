/* SPDX-License-Identifier: Apache-2.0 */
/* Why a guest does not come up, as far as that can be seen from outside. */
#ifndef VMM_GUEST_HINT_H
#define VMM_GUEST_HINT_H

struct record;

/* For the end of a message that SSH does not answer: where nothing in the guest drives its disk, that it is so and what to do
 * about it, else "". Asks the machine, 10 s at the most. */
const char *guest_disk_hint(const struct record *r);

#endif
