/*
 * fail_malloc.c
 *		Makes malloc fail, in one server process, for one message of its client.
 *
 * One file that is both: preloaded (LD_PRELOAD) it stands before the C library's
 * malloc, and the server loads it as a module, which gives a session the functions
 * that say when.  Nothing fails before fail_malloc() was called.  Only glibc.
 */
#include "postgres.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(fail_malloc);
PG_FUNCTION_INFO_V1(malloc_calls);
PG_FUNCTION_INFO_V1(malloc_failures);

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static enum
{
	IDLE,
	ARMED,						/* from the next message on */
	COUNTING
}			state = IDLE;
static int	first;				/* the allocation that fails, the first is 1 */
static int	times;				/* how many do, one after the other */
static int	calls;				/* in the message */
static int	failures;

static bool
fails(void)
{
	if (state != COUNTING || ++calls < first || calls - first >= times)
		return false;
	failures++;
	errno = ENOMEM;
	return true;
}

void *
malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
	return fails() ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *old, size_t size)
{
	return fails() ? NULL : __libc_realloc(old, size);
}

/* How the server reads from a client: what comes first after fail_malloc() is the message. */
ssize_t
recv(int fd, void *buf, size_t len, int flags)
{
	ssize_t		got = syscall(SYS_recvfrom, fd, buf, len, flags, NULL, NULL);

	if (got > 0 && state != IDLE)
		state = state == ARMED ? COUNTING : IDLE;
	return got;
}

/* fail_malloc(first, times) */
Datum
fail_malloc(PG_FUNCTION_ARGS)
{
	first = PG_GETARG_INT32(0);
	times = PG_GETARG_INT32(1);
	calls = failures = 0;
	state = ARMED;
	PG_RETURN_VOID();
}

/* Of the message after fail_malloc(). */
Datum
malloc_calls(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_INT32(calls);
}

Datum
malloc_failures(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_INT32(failures);
}
