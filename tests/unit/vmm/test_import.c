/* SPDX-License-Identifier: Apache-2.0 */
/* What boxes say about themselves, and how one logs in to the machines made of them. */
#include "vmm/import/box_meta.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "vmm/base/endian.h"
#include "vmm/cli/ssh_args.h"
#include "vmm/import/disk_check.h"
#include "vmm/keys.h"
#include "vmm/login.h"
#include "vmm/vagrant_key.h"

static char dir[64];

static void in_new_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/charmvm-test.XXXXXX");
	CHECK(mkdtemp(dir) != NULL);
	setenv("XDG_DATA_HOME", dir, 1);
}

static void remove_dir(void)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	CHECK_EQ(system(command), 0);
}

/* Says things about standard error that are expected. */
static int parse_quietly(const char *text, struct box_metadata *m)
{
	int saved = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
	dup2(null, STDERR_FILENO);
	int err = box_metadata_parse(text, "a.box", m);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(null);
	return err;
}

/* ---- metadata.json ---- */

TEST(metadata_of_both_versions_and_providers)
{
	struct box_metadata m;
	CHECK_EQ(box_metadata_parse("{\"provider\":\"libvirt\",\"format\":\"qcow2\"}", "b", &m), 0);
	CHECK_EQ(m.provider, BOX_LIBVIRT);
	CHECK_STR(m.disk, "box.img");
	CHECK_EQ(box_metadata_parse(
			 "{\"provider\":\"libvirt\",\"disks\":[{\"path\":\"a.img\"},{}]}", "b", &m),
		 0);
	CHECK_STR(m.disk, "a.img");
	CHECK_EQ(m.more_disks, 1);
	CHECK_EQ(box_metadata_parse("{\"provider\":\"virtualbox\"}", "b", &m), 0);
	CHECK_EQ(m.provider, BOX_VIRTUALBOX);
}

TEST(metadata_that_is_something_else_is_refused)
{
	static const char *const texts[] = {
		"",
		"[]",
		"{}",
		"{\"provider\":7}",
		"{\"provider\":\"docker\"}",
		"{\"provider\":\"libvirt\",\"format\":\"vmdk\"}",
		"{\"provider\":\"libvirt\",\"disks\":[{}]}",
		"{\"provider\":\"libvirt\",\"disks\":[{\"path\":\"a\",\"format\":\"raw\"}]}",
		"{\"provider\":\"libvirt\"} more",
	};
	struct box_metadata m;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		CHECK_EQ(parse_quietly(texts[i], &m), -EINVAL);
}

/* ---- OVF ---- */

TEST(first_disk_of_an_ovf_that_has_a_file)
{
	char disk[BOX_NAME_MAX + 1];
	unsigned int more;
	CHECK(ovf_first_disk("<x:File x:href='1.vmdk' x:id='a'/><File id=\"b\" href=\"2.vmdk\"/>"
			     "<Disk/><y:Disk\n  y:diskId='a' fileRef = 'b' /><Disk fileRef='a'>",
			     disk, &more));
	CHECK_STR(disk, "2.vmdk");
	CHECK_EQ(more, 1);
}

TEST(ovf_without_a_disk_or_cut_off_anywhere_has_none)
{
	static const char whole[] = "<!-- <File id='a' href='no'/> --><File id='a' href='d.vmdk'/>"
				    "<Disk fileRef='a'/>";
	char disk[BOX_NAME_MAX + 1], text[sizeof(whole)];
	unsigned int more;
	for (size_t n = 0; n < sizeof(whole) - 1; n++) {
		snprintf(text, sizeof(text), "%.*s", (int)n, whole);
		CHECK(!ovf_first_disk(text, disk, &more));
	}
	CHECK(ovf_first_disk(whole, disk, &more));
	CHECK_STR(disk, "d.vmdk");
	CHECK(!ovf_first_disk("<Disk fileRef='a'/><File id='b' href='d'/>", disk, &more));
	CHECK(!ovf_first_disk("<Diskette fileRef='a'/><File id='a' href='d'/>", disk, &more));
}

/* ---- Vagrantfile ---- */

TEST(user_that_a_vagrantfile_sets_plainly)
{
	char user[LOGIN_USER_MAX + 1];
	CHECK(vagrantfile_user("# x.ssh.username = 'no'\nconfig.ssh.username=\"ubuntu\"\n", user));
	CHECK_STR(user, "ubuntu");
	CHECK(vagrantfile_user("c.ssh.username\t= 'core' # it is", user));
	CHECK_STR(user, "core");
	CHECK(!vagrantfile_user("c.ssh.username = ENV['USER']", user));
	CHECK(!vagrantfile_user("c.ssh.username = \"-oProxyCommand=x\"", user));
	CHECK(!vagrantfile_user("c.ssh.username = \"unclosed", user));
	CHECK(!vagrantfile_user("c.ssh.username", user));
	CHECK(!vagrantfile_user("", user));
}

/* ---- disks ---- */

static const char *why_not(const void *bytes, size_t n, const char *format)
{
	char path[80];
	snprintf(path, sizeof(path), "%s/disk", dir);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK_EQ(write(fd, bytes, n), n);
	const char *why = disk_why_not(fd, format);
	close(fd);
	return why;
}

TEST(disks_that_name_other_files)
{
	unsigned char b[1024] = "QFI\xfb";
	in_new_dir();
	put_be32(b + 4, 3);
	CHECK(!why_not(b, sizeof(b), "qcow2"));
	put_be64(b + 72, 1 << 2);
	CHECK(why_not(b, sizeof(b), "qcow2") != NULL);
	put_be32(b + 4, 2); /* which has no such field */
	CHECK(!why_not(b, sizeof(b), "qcow2"));
	put_be64(b + 8, 512);
	CHECK(why_not(b, sizeof(b), "qcow2") != NULL);
	memset(b, 0, sizeof(b));
	memcpy(b, "KDMV", 4);
	put_le32(b + 4, 1);
	CHECK(why_not(b, sizeof(b), "vmdk") != NULL);
	put_le64(b + 12, 128);
	CHECK(!why_not(b, sizeof(b), "vmdk"));
	strcpy((char *)b + 600, "parentFileNameHint=\"/etc/shadow\"");
	CHECK(why_not(b, sizeof(b), "vmdk") != NULL);
	CHECK(why_not("# Disk DescriptorFile", 21, "vmdk") != NULL);
	CHECK(why_not("", 0, "raw") != NULL);
	remove_dir();
}

/* ---- the login ---- */

static const char *value_of(const struct ssh_setting *s, unsigned int n, const char *key,
			    unsigned int which)
{
	for (unsigned int i = 0; i < n; i++)
		if (!strcmp(s[i].key, key) && !which--)
			return s[i].value;
	return NULL;
}

TEST(login_is_kept_until_it_is_forgotten)
{
	char box[PATH_MAX];
	struct login l;
	struct stat st;
	in_new_dir();
	CHECK_EQ(login_dir("m", box), 0);
	CHECK_EQ(login_load(box, &l), -ENOENT);
	CHECK_EQ(login_save(box, "vagrant", vagrant_private_key()), 0);
	CHECK_EQ(login_load(box, &l), 0);
	CHECK_STR(l.user, "vagrant");
	CHECK(!l.replaced);
	CHECK_EQ(stat(l.key, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0600);
	CHECK_EQ(login_set_replaced(box), 0);
	CHECK_EQ(login_copy("m", "n"), 0);
	CHECK_EQ(keys_forget("m"), 0);
	CHECK_EQ(login_load(box, &l), -ENOENT);
	CHECK_EQ(login_dir("n", box), 0);
	CHECK_EQ(login_load(box, &l), 0);
	CHECK(l.replaced);
	CHECK_EQ(login_copy("m", "o"), 0); /* there is nothing to copy */
	remove_dir();
}

TEST(key_of_a_box_is_offered_first_until_it_is_replaced)
{
	struct ssh_setting s[SSH_SETTINGS_MAX];
	struct record r = { .ssh_port = 2222, .user_key = "/u", .known_hosts = "/k" };
	in_new_dir();
	unsigned int n = ssh_settings(&r, NULL, s);
	CHECK_STR(value_of(s, n, "User", 0), "charm");
	CHECK_STR(value_of(s, n, "StrictHostKeyChecking", 0), "yes");
	CHECK_EQ(login_dir("m", r.box), 0);
	CHECK_EQ(login_save(r.box, "vagrant", vagrant_private_key()), 0);
	n = ssh_settings(&r, NULL, s);
	CHECK(n <= SSH_SETTINGS_MAX);
	CHECK_STR(value_of(s, n, "User", 0), "vagrant");
	CHECK(strstr(value_of(s, n, "IdentityFile", 0), "/m/box/key") != NULL);
	CHECK_STR(value_of(s, n, "IdentityFile", 1), "\"/u\"");
	CHECK_STR(value_of(s, n, "StrictHostKeyChecking", 0), "accept-new");
	CHECK_EQ(login_set_replaced(r.box), 0);
	n = ssh_settings(&r, "root", s);
	CHECK_STR(value_of(s, n, "User", 0), "root");
	CHECK_STR(value_of(s, n, "IdentityFile", 0), "\"/u\"");
	CHECK(!value_of(s, n, "IdentityFile", 1));
	remove_dir();
}

TEST_MAIN(T(metadata_of_both_versions_and_providers), T(metadata_that_is_something_else_is_refused),
	  T(first_disk_of_an_ovf_that_has_a_file),
	  T(ovf_without_a_disk_or_cut_off_anywhere_has_none),
	  T(user_that_a_vagrantfile_sets_plainly), T(disks_that_name_other_files),
	  T(login_is_kept_until_it_is_forgotten),
	  T(key_of_a_box_is_offered_first_until_it_is_replaced))
