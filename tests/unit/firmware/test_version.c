/* SPDX-License-Identifier: Apache-2.0 */
/* Versions, newest last: each table is a chain in which every one is older than the next. */
#include "firmware/version.h"

#include "tests/unit/test.h"
#include "vmm/base/checked.h"

static void check_chain(int (*cmp)(const char *, const char *), const char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++) {
			int r = cmp(v[i], v[k]);
			if ((r > 0) - (r < 0) != (i > k) - (i < k))
				printf("  \"%s\" against \"%s\"\n", v[i], v[k]);
			CHECK_EQ((r > 0) - (r < 0), (i > k) - (i < k));
		}
}

TEST(debian_kernels_sort_by_number_not_by_letter)
{
	static const char *const chain[] = { "5.10.0-28-amd64",	 "6.1.0-9-amd64",
					     "6.1.0-13-amd64",	 "6.1.0-13-cloud-amd64",
					     "6.1.0-18-amd64",	 "6.12.9+bpo-amd64",
					     "6.12.10+bpo-amd64" };
	check_chain(version_cmp_debian, chain, ARRAY_SIZE(chain));
}

TEST(debian_order_of_signs)
{
	static const char *const chain[] = {
		"1~~", "1~~a", "1~", "1", "1a", "1+", "1-", "1.", "2"
	};
	check_chain(version_cmp_debian, chain, ARRAY_SIZE(chain));
	CHECK_EQ(version_cmp_debian("1.0", "1.00"), 0);
	CHECK_EQ(version_cmp_debian("", ""), 0);
	CHECK(version_cmp_debian("99999999999999999999999999999999999998",
				 "99999999999999999999999999999999999999") < 0);
}

/* The examples of the specification, and Fedora's kernels. */
TEST(uapi_order)
{
	static const char *const chain[] = { "~1",  "",	   "^1",  "a",	 "ab", "b",  "1~rc1",
					     "1-1", "1-2", "1^a", "1.2", "12", "123" };
	static const char *const fedora[] = { "6.1.9-200.fc37.x86_64", "6.1.10-200.fc37.x86_64",
					      "6.2.0-0.rc1.fc38.x86_64", "6.10.3-100.fc39.x86_64" };
	check_chain(version_cmp_uapi, fedora, ARRAY_SIZE(fedora));
	CHECK_EQ(version_cmp_uapi("1_0", "1_0"), 0);
	CHECK_EQ(version_cmp_uapi("001", "1"), 0);
	for (size_t i = 6; i + 1 < ARRAY_SIZE(chain); i++)
		CHECK(version_cmp_uapi(chain[i], chain[i + 1]) < 0);
	CHECK(version_cmp_uapi("11", "a") > 0);
	CHECK(version_cmp_uapi("1~rc1", "1") < 0);
	CHECK(version_cmp_uapi("1", "1-1") < 0);
	CHECK(version_cmp_uapi("1.2", "1-3") > 0);
}

TEST_MAIN(T(debian_kernels_sort_by_number_not_by_letter), T(debian_order_of_signs), T(uapi_order))
