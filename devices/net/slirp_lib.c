/* SPDX-License-Identifier: Apache-2.0 */
/* Loading libslirp. */
#include "devices/net/slirp_lib.h"

#include <errno.h>

#include "vmm/base/checked.h"
#include "vmm/base/library.h"
#include "vmm/base/log.h"

/* The one whose header this was compiled with. */
static const char soname[] = "libslirp.so.0";

static const struct library_function functions[] = {
#define SLIRP_LIB_PLACE(member, function) LIBRARY_FUNCTION(struct slirp_lib, member, function),
	SLIRP_LIB_FUNCTIONS(SLIRP_LIB_PLACE)
#undef SLIRP_LIB_PLACE
};

int slirp_lib_load(struct slirp_lib *lib)
{
	const char *why = library_load(soname, functions, ARRAY_SIZE(functions), lib);
	if (why)
		log_error("network: %s; install libslirp0, or do without a network: --net none",
			  why);
	return why ? -ENOENT : 0;
}
