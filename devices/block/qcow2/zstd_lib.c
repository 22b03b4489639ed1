/* SPDX-License-Identifier: Apache-2.0 */
/* Loading libzstd. */
#include "devices/block/qcow2/zstd_lib.h"

#include <errno.h>

#include "vmm/base/checked.h"
#include "vmm/base/library.h"
#include "vmm/base/log.h"

/* The one whose header this was compiled with. */
static const char soname[] = "libzstd.so.1";

static const struct library_function functions[] = {
#define ZSTD_LIB_PLACE(member, function) LIBRARY_FUNCTION(struct zstd_lib, member, function),
	ZSTD_LIB_FUNCTIONS(ZSTD_LIB_PLACE)
#undef ZSTD_LIB_PLACE
};

int zstd_lib_load(struct zstd_lib *lib)
{
	const char *why = library_load(soname, functions, ARRAY_SIZE(functions), lib);
	if (why)
		log_error("clusters compressed with zstd: %s; install libzstd1", why);
	return why ? -ENOENT : 0;
}
