/* SPDX-License-Identifier: Apache-2.0 */
/* Small files that several processes read and write. */
#ifndef VMM_REPLACE_H
#define VMM_REPLACE_H

/*
 * @path becomes a file with @text, mode 0600: who reads it finds the old one or the new one, whole, and of several that
 * write it at once the last one stays. Any thread. -> 0 or -errno, and then the old one is there.
 */
int replace_file(const char *path, const char *text);

/* The same where there is none yet: what is there, or what another process makes now, stays. -> 0, also then; or -errno. */
int create_file_once(const char *path, const char *text);

#endif
