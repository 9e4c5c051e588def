/*
 * books.c
 *		The books: the ledger's tables, which are opened once for a call, even if the call
 *		has many accounts.
 *
 * Tables, indexes and scans are opened once, even if they are used many times.  When all
 * data is in memory, opening them is a large part of the cost of a call.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "ledger/books.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "store/writer.h"
#include "tables/rows.h"

/*
 * Takes the snapshot after CommandCounterIncrement, so that two calls in one statement
 * see each other's changes.
 */
static void
take_snapshot(Books *books)
{
	CommandCounterIncrement();
	books->snapshot = RegisterSnapshot(GetTransactionSnapshot());
}

void
books_open(Books *books, bool many)
{
	memset(books, 0, sizeof(*books));
	books->memory = CurrentMemoryContext;
	books->account = writer_begin(TABLE_ACCOUNT, books->memory);
	books->history = writer_begin(TABLE_HISTORY, books->memory);
	books->many = many;
	take_snapshot(books);
}

/*
 * Locks the tables that are otherwise opened only when accounts are already locked.  So a
 * run with many accounts does not wait for a CREATE INDEX while it has accounts locked.
 */
void
books_lock_tables(void)
{
	static const StoreTable written[] = {TABLE_GRANT, TABLE_HOLD, TABLE_CHECKPOINT,
										 TABLE_RESET_RUN, TABLE_EVENT};
	static const StoreTable read[] = {TABLE_PLAN, TABLE_PAYMENT, TABLE_ANCHOR_LEAF};

	for (size_t i = 0; i < lengthof(written); i++)
		LockRelationOid(store_table(written[i]), RowExclusiveLock);
	for (size_t i = 0; i < lengthof(read); i++)
		LockRelationOid(store_table(read[i]), AccessShareLock);
}

/* A scan begins when the first row is read.  It is used again for later rows. */
static bool
find(Books *books, Lookup *lookup)
{
	MemoryContext old = MemoryContextSwitchTo(books->memory);
	bool found = lookup_next(lookup, ForwardScanDirection);

	MemoryContextSwitchTo(old);
	return found;
}

static void
begin(Books *books, Lookup *lookup, Writer *table, StoreIndex index, Snapshot snapshot,
	  bool *has_begun)
{
	MemoryContext old = MemoryContextSwitchTo(books->memory);

	if (*has_begun)
		lookup_again(lookup);
	else
		lookup_in(lookup, table->rel, writer_index(table, index), writer_read_slot(table),
				  snapshot);
	*has_begun = true;
	MemoryContextSwitchTo(old);
}

static void
end_accounts(Books *books)
{
	if (books->has_accounts)
		lookup_end(&books->accounts);
	books->has_accounts = false;
}

/*
 * Takes a new snapshot, so that accounts which other transactions have committed can be
 * found.
 */
void
books_refresh(Books *books)
{
	end_accounts(books);
	UnregisterSnapshot(books->snapshot);
	take_snapshot(books);
}

/*
 * Finds the user's account.  accounts.slot then has the version that our snapshot sees.
 */
bool
books_find(Books *books, const char *user_id)
{
	begin(books, &books->accounts, books->account, INDEX_ACCOUNT, books->snapshot,
		  &books->has_accounts);
	lookup_text_key(&books->accounts, 1, user_id);
	return find(books, &books->accounts);
}

/*
 * Does it look as if no other transaction has changed or locked the account since it was
 * read?  If so, it may be updated without locking it first.  The update takes the lock,
 * and it fails if this answer was wrong.
 */
BooksState
books_state(const Books *books, TupleTableSlot *slot)
{
	HeapTupleHeader tuple;
	TransactionId xmax;

	if (!writer_can_update_unlocked(books->account) || !TTS_IS_BUFFERTUPLE(slot))
		return BOOKS_UNCLEAR;
	tuple = ((BufferHeapTupleTableSlot *) slot)->base.tuple->t_data;
	if (tuple->t_infomask & HEAP_XMAX_INVALID)
		return BOOKS_FREE;
	xmax = HeapTupleHeaderGetRawXmax(tuple);
	if ((tuple->t_infomask & HEAP_XMAX_IS_MULTI) || IsolationUsesXactSnapshot() ||
		TransactionIdIsCurrentTransactionId(xmax))
		return BOOKS_UNCLEAR;
	if (TransactionIdIsInProgress(xmax))
		return BOOKS_BUSY;
	return HEAP_XMAX_IS_LOCKED_ONLY(tuple->t_infomask) ? BOOKS_UNCLEAR : BOOKS_OLD;
}

/*
 * Locks the newest version of an account that was found, and reads that version into the
 * slot.  At READ COMMITTED, after a wait, it follows the update chain to the newest
 * version.  Above READ COMMITTED, if the transaction's snapshot does not see the newest
 * version, it raises 40001.
 */
BooksResult
books_lock(Books *books, TupleTableSlot *slot, LockWaitPolicy wait)
{
	ItemPointerData tid = slot->tts_tid;
	TM_FailureData failure;
	uint8 flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;

	if (!IsolationUsesXactSnapshot())
		flags |= TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
	switch (table_tuple_lock(books->account->rel, &tid, books->snapshot, slot,
							 GetCurrentCommandId(false), LockTupleNoKeyExclusive, wait, flags,
							 &failure))
	{
		case TM_Ok:
			return BOOKS_FOUND;
		case TM_Updated:
			error_serialization();
			break;
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				error_serialization();
			return BOOKS_NOT_FOUND;
		case TM_WouldBlock:
			return BOOKS_SKIPPED;
		default:
			break;
	}
	elog(ERROR, "unexpected result of locking an account");
}

/*
 * Finds the row that has an idempotency key.  No other transaction can add such a row
 * while the account is locked.  If the account is not locked, another transaction can add
 * one, but then our update of the account fails.
 */
bool
books_find_key(Books *books, const char *user_id, const char *key, CrRow *row)
{
	begin(books, &books->keys, books->history, INDEX_HISTORY_KEY, SnapshotSelf,
		  &books->has_keys);
	lookup_text_key(&books->keys, 1, user_id);
	lookup_text_key(&books->keys, 2, key);
	if (!find(books, &books->keys))
		return false;
	row_from_slot(row, books->keys.slot);
	return true;
}

void
books_close(Books *books)
{
	end_accounts(books);
	if (books->has_keys)
		lookup_end(&books->keys);
	UnregisterSnapshot(books->snapshot);
	writer_end(books->history); /* insert queued rows before any trigger runs */
	writer_end(books->account);
	if (books->grants)
		writer_end(books->grants);
	if (books->holds)
		writer_end(books->holds);
	if (books->events)
		writer_end(books->events);
}
