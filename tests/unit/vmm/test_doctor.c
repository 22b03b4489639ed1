/* SPDX-License-Identifier: Apache-2.0 */
/* What charmvm doctor says of hosts that are put together here. */
#include "vmm/cli/doctor.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test.h"

static char root[64];

static void make_dirs(const char *path)
{
	char at[160];
	snprintf(at, sizeof(at), "mkdir -p '%s%s'", root, path);
	CHECK_EQ(system(at), 0);
}

/* A host with these processor flags. */
static struct doctor_host host_with(const char *flags)
{
	char at[160];
	snprintf(root, sizeof(root), "/tmp/charmvm-test.XXXXXX");
	CHECK(mkdtemp(root) != NULL);
	make_dirs("/proc");
	make_dirs("/sys/module");
	make_dirs("/dev");
	snprintf(at, sizeof(at), "%s/proc/cpuinfo", root);
	FILE *f = fopen(at, "w");
	CHECK(f != NULL);
	fprintf(f, "processor\t: 0\nflags\t\t: fpu %s\n", flags);
	fclose(f);
	return (struct doctor_host){ .root = root };
}

static void remove_host(void)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	CHECK_EQ(system(command), 0);
}

TEST(processor_flags_are_words)
{
	struct doctor_host h = host_with("svm_lock vmx");
	struct doctor_finding f = { 0 };
	doctor_cpu(&h, &f);
	CHECK_EQ(f.verdict, DOCTOR_OK);
	CHECK(strstr(f.found, "vmx") != NULL);
	remove_host();
	h = host_with("svm_lock xvmx");
	f = (struct doctor_finding){ 0 };
	doctor_cpu(&h, &f);
	CHECK_EQ(f.verdict, DOCTOR_FAIL);
	CHECK(strstr(f.fix, "BIOS") != NULL);
	remove_host();
}

TEST(guest_of_another_hypervisor_is_told_of_nesting)
{
	struct doctor_host h = host_with("hypervisor");
	struct doctor_finding f = { 0 };
	doctor_cpu(&h, &f);
	CHECK_EQ(f.verdict, DOCTOR_FAIL);
	CHECK(strstr(f.fix, "nested") != NULL);
	remove_host();
}

TEST(module_that_is_missing_is_the_one_of_the_processor)
{
	struct doctor_host h = host_with("svm");
	struct doctor_finding f = { 0 };
	doctor_modules(&h, &f);
	CHECK_EQ(f.verdict, DOCTOR_FAIL);
	CHECK(strstr(f.fix, "modprobe kvm_amd") != NULL);
	make_dirs("/sys/module/kvm_amd");
	f = (struct doctor_finding){ 0 };
	doctor_modules(&h, &f);
	CHECK_EQ(f.verdict, DOCTOR_OK);
	CHECK_STR(f.fix, "");
	make_dirs("/sys/module/kvm_pvm");
	f = (struct doctor_finding){ 0 };
	doctor_modules(&h, &f);
	CHECK_EQ(f.verdict, DOCTOR_FAIL);
	remove_host();
}

TEST(missing_kvm_device_is_told_with_a_fix)
{
	struct doctor_host h = host_with("vmx");
	struct doctor_finding f = { 0 };
	doctor_kvm(&h, &f);
	CHECK_EQ(f.verdict, DOCTOR_FAIL);
	CHECK(strstr(f.found, "no /dev/kvm") != NULL);
	CHECK(*f.fix);
	remove_host();
}

TEST(file_that_is_no_kvm_is_not_taken_for_one)
{
	struct doctor_host h = host_with("vmx");
	struct doctor_finding f = { 0 };
	char at[160];
	snprintf(at, sizeof(at), "%s/dev/kvm", root);
	fclose(fopen(at, "w"));
	doctor_kvm(&h, &f);
	CHECK_EQ(f.verdict, DOCTOR_FAIL);
	remove_host();
}

TEST(other_hypervisor_is_a_warning_and_named)
{
	struct doctor_host h = host_with("vmx");
	struct doctor_finding f = { 0 };
	doctor_conflicts(&h, &f);
	CHECK_EQ(f.verdict, DOCTOR_OK);
	make_dirs("/sys/module/vboxdrv");
	doctor_conflicts(&h, &f);
	CHECK_EQ(f.verdict, DOCTOR_WARN);
	CHECK(strstr(f.fix, "VirtualBox") != NULL);
	remove_host();
}

TEST(little_memory_is_a_warning)
{
	struct doctor_host h = host_with("vmx");
	struct doctor_finding f = { 0 };
	char at[160];
	snprintf(at, sizeof(at), "%s/proc/meminfo", root);
	FILE *file = fopen(at, "w");
	CHECK(file != NULL);
	fputs("MemTotal: 8000000 kB\nMemAvailable:  100000 kB\n", file);
	fclose(file);
	doctor_memory(&h, &f);
	CHECK_EQ(f.verdict, DOCTOR_WARN);
	CHECK(strstr(f.fix, "--mem") != NULL);
	remove_host();
}

TEST_MAIN(T(processor_flags_are_words), T(guest_of_another_hypervisor_is_told_of_nesting),
	  T(module_that_is_missing_is_the_one_of_the_processor),
	  T(missing_kvm_device_is_told_with_a_fix), T(file_that_is_no_kvm_is_not_taken_for_one),
	  T(other_hypervisor_is_a_warning_and_named), T(little_memory_is_a_warning))
