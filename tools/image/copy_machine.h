/* SPDX-License-Identifier: Apache-2.0 */
/* Copying a snapshot with its machine (the VM state) from one qcow2 image into another. */
#ifndef TOOLS_IMAGE_COPY_MACHINE_H
#define TOOLS_IMAGE_COPY_MACHINE_H

#include <stdbool.h>

struct blk_node;

/*
 * Makes a snapshot in @to that is the one called @name (or with that id) in @from: its name, or @as where that is not NULL, date and VM state, and for its disk
 * what @to has now. Both are qcow2, on one loop that does not run, with clusters of one size: a machine's memory is mapped
 * cluster by cluster. A bar on a terminal, or with @asked; none with @quiet. -> 0; -EINTR (output_interrupted()); or -errno after
 * a message.
 */
int image_copy_machine(struct blk_node *from, const char *name, const char *as, struct blk_node *to,
		       bool asked, bool quiet);

#endif
