/* SPDX-License-Identifier: Apache-2.0 */
/* What a COPY would copy, as a hash: names, modes, contents and where links point; not times, owners or the place. */
#ifndef BUILD_TREE_HASH_H
#define BUILD_TREE_HASH_H

#include "vmm/base/sha256.h"

enum { TREE_HASH_DEPTH_MAX = 100 }; /* as the copy itself goes (guest-kit/agent/tree.h) */

/*
 * Adds the file, or the directory with all that is in it, at @path to @s; a link at @path itself is followed, those in it are
 * not. What a copy leaves out (sockets, devices) is left out. Blocks. -> 0; -ELOOP: too deep; -ENAMETOOLONG, -errno. @bad
 * (PATH_MAX) is then what it is about.
 */
int tree_hash(struct sha256 *s, const char *path, char *bad);

#endif
