/* SPDX-License-Identifier: Apache-2.0 */
/* Names and ports: which host ports lead to a machine, from its name. */
/*
 * How it works. A code has two digits and makes the set: 22NN to the guest's 22, and 88NN, 90NN to
 * 99NN to the same numbers, because Jupyter, Dask and OAuth put the port they listen on into what
 * they answer. A set is bound whole or not at all, so a machine has one code, and what has been
 * bound is kept: between finding a set free and having it is no time for anybody else.
 */
#include "devices/net/ports.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "devices/net/forward.h"
#include "vmm/base/log.h"

enum {
	PORT_SSH = 22,
	BASE_SSH = 2200,
	BASE_NOTEBOOK = 8800,
	BASE_FREE = 9000,
	CODE_MIN = 10,
	CODE_MAX = 99,
	/* Where there are more machines than two digits count: 22NNN, SSH only, and not chosen by --code. */
	BASE_SSH_LONG = 22000,
	CODE_LONG_MAX = 999,
};

/* Codes that no Python has: where a set moves when its own is taken. */
static const uint8_t spare_codes[] = { 46, 49, 55, 56, 57, 58, 59, 62, 72, 86 };

unsigned int ports_code_of_name(const char *name)
{
	static const char prefix[] = "charmed";
	if (strncmp(name, prefix, sizeof(prefix) - 1))
		return 0;
	const char *v = name + sizeof(prefix) - 1;
	size_t n = strspn(v, "0123456789");
	if (v[n] && v[n] != '.' && v[n] != '-')
		return 0;
	unsigned int d[3] = { 0 };
	for (size_t i = 0; i < n && i < 3; i++)
		d[i] = (unsigned int)(v[i] - '0');
	unsigned int two = d[0] * 10 + d[1];
	if (n == 2 && (two == 27 || (two >= 34 && two <= 39)))
		return two;
	if (n == 3 && d[0] == 3 && d[1])
		return d[1] * 10 + d[2];
	return 0;
}

static struct forward_spec one_port(const struct ports_exposed *e, unsigned int host_port,
				    unsigned int guest_port, bool exposed)
{
	for (unsigned int i = 0; i < e->nports; i++)
		exposed |= e->ports[i] == host_port;
	return (struct forward_spec){ .where = exposed ? FORWARD_ALL : FORWARD_LOOPBACK,
				      .host_port = (uint16_t)host_port,
				      .guest_port = (uint16_t)guest_port };
}

/* The set of @code, SSH first; -> how many. */
static unsigned int make_set(const struct ports_exposed *e, unsigned int code, bool full,
			     struct forward_spec set[PORTS_SET_MAX])
{
	unsigned int n = 0, port = BASE_NOTEBOOK + code;
	set[n++] =
		one_port(e, (code > CODE_MAX ? BASE_SSH_LONG : BASE_SSH) + code, PORT_SSH, e->ssh);
	if (!full)
		return n;
	set[n++] = one_port(e, port, port, e->notebook);
	for (unsigned int i = 0; i < PORTS_FREE; i++) {
		port = BASE_FREE + i * 100 + code;
		set[n++] = one_port(e, port, port, e->free);
	}
	return n;
}

/* The whole set or nothing. *@taken is the port in the way of -EADDRINUSE. */
static int try_set(const struct ports_config *cfg, struct forward_list *l, unsigned int code,
		   bool full, uint16_t *taken)
{
	struct forward_spec set[PORTS_SET_MAX];
	unsigned int n = make_set(&cfg->exposed, code, full, set), before = forward_list_count(l);
	for (unsigned int i = 0; i < n; i++) {
		if (forward_list_has(l, false, set[i].host_port))
			continue; /* the user's own, by hand */
		int err = forward_try(l, &set[i]);
		if (err) {
			*taken = set[i].host_port;
			forward_list_trim(l, before);
			return err;
		}
	}
	return 0;
}

/* The candidates in their order: @i from 0; 0: no more. A machine without a name in ports.md needs
 * no more than SSH, and may be one of very many: it may have any code that is no Python's. */
static unsigned int candidate(const struct ports_result *r, unsigned int i)
{
	if (r->wanted && !i--)
		return r->wanted;
	if (i < sizeof(spare_codes))
		return spare_codes[i];
	if (r->full_set)
		return 0;
	i -= sizeof(spare_codes);
	for (unsigned int code = CODE_MAX; code > 39; code--)
		if (!memchr(spare_codes, (int)code, sizeof(spare_codes)) && !i--)
			return code;
	i += CODE_MAX + 1;
	return i <= CODE_LONG_MAX ? i : 0;
}

static int no_set_left(const struct ports_result *r, int err)
{
	if (err == -EADDRINUSE)
		log_error("no free set of ports for this machine: port %u is taken by %s, and the "
			  "other codes "
			  "are in use too; stop another machine or choose a code with --code",
			  r->taken_port, r->taken_by);
	else
		log_error("port %u of this host: %s", r->taken_port, strerror(-err));
	return err;
}

static int bind_chosen(const struct ports_config *cfg, struct forward_list *l,
		       struct ports_result *out)
{
	char who[HOLDER_STR];
	uint16_t taken = 0;
	int err = try_set(cfg, l, cfg->code, out->full_set, &taken);
	if (err == -EADDRINUSE)
		log_error("--code %u: port %u is taken by %s; stop that or choose another code",
			  cfg->code, taken, holder_of_port(false, taken, who));
	else if (err)
		log_error("--code %u: port %u of this host: %s", cfg->code, taken, strerror(-err));
	else
		out->code = cfg->code;
	return err;
}

/* The first set of the candidates that nobody has a port of. */
static int bind_free(const struct ports_config *cfg, struct forward_list *l,
		     struct ports_result *out)
{
	int err = -EADDRINUSE;
	unsigned int code;
	for (unsigned int i = 0; err == -EADDRINUSE && (code = candidate(out, i)); i++) {
		uint16_t taken = 0;
		err = try_set(cfg, l, code, out->full_set, &taken);
		if (!err)
			out->code = code;
		else if (!out->taken_port) {
			out->taken_port = taken;
			holder_of_port(false, taken, out->taken_by);
		}
	}
	return err;
}

int ports_bind(const struct ports_config *cfg, struct forward_list *l, struct ports_result *out)
{
	memset(out, 0, sizeof(*out));
	out->wanted = ports_code_of_name(cfg->name);
	out->full_set = out->wanted != 0;
	if (cfg->code && (cfg->code < CODE_MIN || cfg->code > CODE_MAX)) {
		log_error("--code %u: a code has two digits, 10 to 99", cfg->code);
		return -EINVAL;
	}
	if (cfg->code)
		return bind_chosen(cfg, l, out);
	int err = bind_free(cfg, l, out);
	if (err == -EADDRINUSE && out->full_set && cfg->ssh_suffices) {
		out->full_set = false;
		err = bind_free(cfg, l, out);
	}
	return err ? no_set_left(out, err) : 0;
}
