/* SPDX-License-Identifier: Apache-2.0 */
/* Machines that earlier charmvms have saved go on in this one (tests/state/corpus/README). */
#include "tests/state/world.h"

#include <unistd.h>

static void unpack(const char *name)
{
	char command[256];
	make_files();
	snprintf(command, sizeof(command), "xz -dc tests/state/corpus/%s.qcow2.xz >%s", name,
		 image);
	CHECK_EQ(system(command), 0);
}

static void count_is_of_the_corpus(struct world *w)
{
	w->count = word_at(w, COUNT_GPA);
	CHECK(w->count > 1000); /* it has counted before */
	next(w);
}

TEST(machine_of_version_0_1_goes_on_and_is_saved_again)
{
	unpack("0.1-counting");
	check_image("one,");
	struct world w = { STEPS(count_is_of_the_corpus, count_went_on, is_111, mark_222, save_two,
				 is_well, revert_one, is_well, is_111) };
	CHECK_EQ(live(&w, "one", "--discard", NULL), EXIT_STATUS_OK);
	CHECK_EQ(w.cfg.mem_bytes, 64 * MIB);
	check_image("one,two,");
	remove_files();
}

TEST_MAIN(T(machine_of_version_0_1_goes_on_and_is_saved_again))
