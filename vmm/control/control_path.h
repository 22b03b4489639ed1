/* SPDX-License-Identifier: Apache-2.0 */
/* The address of a unix socket whose path may be longer than an address has room for. */
#ifndef VMM_CONTROL_PATH_H
#define VMM_CONTROL_PATH_H

#include <sys/un.h>

struct control_addr {
	struct sockaddr_un un;
	int dir_fd; /* the folder by which a long path is reached, or -1 */
};

/* For bind(2) or connect(2), then control_addr_done(). -> 0, -ENAMETOOLONG (the last part), -errno. Not logged. */
int control_addr_of(struct control_addr *a, const char *path);
void control_addr_done(struct control_addr *a);

/* Connects to the stream socket at @path, of any length. -> its descriptor, blocking and the caller's, or -errno. */
int control_path_connect(const char *path);

#endif
