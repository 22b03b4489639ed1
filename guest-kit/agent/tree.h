/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file, a link or a directory with all that is in it, as one stream of bytes. The receiving end names every file by
 * a directory it has open and a name without a slash: a stream cannot reach out of where it is put, whatever it says.
 *
 * An entry is a header of 8 bytes (kind, 0, length of the payload in 16 bits, mode in 32; little-endian) and a payload:
 *
 *     'F' name            a file begins; its contents follow as 'C' data, and 'E' ends it
 *     'D' name            a directory begins; what is in it follows, and 'U' ends it
 *     'L' name NUL target a symbolic link
 *     'X'                 the sender gave up, and has said why
 *     'Z'                 the end of everything
 *
 * Both functions block. Modes are carried without set-user-ID, set-group-ID and sticky bits. Sockets, devices
 * and FIFOs are left out.
 */
#ifndef AGENT_TREE_H
#define AGENT_TREE_H

enum { TREE_ERROR_BYTES = 256, TREE_DEPTH_MAX = 100 };

/* What is at @path (a link there is followed) goes to @fd. -> 0, or -1 with the reason in @error, for one line; an empty
 * one when the other end knows it. */
int tree_send(const char *path, int fd, char error[TREE_ERROR_BYTES]);

/*
 * Puts what comes from @fd at @path: into it where that is a directory, else under that name in its
 * directory. A file appears under its name when it is complete, and replaces one that was there. -> as above;
 * what had come whole by then stays.
 */
int tree_receive(int fd, const char *path, char error[TREE_ERROR_BYTES]);

#endif
