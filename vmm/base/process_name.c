/* SPDX-License-Identifier: Apache-2.0 */
/* Names of processes, from /proc/PID/comm. */
#include "vmm/base/process_name.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

void process_name(long pid, char buf[PROCESS_NAME_STR])
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
	FILE *f = fopen(path, "re");
	if (!f || !fgets(buf, PROCESS_NAME_STR, f))
		snprintf(buf, PROCESS_NAME_STR, "a process");
	if (f)
		fclose(f);
	buf[strcspn(buf, "\n")] = '\0';
	for (char *c = buf; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
}
