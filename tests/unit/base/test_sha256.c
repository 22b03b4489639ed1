/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 against the examples that NIST publishes with FIPS 180-4, and against itself in pieces. */
#include "vmm/base/sha256.h"

#include "tests/unit/test.h"

static const char *hex_of(struct sha256 *s)
{
	static char hex[2 * SHA256_BYTES + 1];
	uint8_t digest[SHA256_BYTES];
	sha256_end(s, digest);
	for (int i = 0; i < SHA256_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	return hex;
}

static const char *hash(const char *text)
{
	struct sha256 s;
	sha256_init(&s);
	sha256_add(&s, text, strlen(text));
	return hex_of(&s);
}

TEST(published_examples_come_out)
{
	CHECK_STR(hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	CHECK_STR(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	CHECK_STR(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	CHECK_STR(hash("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjkl"
		       "mnopqklmnopqrlmnopqrsmnopqrstnopqrstu"),
		  "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
}

TEST(a_million_letters_come_out)
{
	struct sha256 s;
	char a[1000];
	memset(a, 'a', sizeof(a));
	sha256_init(&s);
	for (int i = 0; i < 1000; i++)
		sha256_add(&s, a, sizeof(a));
	CHECK_STR(hex_of(&s), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(pieces_make_the_same_as_the_whole)
{
	char text[200], whole[2 * SHA256_BYTES + 1];
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		text[i] = (char)('0' + i % 75);
	for (size_t len = 0; len < sizeof(text); len++) {
		struct sha256 s;
		sha256_init(&s);
		sha256_add(&s, text, len);
		snprintf(whole, sizeof(whole), "%s", hex_of(&s));
		sha256_init(&s);
		for (size_t i = 0; i < len; i += 7)
			sha256_add(&s, text + i, len - i < 7 ? len - i : 7);
		CHECK_STR(hex_of(&s), whole);
	}
}

TEST_MAIN(T(published_examples_come_out), T(a_million_letters_come_out),
	  T(pieces_make_the_same_as_the_whole))
