/* SPDX-License-Identifier: Apache-2.0 */
/* The disk for the guest's cloud-init. */
/*
 * Both files are YAML for cloud-init. What is written is JSON, which is YAML, too: then a library sees to quotes and escapes.
 *
 * cloud-init does most of its work once for each instance-id, so that is the machine's host key, the user's key and the user's own
 * words: another machine from a copy of this one's disk, the same disk with another user or with other words, is set up anew, and a
 * reboot is not.
 */
#include "vmm/cloud_init.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/memory.h"
#include "firmware/vfat.h"
#include "vmm/backends.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/user_data.h"

enum { HOSTNAME_MAX = 63 };

static const char user_data_head[] = "#cloud-config\n";

/* FNV-1a. */
static uint64_t hash(uint64_t h, const char *text)
{
	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	return h;
}

static uint64_t identity(const char *name, const struct keys *k, const char *theirs)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	h = k ? hash(hash(h, k->host_public), k->user_public) : hash(h, name);
	return theirs ? hash(h, theirs) : h;
}

/* Letters, digits and hyphens inside (RFC 1123); a machine's name may have more. */
static void make_hostname(char out[HOSTNAME_MAX + 1], const char *name)
{
	size_t n = 0;
	for (; *name && n < HOSTNAME_MAX; name++)
		if (isascii(*name) && isalnum((unsigned char)*name))
			out[n++] = *name;
		else if (n && out[n - 1] != '-')
			out[n++] = '-';
	while (n && out[n - 1] == '-')
		n--;
	out[n] = '\0';
	if (!n)
		strcpy(out, "charmvm");
}

/* ssh-keygen's lines, without what ends them. */
static json_t *line(const char *text)
{
	return json_stringn(text, strcspn(text, "\n"));
}

/* -> NULL without memory, as all of jansson's. */
static json_t *meta_data(uint64_t id, const char *hostname)
{
	char text[32];
	snprintf(text, sizeof(text), "charmvm-%016llx", (unsigned long long)id);
	return json_pack("{s:s, s:s}", "instance-id", text, "local-hostname", hostname);
}

/* Nobody has a password, so sshd's configuration stays as it is: a change would make cloud-init restart it, in the middle
 * of a first login. */
static int add_keys(json_t *data, const struct keys *k)
{
	json_t *charm = json_pack("{s:s, s:s, s:s, s:s, s:b, s:[o]}", "name", "charm", "gecos",
				  "charmvm", "shell", "/bin/bash", "sudo", "ALL=(ALL) NOPASSWD:ALL",
				  "lock_passwd", 1, "ssh_authorized_keys", line(k->user_public));
	/* The image's own user first: it keeps the number that it has elsewhere. */
	int err = json_object_set_new(data, "users", json_pack("[s, o]", "default", charm));
	err |= json_object_set_new(data, "ssh_authorized_keys",
				   json_pack("[o]", line(k->user_public)));
	err |= json_object_set_new(data, "ssh_keys",
				   json_pack("{s:s, s:o}", "ed25519_private", k->host_private,
					     "ed25519_public", line(k->host_public)));
	/* Those of the image, or of the machine that its disk was copied from. */
	err |= json_object_set_new(data, "ssh_deletekeys", json_true());
	return err;
}

static json_t *user_data(const char *hostname, const struct keys *k)
{
	json_t *data = json_pack("{s:s, s:b, s:s, s:b, s:{s:s, s:[s]}}", "hostname", hostname,
				 "preserve_hostname", 0, "manage_etc_hosts", "localhost",
				 "resize_rootfs", 1, "growpart", "mode", "auto", "devices", "/");
	if (data && k && add_keys(data, k)) {
		json_decref(data);
		return NULL;
	}
	return data;
}

static void wipe(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

/* As text behind @head; @data is let go of. -> NULL without memory. */
static char *print(json_t *data, const char *head)
{
	char *text = NULL, *json = data ? json_dumps(data, JSON_INDENT(1)) : NULL;
	if (json && asprintf(&text, "%s%s\n", head, json) < 0)
		text = NULL;
	wipe(json);
	json_decref(data);
	return text;
}

/* With @theirs, unless that is NULL. */
static char *all_user_data(const char *hostname, const struct keys *k, const char *theirs)
{
	char *ours = print(user_data(hostname, k), user_data_head);
	if (!ours || !theirs)
		return ours;
	char *both = user_data_join(theirs, ours);
	wipe(ours);
	return both;
}

int cloud_init_disk(const char *name, const struct keys *k, const char *theirs, uint8_t **out)
{
	char hostname[HOSTNAME_MAX + 1];
	uint64_t id = identity(name, k, theirs);
	make_hostname(hostname, name);
	char *meta = print(meta_data(id, hostname), "");
	char *user = all_user_data(hostname, k, theirs);
	int err = -ENOMEM;
	if (meta && user) {
		const struct vfat_file files[] = { { "meta-data", meta, strlen(meta) },
						   { "user-data", user, strlen(user) } };
		err = vfat_make("CIDATA", (uint32_t)id, files, ARRAY_SIZE(files), out);
	}
	wipe(meta);
	wipe(user);
	return err;
}

enum exit_status cloud_init_attach(struct backends *b, const char *path)
{
	char *theirs = NULL;
	uint8_t *disk;
	if (path && user_data_read(path, &theirs))
		return EXIT_STATUS_FILE;
	int err = cloud_init_disk(b->record.name, b->have_keys ? &b->keys : NULL, theirs, &disk);
	wipe(theirs);
	if (!err) {
		err = blk_memory(b->loop, "the disk for cloud-init", disk, VFAT_BYTES, &b->seed);
		if (err)
			wipe((char *)disk);
	}
	if (err)
		log_error("cannot make the disk for the guest's cloud-init: %s", strerror(-err));
	else
		log_info("disk for cloud-init: hostname %s%s%s%s", b->record.name,
			 b->have_keys ? ", keys" : "", path ? ", " : "", path ? path : "");
	return err ? EXIT_STATUS_FAILED : EXIT_STATUS_OK;
}
