/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: what the guest sees, and its run state.
 *
 *   machine_create -> (stopped) -- machine_run() --> running --+-- power off, quit, died --> (stopped)
 *                                     ^   ^                    |
 *                                     |   +---- reset, boot <--+  the guest's reboot or triple fault
 *                                     +-- tasks: save, revert <+  snapshot.h
 *
 * machine_run() runs the event loop. To change the run state, whoever wants it notes it and stops the loop; the
 * change is made between two runs of the loop, on its thread, with the vCPUs paused and every device
 * quiet. So nothing that takes part in it can be in the middle of something else.
 *
 * Lock order: device, bus table, loop. The machine has no lock of its own: what other threads may ask
 * of it is one atomic word.
 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include <stdbool.h>

#include "vmm/exit_status.h"

struct backends;
struct machine;
struct machine_config;

/*
 * Makes a stopped machine on @hosts, which outlives it, and loads what it boots. -> EXIT_STATUS_OK, or what the
 * process is to end with; one line was logged.
 */
enum exit_status machine_create(const struct machine_config *cfg, struct backends *hosts,
				struct machine **out);
/* Stopped. NULL is fine. */
void machine_destroy(struct machine *m);

/* Runs it until it ends. -> EXIT_STATUS_OK (powered off, or stopped on request), _GUEST_DIED, _FAILED, or
 * the status that machine_quit() gave. Devices are quiet and vCPUs paused on return. */
enum exit_status machine_run(struct machine *m);

/* Holds the guest still, and lets it go on. A reset or a power button meanwhile is served after. Loop thread. */
void machine_pause(struct machine *m);
void machine_resume(struct machine *m);
bool machine_paused(const struct machine *m);

/* As if somebody pressed the power button: a guest that listens shuts down. Loop thread. */
void machine_power_button(struct machine *m);
/* The same, but when it has shut down it boots again, in this process. Another press undoes that. Loop thread. */
void machine_reboot(struct machine *m);
/* How often the guest has begun anew since the process did. Loop thread. */
unsigned int machine_resets(const struct machine *m);
/* Does the guest drive any of its disks? True where there is none. A kernel without virtio_blk does not. Loop thread. */
bool machine_disk_has_driver(const struct machine *m);
/* The id of the snapshot that its memory and disk come from: the last one that was saved, reverted to or started from.
 * "": none. Loop thread; valid until the loop's next turn. */
const char *machine_snapshot_id(const struct machine *m);
/* As if the reset button was pressed. Any thread. */
void machine_reset(struct machine *m);
/* Ends machine_run() with @status, whatever the guest does. Any thread. */
void machine_quit(struct machine *m, enum exit_status status);

#endif
