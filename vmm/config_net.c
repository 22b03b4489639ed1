/* SPDX-License-Identifier: Apache-2.0 */
/* The options of a machine's network, and of its channels to the host. */
#include <errno.h>
#include <string.h>

#include "vmm/base/log.h"
#include "vmm/config_options.h"

int config_opt_net(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	cfg->net = !strcmp(v, "user");
	cfg->net_given = true;
	if (!cfg->net && strcmp(v, "none")) {
		log_error("--net %s: 'user' (the default) or 'none'", v);
		return -EINVAL;
	}
	return 0;
}

int config_opt_forward(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	return config_append(cfg->forwards, &cfg->nforwards, CONFIG_FORWARDS_MAX, "forward", v);
}

int config_opt_expose(void *opaque, const char *v)
{
	struct ports_exposed *e = &((struct machine_config *)opaque)->exposed;
	uint64_t port;
	if (!strcmp(v, "free")) {
		e->free = true;
	} else if (!strcmp(v, "ssh")) {
		e->ssh = true;
	} else if (!strcmp(v, "notebook")) {
		e->notebook = true;
	} else if (!options_parse_uint(v, 1, UINT16_MAX, &port) && e->nports < PORTS_SET_MAX) {
		e->ports[e->nports++] = (uint16_t)port;
	} else {
		log_error("--expose %s: 'free' (the ten free ports), 'ssh', 'notebook', or one of "
			  "the "
			  "machine's ports",
			  v);
		return -EINVAL;
	}
	return 0;
}

int config_opt_channel(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	char *eq = strchr(v, '=');
	if (!eq || eq == v || (strncmp(eq + 1, "file:", 5) && strncmp(eq + 1, "socket:", 7))) {
		log_error("--channel %s: NAME=socket:PATH or NAME=file:PATH, such as "
			  "org.example.0=socket:/tmp/s",
			  v);
		return -EINVAL;
	}
	if (cfg->nchannels == CONFIG_CHANNELS_MAX) {
		log_error("--channel %s: at most %d of them", v, CONFIG_CHANNELS_MAX);
		return -EINVAL;
	}
	*eq = '\0'; /* argv's own memory */
	cfg->channels[cfg->nchannels++] = (struct channel_config){ v, eq + 1 };
	return 0;
}

int config_opt_code(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	uint64_t n;
	if (options_parse_uint(v, 1, 99, &n)) {
		log_error("--code %s: two digits, 01 to 99: SSH is then on port 22NN", v);
		return -EINVAL;
	}
	cfg->code = (unsigned int)n;
	return 0;
}

int config_opt_host_loopback(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	uint64_t n = 0;
	if (strcmp(v, "all") && options_parse_uint(v, 1, UINT16_MAX, &n)) {
		log_error("--host-loopback %s: a port of the host's loopback, or 'all'", v);
		return -EINVAL;
	}
	cfg->host_loopback = true;
	cfg->host_loopback_port = (uint16_t)n;
	return 0;
}
