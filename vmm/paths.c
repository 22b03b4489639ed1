/* SPDX-License-Identifier: Apache-2.0 */
/* Where this user's files are. */
#include "vmm/paths.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int paths_join(char *out, ...)
{
	va_list ap;
	size_t len = 0;
	const char *part;
	int err = 0;
	va_start(ap, out);
	while ((part = va_arg(ap, const char *)) && !err) {
		int n = snprintf(out + len, PATH_MAX - len, "%s%s", len ? "/" : "", part);
		if (n < 0 || (size_t)n >= PATH_MAX - len)
			err = -ENAMETOOLONG;
		else
			len += (size_t)n;
	}
	va_end(ap);
	return err;
}

int paths_make_dirs(const char *dir)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s", dir);
	if (n < 0 || n >= (int)sizeof(path))
		return -ENAMETOOLONG;
	for (char *p = path + 1;; p++) {
		if (*p && *p != '/')
			continue;
		char c = *p;
		*p = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return -errno;
		*p = c;
		if (!c)
			return 0;
	}
}

static const char *home(void)
{
	const char *h = getenv("HOME");
	if (h && *h == '/')
		return h;
	const struct passwd *pw = getpwuid(getuid());
	return pw ? pw->pw_dir : "/";
}

int paths_data_dir(char *out)
{
	const char *xdg = getenv("XDG_DATA_HOME");
	int err = xdg && *xdg == '/' ? paths_join(out, xdg, "charmvm", NULL)
				     : paths_join(out, home(), ".local/share/charmvm", NULL);
	return err ? err : paths_make_dirs(out);
}

int paths_config_dir(char *out)
{
	const char *xdg = getenv("XDG_CONFIG_HOME");
	return xdg && *xdg == '/' ? paths_join(out, xdg, "charmvm", NULL)
				  : paths_join(out, home(), ".config/charmvm", NULL);
}

int paths_cache_dir(const char *what, char *out)
{
	const char *xdg = getenv("XDG_CACHE_HOME");
	int err = xdg && *xdg == '/' ? paths_join(out, xdg, "charmvm", what, NULL)
				     : paths_join(out, home(), ".cache/charmvm", what, NULL);
	return err ? err : paths_make_dirs(out);
}

int paths_run_dir(char *out)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	char own[32];
	snprintf(own, sizeof(own), "charmvm-%u", (unsigned int)getuid());
	int err = xdg && *xdg == '/' ? paths_join(out, xdg, "charmvm", NULL)
				     : paths_join(out, "/tmp", own, NULL);
	err = err ? err : paths_make_dirs(out);
	struct stat st;
	if (!err && lstat(out, &st) < 0)
		err = -errno;
	/* In /tmp anybody may have made it first. */
	if (!err && (!S_ISDIR(st.st_mode) || st.st_uid != getuid() || (st.st_mode & 022)))
		err = -EPERM;
	return err;
}
