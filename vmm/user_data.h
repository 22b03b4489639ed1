/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user has to say to the guest's cloud-init (--user-data), handed in beside what it is told by us
 * (vmm/cloud_init.h). Its own configuration counts more than ours, and lists add up, such as those of users and of keys.
 */
#ifndef VMM_USER_DATA_H
#define VMM_USER_DATA_H

/* More than a disk for cloud-init has room for is refused when that is made. */
enum { USER_DATA_BYTES_MAX = 256 * 1024 };

/*
 * The file @path as it is: a cloud-config, a script, or what else cloud-init knows by its first line, MIME among it.
 * *text: to free(). -> 0, or -errno after one line (-EINVAL: not a file, too large, nothing that cloud-init knows). Blocks.
 */
int user_data_read(const char *path, char **text);

/* One document of @theirs, from user_data_read(), and @ours, a cloud-config. -> to free(), it may hold secrets; NULL without
 * memory. */
char *user_data_join(const char *theirs, const char *ours);

#endif
