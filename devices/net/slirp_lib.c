/* SPDX-License-Identifier: Apache-2.0 */
/* Loading libslirp. */
#include "devices/net/slirp_lib.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "vmm/base/log.h"

/* The one whose header this was compiled with. */
static const char soname[] = "libslirp.so.0";

#define QUOTE(x)      #x
#define NAME_OF(x)    QUOTE(x)
#define LOAD(member, function) && find(handle, NAME_OF(function), &lib->member, sizeof(lib->member))

/* A pointer to a function, from dlsym()'s to an object: POSIX has them of one size (dlsym(3)). */
static bool find(void *handle, const char *name, void *out, size_t bytes)
{
	void *p = dlsym(handle, name);
	memcpy(out, &p, bytes);
	return p;
}

int slirp_lib_load(struct slirp_lib *lib)
{
	void *handle = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
	if (handle && true SLIRP_LIB_FUNCTIONS(LOAD))
		return 0;
	log_error("network: %s; install libslirp0, or do without a network: --net none", dlerror());
	return -ENOENT;
}
