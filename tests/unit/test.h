/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole of the unit-test frame: a test is a function, a program is a table of them.
 *
 *     TEST(ring_index_beyond_size_breaks_the_queue) { ...; CHECK_EQ(vq_pop(...), -EPROTO); }
 *     TEST_MAIN(T(ring_index_beyond_size_breaks_the_queue), ...)
 *
 * Each test prints "ok NAME" or what failed; the program ends with "N passed, N failed" and status 1 if any
 * failed. An argument runs only the tests whose name contains it. A failed CHECK ends its test.
 */
#ifndef TESTS_UNIT_TEST_H
#define TESTS_UNIT_TEST_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test_case {
	const char *name;
	void (*fn)(void);
};

/* Test programs are the one place where file-scope state is fine; weak: one of each in a program of several files. */
__attribute__((weak)) jmp_buf test_out;
__attribute__((weak)) const char *test_skip_reason = "";

#define TEST(n) static void n(void)
#define T(n)                                                                                       \
	{                                                                                          \
#n, n                                                                              \
	}

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("  %s:%d: %s\n", __FILE__, __LINE__, #cond);                        \
			longjmp(test_out, 1);                                                      \
		}                                                                                  \
	} while (0)

#define CHECK_EQ(got, want)                                                                        \
	do {                                                                                       \
		intmax_t got_ = (intmax_t)(got), want_ = (intmax_t)(want);                         \
		if (got_ != want_) {                                                               \
			printf("  %s:%d: %s is %" PRIdMAX " (0x%" PRIxMAX "), not %" PRIdMAX       \
			       " (0x%" PRIxMAX ")\n",                                              \
			       __FILE__, __LINE__, #got, got_, (uintmax_t)got_, want_,             \
			       (uintmax_t)want_);                                                  \
			longjmp(test_out, 1);                                                      \
		}                                                                                  \
	} while (0)

#define CHECK_STR(got, want)                                                                       \
	do {                                                                                       \
		const char *got_ = (got), *want_ = (want);                                         \
		if (!got_ || strcmp(got_, want_)) {                                                \
			printf("  %s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #got,    \
			       got_ ? got_ : "(null)", want_);                                     \
			longjmp(test_out, 1);                                                      \
		}                                                                                  \
	} while (0)

/* Ends the test as skipped: something of the host's is missing, and it says what. */
#define SKIP(reason)                                                                               \
	do {                                                                                       \
		test_skip_reason = (reason);                                                       \
		longjmp(test_out, 2);                                                              \
	} while (0)

static inline int test_run_all(const struct test_case *cases, size_t n, const char *only)
{
	/* volatile: they live across longjmp. */
	volatile unsigned int passed = 0, failed = 0, skipped = 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (volatile size_t i = 0; i < n; i++) {
		if (only && !strstr(cases[i].name, only))
			continue;
		switch (setjmp(test_out)) {
		case 0:
			cases[i].fn();
			printf("ok %s\n", cases[i].name);
			passed++;
			break;
		case 2:
			printf("skip %s: %s\n", cases[i].name, test_skip_reason);
			skipped++;
			break;
		default: printf("FAILED %s\n", cases[i].name); failed++;
		}
	}
	printf("%u passed, %u failed", passed, failed);
	if (skipped)
		printf(", %u skipped", skipped);
	printf("\n");
	return failed ? 1 : 0;
}

#define TEST_MAIN(...)                                                                             \
	int main(int argc, char **argv)                                                            \
	{                                                                                          \
		static const struct test_case cases[] = { __VA_ARGS__ };                           \
		return test_run_all(cases, sizeof(cases) / sizeof(cases[0]),                       \
				    argc > 1 ? argv[1] : NULL);                                    \
	}

#endif
