/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The "test" command: operands and operators from left to right, as GRUB has it, "-o" separating
 * alternatives and "-a" the conditions of one.
 */
#include <stdlib.h>
#include <string.h>

#include "firmware/grub_priv.h"
#include "firmware/version.h"

static bool file_test(struct grub *g, const char *op, const char *name)
{
	struct grub_file f;
	if (!grub_file_of(g, name, &f) || !grub_may_look(g))
		return false;
	bool file = g->ops->is_file(g->opaque, f.dev, f.path, op[1] == 's');
	bool dir = (op[1] == 'd' || op[1] == 'e') && g->ops->is_dir(g->opaque, f.dev, f.path);
	return op[1] == 'd' ? dir : file || dir;
}

static bool unary(struct grub *g, const char *op, const char *operand, bool *result)
{
	if (op[0] != '-' || !op[1] || op[2] || !strchr("nzdefs", op[1]))
		return false;
	if (op[1] == 'n' || op[1] == 'z')
		*result = (*operand != '\0') == (op[1] == 'n');
	else
		*result = file_test(g, op, operand);
	return true;
}

static bool binary(const char *a, const char *op, const char *b, bool *result)
{
	/* In two groups: by the bytes of the strings, and by number. */
	static const char *const ops[] = { "=",	  "==",	 "!=",	"<",   "<=",  ">",  ">=",
					   "-eq", "-ne", "-lt", "-le", "-gt", "-ge" };
	unsigned int i = 0;
	while (i < 13 && strcmp(op, ops[i]))
		i++;
	if (i == 13)
		return false;
	long long na = strtoll(a, NULL, 0), nb = strtoll(b, NULL, 0);
	int r = i < 7 ? strcmp(a, b) : (na > nb) - (na < nb);
	switch (i) {
	case 0:
	case 1:
	case 7: *result = r == 0; break;
	case 2:
	case 8: *result = r != 0; break;
	case 3:
	case 9: *result = r < 0; break;
	case 4:
	case 10: *result = r <= 0; break;
	case 5:
	case 11: *result = r > 0; break;
	default: *result = r >= 0; break;
	}
	return true;
}

/* One condition at *i, which steps behind it. */
static bool condition(struct grub *g, int argc, const char *const *argv, int *i)
{
	bool negate = false, result;
	while (*i < argc - 1 && !strcmp(argv[*i], "!")) {
		negate = !negate;
		++*i;
	}
	if (*i + 2 < argc && binary(argv[*i], argv[*i + 1], argv[*i + 2], &result)) {
		*i += 3;
	} else if (*i + 1 < argc && unary(g, argv[*i], argv[*i + 1], &result)) {
		*i += 2;
	} else {
		result = *argv[*i] != '\0';
		++*i;
	}
	return result != negate;
}

bool grub_test(struct grub *g, int argc, const char *const *argv)
{
	bool any = false, all = argc > 0;
	for (int i = 0; i < argc;) {
		if (!strcmp(argv[i], "-o")) {
			any |= all;
			all = true;
			i++;
		} else if (!strcmp(argv[i], "-a")) {
			i++;
		} else {
			all &= condition(g, argc, argv, &i);
		}
	}
	return any || all;
}
