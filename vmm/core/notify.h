/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doorbells: a guest's write to an address that signals an eventfd instead of an exit to us; real
 * (ioeventfd, vmm/kvm/kvm_irq.c) or fake (unit tests).
 */
#ifndef CORE_NOTIFY_H
#define CORE_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

struct notifier {
	/*
	 * Any write of @size bytes at MMIO address @gpa (with @match: of that value only) signals @fd.
	 * @size 0: writes of any length, which hardware serves fastest.
	 * on true adds, false removes. -> 0, -EEXIST, -ENOENT, -ENOSPC.
	 */
	int (*assign)(struct notifier *n, uint64_t gpa, unsigned int size, const uint64_t *match,
		      int fd, bool on);
};

#endif
