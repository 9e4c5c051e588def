/*
 * archive.c
 *		credits_archive and credits_drop_archive: moving old history to the archive, and
 *		dropping years of the archive.
 *
 * The oldest rows of an account are archived, at most up to the newest row that an anchor
 * has.  No row that stays may refer to an archived row, with one exception: the
 * checkpoint has the grants, holds and purchases, so rows may refer to those.  A row that
 * was refunded or undone is archived only together with its refund or undo.  The rows are
 * replayed before they are archived, so rows that could not be verified stay in the
 * history.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "admin/roles.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/digest.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/settings.h"
#include "bulk/bulk.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "store/columns.h"
#include "store/locks.h"
#include "store/lookup.h"
#include "store/own_sql.h"
#include "store/relations.h"
#include "store/writer.h"
#include "tables/anchor_rows.h"
#include "tables/archive_partitions.h"
#include "tables/audit_log.h"
#include "tables/checkpoint.h"
#include "tables/find.h"
#include "tables/rows.h"
#include "verify/judge.h"
#include "verify/judge_lots.h"

PG_FUNCTION_INFO_V1(credits_archive);
PG_FUNCTION_INFO_V1(credits_drop_archive);

/* If fewer rows can be archived, none are: archiving writes a row itself. */
#define MIN_ROWS 2

typedef struct Archive
{
	CrTime before;
	CrTime keys_before; /* rows with keys that are not older than this stay */
	int year;			/* its partition is locked or missing */
} Archive;

/* What choosing needs to know about an account's rows in the history. */
typedef struct Rows
{
	int64 first;		  /* seq of the first row */
	Numbers times;		  /* effective_at of each row */
	Numbers spans;		  /* pairs: a row, and a row that refers to it */
	int64 limit;		  /* no row after this one may be archived */
	Numbers archive_rows; /* rows about earlier archiving */
} Rows;

/*
 * Gives the seq of the user's newest leaf, and checks that its row has the leaf's hash.
 * False: the user has no leaf.
 */
static bool
anchored_upto(const char *user_id, Snapshot snapshot, int64 *seq)
{
	Lookup lookup;
	Leaf leaf;
	CrRow row;
	const char *problem = NULL;
	bool found;

	lookup_begin(&lookup, TABLE_ANCHOR_LEAF, INDEX_ANCHOR_LEAF, snapshot);
	lookup_text_key(&lookup, 1, user_id);
	found = lookup_next(&lookup, BackwardScanDirection);
	if (found)
		problem = leaf_read(&leaf, lookup.slot);
	lookup_end(&lookup);
	if (!found)
		return false;
	if (problem)
		error_corrupted("credit_anchor_leaf", problem);
	*seq = leaf.seq;
	if (find_row(user_id, leaf.seq, snapshot, &row))
	{
		if (memcmp(row.hash, leaf.hash, CR_HASH_LEN) != 0)
			error_corrupted("credit_history", "a row is not the one that its anchor has");
		return true;
	}
	/* true: all that was anchored is archived already */
	return checkpoint_covers(user_id, leaf.seq, snapshot);
}

static void
add_row(Rows *rows, const Archive *archive, const CrRow *row)
{
	bool keyed = row->idempotency_key && row->idempotency_key[0] != '\0' &&
		row->created_at > archive->keys_before;

	if (rows->times.count == 0)
		rows->first = row->seq;
	numbers_add(&rows->times, row->effective_at);
	if (row->seq <= rows->limit && (row->effective_at >= archive->before || keyed))
		rows->limit = row->seq - 1;
	if ((row->kind == CR_KIND_REFUND || row->kind == CR_KIND_UNDO) && row->has_ref_seq)
	{
		numbers_add(&rows->spans, row->ref_seq);
		numbers_add(&rows->spans, row->seq);
	}
	if (row->kind == CR_KIND_ARCHIVE)
		numbers_add(&rows->archive_rows, row->seq);
}

static void
read_rows(Rows *rows, const Archive *archive, const char *user_id, Snapshot snapshot)
{
	Lookup lookup;
	MemoryContext old = CurrentMemoryContext;
	MemoryContext memory = AllocSetContextCreate(old, "credits archive row",
												 ALLOCSET_DEFAULT_SIZES);

	lookup_begin(&lookup, TABLE_HISTORY, INDEX_HISTORY, snapshot);
	lookup_text_key(&lookup, 1, user_id);
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		CrRow row;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(memory);
		row_from_slot(&row, lookup.slot);
		MemoryContextSwitchTo(old);
		add_row(rows, archive, &row);
		MemoryContextReset(memory);
	}
	lookup_end(&lookup);
	MemoryContextDelete(memory);
}

/*
 * The last row that can be archived.  0: none.  No row that stays may refer to an
 * archived row.  Nor may a row that stays have an earlier time than an archived row,
 * which happens after the repair of a clock that was ahead.  Otherwise something that had
 * ended could be open again.
 */
static int64
choose(const Rows *rows)
{
	int64 upto = rows->limit;
	int64 before = 0;

	while (upto != before && upto >= rows->first)
	{
		before = upto;
		for (int i = 0; i < rows->spans.count; i += 2)
		{
			if (rows->spans.values[i] <= upto && rows->spans.values[i + 1] > upto)
				upto = rows->spans.values[i] - 1;
		}
		for (int64 i = rows->times.count - 1; i > upto - rows->first && upto >= rows->first;
			 i--)
		{
			while (upto >= rows->first &&
				   rows->times.values[upto - rows->first] > rows->times.values[i])
				upto--;
		}
	}
	return upto >= rows->first ? upto : 0;
}

/* Are there enough rows to archive?  Rows about earlier archiving do not count. */
static bool
is_worth_it(const Rows *rows, int64 upto)
{
	int64 count = upto - rows->first + 1;

	for (int i = 0; i < rows->archive_rows.count; i++)
	{
		if (rows->archive_rows.values[i] <= upto)
			count--;
	}
	return upto > 0 && count >= MIN_ROWS;
}

/*
 * Makes the checkpoint: the account as it was after the last archived row.  The judge
 * replays the rows.
 */
static void
make_checkpoint(Judge *judge, Checkpoint *ckpt, const char *user_id, int64 upto)
{
	CrAccount acc;

	memset(ckpt, 0, sizeof(*ckpt));
	(void) judge_from_checkpoint(judge, &acc, ckpt, user_id);
	judge->lots.collect = ckpt;
	judge_replay(judge, &acc, user_id, upto);
	judge_lots_finish(&judge->lots, &acc, ckpt);
}

/*
 * The partition for rows of a year.  If it was dropped, it is not made again: the rows
 * that were dropped with it would be missing, and no one could distinguish them from rows
 * that an attacker removed.  While accounts are locked, no partition is made, and none is
 * waited for.
 */
static Oid
partition_for(Bulk *bulk, int year)
{
	Oid partition = archive_partition(year);

	if (!OidIsValid(partition) && audit_has("drop_archive", archive_name(year), SnapshotSelf))
		error_archive_dropped(year);
	if (!OidIsValid(partition) || !ConditionalLockRelationOid(partition, RowExclusiveLock))
	{
		((Archive *) bulk->ctx)->year = year;
		bulk->lacks = true;
		error_busy("partition", archive_name(year));
	}
	return partition;
}

/*
 * Only the owner makes a partition.  Making it can run a DBA's code: event triggers, and
 * functions in what the partition copies from the archive (indexes, constraints,
 * defaults).  As the owner in another role's session, such code could find temporary
 * objects of that role, and types that PL/pgSQL looked up under that role's
 * search_path, so the role could become the owner by it.
 */
static void
check_may_make(int year)
{
	if (!compat_owns_relation(archive_parent(), GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("only the extension's owner can make \"%s\"", archive_name(year)),
				 errhint("As the owner, call credits_archive() once for this year. After that, other roles can archive into it.")));
}

/* The archive is locked.  Another transaction may have made the partition before. */
static void
make_if_missing(int year)
{
	if (OidIsValid(archive_partition(year)))
		return;
	check_may_make(year);
	archive_make(year);
}

/*
 * Gets the partition that the last try lacked, by trying until a deadline.  False: the
 * deadline has passed.
 */
static bool
obtain_partition(Bulk *bulk, TimestampTz until)
{
	int year = ((Archive *) bulk->ctx)->year;

	do
	{
		Oid partition;

		AcceptInvalidationMessages();
		partition = archive_partition(year);
		if (OidIsValid(partition))
		{
			if (ConditionalLockRelationOid(partition, RowExclusiveLock))
				return true;
		}
		else if (archive_try_lock())
		{
			make_if_missing(year);
			return true;
		}
	} while (lock_pause(until));
	return false;
}

/* Moves the rows up to one of them, each to the partition of its year. */
static int64
move_rows(Bulk *bulk, Writer *history, const char *user_id, int64 upto, Snapshot snapshot)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext memory = AllocSetContextCreate(old, "credits archive row",
												 ALLOCSET_DEFAULT_SIZES);
	Writer *partition = NULL;
	int year = 0;
	int64 count = 0;
	Lookup rows;

	lookup_in(&rows, history->rel, writer_index(history, INDEX_HISTORY),
			  writer_read_slot(history), snapshot);
	lookup_text_key(&rows, 1, user_id);
	lookup_key(&rows, 2, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(upto));
	while (lookup_next(&rows, ForwardScanDirection))
	{
		bool isnull;
		int its_year = archive_year_of(
			DatumGetTimestampTz(slot_getattr(rows.slot, HIST_CREATED_AT, &isnull)));

		CHECK_FOR_INTERRUPTS();
		if (partition == NULL || its_year != year)
		{
			if (partition)
				writer_end(partition);
			year = its_year;
			partition = writer_begin_partition(partition_for(bulk, year),
											   CurrentMemoryContext);
		}
		MemoryContextSwitchTo(memory);
		writer_copy_to(partition, rows.slot);
		writer_queue(partition);
		writer_delete(history, rows.slot);
		MemoryContextSwitchTo(old);
		MemoryContextReset(memory);
		count++;
	}
	if (partition)
		writer_end(partition);
	lookup_end(&rows);
	MemoryContextDelete(memory);
	return count;
}

static bool
is_kept(const Numbers *numbers, bool holds, int64 seq)
{
	for (int i = 0; i < numbers->count; i += holds ? hold_length(numbers, i) : GRANT_NUMBERS)
	{
		if (numbers->values[i] == seq)
			return true;
	}
	return false;
}

/*
 * Deletes grants that have ended and settled holds, if the rows that opened them are
 * archived.
 */
static void
remove_settled(StoreTable table, StoreIndex index, AttrNumber seq_column,
			   const Checkpoint *ckpt, const Numbers *kept, Snapshot snapshot)
{
	Writer *writer = NULL;
	Lookup lookup;

	lookup_begin(&lookup, table, index, snapshot);
	lookup_text_key(&lookup, 1, ckpt->acc.user_id);
	lookup_key(&lookup, 2, BTLessEqualStrategyNumber, F_INT8LE,
			   Int64GetDatum(ckpt->acc.history_seq));
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		bool isnull;
		int64 seq = DatumGetInt64(slot_getattr(lookup.slot, seq_column, &isnull));

		if (is_kept(kept, table == TABLE_HOLD, seq))
			continue;
		if (writer == NULL)
			writer = writer_begin(table, CurrentMemoryContext);
		writer_delete(writer, lookup.slot);
	}
	lookup_end(&lookup);
	if (writer)
		writer_end(writer);
}

static void
push_seal(Ledger *ledger, const Checkpoint *ckpt)
{
	uint8_t *digest = palloc(CR_HASH_LEN);
	CrRow row;
	CrRow *pushed;

	checkpoint_digest(ckpt, digest);
	cr_archive(&ledger->acc, ledger->now, ckpt->acc.history_seq, &row);
	pushed = ledger_push_as_is(ledger, &row);
	pushed->request_digest = digest;
}

static void
move(Bulk *bulk, Ledger *ledger, const char *user_id, int64 upto, Snapshot snapshot)
{
	Judge judge;
	Checkpoint ckpt;
	Writer *writer;

	judge_begin(&judge, snapshot);
	make_checkpoint(&judge, &ckpt, user_id, upto);
	(void) move_rows(bulk, ledger->books->history, user_id, upto, snapshot);
	remove_settled(TABLE_GRANT, INDEX_GRANT, GRANT_SEQ, &ckpt, &ckpt.grants, snapshot);
	remove_settled(TABLE_HOLD, INDEX_HOLD, HOLD_SEQ, &ckpt, &ckpt.holds, snapshot);
	writer = writer_begin(TABLE_CHECKPOINT, CurrentMemoryContext);
	checkpoint_save(writer, &ckpt);
	writer_end(writer);
	push_seal(ledger, &ckpt);
	judge_end(&judge);
}

/*
 * Archives rows of one account.  The account is locked, so no other transaction adds
 * rows, and the latest snapshot sees all of them.  The newest row stays.
 */
static BulkOutcome
archive_account(Bulk *bulk, Ledger *ledger, const BulkItem *item)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	Rows rows = {0};
	int64 upto = 0;

	if (anchored_upto(item->user_id, snapshot, &rows.limit))
	{
		rows.limit = Min(rows.limit, ledger->acc.history_seq - 1);
		read_rows(&rows, bulk->ctx, item->user_id, snapshot);
		upto = choose(&rows);
		if (!is_worth_it(&rows, upto))
			upto = 0;
	}
	if (upto > 0)
	{
		if (!bulk->dry_run)
			move(bulk, ledger, item->user_id, upto, snapshot);
		bulk->batch.rows += upto - rows.first + 1;
	}
	UnregisterSnapshot(snapshot);
	return upto > 0 ? BULK_DONE : BULK_SKIPPED;
}

static void
report_rows(Bulk *bulk, Object *object)
{
	object_int(object, "rows", bulk->counts.rows);
}

Datum
credits_archive(PG_FUNCTION_ARGS)
{
	Archive archive = {0};
	Bulk bulk = {.function = "credits_archive()",
				 .kind = "archive",
				 .reads_own_tables = true,
				 .row_kind = CR_KIND_ARCHIVE,
				 .decide = archive_account,
				 .obtain = obtain_partition,
				 .report = report_rows,
				 .ctx = &archive};
	Oid types[] = {TIMESTAMPTZOID};
	Datum values[1];
	const char *schema;
	CrTime now = clock_now();

	store_attach(fcinfo);
	if (PG_ARGISNULL(0))
		error_null("before");
	values[0] = PG_GETARG_DATUM(0);
	archive.before = PG_GETARG_TIMESTAMPTZ(0);
	if (TIMESTAMP_NOT_FINITE(archive.before) || archive.before > now)
		error_bad_value("before", timestamptz_to_str(archive.before),
						"a time that is not in the future");
	archive.keys_before = now - settings_key_retention();
	bulk_arguments(&bulk, fcinfo, 1);
	schema = quote_identifier(store_schema_name());
	return bulk_result(
		fcinfo,
		bulk_run(&bulk, fcinfo,
				 psprintf("SELECT a.user_id FROM ONLY %s.credit_account a"
						  " WHERE (SELECT h.effective_at FROM ONLY %s.credit_history h"
						  " WHERE h.user_id OPERATOR(pg_catalog.=) a.user_id ORDER BY h.seq LIMIT 1)"
						  " OPERATOR(pg_catalog.<) $1"
						  " AND EXISTS (SELECT FROM ONLY %s.credit_anchor_leaf l"
						  " WHERE l.user_id OPERATOR(pg_catalog.=) a.user_id)"
						  " ORDER BY a.user_id",
						  schema, schema, schema),
				 1, types, values));
}

/*
 * The digest of a partition's rows, which the audit log records: SHA-256 over the hashes
 * of all rows, in the order of user and seq.
 */
static int64
digest_rows(Oid relid, uint8_t digest[CR_HASH_LEN])
{
	Relation partition;
	Archived archived;
	int64 count = 0;
	MemoryContext old = CurrentMemoryContext;
	MemoryContext memory = AllocSetContextCreate(old, "credits archive row",
												 ALLOCSET_DEFAULT_SIZES);
	uint8_t link[2 * CR_HASH_LEN] = {0};

	partition = table_open(relid, NoLock);
	archive_check(partition);
	table_close(partition, NoLock);
	archived_open(&archived, GetActiveSnapshot());
	for (int i = 0; i < archived.n_parts; i++)
	{
		Lookup *rows = &archived.parts[i].rows;

		if (RelationGetRelid(rows->heap) != relid)
			continue;
		lookup_again(rows);
		lookup_after_key(rows, 1, NULL);
		while (lookup_next(rows, ForwardScanDirection))
		{
			CHECK_FOR_INTERRUPTS();
			MemoryContextSwitchTo(memory);
			row_hash_read(link + CR_HASH_LEN, rows->slot);
			sha256(link, sizeof(link), link);
			MemoryContextSwitchTo(old);
			MemoryContextReset(memory);
			count++;
		}
	}
	archived_close(&archived);
	MemoryContextDelete(memory);
	memcpy(digest, link, CR_HASH_LEN);
	return count;
}

static void
check_partition(Oid relid, const char *name)
{
	if (!OidIsValid(relid) || archive_year(relid) == 0 ||
		archive_partition(archive_year(relid)) != relid)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("\"%s\" is not a partition of " ARCHIVE_NAME, name)));
}

/* Locks a partition without queueing, so that no other session queues behind it. */
static void
lock_until(Oid relid, LOCKMODE mode, TimestampTz deadline)
{
	while (!ConditionalLockRelationOid(relid, mode))
	{
		if (!lock_pause(deadline))
			error_in_use("table", get_rel_name(relid), lock_relation_holders(relid));
	}
}

Datum
credits_drop_archive(PG_FUNCTION_ARGS)
{
	char *name;
	int64 expected;
	int64 count;
	Oid relid;
	uint8_t digest[CR_HASH_LEN];
	OwnSql own;
	Object object;

	store_attach(fcinfo);
	name = arg_name(fcinfo, 0, "partition");
	if (PG_ARGISNULL(1))
		error_null("rows");
	expected = PG_GETARG_INT64(1);
	writer_check_allowed("credits_drop_archive()");
	roles_check_owner("credits_drop_archive()");
	relid = get_relname_relid(name, store_schema());
	check_partition(relid, name);
	lock_until(relid, ShareRowExclusiveLock, lock_deadline());
	check_partition(relid, name);
	PushActiveSnapshot(GetLatestSnapshot());
	count = digest_rows(relid, digest);
	PopActiveSnapshot();
	if (count != expected)
		error_bad_value("rows", psprintf(INT64_FORMAT, expected),
						psprintf("the " INT64_FORMAT " that the partition has", count));

	audit_lock_with_tables(list_make2_oid(archive_parent(), relid));
	own_sql_begin(&own);
	SPI_connect();
	own_sql_execute(psprintf("DROP TABLE %s.%s", quote_identifier(store_schema_name()),
							 quote_identifier(name)));
	SPI_finish();
	own_sql_end(&own);
	object_begin(&object);
	object_int(&object, "rows", count);
	object_text(&object, "digest", hash_text(digest));
	audit_append("drop_archive", name, object_end(&object), (Datum) 0);

	object_begin(&object);
	object_bool(&object, "ok", true);
	object_int(&object, "rows", count);
	object_text(&object, "digest", hash_text(digest));
	object_text(&object, "partition", name);
	return object_end(&object);
}
