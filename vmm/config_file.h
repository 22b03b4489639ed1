/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user has written down once, for options that are not given: ~/.config/charmvm/machines/NAME.conf for one machine,
 * then ~/.config/charmvm/config for all. Nothing is read beside an image: that may be somebody else's.
 */
#ifndef VMM_CONFIG_FILE_H
#define VMM_CONFIG_FILE_H

#include "vmm/base/options.h"
#include "vmm/config.h"

/*
 * After the command line, which @given has a mark for each option of @cmd of: it wins over the machine's file, and that over
 * the user's; forwards, disks and such add up. A snapshot's own memory, processors and devices win over both files. @cfg keeps
 * the texts: config_free(). -> 0; -EINVAL, -errno: logged.
 */
int config_files_apply(const struct command_spec *cmd, struct machine_config *cfg, bool *given);

/* Where the file for the machine @name is or would be. @path: PATH_MAX. -> 0, or -ENAMETOOLONG, not logged. */
int config_file_of(const char *name, char *path);

#endif
