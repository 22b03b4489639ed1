/* SPDX-License-Identifier: Apache-2.0 */
/* Loading libslirp. */
#include "devices/net/slirp_lib.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "vmm/base/log.h"

/* The one whose header this was compiled with. */
static const char soname[] = "libslirp.so.0";

#define QUOTE(x)   #x
#define NAME_OF(x) QUOTE(x)

/* What to look up, and where in a slirp_lib it goes. */
static const struct {
	const char *name;
	size_t offset;
} functions[] = {
#define SLIRP_LIB_PLACE(member, function) { NAME_OF(function), offsetof(struct slirp_lib, member) },
	SLIRP_LIB_FUNCTIONS(SLIRP_LIB_PLACE)
#undef SLIRP_LIB_PLACE
};

int slirp_lib_load(struct slirp_lib *lib)
{
	void *handle = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
	bool found = handle;
	for (size_t i = 0; found && i < sizeof(functions) / sizeof(*functions); i++) {
		void *p = dlsym(handle, functions[i].name);
		/* POSIX has a function's pointer and an object's of one size (dlsym(3)). */
		memcpy((char *)lib + functions[i].offset, &p, sizeof(p));
		found = p;
	}
	if (found)
		return 0;
	log_error("network: %s; install libslirp0, or do without a network: --net none", dlerror());
	return -ENOENT;
}
