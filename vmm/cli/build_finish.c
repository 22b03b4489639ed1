/* SPDX-License-Identifier: Apache-2.0 */
/* What an image is left with when all its steps are done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/log.h"
#include "vmm/base/options.h"
#include "vmm/cli/build.h"

/*
 * Runs as root; "$@" is the environment. Identities that the machine has made for itself go, so that each machine of the image
 * makes or is handed its own. Then it powers off, when this command has ended.
 */
const char build_finish_script[] =
	"set -e\n"
	"umask 022\n"
	"mkdir -p /etc/charmvm\n"
	"if [ $# -gt 0 ]; then\n"
	"	mkdir -p /etc/profile.d\n"
	"	shell=/etc/profile.d/charmfile.sh\n"
	"	touch /etc/environment $shell\n"
	"	for v; do\n"
	"		n=${v%%=*}\n"
	"		sed -i \"/^$n=/d\" /etc/environment\n"
	"		sed -i \"/^export $n=/d\" $shell\n"
	"		printf '%s\\n' \"$v\" >>/etc/environment\n"
	"		printf \"export %s='%s'\\n\" \"$n\" \\\n"
	"			\"$(printf %s \"${v#*=}\" | sed \"s/'/'\\\\\\\\''/g\")\" >>$shell\n"
	"	done\n"
	"fi\n"
	"if [ -n \"$BUILD_ENTRYPOINT\" ]; then\n"
	"	[ -d /etc/systemd/system ] || { echo 'ENTRYPOINT: the image has no systemd' >&2; "
	"exit 1; }\n"
	"	printf '#!/bin/sh\\n%s\\n' \"$BUILD_ENTRYPOINT\" >/etc/charmvm/entrypoint\n"
	"	chmod 755 /etc/charmvm/entrypoint\n"
	"	unit=charmvm-entrypoint.service wants=/etc/systemd/system/multi-user.target.wants\n"
	"	cat >/etc/systemd/system/$unit <<-END\n"
	"		[Unit]\n"
	"		Description=ENTRYPOINT of the Charmfile\n"
	"		After=network.target\n"
	"		[Service]\n"
	"		User=$BUILD_USER\n"
	"		WorkingDirectory=~\n"
	"		EnvironmentFile=-/etc/environment\n"
	"		ExecStart=/etc/charmvm/entrypoint\n"
	"		[Install]\n"
	"		WantedBy=multi-user.target\n"
	"	END\n"
	"	mkdir -p $wants\n"
	"	ln -sf ../$unit $wants/$unit\n"
	"fi\n"
	"if [ -n \"$BUILD_MACHINE\" ]; then printf '%s\\n' \"$BUILD_MACHINE\" "
	">/etc/charmvm/machine.conf; fi\n"
	"for dir in /lib /usr/lib; do\n"
	"	[ -e $dir/systemd/system/charmvm-hostkey.service ] || continue\n"
	"	rm -f /etc/ssh/ssh_host_*\n"
	"	echo \"$BUILD_NAME\" >/etc/hostname\n"
	"done\n"
	"[ ! -e /etc/machine-id ] || : >/etc/machine-id\n"
	"rm -f /etc/charmvm/code\n"
	/* What guest-kit/customize has listed keeps its licences; what is new has those that its copyright file names. */
	"list=/usr/share/charmvm/packages\n"
	"if [ -e $list ]; then\n"
	"	dpkg-query -W -f '${Package}\\t${Version}\\n' | awk -F '\\t' '\n"
	"		function licences(name, l, f, out) {\n"
	"			f = \"/usr/share/doc/\" name \"/copyright\"\n"
	"			while ((getline l < f) > 0)\n"
	"				if (sub(/^License: */, \"\", l) && l != \"\" && !((name, "
	"l) in seen)) {\n"
	"					seen[name, l] = 1\n"
	"					out = out (out == \"\" ? \"\" : \", \") l\n"
	"				}\n"
	"			close(f)\n"
	"			return substr(out, 1, 400)\n"
	"		}\n"
	"		NR == FNR { had[$1 FS $2] = $0; next }\n"
	"		{ print ($1 FS $2) in had ? had[$1 FS $2] : $0 FS licences($1) }' $list - "
	">$list.new\n"
	"	mv $list.new $list\n"
	"fi\n"
	"fstrim / 2>/dev/null || :\n"
	"sync\n"
	"setsid sh -c 'sleep 1; exec poweroff' </dev/null >/dev/null 2>&1 &\n";

enum { TEXT_BYTES = 256, ENV_WORDS = 5, UNPRIVILEGED_PORT = 1024, PORT_SHIFT = 10000 };

/* ---- what a machine of the image gets ---- */

/* "tcp:10443:443" of "443/tcp": a port that a plain user may have leads to it. */
static void forward_text(const char *port, char *out, size_t size)
{
	const char *udp = strstr(port, "/udp");
	unsigned long guest = strtoul(port, NULL, 10);
	unsigned long host = guest < UNPRIVILEGED_PORT ? guest + PORT_SHIFT : guest;
	snprintf(out, size, "%s:%lu:%lu", udp ? "udp" : "tcp", host, guest);
}

static void add_line(char text[TEXT_BYTES], const char *key, const char *value)
{
	size_t len = strlen(text);
	snprintf(text + len, TEXT_BYTES - len, "%s%s = %s", len ? "\n" : "", key, value);
}

static void machine_text(const struct plan *p, char text[TEXT_BYTES])
{
	*text = '\0';
	if (p->mem)
		add_line(text, "mem", p->mem);
	if (p->cpus)
		add_line(text, "cpus", p->cpus);
}

void build_tell_use(const struct build *b)
{
	const struct plan *p = &b->plan;
	char forward[40];
	fprintf(stderr, "%s is ready. To start it: charmvm up %s", b->out_given, b->out_given);
	for (const char **port = p->ports; *port; port++) {
		forward_text(*port, forward, sizeof(forward));
		fprintf(stderr, " --forward %s", forward);
	}
	fputc('\n', stderr);
}

/* ---- the script ---- */

static int run(struct build *b)
{
	const struct plan *p = &b->plan;
	char text[TEXT_BYTES];
	const char *const names[ENV_WORDS - 1] = { "BUILD_NAME=", "BUILD_USER=",
						   "BUILD_ENTRYPOINT=", "BUILD_MACHINE=" };
	char *env[ENV_WORDS] = { NULL };
	machine_text(p, text);
	const char *const values[ENV_WORDS - 1] = { b->name, p->user ? p->user : "root",
						    p->entrypoint ? p->entrypoint : "", text };
	int status = 0;
	for (size_t i = 0; i + 1 < ENV_WORDS && !status; i++)
		if (asprintf(&env[i], "%s%s", names[i], values[i]) < 0) {
			env[i] = NULL;
			status = EXIT_STATUS_FAILED;
		}
	if (!status)
		status = build_machine_script(b, NULL, (const char *const *)env,
					      build_finish_script, p->env);
	for (size_t i = 0; i < ENV_WORDS; i++)
		free(env[i]);
	return status;
}

enum exit_status build_finish(struct build *b)
{
	build_machine_set_deadline(b);
	int status = run(b);
	if (!status)
		return build_machine_wait(b);
	log_error("%s: the image cannot be finished (status %d)", b->file, status);
	return status == EXIT_STATUS_TIMEOUT ? EXIT_STATUS_TIMEOUT : EXIT_STATUS_FAILED;
}
