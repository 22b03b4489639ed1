/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Suspending: a snapshot called SUSPEND_NAME, after which the machine ends. A start of the image resumes from it as long as
 * its disk is what it was then: whatever wrote to it since has made that memory worthless, and a boot is right.
 */
#ifndef VMM_SUSPEND_H
#define VMM_SUSPEND_H

#define SUSPEND_NAME "suspended"
#define SUSPEND_OLD_NAME                                                                           \
	"suspended before" /* while its successor is saved, so that there is always one */

struct backends;
struct machine_config;

/* Sets cfg->from where the machine's image is a suspended one, and says so. After backends_open(), no loop runs. */
void suspend_find(struct machine_config *cfg, const struct backends *hosts);

#endif
