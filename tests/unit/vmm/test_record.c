/* SPDX-License-Identifier: Apache-2.0 */
/* Records of running machines, and the keys that go with them. */
#include "vmm/record.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "vmm/keys.h"
#include "vmm/paths.h"

static char dir[64];

static void in_new_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/charmvm-test.XXXXXX");
	CHECK(mkdtemp(dir) != NULL);
	setenv("XDG_RUNTIME_DIR", dir, 1);
	setenv("XDG_DATA_HOME", dir, 1);
}

static void remove_dir(void)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	CHECK_EQ(system(command), 0);
}

/* Says things about standard error that are expected. */
static void quietly(bool on)
{
	static int saved = -1;
	if (on) {
		saved = dup(STDERR_FILENO);
		int null = open("/dev/null", O_WRONLY);
		dup2(null, STDERR_FILENO);
		close(null);
	} else {
		dup2(saved, STDERR_FILENO);
		close(saved);
	}
}

TEST(published_record_is_found_by_name_and_as_the_only_one)
{
	struct record r, found;
	in_new_dir();
	CHECK_EQ(record_claim(&r, "charmed311", false), 0);
	r.ssh_port = 2211;
	snprintf(r.user_key, sizeof(r.user_key), "/k");
	CHECK_EQ(record_publish(&r), 0);
	CHECK_EQ(record_find(&found, "charmed311"), 0);
	CHECK_EQ(found.ssh_port, 2211);
	CHECK_EQ(found.pid, getpid());
	CHECK_EQ(record_find(&found, NULL), 0);
	CHECK_STR(found.user_key, "/k");
	record_release(&r);
	quietly(true);
	int gone = record_find(&found, "charmed311");
	quietly(false);
	CHECK_EQ(gone, -ENOENT);
	remove_dir();
}

TEST(second_machine_gets_the_next_name_unless_it_was_asked_for)
{
	struct record a, b, c;
	in_new_dir();
	CHECK_EQ(record_claim(&a, "m", false), 0);
	CHECK_EQ(record_claim(&b, "m", false), 0);
	CHECK_STR(b.name, "m-2");
	quietly(true);
	int exact = record_claim(&c, "m", true);
	quietly(false);
	CHECK_EQ(exact, -EEXIST);
	record_release(&a);
	record_release(&b);
	remove_dir();
}

TEST(record_left_by_a_killed_machine_does_not_count)
{
	struct record r, found;
	in_new_dir();
	CHECK_EQ(record_claim(&r, "dead", false), 0);
	CHECK_EQ(record_publish(&r), 0);
	close(r.fd); /* as the kernel does it for a killed process: the lock goes, the file stays */
	quietly(true);
	int err = record_find(&found, "dead");
	quietly(false);
	CHECK_EQ(err, -ENOENT);
	CHECK_EQ(record_claim(&r, "dead", true), 0);
	record_release(&r);
	remove_dir();
}

TEST(of_several_machines_one_must_be_named)
{
	struct record a, b, found;
	in_new_dir();
	CHECK_EQ(record_claim(&a, "a", true), 0);
	CHECK_EQ(record_claim(&b, "b", true), 0);
	CHECK_EQ(record_publish(&a), 0);
	CHECK_EQ(record_publish(&b), 0);
	quietly(true);
	int err = record_find(&found, NULL);
	quietly(false);
	CHECK_EQ(err, -EINVAL);
	record_release(&a);
	record_release(&b);
	remove_dir();
}

TEST(run_directory_that_others_may_write_is_refused)
{
	char path[PATH_MAX], run[PATH_MAX];
	in_new_dir();
	snprintf(path, sizeof(path), "%s/charmvm", dir);
	CHECK_EQ(mkdir(path, 0700), 0);
	CHECK_EQ(chmod(path, 0777), 0);
	CHECK_EQ(paths_run_dir(run), -EPERM);
	remove_dir();
}

TEST(keys_are_made_once_and_kept)
{
	struct keys a, b, other;
	struct stat st;
	if (system("command -v ssh-keygen >/dev/null"))
		SKIP("no ssh-keygen");
	in_new_dir();
	CHECK_EQ(keys_ensure(&a, "m"), 0);
	CHECK_EQ(keys_ensure(&b, "m"), 0);
	CHECK_EQ(keys_ensure(&other, "n"), 0);
	CHECK_STR(a.user_public, b.user_public);
	CHECK_STR(a.host_private, b.host_private);
	CHECK_STR(a.user_public, other.user_public);
	CHECK(strcmp(a.host_public, other.host_public) != 0); /* each machine its own */
	CHECK(!strncmp(a.user_public, "ssh-ed25519 ", 12));
	CHECK_EQ(stat(a.user_key, &st), 0);
	CHECK_EQ(st.st_mode & 077, 0);
	keys_free(&a);
	keys_free(&b);
	keys_free(&other);
	remove_dir();
}

TEST_MAIN(T(published_record_is_found_by_name_and_as_the_only_one),
	  T(second_machine_gets_the_next_name_unless_it_was_asked_for),
	  T(record_left_by_a_killed_machine_does_not_count),
	  T(of_several_machines_one_must_be_named),
	  T(run_directory_that_others_may_write_is_refused), T(keys_are_made_once_and_kept))
