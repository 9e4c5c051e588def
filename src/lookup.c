/*
 * lookup.c
 *		Reading the extension's tables by index, below the executor.
 *
 * Snapshots: reads for a caller use the statement's.  Look-ups under an
 * account's lock use SnapshotSelf, the latest committed state and our own
 * writes: nobody else can change what the lock protects, and a snapshot that
 * is not MVCC takes no SIREAD locks, so adjacent users do not conflict under
 * SERIALIZABLE for nothing.  Without a lock a row that is being updated could be
 * missed (its new version looked at before the update commits, and the old one
 * after), so what others may update is looked up with the latest MVCC snapshot.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "errors.h"
#include "locks.h"
#include "store.h"

void
lookup_begin(Lookup *lookup, StoreTable table, StoreIndex index, Snapshot snapshot)
{
	Relation	heap = table_open(store_table(table), AccessShareLock);

	lookup_in(lookup, heap, index_open(store_index(index), AccessShareLock),
			  table_slot_create(heap, NULL), snapshot);
	lookup->owns_relations = true;
}

/* The same with a table and an index that are open and stay so. */
void
lookup_in(Lookup *lookup, Relation heap, Relation index, TupleTableSlot *slot,
		  Snapshot snapshot)
{
	lookup->heap = heap;
	lookup->index = index;
	lookup->slot = slot;
	lookup->snapshot = snapshot;
	lookup->scan = NULL;
	lookup->memory = CurrentMemoryContext;
	lookup->positioned = false;
	lookup->owns_relations = false;
	lookup->nkeys = 0;
}

/*
 * Another search with the same tables, index and snapshot, and as many keys as
 * before: they are given next.
 */
void
lookup_again(Lookup *lookup)
{
	lookup->positioned = false;
	lookup->nkeys = 0;
}

void
lookup_key(Lookup *lookup, AttrNumber index_column, StrategyNumber strategy,
		   RegProcedure operator_function, Datum value)
{
	Assert(!lookup->positioned && lookup->nkeys < (int) lengthof(lookup->keys));
	ScanKeyEntryInitialize(&lookup->keys[lookup->nkeys++], 0, index_column, strategy,
						   InvalidOid,
						   lookup->index->rd_indcollation[index_column - 1],
						   operator_function, value);
}

void
lookup_text_key(Lookup *lookup, AttrNumber index_column, const char *value)
{
	lookup_key(lookup, index_column, BTEqualStrategyNumber, F_TEXTEQ,
			   CStringGetTextDatum(value));
}

/* What is after a text; NULL: all. */
void
lookup_after_key(Lookup *lookup, AttrNumber index_column, const char *value)
{
	if (value)
		lookup_key(lookup, index_column, BTGreaterStrategyNumber, F_TEXT_GT,
				   CStringGetTextDatum(value));
	else
		lookup_key(lookup, index_column, BTGreaterEqualStrategyNumber, F_TEXT_GE,
				   CStringGetTextDatum(""));
}

/* What is up to a text; NULL: all. */
void
lookup_upto_key(Lookup *lookup, AttrNumber index_column, const char *value)
{
	if (value)
		lookup_key(lookup, index_column, BTLessEqualStrategyNumber, F_TEXT_LE,
				   CStringGetTextDatum(value));
}

/*
 * The next row, in lookup->slot.  What the index allocates for the whole scan
 * it allocates on the way, so that must not go to memory that ends sooner.
 */
bool
lookup_next(Lookup *lookup, ScanDirection direction)
{
	MemoryContext old = MemoryContextSwitchTo(lookup->memory);
	bool		found;

	if (lookup->scan == NULL)
		lookup->scan = cr_index_beginscan(lookup->heap, lookup->index,
										  lookup->snapshot, lookup->nkeys);
	if (!lookup->positioned)
	{
		index_rescan(lookup->scan, lookup->keys, lookup->nkeys, NULL, 0);
		lookup->positioned = true;
	}
	found = index_getnext_slot(lookup->scan, direction, lookup->slot);
	MemoryContextSwitchTo(old);
	return found;
}

/*
 * Locks the row in lookup->slot, which then is its newest version.  False if it
 * is gone, or locked by another where that is to be skipped.
 */
bool
lookup_lock(Lookup *lookup, LockWaitPolicy wait)
{
	ItemPointerData tid = lookup->slot->tts_tid;
	TM_FailureData failure;

	return table_tuple_lock(lookup->heap, &tid, lookup->snapshot, lookup->slot,
							GetCurrentCommandId(false), LockTupleNoKeyExclusive, wait,
							TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS |
							TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure) == TM_Ok;
}

/* Locks stay until the end of the transaction. */
void
lookup_end(Lookup *lookup)
{
	if (lookup->scan)
		index_endscan(lookup->scan);
	ExecDropSingleTupleTableSlot(lookup->slot);
	if (!lookup->owns_relations)
		return;
	index_close(lookup->index, NoLock);
	table_close(lookup->heap, NoLock);
}

bool
lookup_account(const char *user_id, Snapshot snapshot, CrAccount *acc)
{
	Lookup		lookup;
	bool		found;

	lookup_begin(&lookup, TABLE_ACCOUNT, INDEX_ACCOUNT, snapshot);
	lookup_text_key(&lookup, 1, user_id);
	found = lookup_next(&lookup, ForwardScanDirection);
	if (found)
		account_from_slot(acc, lookup.slot);
	lookup_end(&lookup);
	return found;
}

/* Is there an account by now, whatever our transaction's snapshot is? */
bool
lookup_account_latest(const char *user_id)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	CrAccount	acc;
	bool		found = lookup_account(user_id, snapshot, &acc);

	UnregisterSnapshot(snapshot);
	return found;
}

/* A row by its number, which may be malformed. */
bool
lookup_row(const char *user_id, int64 seq, Snapshot snapshot, CrRow *row)
{
	Lookup		lookup;
	bool		found;

	lookup_begin(&lookup, TABLE_HISTORY, INDEX_HISTORY, snapshot);
	lookup_text_key(&lookup, 1, user_id);
	lookup_key(&lookup, 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(seq));
	found = lookup_next(&lookup, ForwardScanDirection);
	if (found)
		row_read(row, lookup.slot);
	lookup_end(&lookup);
	return found;
}

/*
 * Above READ COMMITTED: did the row in the slot, which is one that nobody updates,
 * commit since the transaction's snapshot?
 */
bool
lookup_is_news(const Lookup *lookup)
{
	return IsolationUsesXactSnapshot() &&
		!table_tuple_satisfies_snapshot(lookup->heap, lookup->slot, GetTransactionSnapshot());
}

/*
 * Finds the row of a key that the caller has locked, first waiting for any
 * transaction that has just inserted it and not ended.  The lock is let go
 * meanwhile: that transaction may want it again.  Above READ COMMITTED a
 * row that committed since the transaction's snapshot is 40001.  On true, the
 * caller ends the lookup.  busy not NULL: instead of waiting it is set, and false.
 */
static bool
lookup_settled(Lookup *lookup, StoreTable table, StoreIndex index, LockClass lock_class,
			   const char *key, bool *busy)
{
	for (;;)
	{
		SnapshotData dirty;

		InitDirtySnapshot(dirty);
		lookup_begin(lookup, table, index, &dirty);
		lookup_text_key(lookup, 1, key);
		if (!lookup_next(lookup, ForwardScanDirection))
		{
			lookup_end(lookup);
			return false;
		}
		if (!TransactionIdIsValid(dirty.xmin))
			break;
		lookup_end(lookup);
		if (busy)
		{
			*busy = true;
			return false;
		}
		unlock_name(lock_class, key, ExclusiveLock);
		XactLockTableWait(dirty.xmin, NULL, NULL, XLTW_None);
		lock_name(lock_class, key, ExclusiveLock);
	}
	if (lookup_is_news(lookup))
		error_serialization();
	return true;
}

/*
 * Is there an account after all?  Call it under the user's opening lock, which
 * keeps nobody from updating one that is there.  busy not NULL: set if one is being
 * opened, which is then not waited for.
 */
bool
lookup_opened(const char *user_id, bool *busy)
{
	Lookup		lookup;

	if (!lookup_settled(&lookup, TABLE_ACCOUNT, INDEX_ACCOUNT, LOCK_OPENING, user_id, busy))
	{
		if (busy && *busy)
			return false;
		if (!lookup_account_latest(user_id))
			return false;
		if (IsolationUsesXactSnapshot())
			error_serialization();
		return true;
	}
	lookup_end(&lookup);
	return true;
}

/*
 * Under SERIALIZABLE, what was looked up without an MVCC snapshot, or not found so,
 * becomes a read like any other, so that who adds it meanwhile conflicts with what
 * the transaction does about it.
 */
static void
note_read(StoreTable table, StoreIndex index, const char *key)
{
	Lookup		lookup;

	if (!IsolationIsSerializable())
		return;
	lookup_begin(&lookup, table, index, GetTransactionSnapshot());
	lookup_text_key(&lookup, 1, key);
	while (lookup_next(&lookup, ForwardScanDirection))
		;
	lookup_end(&lookup);
}

/* For a caller who is told that there is no such payment, and credits none. */
void
lookup_note_absent_payment(const char *payment_ref)
{
	note_read(TABLE_PAYMENT, INDEX_PAYMENT, payment_ref);
}

/* A plan's versions are few, and new ones are rare: whether it has any or not. */
void
lookup_note_plan(const char *plan)
{
	note_read(TABLE_PLAN, INDEX_PLAN, plan);
}

/* The payment of a reference; call it under the reference's lock. */
bool
lookup_payment(const char *payment_ref, Payment *payment)
{
	Lookup		lookup;
	const char *complaint;

	if (!lookup_settled(&lookup, TABLE_PAYMENT, INDEX_PAYMENT, LOCK_PAYMENT,
						payment_ref, NULL))
		return false;
	complaint = payment_read(payment, lookup.slot);
	if (complaint)
		error_corrupted("credit_payment", complaint);
	lookup_end(&lookup);
	return true;
}
