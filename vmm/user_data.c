/* SPDX-License-Identifier: Apache-2.0 */
/* A user's own words for cloud-init. */
/*
 * How it works. cloud-init takes several documents as one, as parts of a MIME message (RFC 2046), and each part may say how it is
 * merged into those before it. Theirs comes first and ours keeps what is there and appends to lists: a file with users of its own
 * does not lock out the one who made it. What is no MIME is packed as base64, so that any line in it stays what it is, and
 * cloud-init finds out by its first line what it is.
 */
#include "vmm/user_data.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/base64.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

static bool begins_with_one_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (!strncasecmp(text, *words, strlen(*words)))
			return true;
	return false;
}

static bool is_mime(const char *text)
{
	static const char *const words[] = { "content-type:", "mime-version:", NULL };
	return begins_with_one_of(text, words);
}

static bool is_known(const char *text)
{
	static const char *const words[] = { "#cloud-",	      "#!",	      "#include",
					     "#part-handler", "## template:", NULL };
	return begins_with_one_of(text, words) || is_mime(text);
}

/* -> 0 or -errno. *len: without the NUL that is put behind it. */
static int read_whole(int fd, char **text, size_t *len)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > USER_DATA_BYTES_MAX)
		return -EFBIG;
	*text = calloc(1, (size_t)st.st_size + 1);
	if (!*text)
		return -ENOMEM;
	ssize_t n = read(fd, *text, (size_t)st.st_size);
	if (n < 0)
		return -errno;
	*len = (size_t)n;
	return 0;
}

static const char *why_not(int err)
{
	return err == -EFBIG	? "this is not a file of at most 256 KiB"
	       : err == -EINVAL ? "cloud-init knows what it is handed by its first line, which "
				  "should begin with "
				  "#cloud-config or #! (a script); see --user-data in charmvm(1)"
				: strerror(-err);
}

int user_data_read(const char *path, char **text)
{
	size_t len = 0;
	*text = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int err = fd < 0 ? -errno : read_whole(fd, text, &len);
	if (!err && (strlen(*text) != len || !is_known(*text)))
		err = -EINVAL;
	if (fd >= 0)
		close(fd);
	if (!err)
		return 0;
	log_error("--user-data %s: %s", path, why_not(err));
	free(*text);
	*text = NULL;
	return err;
}

/* ---- one message of two ---- */

/* Lines of base64 are at most 76 characters long (RFC 2045). */
enum { LINE_BYTES = 57 };

static void print_part(FILE *out, const char *head, const char *text)
{
	char line[LINE_BYTES / 3 * 4 + 1];
	fprintf(out, "%sMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n", head);
	for (size_t left = strlen(text), n; left; text += n, left -= n) {
		n = MIN(left, (size_t)LINE_BYTES);
		base64_encode(line, text, n);
		fprintf(out, "%s\n", line);
	}
}

/* What stands on no line of @text, which may be a message with parts of its own. */
static void make_boundary(char *out, size_t size, const char *text)
{
	unsigned int i = 0;
	do
		snprintf(out, size, "charmvm-part-%u", i++);
	while (strstr(text, out));
}

char *user_data_join(const char *theirs, const char *ours)
{
	char *text = NULL, boundary[32];
	size_t size;
	FILE *out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	make_boundary(boundary, sizeof(boundary), theirs);
	fprintf(out, "Content-Type: multipart/mixed; boundary=\"%s\"\nMIME-Version: 1.0\n\n--%s\n",
		boundary, boundary);
	if (is_mime(theirs))
		fputs(theirs, out);
	else
		print_part(out, "Content-Type: text/plain; charset=\"utf-8\"\n", theirs);
	fprintf(out, "\n--%s\n", boundary);
	print_part(out,
		   "Content-Type: text/cloud-config; charset=\"utf-8\"\n"
		   "Merge-Type: dict(recurse_array)+list(append)\n",
		   ours);
	fprintf(out, "\n--%s--\n", boundary);
	bool failed = ferror(out);
	if (!fclose(out) && !failed)
		return text;
	free(text);
	return NULL;
}
