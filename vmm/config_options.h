/* SPDX-License-Identifier: Apache-2.0 */
/* The options of a machine: their table, and what sets each in the configuration. */
#ifndef VMM_CONFIG_OPTIONS_H
#define VMM_CONFIG_OPTIONS_H

#include "vmm/base/options.h"
#include "vmm/config.h"

enum { CONFIG_OPTIONS = 33 };

extern const struct option_spec config_options[];

/* One more name in a list of at most @max; @what is the option's, for the message. -> 0, or -EINVAL, logged. */
int config_append(const char **list, unsigned int *n, unsigned int max, const char *what,
		  const char *v);

/* Setters, as struct option_spec has them: @opaque is the struct machine_config, @v is kept. -> 0, or -EINVAL, logged. */

/* ---- config_disk.c ---- */

/* One more disk. -> 0, or -EINVAL, logged: there are enough. */
int config_add_disk(struct machine_config *cfg, struct disk_config disk);
int config_opt_image(void *opaque, const char *v);
int config_opt_disk(void *opaque, const char *v);
int config_opt_on_disk_error(void *opaque, const char *v);
int config_opt_allow_backing(void *opaque, const char *v);

/* ---- config_net.c ---- */

int config_opt_net(void *opaque, const char *v);
int config_opt_forward(void *opaque, const char *v);
int config_opt_expose(void *opaque, const char *v);
int config_opt_channel(void *opaque, const char *v);
int config_opt_code(void *opaque, const char *v);
int config_opt_host_loopback(void *opaque, const char *v);

#endif
