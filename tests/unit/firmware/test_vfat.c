/* SPDX-License-Identifier: Apache-2.0 */
/* Small FAT disks, as fsck.vfat and mtools see them. */
#include "firmware/vfat.h"

#include <errno.h>
#include <unistd.h>

#include "tests/unit/test.h"

static char dir[] = "/tmp/charmvm-vfat-XXXXXX";

static void remove_dir(void)
{
	char cmd[64];
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	if (system(cmd))
		perror(dir);
}

/* A fresh directory to be in, once. */
static void scratch(void)
{
	static bool made;
	if (made)
		return;
	CHECK(mkdtemp(dir) != NULL);
	CHECK_EQ(chdir(dir), 0);
	made = true;
	atexit(remove_dir);
}

/* Makes the disk "img". */
static void make(const char *label, const struct vfat_file *files, unsigned int n)
{
	uint8_t *disk;
	if (system("PATH=$PATH:/usr/sbin:/sbin; command -v fsck.vfat mdir >/dev/null"))
		SKIP("fsck.vfat or mtools is not installed (dosfstools, mtools)");
	scratch();
	CHECK_EQ(vfat_make(label, 0x12345678, files, n, &disk), 0);
	FILE *f = fopen("img", "w");
	CHECK(f && fwrite(disk, 1, VFAT_BYTES, f) == VFAT_BYTES);
	CHECK_EQ(fclose(f), 0);
	free(disk);
}

/* What a shell command prints, or what it fails with. */
static const char *said(const char *cmd)
{
	static char out[8192];
	char whole[512];
	snprintf(whole, sizeof(whole),
		 "PATH=$PATH:/usr/sbin:/sbin; export MTOOLS_SKIP_CHECK=0 LC_ALL=C; (%s) 2>&1", cmd);
	FILE *p = popen(whole, "r");
	CHECK(p);
	size_t n = fread(out, 1, sizeof(out) - 1, p);
	out[n] = '\0';
	if (pclose(p))
		snprintf(out + n, sizeof(out) - n, "(failed)");
	return out;
}

static const struct vfat_file two[] = { { "meta-data", "instance\n", 9 },
					{ "user-data", "#cloud-config\n{}\n", 17 } };

/* It counts the label as one of the files. */
TEST(fsck_finds_nothing_wrong)
{
	make("CIDATA", two, 2);
	const char *out = said("fsck.vfat -nv img");
	bool fine = strstr(out, "3 files, 2/2034 clusters") && !strstr(out, "(failed)");
	if (!fine)
		printf("%s\n", out);
	CHECK(fine);
	CHECK(strstr(out, "12 bit entries"));
}

TEST(names_and_label_are_as_they_were_given)
{
	make("CIDATA", two, 2);
	CHECK_STR(said("mdir -b -i img"), "::/meta-data\n::/user-data\n");
	CHECK_STR(said("mlabel -s -i img ::"), " Volume label is CIDATA     \n");
	CHECK(strstr(said("mdir -i img"), "META-D~1"));
}

TEST(contents_are_as_they_were_given)
{
	make("CIDATA", two, 2);
	CHECK_STR(said("mtype -i img ::meta-data"), "instance\n");
	CHECK_STR(said("mtype -i img ::USER-DATA"), "#cloud-config\n{}\n");
}

TEST(blkid_sees_a_vfat_with_that_label)
{
	make("CIDATA", two, 2);
	CHECK_STR(said("blkid -p -o value -s LABEL -s TYPE -s UUID img"),
		  "CIDATA\n1234-5678\nvfat\n");
}

/* One byte less and one more than whole clusters, none, and names of one piece, one piece exactly, two, two exactly. */
TEST(files_of_all_lengths_fit_beside_each_other)
{
	static char text[100000];
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 23);
	const struct vfat_file files[] = { { "a", text, 0 },
					   { "thirteen.char", text, 511 },
					   { "fourteen-chars", text, 100000 },
					   { "twenty_six.characters.long", text, 513 } };
	make("CONFIG2", files, 4);
	CHECK(!strstr(said("fsck.vfat -nv img"), "(failed)"));
	CHECK_STR(said("mdir -b -i img"),
		  "::/a\n::/thirteen.char\n::/fourteen-chars\n::/twenty_six.characters.long\n");
	CHECK_STR(said("mtype -i img ::a | wc -c"), "0\n");
	CHECK_STR(said("mtype -i img ::thirteen.char | wc -c"), "511\n");
	FILE *f = fopen("text", "w");
	CHECK(f && fwrite(text, 1, sizeof(text), f) == sizeof(text) && !fclose(f));
	CHECK_STR(said("mtype -i img ::fourteen-chars | cmp - text"), "");
	CHECK_STR(said("mtype -i img ::twenty_six.characters.long | cmp -n 513 - text"), "");
}

TEST(disk_can_be_filled_to_its_last_cluster_and_no_further)
{
	enum { ROOM = 2033 * 512 };
	static char text[ROOM + 1];
	uint8_t *disk;
	memset(text, 'x', sizeof(text));
	struct vfat_file files[] = { { "small", "1", 1 }, { "large", text, ROOM } };
	make("FULL", files, 2);
	CHECK(strstr(said("fsck.vfat -nv img"), "3 files, 2034/2034 clusters"));
	CHECK_STR(said("mtype -i img ::large | tr -d x | wc -c; mtype -i img ::large | wc -c"),
		  "0\n1040896\n");
	files[1].len_bytes++;
	CHECK_EQ(vfat_make("FULL", 1, files, 2, &disk), -EFBIG);
	files[1].len_bytes = SIZE_MAX;
	CHECK_EQ(vfat_make("FULL", 1, files, 2, &disk), -EFBIG);
}

TEST(names_that_no_fat_has_are_refused)
{
	static const char *const bad[] = { "",	    ".",     "a.",
					   "a b",   "a/b",   "\xc3\xa9",
					   "a\x1f", "what?", "twenty_seven.characters.lon" };
	uint8_t *disk;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct vfat_file f = { bad[i], "x", 1 };
		CHECK_EQ(vfat_make("CIDATA", 1, &f, 1, &disk), -EINVAL);
	}
	CHECK_EQ(vfat_make("", 1, two, 2, &disk), -EINVAL);
	CHECK_EQ(vfat_make("lower", 1, two, 2, &disk), -EINVAL);
	CHECK_EQ(vfat_make("TWELVE LONG", 1, two, 2, &disk), -EINVAL);
	CHECK_EQ(vfat_make("TWELVELETTER", 1, two, 2, &disk), -EINVAL);
	CHECK_EQ(vfat_make("CIDATA", 1, two, VFAT_FILES_MAX + 1, &disk), -EINVAL);
}

TEST_MAIN(T(fsck_finds_nothing_wrong), T(names_and_label_are_as_they_were_given),
	  T(contents_are_as_they_were_given), T(blkid_sees_a_vfat_with_that_label),
	  T(files_of_all_lengths_fit_beside_each_other),
	  T(disk_can_be_filled_to_its_last_cluster_and_no_further),
	  T(names_that_no_fat_has_are_refused))
