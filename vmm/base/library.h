/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Libraries that are loaded when they are first needed: what a command does not use does not cost it
 * time. Each user has a file with the functions it calls, as a struct of pointers.
 */
#ifndef BASE_LIBRARY_H
#define BASE_LIBRARY_H

#include <stddef.h>

/* A function's name, and where in the struct its pointer goes. */
struct library_function {
	const char *name;
	size_t offset;
};

/* The name that the linker knows: @function may be a macro for it. */
#define LIBRARY_QUOTE(x) #x
#define LIBRARY_NAME(x)	 LIBRARY_QUOTE(x)
#define LIBRARY_FUNCTION(type, member, function)                                                   \
	{                                                                                          \
		LIBRARY_NAME(function), offsetof(type, member)                                     \
	}

/*
 * Loads @soname and fills in the @n pointers in @out; any thread. It stays for the life of the process.
 * -> NULL, or what is wrong, as dlerror(3) has it.
 */
const char *library_load(const char *soname, const struct library_function *functions, size_t n,
			 void *out);

#endif
