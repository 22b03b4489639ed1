/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's model-specific registers to and from the state tree. */
/*
 * How it works. They are those that KVM lists as needing to be kept, as pairs of index and value; one that cannot
 * be read is left out, and one that this host refuses is skipped.
 */
#include "vmm/x86/cpu_msrs.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/base/endian.h"
#include "vmm/base/log.h"

enum { MSRS_MAX = 1024, MSR_PAIR_BYTES = 12 };

static struct kvm_msrs *alloc_msrs(void)
{
	return calloc(1, sizeof(struct kvm_msrs) + MSRS_MAX * sizeof(struct kvm_msr_entry));
}

/* The MSRs that KVM says must be kept, by index. */
static int list_msrs(const struct kvm *kvm, struct kvm_msrs *msrs)
{
	struct kvm_msr_list *list = calloc(1, sizeof(*list) + MSRS_MAX * sizeof(list->indices[0]));
	if (!list)
		return -ENOMEM;
	list->nmsrs = MSRS_MAX;
	int err = ioctl(kvm->dev_fd, KVM_GET_MSR_INDEX_LIST, list) < 0 ? -errno : 0;
	if (!err) {
		msrs->nmsrs = list->nmsrs;
		for (uint32_t i = 0; i < list->nmsrs; i++)
			msrs->entries[i].index = list->indices[i];
	}
	free(list);
	return err;
}

static void drop_msr(struct kvm_msrs *msrs, uint32_t i)
{
	msrs->nmsrs--;
	memmove(msrs->entries + i, msrs->entries + i + 1,
		(msrs->nmsrs - i) * sizeof(msrs->entries[0]));
}

/* KVM stops at the first one that it cannot serve and tells how many went before: that one is left out. */
static int get_msrs(int fd, struct kvm_msrs *msrs)
{
	struct kvm_msrs *part = alloc_msrs();
	int n = part ? 0 : -ENOMEM;
	for (uint32_t done = 0; n >= 0 && done < msrs->nmsrs;) {
		part->nmsrs = msrs->nmsrs - done;
		memcpy(part->entries, msrs->entries + done, part->nmsrs * sizeof(part->entries[0]));
		n = ioctl(fd, KVM_GET_MSRS, part);
		if (n < 0) {
			n = -errno;
			break;
		}
		memcpy(msrs->entries + done, part->entries, (size_t)n * sizeof(part->entries[0]));
		done += (uint32_t)n;
		if (done < msrs->nmsrs)
			drop_msr(msrs, done);
	}
	free(part);
	return n < 0 ? n : 0;
}

int x86_msrs_save(const struct kvm *kvm, int fd, struct state_writer *w)
{
	struct kvm_msrs *msrs = alloc_msrs();
	uint8_t *pairs = malloc(MSRS_MAX * MSR_PAIR_BYTES);
	int err = msrs && pairs ? list_msrs(kvm, msrs) : -ENOMEM;
	err = err ? err : get_msrs(fd, msrs);
	for (uint32_t i = 0; !err && i < msrs->nmsrs; i++) {
		put_be32(pairs + i * MSR_PAIR_BYTES, msrs->entries[i].index);
		put_be64(pairs + i * MSR_PAIR_BYTES + 4, msrs->entries[i].data);
	}
	if (!err)
		state_put_bytes(w, "msrs", pairs, msrs->nmsrs * MSR_PAIR_BYTES);
	free(pairs);
	free(msrs);
	return err;
}

/* All of them in one call; one that this host refuses is skipped with a word in the debug log. */
static int set_msrs(int fd, struct kvm_msrs *msrs)
{
	while (msrs->nmsrs) {
		int n = ioctl(fd, KVM_SET_MSRS, msrs);
		if (n < 0)
			return -errno;
		if ((uint32_t)n == msrs->nmsrs)
			break;
		log_debug("MSR 0x%x cannot be set to 0x%llx here", msrs->entries[n].index,
			  (unsigned long long)msrs->entries[n].data);
		uint32_t skip = (uint32_t)n + 1;
		msrs->nmsrs -= skip;
		memmove(msrs->entries, msrs->entries + skip,
			msrs->nmsrs * sizeof(msrs->entries[0]));
	}
	return 0;
}

int x86_msrs_load(int fd, struct state_node n)
{
	const uint8_t *pairs;
	size_t bytes;
	int err = state_get_blob(n, "msrs", (const void **)&pairs, &bytes);
	if (err || bytes % MSR_PAIR_BYTES || bytes / MSR_PAIR_BYTES > MSRS_MAX)
		return err ? err : -EINVAL;
	struct kvm_msrs *msrs = alloc_msrs();
	if (!msrs)
		return -ENOMEM;
	msrs->nmsrs = (uint32_t)(bytes / MSR_PAIR_BYTES);
	for (uint32_t i = 0; i < msrs->nmsrs; i++, pairs += MSR_PAIR_BYTES)
		msrs->entries[i] = (struct kvm_msr_entry){ .index = get_be32(pairs),
							   .data = get_be64(pairs + 4) };
	err = set_msrs(fd, msrs);
	free(msrs);
	return err;
}
