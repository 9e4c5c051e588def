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
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"

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
		lookup->scan = compat_index_beginscan(lookup->heap, lookup->index,
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
