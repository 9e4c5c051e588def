/*
 * locks.c
 *		Locks on what has no row of its own to lock.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"

#include "locks.h"

/*
 * A name's lock is that of its 64-bit hash: two names that collide wait for
 * each other, and nothing worse.
 */
static LockAcquireResult
acquire(LockClass lock_class, const char *name, LOCKMODE mode, bool dont_wait)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) name, (int) strlen(name), 0);
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash,
						 (uint16) lock_class);
	return LockAcquire(&tag, mode, false, dont_wait);
}

void
lock_name(LockClass lock_class, const char *name, LOCKMODE mode)
{
	(void) acquire(lock_class, name, mode, false);
}

bool
try_lock_name(LockClass lock_class, const char *name, LOCKMODE mode)
{
	return acquire(lock_class, name, mode, true) != LOCKACQUIRE_NOT_AVAIL;
}
