/* SPDX-License-Identifier: Apache-2.0 */
/* What a Charmfile amounts to: steps, what holds for each, and keys that change with what led to them and nothing else. */
#include "vmm/build/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test.h"

enum { STEPS_MAX = 8 };

static char context[PATH_MAX], out[PATH_MAX + 8], why[CHARMFILE_WHY_BYTES];
static const char *finish = "finish";
static struct charmfile cf;
static struct plan plan;
static size_t in_base;

static void put(const char *name, const char *text, mode_t mode)
{
	char path[PATH_MAX + 64];
	snprintf(path, sizeof(path), "%s/%s", context, name);
	unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	CHECK_EQ(fchmod(fd, mode), 0);
	close(fd);
}

static void link_to(const char *target, const char *name)
{
	char path[PATH_MAX + 64];
	snprintf(path, sizeof(path), "%s/%s", context, name);
	unlink(path);
	CHECK_EQ(symlink(target, path), 0);
}

static void make_dir(const char *name)
{
	char path[PATH_MAX + 64];
	snprintf(path, sizeof(path), "%s/%s", context, name);
	CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
}

/* A context of a file and a directory with a file and a link in it. */
static void fresh_context(void)
{
	char made[] = "/tmp/charmvm-plan.XXXXXX";
	CHECK(mkdtemp(made) != NULL && realpath(made, context));
	snprintf(out, sizeof(out), "%s-out", context);
	put("file", "text", 0644);
	make_dir("dir");
	put("dir/below", "more", 0644);
	link_to("below", "dir/link");
}

static void drop_context(void)
{
	char command[PATH_MAX + 16];
	snprintf(command, sizeof(command), "rm -rf '%s'", context);
	CHECK_EQ(system(command), 0);
}

static int make(const char *text)
{
	const struct plan_of of = {
		.cf = &cf, .context = context, .out = out, .finish = finish, .in_base = in_base
	};
	const struct charmfile_text in = { .path = "Charmfile", .text = text, .len = strlen(text) };
	plan_free(&plan);
	charmfile_free(&cf);
	CHECK_EQ(charmfile_parse(&cf, &in, why), 0);
	return plan_make(&plan, &of, why);
}

/* The keys of a good one; the last is the image's. */
static void keys_of(const char *text, char keys[STEPS_MAX + 1][PLAN_KEY_TEXT])
{
	CHECK_EQ(make(text), 0);
	CHECK(plan.nsteps <= STEPS_MAX);
	for (size_t i = 0; i < plan.nsteps; i++)
		memcpy(keys[i], plan.steps[i].key, PLAN_KEY_TEXT);
	memcpy(keys[plan.nsteps], plan.key, PLAN_KEY_TEXT);
}

static void check_same(const char *one, const char *other, unsigned int same, unsigned int n)
{
	char a[STEPS_MAX + 1][PLAN_KEY_TEXT], b[STEPS_MAX + 1][PLAN_KEY_TEXT];
	keys_of(one, a);
	CHECK_EQ(plan.nsteps, n);
	keys_of(other, b);
	for (unsigned int i = 0; i <= n; i++)
		CHECK_EQ(!strcmp(a[i], b[i]), i < same);
}

TEST(steps_are_what_acts_and_know_what_holds_for_them)
{
	fresh_context();
	CHECK_EQ(make("FROM x\nENV A=1 B=2\nRUN one\nUSER charm\nENV A=3\nPACKAGES jq\nMEM "
		      "2G\nCPUS 2\n"
		      "EXPOSE 80 53/udp\nENTRYPOINT top\n"),
		 0);
	CHECK_EQ(plan.nsteps, 2);
	CHECK(!plan.steps[0].user);
	CHECK_STR(plan.steps[0].env[0], "A=1");
	CHECK_STR(plan.steps[0].env[1], "B=2");
	CHECK(!plan.steps[0].env[2]);
	CHECK_STR(plan.steps[1].user, "charm");
	CHECK_STR(plan.steps[1].env[0], "A=3");
	CHECK_STR(plan.steps[1].env[1], "B=2");
	CHECK(!plan.steps[1].env[2]);
	CHECK_STR(plan.mem, "2G");
	CHECK_STR(plan.cpus, "2");
	CHECK_STR(plan.entrypoint, "top");
	CHECK_STR(plan.ports[1], "53/udp");
	CHECK(!plan.ports[2]);
	drop_context();
}

TEST(a_changed_line_leaves_the_keys_before_it)
{
	fresh_context();
	check_same("FROM x\nRUN a\nRUN b\nRUN c\n", "FROM x\nRUN a\nRUN b\nRUN d\n", 2, 3);
	check_same("FROM x\nRUN a\nRUN b\nRUN c\n", "FROM x\nRUN z\nRUN b\nRUN c\n", 0, 3);
	check_same("FROM x\nRUN a\nENV A=1\nRUN b\n", "FROM x\nRUN a\nENV A=2\nRUN b\n", 1, 2);
	check_same("FROM x\nRUN a\nUSER u\nRUN b\n", "FROM x\nRUN a\nUSER v\nRUN b\n", 1, 2);
	check_same("FROM x\nRUN a\nMEM 1G\n", "FROM x\nRUN a\nMEM 2G\n", 1, 1);
	check_same("FROM x\nPACKAGES ab cd\n", "FROM x\nPACKAGES ab\nPACKAGES cd\n", 0, 1);
	check_same("FROM x\nRUN a\n# a comment\n", "FROM x\n\nrun a\n", 2, 1);
	drop_context();
}

TEST(a_copys_key_is_that_of_what_is_copied)
{
	static const char text[] = "FROM x\nRUN a\nCOPY file dir /srv/\nRUN b\n";
	char first[STEPS_MAX + 1][PLAN_KEY_TEXT], now[STEPS_MAX + 1][PLAN_KEY_TEXT];
	fresh_context();
	keys_of(text, first);
	put("file", "text", 0644); /* another time and inode */
	keys_of(text, now);
	CHECK_STR(now[1], first[1]);
	for (int change = 0; change < 5; change++) {
		switch (change) {
		case 0: put("dir/below", "mooore", 0644); break;
		case 1: put("dir/below", "more", 0755); break;
		case 2: link_to("elsewhere", "dir/link"); break;
		case 3: put("dir/new", "", 0644); break;
		default: make_dir("dir/empty"); break;
		}
		keys_of(text, now);
		CHECK_STR(now[0], first[0]);
		CHECK(strcmp(now[1], first[1]) != 0 && strcmp(now[2], first[2]) != 0);
		memcpy(first, now, sizeof(first));
	}
	drop_context();
}

TEST(a_source_that_is_missing_or_outside_is_told_with_its_line)
{
	fresh_context();
	CHECK_EQ(make("FROM x\nRUN a\nCOPY file nothing /srv/\n"), -ENOENT);
	CHECK(strstr(why, "Charmfile:3: COPY nothing: No such file") == why);
	link_to("/etc/passwd", "out");
	CHECK_EQ(make("FROM x\nCOPY out /srv/\n"), -EINVAL);
	CHECK(strstr(why, "Charmfile:2: COPY out: a link leads out of the context") == why);
	link_to("/", "root");
	CHECK_EQ(make("FROM x\nCOPY root/etc /srv/\n"), -EINVAL);
	link_to("file", "alias");
	CHECK_EQ(make("FROM x\nCOPY alias /srv/\n"), 0);
	snprintf(out, sizeof(out), "%s/dir/o", context);
	CHECK_EQ(make("FROM x\nCOPY file /srv/\n"), 0);
	CHECK_EQ(make("FROM x\nCOPY . /srv/\n"), -EINVAL);
	CHECK(strstr(why, "the new image would be in it"));
	drop_context();
}

TEST(a_directory_beside_the_images_name_is_not_it)
{
	fresh_context();
	snprintf(out, sizeof(out), "%s/dir2", context);
	CHECK_EQ(make("FROM x\nCOPY dir /srv/\n"), 0);
	drop_context();
}

TEST(what_is_in_the_base_is_not_done)
{
	fresh_context();
	in_base = 2;
	CHECK_EQ(make("FROM x\nPACKAGES ab\nPACKAGES cd\nRUN a\nPACKAGES ef\n"), 0);
	CHECK_EQ(plan.nsteps, 2);
	CHECK_STR(plan.steps[0].step->text, "a");
	CHECK(!plan_is_empty(&plan));
	CHECK_EQ(make("FROM x\nPACKAGES ab\nPACKAGES cd\nEXPOSE 80\n"), 0);
	CHECK(plan_is_empty(&plan));
	CHECK_EQ(make("FROM x\nPACKAGES ab\nPACKAGES cd\nMEM 2G\n"), 0);
	CHECK(!plan_is_empty(&plan));
	CHECK_EQ(make("FROM x\nPACKAGES ab\nPACKAGES cd\nENV A=1\n"), 0);
	CHECK(!plan_is_empty(&plan));
	in_base = 0;
	drop_context();
}

TEST(how_it_is_finished_is_part_of_the_images_key)
{
	char a[PLAN_KEY_TEXT], b[PLAN_KEY_TEXT];
	fresh_context();
	CHECK_EQ(make("FROM x\n"), 0);
	memcpy(a, plan.key, sizeof(a));
	finish = "otherwise";
	CHECK_EQ(make("FROM x\n"), 0);
	CHECK(strcmp(a, plan.key) != 0);
	plan_base_key("/a", "b", a);
	plan_base_key("/a", "c", b);
	CHECK(strcmp(a, b) != 0);
	plan_base_key("/ab", "", b);
	CHECK(strcmp(a, b) != 0);
	drop_context();
}

TEST_MAIN(T(steps_are_what_acts_and_know_what_holds_for_them),
	  T(a_changed_line_leaves_the_keys_before_it), T(a_copys_key_is_that_of_what_is_copied),
	  T(a_source_that_is_missing_or_outside_is_told_with_its_line),
	  T(a_directory_beside_the_images_name_is_not_it), T(what_is_in_the_base_is_not_done),
	  T(how_it_is_finished_is_part_of_the_images_key))
