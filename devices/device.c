/* SPDX-License-Identifier: Apache-2.0 */
/* What every device shares. */
#include "devices/device.h"

void device_init(struct device *d, const struct device_ops *ops, const struct device_env *env,
		 const char *name)
{
	d->ops = ops;
	d->env = env;
	d->name = name;
	pthread_mutex_init(&d->lock, NULL);
}

void device_fini(struct device *d)
{
	pthread_mutex_destroy(&d->lock);
}

void device_quiet(struct device *d)
{
	if (d->env->quiet)
		d->env->quiet(d->env->quiet_opaque, d);
}
