/* SPDX-License-Identifier: Apache-2.0 */
/* What charmvm doctor looks at: each check finds one thing out about this host and says how to mend it. */
#ifndef VMM_DOCTOR_H
#define VMM_DOCTOR_H

#include <stddef.h>

enum doctor_verdict { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

enum { DOCTOR_TEXT = 320 };

struct doctor_finding {
	enum doctor_verdict verdict; /* _FAIL: no machine can run */
	char found[DOCTOR_TEXT];
	char fix[DOCTOR_TEXT]; /* "": nothing to do */
};

/* Where the host is looked at. "" in production; tests have a directory with proc, sys and dev of their own. */
struct doctor_host {
	const char *root;
};

struct doctor_check {
	const char *name;
	void (*look)(const struct doctor_host *h, struct doctor_finding *f);
};

extern const struct doctor_check doctor_checks[];
extern const size_t doctor_nchecks;

/* Each takes a zeroed finding. doctor_kvm.c: */
void doctor_cpu(const struct doctor_host *h, struct doctor_finding *f);
void doctor_modules(const struct doctor_host *h, struct doctor_finding *f);
void doctor_kvm(const struct doctor_host *h, struct doctor_finding *f);
void doctor_conflicts(const struct doctor_host *h, struct doctor_finding *f);
/* doctor_host.c: */
void doctor_memory(const struct doctor_host *h, struct doctor_finding *f);
void doctor_disk(const struct doctor_host *h, struct doctor_finding *f);
void doctor_directories(const struct doctor_host *h, struct doctor_finding *f);
void doctor_programs(const struct doctor_host *h, struct doctor_finding *f);

/* Below the host's root. out: PATH_MAX bytes. */
void doctor_path(const struct doctor_host *h, const char *path, char *out);
/* Does @path have a line that begins with @key, and @word (NULL: any) as one of its words? */
int doctor_file_says(const struct doctor_host *h, const char *path, const char *key,
		     const char *word);

#endif
