/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm doctor: can this host run machines, and if not, what is to be done? */
#include <stdio.h>

#include "vmm/base/checked.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/doctor.h"
#include "vmm/exit_status.h"

const struct doctor_check doctor_checks[] = {
	{ "processor", doctor_cpu },	 { "modules", doctor_modules },
	{ "kvm", doctor_kvm },		 { "conflicts", doctor_conflicts },
	{ "memory", doctor_memory },	 { "disk", doctor_disk },
	{ "programs", doctor_programs }, { "directories", doctor_directories },
};
const size_t doctor_nchecks = ARRAY_SIZE(doctor_checks);

static const char *const verdicts[] = { "ok", "warning", "failed" };

static const struct option_spec options[] = { VM_OPTION_JSON };

static const struct command_spec command = {
	.usage = "charmvm doctor [--json]",
	.about =
		"Looks whether this host can run machines, and says of what is wrong how to mend "
		"it.\nStatus: 0 it can, 5 it cannot for want of KVM, 1 for want of something else.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
};

static json_t *as_json(const struct doctor_check *c, const struct doctor_finding *f)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "check", c->name, "verdict", verdicts[f->verdict],
			 "found", f->found, "fix", f->fix);
}

static void print(const struct doctor_check *c, const struct doctor_finding *f)
{
	printf("%-8s %-12s %s\n", verdicts[f->verdict], c->name, f->found);
	if (*f->fix)
		printf("%22s-> %s\n", "", f->fix);
}

int cmd_doctor(int argc, char **argv)
{
	const struct doctor_host here = { .root = "" };
	struct vm_args a = { 0 };
	int status = EXIT_STATUS_OK, over;
	if (!vm_parse(&command, &a, argc, argv, &over))
		return over;
	json_t *all = json_array();
	for (size_t i = 0; i < doctor_nchecks; i++) {
		const struct doctor_check *c = &doctor_checks[i];
		struct doctor_finding f = { 0 };
		c->look(&here, &f);
		bool of_kvm =
			c->look == doctor_cpu || c->look == doctor_modules || c->look == doctor_kvm;
		if (f.verdict == DOCTOR_FAIL && status != EXIT_STATUS_KVM)
			status = of_kvm ? EXIT_STATUS_KVM : EXIT_STATUS_FAILED;
		json_array_append_new(all, as_json(c, &f));
		if (!a.json)
			print(c, &f);
	}
	if (a.json)
		vm_print_json(all);
	else
		json_decref(all);
	return status;
}
