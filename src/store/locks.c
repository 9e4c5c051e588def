/*
 * locks.c
 *		Locks on things that have no row to lock.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/wait_event.h"

#include "base/errors.h"
#include "store/locks.h"

#define PAUSE_MS 20

/*
 * A name is locked by its 64-bit hash.  If two names have the same hash, calls for them
 * wait for each other, and nothing else goes wrong.
 */
static LOCKTAG
name_tag(LockClass lock_class, const char *name)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) name, (int) strlen(name), 0);
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash,
						 (uint16) lock_class);
	return tag;
}

void
lock_name(LockClass lock_class, const char *name, LOCKMODE mode)
{
	LOCKTAG tag = name_tag(lock_class, name);

	(void) LockAcquire(&tag, mode, false, false);
}

bool
try_lock_name(LockClass lock_class, const char *name, LOCKMODE mode)
{
	LOCKTAG tag = name_tag(lock_class, name);

	return LockAcquire(&tag, mode, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

void
unlock_name(LockClass lock_class, const char *name, LOCKMODE mode)
{
	LOCKTAG tag = name_tag(lock_class, name);

	(void) LockRelease(&tag, mode, false);
}

void
lock_for_session(LockClass lock_class, const char *name, LOCKMODE mode)
{
	LOCKTAG tag = name_tag(lock_class, name);

	(void) LockAcquire(&tag, mode, true, false);
}

void
unlock_for_session(LockClass lock_class, const char *name, LOCKMODE mode)
{
	LOCKTAG tag = name_tag(lock_class, name);

	(void) LockRelease(&tag, mode, true);
}

/* The deadline of a wait: the caller's lock_timeout, or the usual limit. */
TimestampTz
lock_deadline(void)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									   LockTimeout > 0 ? LockTimeout : LOCK_LIMIT_MS);
}

/*
 * Pauses between two tries of a lock that is not queued for.  False if the deadline has
 * passed.
 */
bool
lock_pause(TimestampTz deadline)
{
	CHECK_FOR_INTERRUPTS();
	if (GetCurrentTimestamp() >= deadline)
		return false;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, PAUSE_MS,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return true;
}

/* Gets the lock by trying again and again, so that no other session queues behind us. */
bool
lock_name_until(LockClass lock_class, const char *name, LOCKMODE mode, TimestampTz deadline)
{
	while (!try_lock_name(lock_class, name, mode))
	{
		if (!lock_pause(deadline))
			return false;
	}
	return true;
}

/* The other processes that hold a lock, in any mode, as a JSON array. */
static char *
holders(const LOCKTAG *tag)
{
	LockData *data = GetLockStatusData();
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	for (int i = 0; i < data->nelements; i++)
	{
		const LockInstanceData *lock = &data->locks[i];

		if (lock->holdMask == 0 || lock->pid == MyProcPid ||
			memcmp(&lock->locktag, tag, sizeof(LOCKTAG)) != 0)
			continue;
		appendStringInfo(&buf, "%s%d", buf.len > 1 ? ", " : "", lock->pid);
	}
	appendStringInfoChar(&buf, ']');
	return buf.data;
}

char *
lock_name_holders(LockClass lock_class, const char *name)
{
	LOCKTAG tag = name_tag(lock_class, name);

	return holders(&tag);
}

char *
lock_relation_holders(Oid relid)
{
	LOCKTAG tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	return holders(&tag);
}

/*
 * Calls act, which may wait for more locks while it holds an account.  No wait in it
 * lasts longer than the limit, or than the caller's lock_timeout if that is shorter.  The
 * variable is changed only while act runs, as synchronous_commit is in early_release.c.
 */
void
lock_limit_waits(void (*act)(void *arg), void *arg)
{
	MemoryContext memory = CurrentMemoryContext;
	int usual = LockTimeout;

	if (usual > 0 && usual <= LOCK_LIMIT_MS)
	{
		act(arg);
		return;
	}
	LockTimeout = LOCK_LIMIT_MS;
	PG_TRY();
	{
		act(arg);
		CHECK_FOR_INTERRUPTS(); /* a timeout that came as the wait ended is handled here */
	}
	PG_CATCH();
	{
		LockTimeout = usual;
		if (geterrcode() == ERRCODE_LOCK_NOT_AVAILABLE)
		{
			MemoryContextSwitchTo(memory);
			FlushErrorState();
			error_waited_long(LOCK_LIMIT_MS);
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	LockTimeout = usual;
}
