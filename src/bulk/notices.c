/*
 * notices.c
 *		Notice before a grant or a hold ends: the events grant_ending and hold_ending.
 *
 * Nothing happens to an account when the time of a notice comes, so only the sweep can write
 * it.  A grant or hold says in its column noticed whether its notice was written.  Two
 * indexes have only those where the column is NULL, so a sweep does not read again what it
 * has announced before.
 *
 * The column is set under the account's lock and in the transaction that writes the event.
 * So each end is announced at most once, however many sweeps run, and the notice is not lost
 * if one of them is rolled back.
 *
 * If nothing is left of a grant, there is nothing to announce.  The column is then false, so
 * that the grant leaves the index, too.  If credits come back to the grant, the column becomes
 * NULL again (lot_rows.c).
 *
 * Notices are no part of the audit trail: they change no account and make no history row.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/event_kinds.h"
#include "base/settings.h"
#include "bulk/notices.h"
#include "store/lookup.h"
#include "store/slots.h"
#include "store/writer.h"
#include "tables/event_rows.h"
#include "tables/find.h"
#include "tables/lot_rows.h"
#include "tables/rows.h"

/* clang-format off */
static const Ends kinds[] = {
	{EVENT_GRANT_ENDING, TABLE_GRANT, INDEX_GRANT_NOTICE, INDEX_GRANT_ENDS,
	GRANT_USER_ID, GRANT_SEQ, GRANT_ENDS_AT, GRANT_NOTICED},
	{EVENT_HOLD_ENDING, TABLE_HOLD, INDEX_HOLD_NOTICE, INDEX_HOLD_OPEN,
	HOLD_USER_ID, HOLD_SEQ, HOLD_ENDS_AT, HOLD_NOTICED},
};
/* clang-format on */

static CrTime
time_before_end(const Ends *ends)
{
	return ends->table == TABLE_GRANT ? settings_grant_notice() : settings_hold_notice();
}

/* The kind after this one whose notices are wanted.  ends NULL: the first.  NULL: none. */
const Ends *
notices_next(const Ends *ends)
{
	for (ends = ends ? ends + 1 : kinds; ends < kinds + lengthof(kinds); ends++)
	{
		if ((settings_events() & EVENT_BIT(ends->event)) != 0 && time_before_end(ends) > 0)
			return ends;
	}
	return NULL;
}

/* The last end that is to be announced now. */
CrTime
notices_upto(const Ends *ends, CrTime now)
{
	return now + time_before_end(ends);
}

/*
 * Applies in memory what is due to the account.  False if that is not possible: then the
 * account has failed in the sweep.
 */
static bool
bring_up_to(CrAccount *acc, Plans *plans, CrTime now)
{
	CrEnv env = plans_env(plans);
	CrFold result = CR_FOLDED;

	if (cr_is_due(acc, now))
	{
		if (cr_has_lots(acc))
			lots_load(acc, now, plans->snapshot);
		result = cr_fold_due(acc, &env, now);
	}
	return result == CR_FOLDED || result == CR_WAITS_FOR_ZONE;
}

/* What is left of the grant, or held by the open hold. */
static int64
credits_left(const Ends *ends, const CrAccount *acc, TupleTableSlot *slot)
{
	const char *problem;
	CrGrant stored;
	CrHold hold;

	if (ends->table == TABLE_GRANT)
	{
		const CrGrant *grant = &stored;

		problem = grant_read(&stored, slot);
		if (problem == NULL && acc->lots)
			grant = cr_find_grant(acc, stored.seq);
		if (problem == NULL)
			return grant == NULL || grant->closed ? 0 : grant->left;
		error_corrupted("credit_grant", problem);
	}
	problem = hold_read(&hold, slot);
	if (problem)
		error_corrupted("credit_hold", problem);
	return hold.state == CR_HOLD_OPEN ? cr_hold_left(&hold) : 0;
}

static void
write_event(const Ends *ends, const CrAccount *acc, TupleTableSlot *slot, int64 left,
			CrTime clock, CrTime now, Books *books)
{
	bool isnull;
	CrRow row = {
		.user_id = acc->user_id,
		.seq = DatumGetInt64(slot_getattr(slot, ends->seq, &isnull)),
		.amount = left,
		.balance = acc->balance,
		.created_at = clock,
		.effective_at = now,
		.has_ends_at = true,
		.ends_at = DatumGetTimestampTz(slot_getattr(slot, ends->ends_at, &isnull)),
	};

	if (books->events == NULL)
		books->events = writer_begin(TABLE_EVENT, books->memory);
	event_write(books->events, &row, ends->event);
}

/* Sets noticed.  The stored row cannot change, because its account is locked. */
static void
set_noticed(const Ends *ends, TupleTableSlot *stored, bool noticed, Books *books)
{
	Writer **writer = ends->table == TABLE_GRANT ? &books->grants : &books->holds;

	if (*writer == NULL)
		*writer = writer_begin(ends->table, books->memory);
	writer_copy(*writer, stored);
	slot_set((*writer)->slot, ends->noticed, BoolGetDatum(noticed));
	writer_update(*writer, stored);
}

/*
 * Finds the user's account and locks it.  False if there is none any more, or it is busy.
 */
static bool
lock_account(Books *books, const char *user_id, CrAccount *acc, bool *is_busy)
{
	BooksResult result = BOOKS_NOT_FOUND;

	if (books_find(books, user_id))
		result = books_lock(books, books->accounts.slot, LockWaitSkip);
	*is_busy = result == BOOKS_SKIPPED;
	if (result != BOOKS_FOUND)
		return false;
	account_from_slot(acc, books->accounts.slot);
	return strcmp(acc->user_id, user_id) == 0;
}

/*
 * Writes the notices of a user that are wanted now.  The writes give new versions of rows
 * that the search goes on to find.  It passes by these, because noticed is set.
 */
NoticesResult
notices_write(const Ends *ends, const char *user_id, Books *books, RunCounts *counts)
{
	NoticesResult result = NOTICES_NONE;
	Plans plans;
	CrTime clock;
	CrTime now;
	CrAccount acc;
	Lookup lookup;
	bool is_busy;

	if (!lock_account(books, user_id, &acc, &is_busy))
		return is_busy ? NOTICES_BUSY : NOTICES_NONE;
	clock = clock_now();
	now = Max(clock, acc.effective_at);
	plans_init(&plans, SnapshotSelf);
	if (!bring_up_to(&acc, &plans, now))
		return NOTICES_NONE;
	lookup_begin(&lookup, ends->table, ends->of_user, SnapshotSelf);
	lookup_text_key(&lookup, 1, user_id);
	lookup_key(&lookup, 2, BTGreaterStrategyNumber, F_TIMESTAMPTZ_GT,
			   TimestampTzGetDatum(now));
	lookup_key(&lookup, 2, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
			   TimestampTzGetDatum(notices_upto(ends, clock)));
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		int64 left;

		CHECK_FOR_INTERRUPTS();
		if (!slot_attisnull(lookup.slot, ends->noticed))
			continue;
		left = credits_left(ends, &acc, lookup.slot);
		set_noticed(ends, lookup.slot, left > 0, books);
		result = NOTICES_WRITTEN;
		if (left == 0)
			continue;
		write_event(ends, &acc, lookup.slot, left, clock, now, books);
		counts->notices++;
	}
	lookup_end(&lookup);
	return result;
}

/* Would a sweep announce the end in the slot?  It writes and locks nothing. */
bool
notices_preview(const Ends *ends, TupleTableSlot *slot, Plans *plans, CrTime now)
{
	CrAccount acc;

	return find_account(slot_text(slot, ends->user_id), plans->snapshot, &acc) &&
		bring_up_to(&acc, plans, Max(now, acc.effective_at)) &&
		credits_left(ends, &acc, slot) > 0;
}
