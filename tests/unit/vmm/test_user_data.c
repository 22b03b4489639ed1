/* SPDX-License-Identifier: Apache-2.0 */
/* A user's own words for cloud-init: which are taken, and how they are packed with ours. tests/e2e/test_cloud.sh has cloud-init read it. */
#include "vmm/user_data.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/test.h"

/* What user_data_read() has to say to a file with @len bytes of @text. */
static int read_back(const char *text, size_t len, char **out)
{
	char path[] = "/tmp/charmvm-user-data.XXXXXX";
	int fd = mkstemp(path);
	CHECK_EQ(write(fd, text, len), (ssize_t)len);
	close(fd);
	int err = user_data_read(path, out);
	unlink(path);
	return err;
}

TEST(what_cloud_init_knows_is_taken_as_it_is)
{
	static const char *const known[] = {
		"#cloud-config\nusers: [default]\n",
		"#!/bin/sh\nexit",
		"#include\nhttps://example.org/\n",
		"## template: jinja\n#cloud-config\n",
		"Content-Type: multipart/mixed; boundary=x\nMIME-Version: 1.0\n",
		"mime-version: 1.0\r\n",
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		char *text;
		CHECK_EQ(read_back(known[i], strlen(known[i]), &text), 0);
		CHECK_STR(text, known[i]);
		free(text);
	}
}

TEST(what_it_does_not_know_is_refused)
{
	static const char *const unknown[] = { "", "users: [default]\n", " #cloud-config\n",
					       "{\"users\": []}" };
	char *text;
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		CHECK_EQ(read_back(unknown[i], strlen(unknown[i]), &text), -EINVAL);
		CHECK(!text);
	}
	CHECK_EQ(read_back("#!\0", 3, &text), -EINVAL);
	CHECK_EQ(user_data_read("/", &text), -EFBIG);
	CHECK_EQ(user_data_read("/dev/zero", &text), -EFBIG);
	CHECK_EQ(user_data_read("/nonexistent/file", &text), -ENOENT);
}

TEST(file_that_is_too_large_is_refused)
{
	size_t len = USER_DATA_BYTES_MAX + 1;
	char *big = malloc(len), *text;
	memset(big, '#', len);
	memcpy(big, "#!", 2);
	CHECK_EQ(read_back(big, len, &text), -EFBIG);
	CHECK_EQ(read_back(big, len - 1, &text), 0);
	free(text);
	free(big);
}

TEST(both_are_parts_of_one_message_and_theirs_is_first)
{
	char *text = user_data_join("#!/bin/sh\n", "#cloud-config\n{}\n");
	CHECK_STR(text, "Content-Type: multipart/mixed; boundary=\"charmvm-part-0\"\n"
			"MIME-Version: 1.0\n"
			"\n"
			"--charmvm-part-0\n"
			"Content-Type: text/plain; charset=\"utf-8\"\n"
			"MIME-Version: 1.0\n"
			"Content-Transfer-Encoding: base64\n"
			"\n"
			"IyEvYmluL3NoCg==\n"
			"\n"
			"--charmvm-part-0\n"
			"Content-Type: text/cloud-config; charset=\"utf-8\"\n"
			"Merge-Type: dict(recurse_array)+list(append)\n"
			"MIME-Version: 1.0\n"
			"Content-Transfer-Encoding: base64\n"
			"\n"
			"I2Nsb3VkLWNvbmZpZwp7fQo=\n"
			"\n"
			"--charmvm-part-0--\n");
	free(text);
}

TEST(lines_are_no_longer_than_mime_allows)
{
	char theirs[400] = "#!";
	memset(theirs + 2, 'x', sizeof(theirs) - 3);
	char *text = user_data_join(theirs, "#cloud-config\n{}\n");
	for (const char *p = text; *p; p += strcspn(p, "\n") + 1)
		CHECK(strcspn(p, "\n") <= 76);
	free(text);
}

TEST(message_of_theirs_stays_one_whatever_its_boundary_is)
{
	static const char theirs[] = "MIME-Version: 1.0\n"
				     "Content-Type: multipart/mixed; boundary=\"charmvm-part-0\"\n"
				     "\n--charmvm-part-0\n\n#!/bin/sh\n--charmvm-part-0--\n";
	char *text = user_data_join(theirs, "#cloud-config\n{}\n");
	const char *part = strstr(text, "\n--charmvm-part-1\n");
	CHECK(part && !strncmp(part + strlen("\n--charmvm-part-1\n"), theirs, strlen(theirs)));
	free(text);
}

TEST_MAIN(T(what_cloud_init_knows_is_taken_as_it_is), T(what_it_does_not_know_is_refused),
	  T(file_that_is_too_large_is_refused),
	  T(both_are_parts_of_one_message_and_theirs_is_first),
	  T(lines_are_no_longer_than_mime_allows),
	  T(message_of_theirs_stays_one_whatever_its_boundary_is))
