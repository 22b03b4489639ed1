/* SPDX-License-Identifier: Apache-2.0 */
/* Running a machine in the foreground, once what it is to be is known. */
#ifndef VMM_RUN_H
#define VMM_RUN_H

struct machine_config;

/* Runs it until it ends. Raises the limit of descriptors, blocks signals: for a process that does nothing else. -> the
 * process's exit status. */
int run_machine_config(const struct machine_config *cfg);
/* The same in the background, in a session of its own. When it runs, its name is written to @ready_fd, which is closed. */
int run_machine_detached(const struct machine_config *cfg, int ready_fd);

#endif
