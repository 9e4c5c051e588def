/*
 * lookup.c
 *		Reading the extension's tables by index, below the executor.
 *
 * Snapshots: calls that read use the snapshot of the statement.  Look-ups under an
 * account's lock use SnapshotSelf, which sees the latest committed state and our own
 * writes.  No other transaction can change what the lock protects.  SnapshotSelf is not
 * an MVCC snapshot, so it takes no SIREAD locks, and calls for neighbouring users do not
 * conflict at SERIALIZABLE without a reason.
 *
 * Without a lock, SnapshotSelf can miss a row that is being updated: it sees the new
 * version before the update commits, and the old version after.  So rows that other
 * transactions may update are looked up with the latest MVCC snapshot.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
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
	Relation heap = table_open(store_table(table), AccessShareLock);

	lookup_in(lookup, heap, index_open(store_index(index), AccessShareLock),
			  table_slot_create(heap, NULL), snapshot);
	lookup->owns_relations = true;
}

/* The same with a table and an index that the caller has opened and closes. */
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
 * Begins another search with the same table, index and snapshot, and with as many keys as
 * before.  The caller gives the new keys next.
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
						   InvalidOid, lookup->index->rd_indcollation[index_column - 1],
						   operator_function, value);
}

void
lookup_text_key(Lookup *lookup, AttrNumber index_column, const char *value)
{
	lookup_key(lookup, index_column, BTEqualStrategyNumber, F_TEXTEQ,
			   CStringGetTextDatum(value));
}

/* Rows after a text.  NULL: all rows. */
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

/* Rows up to a text, including it.  NULL: all rows. */
void
lookup_upto_key(Lookup *lookup, AttrNumber index_column, const char *value)
{
	if (value)
		lookup_key(lookup, index_column, BTLessEqualStrategyNumber, F_TEXT_LE,
				   CStringGetTextDatum(value));
}

/* index_only: the scan is for lookup_count(). */
static void
position(Lookup *lookup, bool index_only)
{
	if (lookup->scan == NULL)
	{
		lookup->scan = compat_index_beginscan(lookup->heap, lookup->index, lookup->snapshot,
											  lookup->nkeys);
		lookup->scan->xs_want_itup = index_only;
	}
	if (!lookup->positioned)
	{
		index_rescan(lookup->scan, lookup->keys, lookup->nkeys, NULL, 0);
		lookup->positioned = true;
	}
}

/*
 * Reads the next row into lookup->slot.  While it reads, the index may allocate memory
 * that it needs for the whole scan, so that memory must last as long as the scan.
 */
bool
lookup_next(Lookup *lookup, ScanDirection direction)
{
	MemoryContext old = MemoryContextSwitchTo(lookup->memory);
	bool found;

	position(lookup, false);
	found = index_getnext_slot(lookup->scan, direction, lookup->slot);
	MemoryContextSwitchTo(old);
	return found;
}

/* Is the row visible?  If its whole page is, the page is not read. */
static bool
is_visible(Lookup *lookup, ItemPointer tid, Buffer *map)
{
	BlockNumber block = ItemPointerGetBlockNumber(tid);

	if (!VM_ALL_VISIBLE(lookup->heap, block, map))
		return index_fetch_heap(lookup->scan, lookup->slot);
	PredicateLockPage(lookup->heap, block, lookup->snapshot);
	return true;
}

/*
 * Counts the rows, but no more than most.  It reads the index, and of the table only pages
 * that have been written to since the last VACUUM, like an index-only scan of the executor.
 * The snapshot is an MVCC snapshot.  With the same Lookup, no rows are read.
 */
int64
lookup_count(Lookup *lookup, int64 most)
{
	MemoryContext old = MemoryContextSwitchTo(lookup->memory);
	Buffer map = InvalidBuffer;
	int64 count = 0;

	Assert(IsMVCCSnapshot(lookup->snapshot));
	position(lookup, true);
	while (count < most)
	{
		ItemPointer tid = index_getnext_tid(lookup->scan, ForwardScanDirection);

		CHECK_FOR_INTERRUPTS();
		if (tid == NULL)
			break;
		if (is_visible(lookup, tid, &map))
			count++;
	}
	if (BufferIsValid(map))
		ReleaseBuffer(map);
	MemoryContextSwitchTo(old);
	return count;
}

/*
 * Locks the row in lookup->slot, and reads its newest version into the slot.  False if
 * the row is gone, or if another transaction has it locked and wait says to skip it.
 */
bool
lookup_lock(Lookup *lookup, LockWaitPolicy wait)
{
	ItemPointerData tid = lookup->slot->tts_tid;
	TM_FailureData failure;

	return table_tuple_lock(lookup->heap, &tid, lookup->snapshot, lookup->slot,
							GetCurrentCommandId(false), LockTupleNoKeyExclusive, wait,
							TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS |
								TUPLE_LOCK_FLAG_FIND_LAST_VERSION,
							&failure) == TM_Ok;
}

/* Ends a look-up.  Locks stay until the end of the transaction. */
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
 * Above READ COMMITTED: was the row in the slot committed after the transaction's
 * snapshot was taken?  The row must be one that is never updated.
 */
bool
lookup_is_after_snapshot(const Lookup *lookup)
{
	return IsolationUsesXactSnapshot() &&
		!table_tuple_satisfies_snapshot(lookup->heap, lookup->slot, GetTransactionSnapshot());
}
