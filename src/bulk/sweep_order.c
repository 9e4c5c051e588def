/*
 * sweep_order.c
 *		What a sweep looks for, and in which order it finds accounts.
 *
 * First it looks for accounts that something is due for, in the order of next_event_at.  Then
 * it looks for ends that are to be announced, in the order of their times: for each kind of
 * ends that is wanted, this is a phase of its own.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "bulk/sweep_order.h"
#include "store/columns.h"
#include "tables/rows.h"

static HTAB *
make_passed(MemoryContext memory)
{
	HASHCTL info = {.keysize = CR_MAX_NAME + 1, .entrysize = CR_MAX_NAME + 1, .hcxt = memory};

	return hash_create("credits sweep", 256, &info, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/* Begins with what is due.  The current memory context lives as long as the sweep. */
void
order_begin(SweepOrder *order)
{
	order->ends = NULL;
	order->memory = CurrentMemoryContext;
	order->position = DT_NOBEGIN;
	order->passed = make_passed(order->memory);
}

/*
 * Goes on to notices, or to those of the next kind.  False if no more are wanted.  Users that
 * were passed before are tried again: an account whose reset fails can have notices.
 */
bool
order_next_phase(SweepOrder *order)
{
	const Ends *ends = notices_next(order->ends);

	if (ends == NULL)
		return false;
	order->ends = ends;
	order->position = clock_now() + 1;
	hash_destroy(order->passed);
	order->passed = make_passed(order->memory);
	return true;
}

void
order_pass(SweepOrder *order, const char *user_id)
{
	char key[CR_MAX_NAME + 1] = {0};

	strlcpy(key, user_id, sizeof(key));
	(void) hash_search(order->passed, key, HASH_ENTER, NULL);
}

bool
order_has_passed(SweepOrder *order, const char *user_id)
{
	char key[CR_MAX_NAME + 1] = {0};

	if (hash_get_num_entries(order->passed) == 0)
		return false;
	strlcpy(key, user_id, sizeof(key));
	return hash_search(order->passed, key, HASH_FIND, NULL) != NULL;
}

/* Looks up what is due, or what ends soon, from the position on. */
void
order_seek(SweepOrder *order, Lookup *lookup, Snapshot snapshot)
{
	const Ends *ends = order->ends;
	CrTime now = clock_now();

	if (ends)
		lookup_begin(lookup, ends->table, ends->index, snapshot);
	else
		lookup_begin(lookup, TABLE_ACCOUNT, INDEX_ACCOUNT_NEXT_EVENT, snapshot);
	lookup_key(lookup, 1, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
			   TimestampTzGetDatum(order->position));
	lookup_key(lookup, 1, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
			   TimestampTzGetDatum(ends ? notices_upto(ends, now) : now));
}

/* The user of the row that was found. */
char *
order_user(const SweepOrder *order, Lookup *lookup)
{
	if (order->ends)
		return slot_text(lookup->slot, order->ends->user_id);
	return slot_text(lookup->slot, ACC_USER_ID);
}

/*
 * The next account that something is due for, or the next end, in the look-up's slot.  Returns
 * its user, or NULL.  Users at the position of the last batch's end that are still due come
 * again, so users that were passed are remembered.
 */
char *
order_next(SweepOrder *order, Lookup *lookup)
{
	AttrNumber time_column = ACC_NEXT_EVENT_AT;
	bool isnull;

	if (order->ends)
		time_column = order->ends->ends_at;
	while (lookup_next(lookup, ForwardScanDirection))
	{
		char *user_id = order_user(order, lookup);

		CHECK_FOR_INTERRUPTS();
		if (order_has_passed(order, user_id))
			continue;
		order->position = DatumGetTimestampTz(
			slot_getattr(lookup->slot, time_column, &isnull));
		return user_id;
	}
	return NULL;
}

static bool
is_any_here(SweepOrder *order)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	Lookup lookup;
	bool found;

	order_seek(order, &lookup, snapshot);
	found = order_next(order, &lookup) != NULL;
	lookup_end(&lookup);
	UnregisterSnapshot(snapshot);
	return found;
}

/* Is anything left, in this phase or a later one? */
bool
order_any_left(SweepOrder *order)
{
	do
	{
		if (is_any_here(order))
			return true;
	} while (order_next_phase(order));
	return false;
}
