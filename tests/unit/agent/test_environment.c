/* SPDX-License-Identifier: Apache-2.0 */
/* /etc/environment: what a login and a command of the host's have of it. */
#include "guest-kit/agent/environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/test.h"

static void read_text(const char *text)
{
	char name[] = "/tmp/charmvm-environment.XXXXXX";
	int fd = mkstemp(name);
	CHECK(fd >= 0);
	CHECK_EQ(dprintf(fd, "%s", text), (int)strlen(text));
	close(fd);
	environment_read(name);
	unlink(name);
}

TEST(lines_are_set_and_later_ones_win)
{
	setenv("CHARMVM_B", "old", 1);
	read_text("CHARMVM_A=one two = three\nCHARMVM_B=first\n# CHARMVM_B=no\n"
		  "  export CHARMVM_B=second  \nCHARMVM_C=\nlast line: none\nCHARMVM_D=it's");
	CHECK_STR(getenv("CHARMVM_A"), "one two = three");
	CHECK_STR(getenv("CHARMVM_B"), "second");
	CHECK_STR(getenv("CHARMVM_C"), "");
	CHECK_STR(getenv("CHARMVM_D"), "it's");
}

TEST(quotes_of_one_kind_around_a_value_are_not_part_of_it)
{
	read_text("CHARMVM_A=\"a b\"\nCHARMVM_B='c'\nCHARMVM_C=\"d'\nCHARMVM_D=\"\n");
	CHECK_STR(getenv("CHARMVM_A"), "a b");
	CHECK_STR(getenv("CHARMVM_B"), "c");
	CHECK_STR(getenv("CHARMVM_C"), "\"d'");
	CHECK_STR(getenv("CHARMVM_D"), "\"");
}

TEST(what_is_no_assignment_is_left_out)
{
	setenv("CHARMVM_A", "stays", 1);
	read_text("=x\nCHARMVM_A\nCHARMVM_A =x\n\n   \n#\n");
	CHECK_STR(getenv("CHARMVM_A"), "stays");
	environment_read("/no/such/file");
	environment_read("/tmp");
	CHECK_STR(getenv("CHARMVM_A"), "stays");
}

TEST_MAIN(T(lines_are_set_and_later_ones_win),
	  T(quotes_of_one_kind_around_a_value_are_not_part_of_it),
	  T(what_is_no_assignment_is_left_out))
