/*
 * lot_rows.c
 *		An account's grants and holds: reading them from their tables and writing them
 *		back.
 *
 * They change only with their account and under the account's lock.  So a caller that
 * holds that lock reads the newest versions.  Grants that have ended are not read,
 * because nothing can happen to them any more.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "store/slots.h"
#include "store/writer.h"
#include "tables/lot_rows.h"
#include "tables/rows.h"

static void *
take_memory(void *ctx, size_t size)
{
	return MemoryContextAlloc(ctx, size);
}

/* Makes empty lists in the current memory context. */
CrLots *
lots_make(void)
{
	CrLots *lots = palloc0(sizeof(CrLots));

	lots->alloc = take_memory;
	lots->ctx = CurrentMemoryContext;
	return lots;
}

static int64
get_int(TupleTableSlot *slot, AttrNumber attno)
{
	return DatumGetInt64(slot->tts_values[attno - 1]);
}

/* 0 if it is NULL. */
static int64
get_count(TupleTableSlot *slot, AttrNumber attno)
{
	return slot->tts_isnull[attno - 1] ? 0 : get_int(slot, attno);
}

/* Reads a stored grant.  Returns what is wrong with it.  NULL: it can be read. */
const char *
grant_read(CrGrant *grant, TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	memset(grant, 0, sizeof(*grant));
	for (int i = 0; i < GRANT_USER_ID; i++)
	{
		if (slot->tts_isnull[i])
			return "a column is NULL that must not be";
	}
	grant->seq = get_int(slot, GRANT_SEQ);
	grant->amount = get_int(slot, GRANT_AMOUNT);
	grant->left = get_int(slot, GRANT_REMAINING);
	grant->ends_at = DatumGetTimestampTz(slot->tts_values[GRANT_ENDS_AT - 1]);
	grant->closed = DatumGetBool(slot->tts_values[GRANT_CLOSED - 1]);
	grant->paid = DatumGetBool(slot->tts_values[GRANT_PAID - 1]);
	grant->expired = get_count(slot, GRANT_EXPIRED);
	grant->elsewhere = get_count(slot, GRANT_ELSEWHERE);
	return NULL;
}

/* The same for a hold.  Its parts are in the current memory context. */
const char *
hold_read(CrHold *hold, TupleTableSlot *slot)
{
	char *state;

	slot_getallattrs(slot);
	memset(hold, 0, sizeof(*hold));
	for (int i = 0; i < HOLD_STATE; i++)
	{
		if (slot->tts_isnull[i])
			return "a column is NULL that must not be";
	}
	hold->seq = get_int(slot, HOLD_SEQ);
	hold->amount = get_int(slot, HOLD_AMOUNT);
	hold->monthly = get_int(slot, HOLD_MONTHLY);
	hold->purchased = get_int(slot, HOLD_PURCHASED);
	hold->period = get_int(slot, HOLD_PERIOD);
	hold->given_back = get_count(slot, HOLD_GIVEN_BACK);
	hold->ends_at = slot->tts_isnull[HOLD_ENDS_AT - 1]
		? CR_NEVER
		: DatumGetTimestampTz(slot->tts_values[HOLD_ENDS_AT - 1]);
	if (!slot->tts_isnull[HOLD_ALLOCATIONS - 1])
	{
		hold->parts = unconstify(CrPart *,
								 parts_from_array(slot->tts_values[HOLD_ALLOCATIONS - 1],
												  &hold->n_parts));
		if (hold->n_parts < 0)
		{
			hold->n_parts = 0;
			return "allocations is not an array of pairs";
		}
	}
	state = TextDatumGetCString(slot->tts_values[HOLD_STATE - 1]);
	return cr_hold_state_parse(state, &hold->state) ? NULL : "state is not known";
}

static void
load_grants(CrAccount *acc, Snapshot snapshot)
{
	Lookup lookup;

	lookup_begin(&lookup, TABLE_GRANT, INDEX_GRANT_ENDS, snapshot);
	lookup_text_key(&lookup, 1, acc->user_id);
	lookup_key(&lookup, 2, BTGreaterStrategyNumber, F_TIMESTAMPTZ_GT,
			   TimestampTzGetDatum(acc->effective_at));
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		CrGrant grant;
		const char *problem = grant_read(&grant, lookup.slot);

		if (problem)
			error_corrupted("credit_grant", problem);
		*cr_lots_add_grant(acc->lots, grant.seq, grant.ends_at) = grant;
	}
	lookup_end(&lookup);
}

/* Finds a grant, also one that has ended. */
bool
find_grant(const char *user_id, int64 seq, Snapshot snapshot, CrGrant *grant)
{
	Lookup lookup;
	bool found;

	lookup_begin(&lookup, TABLE_GRANT, INDEX_GRANT, snapshot);
	lookup_text_key(&lookup, 1, user_id);
	lookup_key(&lookup, 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(seq));
	found = lookup_next(&lookup, ForwardScanDirection);
	if (found)
	{
		const char *problem = grant_read(grant, lookup.slot);

		if (problem)
			error_corrupted("credit_grant", problem);
	}
	lookup_end(&lookup);
	return found;
}

/*
 * Reads a grant that is not in the list: one that has ended.  Only paid grants can still
 * change then.
 */
static void
load_ended(CrAccount *acc, int64 seq, Snapshot snapshot)
{
	CrGrant grant;

	if (seq <= 0 || cr_find_grant(acc, seq))
		return;
	if (find_grant(acc->user_id, seq, snapshot, &grant) && grant.paid)
		*cr_lots_add_grant(acc->lots, grant.seq, grant.ends_at) = grant;
}

/* Reads the paid grants that the parts come from, also those that have ended. */
void
lots_load_parts(CrAccount *acc, const CrPart *parts, int n_parts, Snapshot snapshot)
{
	for (int i = 0; i < n_parts; i++)
		load_ended(acc, parts[i].source, snapshot);
}

static CrHold *
add_hold(CrAccount *acc, TupleTableSlot *slot, Snapshot snapshot)
{
	CrHold hold;
	CrHold *added;
	const char *problem = hold_read(&hold, slot);

	if (problem)
		error_corrupted("credit_hold", problem);
	added = cr_lots_add_hold(acc->lots, hold.seq, 0);
	*added = hold;
	lots_load_parts(acc, hold.parts, hold.n_parts, snapshot);
	return added;
}

static int
compare_holds(const void *a, const void *b)
{
	int64 left = ((const CrHold *) a)->seq;
	int64 right = ((const CrHold *) b)->seq;

	return left < right ? -1 : left > right;
}

/*
 * Reads the open holds that end up to a time, and of the others the one that ends first, so
 * that the account's next event is known.  An account can have many thousands of holds.
 */
static void
load_holds(CrAccount *acc, CrTime upto, Snapshot snapshot)
{
	Lookup lookup;

	lookup_begin(&lookup, TABLE_HOLD, INDEX_HOLD_OPEN, snapshot);
	lookup_text_key(&lookup, 1, acc->user_id);
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		if (add_hold(acc, lookup.slot, snapshot)->ends_at > upto)
			break;
	}
	lookup_end(&lookup);
	qsort(acc->lots->holds, acc->lots->n_holds, sizeof(CrHold), compare_holds);
}

/*
 * Reads an account's grants and holds with a snapshot, as far as applying what is due up to
 * a time needs them.  CR_NEVER: all.  Under the account's lock the snapshot is SnapshotSelf.
 */
void
lots_load(CrAccount *acc, CrTime upto, Snapshot snapshot)
{
	acc->lots = lots_make();
	load_grants(acc, snapshot);
	if (cr_held(acc) > 0)
		load_holds(acc, upto, snapshot);
}

/*
 * Reads the holds of the period before that have expired and were not captured since: undoing
 * the boundary changes them.  boundary: the number of its row.  The holds of that period are
 * the newest ones before it, so older ones are not read.
 */
void
lots_load_expired(CrAccount *acc, int64 boundary, Snapshot snapshot)
{
	Lookup lookup;

	lookup_begin(&lookup, TABLE_HOLD, INDEX_HOLD, snapshot);
	lookup_text_key(&lookup, 1, acc->user_id);
	lookup_key(&lookup, 2, BTLessStrategyNumber, F_INT8LT, Int64GetDatum(boundary));
	while (lookup_next(&lookup, BackwardScanDirection))
	{
		CrHold hold;

		CHECK_FOR_INTERRUPTS();
		if (hold_read(&hold, lookup.slot) != NULL)
			continue;
		if (hold.period < acc->period - 1)
			break;
		if (hold.state == CR_HOLD_EXPIRED && cr_find_hold(acc, hold.seq) == NULL)
			(void) add_hold(acc, lookup.slot, snapshot);
	}
	lookup_end(&lookup);
	qsort(acc->lots->holds, acc->lots->n_holds, sizeof(CrHold), compare_holds);
}

/* A hold by its number, open or not.  NULL if there is none. */
CrHold *
lots_find_hold(CrAccount *acc, int64 seq, Snapshot snapshot)
{
	CrHold *hold = cr_find_hold(acc, seq);
	Lookup lookup;

	if (hold)
		return hold;
	lookup_begin(&lookup, TABLE_HOLD, INDEX_HOLD, snapshot);
	lookup_text_key(&lookup, 1, acc->user_id);
	lookup_key(&lookup, 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(seq));
	if (lookup_next(&lookup, ForwardScanDirection))
		hold = add_hold(acc, lookup.slot, snapshot);
	lookup_end(&lookup);
	return hold;
}

/* 0 becomes NULL. */
static void
set_count(TupleTableSlot *slot, AttrNumber attno, int64 value)
{
	if (value != 0)
		slot_set_int(slot, attno, value);
	else
		slot_set_null(slot, attno);
}

static void
grant_to_slot(const CrGrant *grant, const char *user_id, TupleTableSlot *slot)
{
	slot_set_int(slot, GRANT_AMOUNT, grant->amount);
	slot_set_int(slot, GRANT_REMAINING, grant->left);
	slot_set_int(slot, GRANT_SEQ, grant->seq);
	slot_set(slot, GRANT_ENDS_AT, TimestampTzGetDatum(grant->ends_at));
	slot_set(slot, GRANT_CLOSED, BoolGetDatum(grant->closed));
	slot_set(slot, GRANT_PAID, BoolGetDatum(grant->paid));
	slot_set_text(slot, GRANT_USER_ID, user_id);
	set_count(slot, GRANT_EXPIRED, grant->expired);
	set_count(slot, GRANT_ELSEWHERE, grant->elsewhere);
	/* credits came back to a grant that had none, so that no notice was written */
	if (grant->left > 0 && !slot->tts_isnull[GRANT_NOTICED - 1] &&
		!DatumGetBool(slot->tts_values[GRANT_NOTICED - 1]))
		slot_set_null(slot, GRANT_NOTICED);
}

static void
hold_to_slot(const CrHold *hold, const char *user_id, TupleTableSlot *slot)
{
	bool any = false;

	slot_set_int(slot, HOLD_AMOUNT, hold->amount);
	slot_set_int(slot, HOLD_MONTHLY, hold->monthly);
	slot_set_int(slot, HOLD_PURCHASED, hold->purchased);
	slot_set_int(slot, HOLD_SEQ, hold->seq);
	slot_set_int(slot, HOLD_PERIOD, hold->period);
	set_count(slot, HOLD_GIVEN_BACK, hold->given_back);
	slot_set_text(slot, HOLD_USER_ID, user_id);
	slot_set_text(slot, HOLD_STATE, cr_hold_state_name(hold->state));
	slot_set_time(slot, HOLD_ENDS_AT, hold->state == CR_HOLD_OPEN ? hold->ends_at : CR_NEVER);
	for (int i = 0; i < hold->n_parts; i++)
		any = any || hold->parts[i].credits > 0;
	if (any)
		slot_set(slot, HOLD_ALLOCATIONS, parts_to_array(hold->parts, hold->n_parts));
	else
		slot_set_null(slot, HOLD_ALLOCATIONS);
	if (hold->state != CR_HOLD_OPEN && slot->tts_isnull[HOLD_NOTICED - 1])
		slot_set(slot, HOLD_NOTICED, BoolGetDatum(false));
}

/*
 * Prepares a row to be filled in: a new row, or a copy of the stored row, which must
 * exist.
 */
static void
begin_row(Writer *writer, Lookup *stored, bool is_new, StoreTable table, StoreIndex index,
		  const char *user_id, int64 seq)
{
	if (is_new)
	{
		writer_clear(writer);
		return;
	}
	lookup_begin(stored, table, index, SnapshotSelf);
	lookup_text_key(stored, 1, user_id);
	lookup_key(stored, 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(seq));
	if (!lookup_next(stored, ForwardScanDirection))
		error_corrupted(store_table_name(table), "a row that was read is gone");
	writer_copy(writer, stored->slot);
}

static void
end_row(Writer *writer, Lookup *stored, bool is_new)
{
	if (is_new)
	{
		writer_insert(writer);
		return;
	}
	writer_update(writer, stored->slot);
	lookup_end(stored);
}

/* The writer of a table.  It is begun when it is first needed. */
static Writer *
need(Writer **writer, StoreTable table, MemoryContext memory)
{
	if (*writer == NULL)
		*writer = writer_begin(table, memory);
	if ((*writer)->table != table)
		elog(ERROR, "the writer of \"%s\" is another table's", store_table_name(table));
	return *writer;
}

/*
 * Writes everything that has changed since it was read.  The tables are opened when they
 * are needed.  memory: lasts until the caller ends the writers.
 */
void
lots_save(const CrAccount *acc, Writer **grants, Writer **holds, MemoryContext memory)
{
	Writer *writer;
	Lookup stored;

	for (int i = 0; i < acc->lots->n_grants; i++)
	{
		const CrGrant *grant = &acc->lots->grants[i];

		if (!grant->changed)
			continue;
		writer = need(grants, TABLE_GRANT, memory);
		begin_row(writer, &stored, grant->is_new, TABLE_GRANT, INDEX_GRANT, acc->user_id,
				  grant->seq);
		grant_to_slot(grant, acc->user_id, writer->slot);
		end_row(writer, &stored, grant->is_new);
	}
	for (int i = 0; i < acc->lots->n_holds; i++)
	{
		const CrHold *hold = &acc->lots->holds[i];

		if (!hold->changed)
			continue;
		writer = need(holds, TABLE_HOLD, memory);
		begin_row(writer, &stored, hold->is_new, TABLE_HOLD, INDEX_HOLD, acc->user_id,
				  hold->seq);
		hold_to_slot(hold, acc->user_id, writer->slot);
		end_row(writer, &stored, hold->is_new);
	}
}
