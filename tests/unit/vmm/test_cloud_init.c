/* SPDX-License-Identifier: Apache-2.0 */
/* What cloud-init is told: the two files as they lie on the disk. That it is a disk is test_vfat.c's. */
#include "vmm/cloud_init.h"

#include <jansson.h>

#include "firmware/vfat.h"
#include "tests/unit/test.h"
#include "vmm/keys.h"

static const struct keys the_keys = {
	.user_public = (char *)"ssh-ed25519 AAAAuser charmvm\n",
	.host_private = (char *)"-----BEGIN\nline \"two\"\n-----END\n",
	.host_public = (char *)"ssh-ed25519 AAAAhost charmvm\n",
};

/* The file that begins with @head, behind it; files lie whole, at the beginning of a sector. */
static json_t *document(const uint8_t *disk, const char *head)
{
	json_error_t err;
	for (size_t at = 0; at < VFAT_BYTES; at += 512)
		if (!memcmp(disk + at, head, strlen(head)))
			return json_loads((const char *)disk + at + strcspn(head, "{"),
					  JSON_DISABLE_EOF_CHECK, &err);
	return NULL;
}

struct seed {
	json_t *meta, *user;
};

static struct seed seed_of(const char *name, const struct keys *k)
{
	uint8_t *disk;
	CHECK_EQ(cloud_init_disk(name, k, NULL, &disk), 0);
	struct seed s = { document(disk, "{\n \"instance-id\""),
			  document(disk, "#cloud-config\n{") };
	free(disk);
	CHECK(json_is_object(s.meta) && json_is_object(s.user));
	return s;
}

static void drop(struct seed s)
{
	json_decref(s.meta);
	json_decref(s.user);
}

static const char *text(json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

TEST(user_charm_has_the_users_key_and_no_password)
{
	struct seed s = seed_of("lab", &the_keys);
	json_t *users = json_object_get(s.user, "users"), *charm = json_array_get(users, 1);
	CHECK_EQ(json_array_size(users), 2);
	CHECK_STR(json_string_value(json_array_get(users, 0)), "default");
	CHECK_STR(text(charm, "name"), "charm");
	CHECK_STR(text(charm, "sudo"), "ALL=(ALL) NOPASSWD:ALL");
	CHECK(json_is_true(json_object_get(charm, "lock_passwd")));
	json_t *own = json_object_get(charm, "ssh_authorized_keys");
	CHECK_EQ(json_array_size(own), 1);
	CHECK_STR(json_string_value(json_array_get(own, 0)), "ssh-ed25519 AAAAuser charmvm");
	CHECK(json_equal(own, json_object_get(s.user, "ssh_authorized_keys")));
	drop(s);
}

TEST(host_key_is_the_machines_and_those_before_go)
{
	struct seed s = seed_of("lab", &the_keys);
	json_t *keys = json_object_get(s.user, "ssh_keys");
	CHECK_STR(text(keys, "ed25519_private"), the_keys.host_private);
	CHECK_STR(text(keys, "ed25519_public"), "ssh-ed25519 AAAAhost charmvm");
	CHECK(json_is_true(json_object_get(s.user, "ssh_deletekeys")));
	drop(s);
}

TEST(root_file_system_grows)
{
	struct seed s = seed_of("lab", NULL);
	json_t *devices = json_object_get(json_object_get(s.user, "growpart"), "devices");
	CHECK_STR(json_string_value(json_array_get(devices, 0)), "/");
	CHECK(json_is_true(json_object_get(s.user, "resize_rootfs")));
	drop(s);
}

TEST(machine_without_keys_has_a_name_and_nobody_who_logs_in)
{
	struct seed s = seed_of("lab", NULL);
	CHECK_STR(text(s.user, "hostname"), "lab");
	CHECK(!json_object_get(s.user, "users"));
	CHECK(!json_object_get(s.user, "ssh_keys"));
	drop(s);
}

TEST(hostname_has_what_a_hostname_may_have)
{
	static const char *const names[][2] = {
		{ "charmed311", "charmed311" },
		{ "my_lab.2", "my-lab-2" },
		{ "--a--b--", "a-b" },
		{ "\xc3\xa9t\xc3\xa9", "t" },
		{ "___", "charmvm" },
		{ "a\"b\\c", "a-b-c" },
		{ "123456789-123456789-123456789-123456789-123456789-123456789-12-4",
		  "123456789-123456789-123456789-123456789-123456789-123456789-12" },
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct seed s = seed_of(names[i][0], NULL);
		CHECK_STR(text(s.user, "hostname"), names[i][1]);
		CHECK_STR(text(s.meta, "local-hostname"), names[i][1]);
		drop(s);
	}
}

/* cloud-init sets a system up anew when this is another one. */
static bool same_instance(const char *name_a, const struct keys *a, const char *name_b,
			  const struct keys *b)
{
	struct seed one = seed_of(name_a, a), two = seed_of(name_b, b);
	bool same = !strcmp(text(one.meta, "instance-id"), text(two.meta, "instance-id"));
	drop(one);
	drop(two);
	return same;
}

TEST(instance_is_the_host_key_and_the_users_key)
{
	struct keys other_host = the_keys, other_user = the_keys;
	other_host.host_public = (char *)"ssh-ed25519 AAAAelse charmvm\n";
	other_user.user_public = (char *)"ssh-ed25519 AAAAelse charmvm\n";
	CHECK(same_instance("a", &the_keys, "a", &the_keys));
	CHECK(same_instance("a", &the_keys, "renamed", &the_keys));
	CHECK(!same_instance("a", &the_keys, "a", &other_host));
	CHECK(!same_instance("a", &the_keys, "a", &other_user));
	CHECK(same_instance("a", NULL, "a", NULL));
	CHECK(!same_instance("a", NULL, "b", NULL));
	CHECK(!same_instance("a", NULL, "a", &the_keys));
}

/* The part after the other one's; both are one file, and another instance. */
TEST(words_of_the_user_go_along)
{
	static const char head[] = "Content-Type: multipart/mixed;";
	uint8_t *disk, *other;
	CHECK_EQ(cloud_init_disk("lab", &the_keys, "#!/bin/sh\n", &disk), 0);
	CHECK_EQ(cloud_init_disk("lab", &the_keys, "#!/bin/false\n", &other), 0);
	json_t *meta = document(disk, "{\n \"instance-id\""),
	       *others = document(other, "{\n \"instance-id\"");
	CHECK(strcmp(text(meta, "instance-id"), text(others, "instance-id")));
	CHECK(memmem(disk, VFAT_BYTES, head, strlen(head)));
	CHECK(memmem(disk, VFAT_BYTES, "IyEvYmluL3NoCg==", 16));
	json_decref(meta);
	json_decref(others);
	free(disk);
	free(other);
}

TEST_MAIN(T(user_charm_has_the_users_key_and_no_password),
	  T(host_key_is_the_machines_and_those_before_go), T(root_file_system_grows),
	  T(machine_without_keys_has_a_name_and_nobody_who_logs_in),
	  T(hostname_has_what_a_hostname_may_have), T(instance_is_the_host_key_and_the_users_key),
	  T(words_of_the_user_go_along))
