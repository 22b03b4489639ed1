/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Comparing versions. Both orders take turns between a part that is no number and a part that is
 * one, and differ in how they rank the signs between them. No numbers are converted, so no length
 * overflows.
 */
#include "firmware/version.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int sign(long long v)
{
	return (v > 0) - (v < 0);
}

/* Compares the numbers at *a and *b, which may be empty, and steps behind them. */
static int number_cmp(const char **a, const char **b)
{
	while (**a == '0')
		++*a;
	while (**b == '0')
		++*b;
	size_t na = 0, nb = 0;
	while (digit((*a)[na]))
		na++;
	while (digit((*b)[nb]))
		nb++;
	int r = na != nb ? (na > nb ? 1 : -1) : sign(strncmp(*a, *b, na));
	*a += na;
	*b += nb;
	return r;
}

/* The rank of a character outside numbers: '~' before the end, the end before letters, they before
 * all else. */
static int debian_rank(char c)
{
	if (c == '~')
		return -1;
	if (!c || digit(c))
		return 0;
	return letter(c) ? (unsigned char)c : (unsigned char)c + 256;
}

int version_cmp_debian(const char *a, const char *b)
{
	while (*a || *b) {
		while ((*a && !digit(*a)) || (*b && !digit(*b))) {
			int r = debian_rank(*a) - debian_rank(*b);
			if (r)
				return sign(r);
			/* Equal ranks: both go on, or both are at a number or the end. */
			a++;
			b++;
		}
		int r = number_cmp(&a, &b);
		if (r)
			return r;
	}
	return 0;
}

static bool uapi_known(char c)
{
	return digit(c) || letter(c) || (c && strchr("-.~^", c));
}

/* Both have the separator: skipped, 0. One has it: that one is older. */
static int uapi_separator(const char **a, const char **b, char c)
{
	bool in_a = **a == c, in_b = **b == c;
	if (in_a && in_b) {
		++*a;
		++*b;
	}
	return in_b - in_a;
}

static int uapi_letters(const char **a, const char **b)
{
	size_t na = 0, nb = 0;
	while (letter((*a)[na]))
		na++;
	while (letter((*b)[nb]))
		nb++;
	int r = strncmp(*a, *b, na < nb ? na : nb);
	if (!r)
		r = (na > nb) - (na < nb);
	*a += na;
	*b += nb;
	return sign(r);
}

/* One step: a separator, a number or a word of both. */
static int uapi_step(const char **a, const char **b)
{
	static const char separators[] = "-^.";
	for (const char *s = separators; *s; s++)
		if (**a == *s || **b == *s)
			return uapi_separator(a, b, *s);
	if (digit(**a) || digit(**b)) {
		/* A number is newer than a word. */
		if (digit(**a) != digit(**b))
			return digit(**a) ? 1 : -1;
		return number_cmp(a, b);
	}
	return uapi_letters(a, b);
}

int version_cmp_uapi(const char *a, const char *b)
{
	for (;;) {
		while (*a && !uapi_known(*a))
			a++;
		while (*b && !uapi_known(*b))
			b++;
		/* Pre-releases come before the end of the string, everything else after it. */
		if (*a == '~' || *b == '~') {
			int r = uapi_separator(&a, &b, '~');
			if (r)
				return r;
			continue;
		}
		if (!*a || !*b)
			return (*a != 0) - (*b != 0);
		int r = uapi_step(&a, &b);
		if (r)
			return r;
	}
}
