/* SPDX-License-Identifier: Apache-2.0 */
/* What charmvm doctor finds out about the rest of this host. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tools/image/common.h"
#include "vmm/base/checked.h"
#include "vmm/cli/doctor.h"
#include "vmm/paths.h"

#define MEMORY_WANTED_BYTES (1 * GIB) /* the default of --mem */
#define DISK_WANTED_BYTES   (2 * GIB)

void doctor_path(const struct doctor_host *h, const char *path, char *out)
{
	snprintf(out, PATH_MAX, "%s%s", h->root, path);
}

static bool has_word(const char *line, const char *word)
{
	size_t n = strlen(word);
	for (const char *at = line; (at = strstr(at, word)); at += n)
		if (at > line && isspace((unsigned char)at[-1]) &&
		    (!at[n] || isspace((unsigned char)at[n])))
			return true;
	return false;
}

int doctor_file_says(const struct doctor_host *h, const char *path, const char *key,
		     const char *word)
{
	char at[PATH_MAX], *line = NULL;
	size_t size = 0;
	bool found = false;
	doctor_path(h, path, at);
	FILE *f = fopen(at, "re");
	while (f && !found && getline(&line, &size, f) > 0)
		found = !strncmp(line, key, strlen(key)) && (!word || has_word(line, word));
	free(line);
	if (f)
		fclose(f);
	return found;
}

void doctor_memory(const struct doctor_host *h, struct doctor_finding *f)
{
	char at[PATH_MAX], line[256], text[IMAGE_SIZE_TEXT];
	uint64_t kib = 0;
	doctor_path(h, "/proc/meminfo", at);
	FILE *file = fopen(at, "re");
	while (file && fgets(line, sizeof(line), file) &&
	       sscanf(line, "MemAvailable: %" SCNu64, &kib) != 1)
		;
	if (file)
		fclose(file);
	image_size_text(kib * KIB, text);
	snprintf(f->found, DOCTOR_TEXT, "%s of memory are free", text);
	if (kib >= MEMORY_WANTED_BYTES / KIB)
		return;
	f->verdict = DOCTOR_WARN;
	snprintf(f->fix, DOCTOR_TEXT,
		 "a machine has 1 GiB unless told: end other programs, or give it less (--mem "
		 "512M)");
}

void doctor_disk(const struct doctor_host *h, struct doctor_finding *f)
{
	char at[PATH_MAX], text[IMAGE_SIZE_TEXT];
	struct statvfs st;
	(void)h; /* of wherever one is */
	if (!getcwd(at, sizeof(at)) || statvfs(at, &st)) {
		f->verdict = DOCTOR_WARN;
		snprintf(f->found, DOCTOR_TEXT, "this directory cannot be read: %s",
			 strerror(errno));
		snprintf(f->fix, DOCTOR_TEXT, "go to the directory that images are in");
		return;
	}
	uint64_t bytes = (uint64_t)st.f_bavail * st.f_frsize;
	image_size_text(bytes, text);
	snprintf(f->found, DOCTOR_TEXT, "%s of disk are free in this directory", text);
	if (bytes >= DISK_WANTED_BYTES)
		return;
	f->verdict = DOCTOR_WARN;
	snprintf(f->fix, DOCTOR_TEXT,
		 "images and snapshots grow: make room, charmvm image trim gives back what is not "
		 "used");
}

void doctor_directories(const struct doctor_host *h, struct doctor_finding *f)
{
	char run[PATH_MAX], data[PATH_MAX];
	(void)h;
	int err = paths_run_dir(run);
	const char *what = err ? "XDG_RUNTIME_DIR" : "XDG_DATA_HOME";
	err = err ? err : paths_data_dir(data);
	if (!err) {
		snprintf(f->found, DOCTOR_TEXT, "charmvm's own directories can be written");
		return;
	}
	f->verdict = DOCTOR_FAIL;
	snprintf(f->found, DOCTOR_TEXT, "charmvm's directory below %s cannot be made: %s", what,
		 strerror(-err));
	snprintf(f->fix, DOCTOR_TEXT, "set %s to a directory of your own", what);
}

static bool in_path(const char *program)
{
	const char *path = getenv("PATH");
	char at[PATH_MAX];
	for (const char *p = path ? path : ""; *p; p += *p == ':') {
		int n = (int)strcspn(p, ":");
		snprintf(at, sizeof(at), "%.*s/%s", n, p, program);
		if (!access(at, X_OK))
			return true;
		p += n;
	}
	return false;
}

void doctor_programs(const struct doctor_host *h, struct doctor_finding *f)
{
	(void)h;
	bool both = in_path("ssh") && in_path("ssh-keygen");
	snprintf(f->found, DOCTOR_TEXT,
		 both ? "ssh and ssh-keygen are installed" : "ssh or ssh-keygen is not installed");
	if (both)
		return;
	f->verdict = DOCTOR_WARN;
	snprintf(f->fix, DOCTOR_TEXT,
		 "sudo apt install openssh-client; charmvm exec works without");
}
