/* SPDX-License-Identifier: Apache-2.0 */
/* Editing command lines. */
#include "firmware/cmdline.h"

#include "tests/unit/test.h"

static struct cmdline line(const char *text)
{
	struct cmdline c = { .too_long = false };
	cmdline_add(&c, text);
	return c;
}

TEST(blanks_are_normalised_and_quotes_keep_theirs)
{
	struct cmdline c = line("  a  b=\"x  y\"\tc\n");
	CHECK_STR(c.text, "a b=\"x  y\" c");
}

TEST(last_value_counts_and_prefixes_do_not_match)
{
	struct cmdline c = line("console=tty0 rootflags=x root=UUID=1 console=ttyS0,115200");
	char v[32];
	CHECK(cmdline_get(&c, "console", v, sizeof(v)));
	CHECK_STR(v, "ttyS0,115200");
	CHECK(cmdline_get(&c, "root", v, sizeof(v)));
	CHECK_STR(v, "UUID=1");
	CHECK(!cmdline_get(&c, "roo", v, sizeof(v)));
	CHECK(!cmdline_get(&c, "rootflags", v, 1));
}

TEST(words_are_removed_whole)
{
	struct cmdline c = line("quiet quieter=1 root=a ro root=b quiet");
	cmdline_remove(&c, "quiet", false);
	CHECK_STR(c.text, "quieter=1 root=a ro root=b");
	cmdline_remove(&c, "root", true);
	CHECK_STR(c.text, "quieter=1 ro");
}

TEST(what_does_not_fit_is_told_and_left_out)
{
	struct cmdline c = line("start");
	char big[BOOT_CMDLINE_MAX + 1];
	memset(big, 'x', sizeof(big));
	big[BOOT_CMDLINE_MAX] = '\0';
	cmdline_add(&c, big);
	CHECK(c.too_long);
	CHECK_STR(c.text, "start");
}

TEST_MAIN(T(blanks_are_normalised_and_quotes_keep_theirs),
	  T(last_value_counts_and_prefixes_do_not_match), T(words_are_removed_whole),
	  T(what_does_not_fit_is_told_and_left_out))
