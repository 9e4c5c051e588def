/*
 * hide_zone.c
 *		Hides time zones from a server, as a system does that stops shipping them.
 *
 * Preloaded (LD_PRELOAD), it stands before the C library's open.  A zone such as
 * Asia/Calcutta is hidden while the folder that HIDDEN_ZONES names has a file
 * Asia_Calcutta.  It needs no right, and no mount of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What is behind the folder of the zones; NULL: the path is of none. */
static const char *
zone_of(const char *path)
{
	static const char *const folders[] = {"/zoneinfo/", "/timezone/"};

	for (int i = 0; i < 2; i++)
	{
		const char *folder = strstr(path, folders[i]);

		if (folder)
			return folder + strlen(folders[i]);
	}
	return NULL;
}

static int
is_hidden(const char *path)
{
	const char *zone = zone_of(path);
	const char *hidden = getenv("HIDDEN_ZONES");
	char		name[4096];
	int			prefix;

	if (zone == NULL || hidden == NULL)
		return 0;
	prefix = snprintf(name, sizeof(name), "%s/", hidden);
	snprintf(name + prefix, sizeof(name) - prefix, "%s", zone);
	for (char *c = name + prefix; *c; c++)
	{
		if (*c == '/')
			*c = '_';
	}
	return access(name, F_OK) == 0;
}

static int
open_file(const char *path, int flags, int mode)
{
	if (is_hidden(path))
	{
		errno = ENOENT;
		return -1;
	}
	return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

#define MODE_OF(flags, mode) \
	do { \
		va_list		args; \
		va_start(args, flags); \
		mode = (flags) & (O_CREAT | O_TMPFILE) ? va_arg(args, int) : 0; \
		va_end(args); \
	} while (0)

int
open(const char *path, int flags,...)
{
	int			mode;

	MODE_OF(flags, mode);
	return open_file(path, flags, mode);
}

int
open64(const char *path, int flags,...)
{
	int			mode;

	MODE_OF(flags, mode);
	return open_file(path, flags | O_LARGEFILE, mode);
}
