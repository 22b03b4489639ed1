/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image that was built with --ready: its snapshot READY_NAME is a machine that has booted and is nobody's. The first start
 * of the image goes on there, instead of a boot, with what makes a machine somebody's handed in by the agent (credentials.h), and is
 * the machine from then on: its disk is not the snapshot's any more, so later starts boot it, or go on from where it was suspended.
 *
 * It is a faster boot and nothing else, so whatever it would do otherwise than a boot is a reason to boot.
 */
#ifndef VMM_READY_H
#define VMM_READY_H

#define READY_NAME "ready"

struct backends;
struct machine_config;

/*
 * Sets cfg->from and hosts->ready where the machine's image is ready and the machine as it is configured can be that one; else says
 * why not, in one line. After backends_open(), suspend_find() and image_wishes_apply(); no loop runs.
 */
void ready_find(struct machine_config *cfg, struct backends *hosts);

/* It was started from there: says so to those who want to hear it. */
void ready_started(const struct backends *hosts);

/* This host cannot go on from it: says so, and that it is booted. */
void ready_refuse(struct backends *hosts, const char *why);

/* It could not be started from it, and nothing has run: what is configured is a boot. */
void ready_give_up(struct machine_config *cfg, struct backends *hosts);

#endif
