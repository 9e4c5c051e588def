/*
 * changes.c
 *		The accounts that a transaction changes.
 *
 * An account can be in the list more than once: only the newest entries are searched for
 * it.  Who reads the list takes the highest seq.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "live/changes.h"

#define MAX_CHANGES 10000
#define SEARCHED	16

static Change *
find_recent(const Changes *changes, const char *user_id, uint16 length)
{
	Change *change = changes->newest;

	for (int i = 0; change && i < SEARCHED; i++, change = change->older)
	{
		if (change->length == length && memcmp(change->user_id, user_id, length) == 0)
			return change;
	}
	return NULL;
}

static void
forget_all(Changes *changes)
{
	changes->newest = NULL;
	changes->too_many = true;
}

static void
link_in(Changes *changes, Change *change)
{
	change->older = changes->newest;
	changes->newest = change;
	changes->count++;
}

/* The account got a row. */
void
changes_add(Changes *changes, const char *user_id, int64 seq)
{
	uint16 length = (uint16) strlen(user_id);
	Change *change;

	if (changes->too_many)
	{
		changes->count++;
		return;
	}
	change = find_recent(changes, user_id, length);
	if (change == NULL)
	{
		if (changes->count == MAX_CHANGES)
		{
			forget_all(changes);
			changes->count++;
			return;
		}
		change = MemoryContextAlloc(CurTransactionContext, offsetof(Change, user_id) + length);
		change->length = length;
		memcpy(change->user_id, user_id, length);
		link_in(changes, change);
	}
	change->seq = seq;
}

/*
 * Adds what a subtransaction changed to what was changed around it.  It allocates nothing,
 * because it is called when a subtransaction can no longer fail.  The shorter list is added
 * to the longer one, so that thousands of nested subtransactions do not move the same
 * entries again and again.
 */
void
changes_join(Changes *changes, Changes *later)
{
	if (changes->too_many || later->too_many || changes->count + later->count > MAX_CHANGES)
	{
		forget_all(changes);
		changes->count += later->count;
		return;
	}
	if (later->count > changes->count)
	{
		Changes longer = *later;

		*later = *changes;
		*changes = longer;
	}
	for (Change *change = later->newest, *older; change; change = older)
	{
		Change *known = find_recent(changes, change->user_id, change->length);

		older = change->older;
		if (known)
			known->seq = Max(known->seq, change->seq);
		else
			link_in(changes, change);
	}
}
