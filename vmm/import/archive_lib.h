/* SPDX-License-Identifier: Apache-2.0 */
/* libarchive, loaded when a box or an OVA is read; box_archive.c's alone. */
#ifndef VMM_ARCHIVE_LIB_H
#define VMM_ARCHIVE_LIB_H

#include <archive.h>
#include <archive_entry.h>

/* What we call of it, and no more. */
#define ARCHIVE_LIB_FUNCTIONS(X)                                                                   \
	X(read_new, archive_read_new)                                                              \
	X(filter_gzip, archive_read_support_filter_gzip)                                           \
	X(filter_bzip2, archive_read_support_filter_bzip2)                                         \
	X(filter_xz, archive_read_support_filter_xz)                                               \
	X(filter_zstd, archive_read_support_filter_zstd)                                           \
	X(format_tar, archive_read_support_format_tar)                                             \
	X(open_fd, archive_read_open_fd)                                                           \
	X(next_header, archive_read_next_header)                                                   \
	X(data_block, archive_read_data_block)                                                     \
	X(filter_bytes, archive_filter_bytes)                                                      \
	X(error_string, archive_error_string)                                                      \
	X(read_free, archive_read_free)                                                            \
	X(entry_pathname, archive_entry_pathname)                                                  \
	X(entry_filetype, archive_entry_filetype)                                                  \
	X(entry_hardlink, archive_entry_hardlink)                                                  \
	X(entry_size, archive_entry_size)

/* As archive.h and archive_entry.h declare them. */
struct archive_lib {
#define ARCHIVE_LIB_MEMBER(member, function) __typeof__(function) *member;
	ARCHIVE_LIB_FUNCTIONS(ARCHIVE_LIB_MEMBER)
#undef ARCHIVE_LIB_MEMBER
};

/* Fills in @lib; any thread. -> 0, or -ENOPKG with one line logged: it is not installed. */
int archive_lib_load(struct archive_lib *lib);

#endif
