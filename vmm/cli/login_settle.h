/* SPDX-License-Identifier: Apache-2.0 */
/* An imported machine that answers for the first time: its own key, which others have, is replaced by the user's. */
#ifndef VMM_LOGIN_SETTLE_H
#define VMM_LOGIN_SETTLE_H

#include "vmm/record.h"

/*
 * Where @r is a machine with a key of its box that is still trusted in it (login.h): logs in with it, puts the user's key
 * beside it, logs in with that, takes the box's away, and says so. If any of it does not work, a warning says so, everything is
 * as it was or both keys are trusted, and it is tried again the next time. Blocks for three minutes at the most.
 */
void login_settle(const struct record *r);

#endif
