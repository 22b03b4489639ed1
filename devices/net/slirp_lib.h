/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libslirp, loaded when the first network is made: with GLib behind it, it takes longer to load than all else that a command
 * like `charmvm image info` does, and more memory than the rest of a machine without a network.
 */
#ifndef NET_SLIRP_LIB_H
#define NET_SLIRP_LIB_H

#include <slirp/libslirp.h>

/* What we call of it, and no more. */
#if SLIRP_CHECK_VERSION(4, 9, 0)
#define SLIRP_LIB_FILL slirp_pollfds_fill_socket
#else
#define SLIRP_LIB_FILL slirp_pollfds_fill
#endif
#define SLIRP_LIB_FUNCTIONS(X)                                                                     \
	X(new, slirp_new)                                                                          \
	X(cleanup, slirp_cleanup)                                                                  \
	X(input, slirp_input)                                                                      \
	X(pollfds_fill, SLIRP_LIB_FILL)                                                            \
	X(pollfds_poll, slirp_pollfds_poll)                                                        \
	X(add_hostfwd, slirp_add_hostfwd)                                                          \
	X(remove_hostfwd, slirp_remove_hostfwd)                                                    \
	X(version_string, slirp_version_string)

/* As libslirp.h declares them. */
struct slirp_lib {
#define SLIRP_LIB_MEMBER(member, function) __typeof__(function) *member;
	SLIRP_LIB_FUNCTIONS(SLIRP_LIB_MEMBER)
#undef SLIRP_LIB_MEMBER
};

/*
 * Fills in @lib; any thread. What was loaded stays for the life of the process, GLib cannot be unloaded.
 * -> 0, or -ENOENT with one line logged: it is not installed, or lacks a function.
 */
int slirp_lib_load(struct slirp_lib *lib);

#endif
