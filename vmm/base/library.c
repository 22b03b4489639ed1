/* SPDX-License-Identifier: Apache-2.0 */
/* Loading libraries on demand. */
#include "vmm/base/library.h"

#include <dlfcn.h>
#include <string.h>

const char *library_load(const char *soname, const struct library_function *functions, size_t n,
			 void *out)
{
	void *handle = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return dlerror();
	for (size_t i = 0; i < n; i++) {
		void *p = dlsym(handle, functions[i].name);
		if (!p)
			return dlerror();
		/* POSIX has a function's pointer and an object's of one size (dlsym(3)). */
		memcpy((char *)out + functions[i].offset, &p, sizeof(p));
	}
	return NULL;
}
