/* SPDX-License-Identifier: Apache-2.0 */
/* Which file of an OVA is its disk. */
/*
 * How it works. An OVF lists its files, <File ovf:id="file1" ovf:href="disk.vmdk"/>, and then its disks, which refer to them,
 * <Disk ovf:fileRef="file1"/>. Nothing else of it matters here, so it is not parsed but looked through for these two elements,
 * under whatever namespace prefix; comments are skipped, and what is not as expected is passed over.
 */
#include <stdio.h>
#include <string.h>

#include "vmm/import/box_meta.h"

struct span {
	const char *at;
	size_t len;
};

static bool span_is(struct span a, struct span b)
{
	return a.len == b.len && !memcmp(a.at, b.at, a.len);
}

/* A name without its namespace prefix. */
static struct span local_name(const char *p)
{
	size_t len = strcspn(p, " \t\r\n=/>\"'<");
	const char *colon = memchr(p, ':', len);
	size_t skip = colon ? (size_t)(colon - p) + 1 : 0;
	return (struct span){ p + skip, len - skip };
}

/* The next element called @name behind *at, which moves behind it. -> whether there is one, and its attributes. */
static bool next_element(const char **at, const char *name, struct span *attributes)
{
	const struct span wanted = { name, strlen(name) };
	while ((*at = strchr(*at, '<'))) {
		bool comment = !strncmp(*at, "<!--", 4);
		const char *end = comment ? strstr(*at, "-->") : strchr(*at, '>');
		if (!end)
			break;
		struct span tag = local_name(*at + 1);
		*attributes = (struct span){ tag.at + tag.len, 0 };
		*at = end + 1;
		if (comment || !span_is(tag, wanted) || attributes->at > end)
			continue;
		attributes->len = (size_t)(end - attributes->at);
		return true;
	}
	return false;
}

/* The value of @name among @attributes. */
static bool attribute(struct span attributes, const char *name, struct span *value)
{
	const struct span wanted = { name, strlen(name) };
	const char *p = attributes.at, *end = attributes.at + attributes.len;
	while (p < end) {
		const char *eq = memchr(p, '=', (size_t)(end - p));
		const char *open = eq ? eq + 1 + strspn(eq + 1, " \t\r\n") : end;
		if (open >= end || (*open != '"' && *open != '\''))
			return false;
		const char *close = memchr(open + 1, *open, (size_t)(end - open - 1));
		if (!close)
			return false;
		*value = (struct span){ open + 1, (size_t)(close - open - 1) };
		if (span_is(local_name(p + strspn(p, " \t\r\n")), wanted))
			return true;
		p = close + 1;
	}
	return false;
}

/* The href of the file called @id. */
static bool file_of(const char *text, struct span id, char disk[BOX_NAME_MAX + 1])
{
	struct span attributes, value;
	for (const char *at = text; next_element(&at, "File", &attributes);) {
		if (!attribute(attributes, "id", &value) || !span_is(value, id) ||
		    !attribute(attributes, "href", &value) || value.len > BOX_NAME_MAX)
			continue;
		snprintf(disk, BOX_NAME_MAX + 1, "%.*s", (int)value.len, value.at);
		return true;
	}
	return false;
}

bool ovf_first_disk(const char *text, char disk[BOX_NAME_MAX + 1], unsigned int *more)
{
	struct span attributes, id;
	unsigned int n = 0;
	bool found = false;
	for (const char *at = text; next_element(&at, "Disk", &attributes);) {
		if (!attribute(attributes, "fileRef", &id))
			continue; /* an empty one */
		if (!n++)
			found = file_of(text, id, disk);
	}
	*more = n ? n - 1 : 0;
	return found;
}
