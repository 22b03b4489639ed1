/* SPDX-License-Identifier: Apache-2.0 */
/* What an image asks for, as its file says it. The machine that gets it: tests/e2e/test_build.sh. */
#include "vmm/image_wishes.h"

#include "tests/unit/test.h"

#include "vmm/base/checked.h"

static struct image_wishes w;

TEST(memory_and_processors_are_read)
{
	image_wishes_parse("mem = 2G\ncpus = 3\n", &w);
	CHECK_EQ(w.mem_bytes, 2 * GIB);
	CHECK_EQ(w.cpus, 3);
	image_wishes_parse("cpus = 3\nmem = 512M", &w);
	CHECK_EQ(w.mem_bytes, 512 * MIB);
	CHECK_EQ(w.cpus, 3);
}

TEST(what_says_nothing_of_them_is_passed_over)
{
	image_wishes_parse("", &w);
	CHECK_EQ(w.mem_bytes, 0);
	CHECK_EQ(w.cpus, 0);
	image_wishes_parse("\n# mem = 1G\nforward = tcp:1:1\nmem=1G\nmemory = 1G\n mem = 1G\nmem = "
			   "\ncpus = \n",
			   &w);
	CHECK_EQ(w.mem_bytes, 0);
	CHECK_EQ(w.cpus, 0);
}

TEST(values_that_are_none_are_passed_over)
{
	image_wishes_parse("mem = lots\nmem = -1\nmem = 99999999999999999999G\ncpus = 0\ncpus = "
			   "65\ncpus = 1.5\n"
			   "cpus = 0000000000000000000000000000000000000000000000000000000001\n",
			   &w);
	CHECK_EQ(w.mem_bytes, 0);
	CHECK_EQ(w.cpus, 0);
}

TEST_MAIN(T(memory_and_processors_are_read), T(what_says_nothing_of_them_is_passed_over),
	  T(values_that_are_none_are_passed_over))
