/* SPDX-License-Identifier: Apache-2.0 */
/* The two orders of versions that decide which kernel is the newest. */
#ifndef FIRMWARE_VERSION_H
#define FIRMWARE_VERSION_H

/* Debian's (deb-version(7), for one part without epoch). -> below, at or above 0. */
int version_cmp_debian(const char *a, const char *b);

/* The UAPI group's version format specification, which sorts boot loader entries. */
int version_cmp_uapi(const char *a, const char *b);

#endif
