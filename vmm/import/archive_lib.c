/* SPDX-License-Identifier: Apache-2.0 */
/* Loading libarchive. */
#include "vmm/import/archive_lib.h"

#include <errno.h>

#include "vmm/base/checked.h"
#include "vmm/base/library.h"
#include "vmm/base/log.h"

/* The one whose header this was compiled with. */
static const char soname[] = "libarchive.so.13";

static const struct library_function functions[] = {
#define ARCHIVE_LIB_PLACE(member, function) LIBRARY_FUNCTION(struct archive_lib, member, function),
	ARCHIVE_LIB_FUNCTIONS(ARCHIVE_LIB_PLACE)
#undef ARCHIVE_LIB_PLACE
};

int archive_lib_load(struct archive_lib *lib)
{
	const char *why = library_load(soname, functions, ARRAY_SIZE(functions), lib);
	if (why)
		log_error("boxes and OVAs: %s; install libarchive13", why);
	return why ? -ENOPKG : 0;
}
