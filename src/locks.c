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
static LOCKTAG
name_tag(LockClass lock_class, const char *name)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) name, (int) strlen(name), 0);
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash,
						 (uint16) lock_class);
	return tag;
}

void
lock_name(LockClass lock_class, const char *name, LOCKMODE mode)
{
	LOCKTAG		tag = name_tag(lock_class, name);

	(void) LockAcquire(&tag, mode, false, false);
}

bool
try_lock_name(LockClass lock_class, const char *name, LOCKMODE mode)
{
	LOCKTAG		tag = name_tag(lock_class, name);

	return LockAcquire(&tag, mode, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

void
unlock_name(LockClass lock_class, const char *name, LOCKMODE mode)
{
	LOCKTAG		tag = name_tag(lock_class, name);

	(void) LockRelease(&tag, mode, false);
}

void
lock_for_session(LockClass lock_class, const char *name, LOCKMODE mode)
{
	LOCKTAG		tag = name_tag(lock_class, name);

	(void) LockAcquire(&tag, mode, true, false);
}

void
unlock_for_session(LockClass lock_class, const char *name, LOCKMODE mode)
{
	LOCKTAG		tag = name_tag(lock_class, name);

	(void) LockRelease(&tag, mode, true);
}
