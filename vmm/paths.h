/* SPDX-License-Identifier: Apache-2.0 */
/* Where this user's files of charmvm are (XDG base directories). All buffers are PATH_MAX. */
#ifndef VMM_PATHS_H
#define VMM_PATHS_H

/* Joins the parts up to NULL with '/'. -> 0 or -ENAMETOOLONG. */
int paths_join(char *out, ...) __attribute__((sentinel));
/* Makes @dir and those above it, mode 0700. -> 0 or -errno. */
int paths_make_dirs(const char *dir);
/* $XDG_DATA_HOME/charmvm or ~/.local/share/charmvm, made. -> 0 or -errno. */
int paths_data_dir(char *out);
/* $XDG_CONFIG_HOME/charmvm or ~/.config/charmvm, whether it is there or not. -> 0 or -errno. */
int paths_config_dir(char *out);
/* $XDG_CACHE_HOME/charmvm/@what or ~/.cache/charmvm/@what, made. -> 0 or -errno. */
int paths_cache_dir(const char *what, char *out);
/* $XDG_RUNTIME_DIR/charmvm, or /tmp/charmvm-UID where that is not set; made, and checked to be
 * this user's own. -> 0, -EPERM (somebody else's) or -errno. */
int paths_run_dir(char *out);

#endif
