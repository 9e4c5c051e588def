/*
 * erase_user.c
 *		credits_erase_user: erases a user's personal texts from the history.
 *
 * The chain has only the digests of reason and metadata.  So a row can be verified
 * without the texts.  Erasing replaces the texts by their digests, and it removes the
 * salt, without which no one can guess a text from its digest.  No other change is ever
 * made to a row of the history.
 */
#include "postgres.h"

#include "access/table.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "base/json.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "store/writer.h"
#include "tables/archive_partitions.h"
#include "tables/audit_log.h"
#include "tables/checkpoint.h"
#include "tables/rows.h"

PG_FUNCTION_INFO_V1(credits_erase_user);

static bool
has_text(TupleTableSlot *slot)
{
	return !slot_attisnull(slot, HIST_REASON) || !slot_attisnull(slot, HIST_METADATA);
}

static void
erase_row(Writer *writer, TupleTableSlot *old)
{
	CrRow row;

	row_from_slot(&row, old);
	writer_copy(writer, old);
	row_erase_texts(&row, writer->slot);
	writer_update(writer, old);
}

/*
 * Erases the texts in the history.  Rows are appended only under the account's lock,
 * which we hold.  So the latest snapshot sees all rows, and no other transaction changes
 * them.  The snapshot does not see the new versions that this writes.
 */
static int64
erase_rows(Writer *writer, const char *user_id)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	MemoryContext row_memory = AllocSetContextCreate(CurrentMemoryContext, "credits erase row",
													 ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	Lookup rows;
	int64 count = 0;

	lookup_in(&rows, writer->rel, writer_index(writer, INDEX_HISTORY),
			  writer_read_slot(writer), snapshot);
	lookup_text_key(&rows, 1, user_id);
	while (lookup_next(&rows, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		if (!has_text(rows.slot))
			continue;
		old = MemoryContextSwitchTo(row_memory);
		erase_row(writer, rows.slot);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_memory);
		count++;
	}
	lookup_end(&rows);
	UnregisterSnapshot(snapshot);
	MemoryContextDelete(row_memory);
	return count;
}

/*
 * If a text cannot be reached, the call must not say that it is erased.  So if the user
 * has archived rows, every partition that may have them has to be readable.
 */
static void
check_archive(const char *user_id, Snapshot snapshot)
{
	ListCell *cell;

	if (!checkpoint_covers(user_id, 1, snapshot))
		return;
	foreach(cell, archive_partitions())
	{
		Relation partition = table_open(lfirst_oid(cell), AccessShareLock);

		archive_check(partition);
		table_close(partition, NoLock);
	}
}

/* The same in the archive. */
static int64
erase_archived(const char *user_id)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	MemoryContext memory = CurrentMemoryContext;
	MemoryContext row_memory = AllocSetContextCreate(memory, "credits erase row",
													 ALLOCSET_DEFAULT_SIZES);
	Archived archived;
	int64 count = 0;

	check_archive(user_id, snapshot);
	archived_open(&archived, snapshot);
	for (int i = 0; i < archived.n_parts; i++)
	{
		Lookup *rows = &archived.parts[i].rows;
		Writer *writer = NULL;

		lookup_text_key(rows, 1, user_id);
		while (lookup_next(rows, ForwardScanDirection))
		{
			CHECK_FOR_INTERRUPTS();
			if (!has_text(rows->slot))
				continue;
			if (writer == NULL)
				writer = writer_begin_partition(RelationGetRelid(rows->heap), memory);
			MemoryContextSwitchTo(row_memory);
			erase_row(writer, rows->slot);
			MemoryContextSwitchTo(memory);
			MemoryContextReset(row_memory);
			count++;
		}
		if (writer)
			writer_end(writer);
	}
	archived_close(&archived);
	UnregisterSnapshot(snapshot);
	MemoryContextDelete(row_memory);
	return count;
}

/*
 * Writes a new version of the account with the same values.  A call that looks up its key
 * without a lock can miss a row while the row's new version appears.  It then finds that
 * the account has changed, and looks again.
 */
static void
touch_account(Ledger *ledger)
{
	Writer *writer = ledger->books->account;

	writer_copy(writer, ledger->version);
	writer_update(writer, ledger->version);
}

static Datum
audited(int64 rows, const char *reason)
{
	Object after;

	object_begin(&after);
	object_int(&after, "rows", rows);
	object_text(&after, "reason", reason);
	return object_end(&after);
}

/*
 * Erasing is not an operation of the account: it appends no row and applies nothing that
 * is due.
 */
Datum
credits_erase_user(PG_FUNCTION_ARGS)
{
	Request request;
	Ledger ledger;
	char *reason;
	int64 rows;
	Object object;

	request_init(&request, fcinfo, "credits_erase_user()", CR_KIND_COUNT);
	reason = arg_optional_name(fcinfo, 1, "reason");

	archive_lock(RowExclusiveLock);
	ledger_begin_audited(&ledger, &request);
	if (ledger.is_new)
		error_account_not_found(request.user_id);
	rows = erase_rows(ledger.books->history, request.user_id) +
		erase_archived(request.user_id);
	if (rows > 0)
		touch_account(&ledger);
	ledger_end(&ledger);
	if (rows > 0)
		audit_append("erase_user", request.user_id, (Datum) 0, audited(rows, reason));

	object_begin(&object);
	object_bool(&object, "ok", true);
	object_text(&object, "user_id", request.user_id);
	object_int(&object, "rows", rows);
	return object_end(&object);
}
