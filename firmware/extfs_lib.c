/* SPDX-License-Identifier: Apache-2.0 */
/* Loading libext2fs. */
#include "firmware/extfs_lib.h"

#include <errno.h>

#include "vmm/base/checked.h"
#include "vmm/base/library.h"
#include "vmm/base/log.h"

/* The one whose header this was compiled with. */
static const char soname[] = "libext2fs.so.2";

static const struct library_function functions[] = {
#define EXTFS_LIB_PLACE(member, function) LIBRARY_FUNCTION(struct extfs_lib, member, function),
	EXTFS_LIB_FUNCTIONS(EXTFS_LIB_PLACE)
#undef EXTFS_LIB_PLACE
};

int extfs_lib_load(struct extfs_lib *lib)
{
	const char *why = library_load(soname, functions, ARRAY_SIZE(functions), lib);
	if (why)
		log_error("file systems in images: %s; install libext2fs2, or give a kernel: "
			  "--kernel",
			  why);
	return why ? -ENOENT : 0;
}
