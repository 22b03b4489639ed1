/* SPDX-License-Identifier: Apache-2.0 */
/* The property "msrs" of a vCPU's node: {index u32, value u64} pairs, big-endian. A paused vCPU, any thread. */
#ifndef X86_CPU_MSRS_H
#define X86_CPU_MSRS_H

#include "vmm/core/state.h"
#include "vmm/kvm/vcpu.h"

/* -> 0 or -errno. */
int x86_msrs_save(const struct kvm *kvm, int vcpu_fd, struct state_writer *w);
/* -> 0, -EINVAL or -ENOENT (damaged), or -errno. */
int x86_msrs_load(int vcpu_fd, struct state_node n);

#endif
