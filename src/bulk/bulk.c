/*
 * bulk.c
 *		A bulk run: it does the same to many accounts, batch by batch.
 *
 * The accounts come from a query, in the order of their users.  Each batch locks its
 * accounts in that order, so batches never deadlock each other.  A batch is one
 * transaction, unless the whole run is inside a transaction of the caller.  If a batch
 * fails, its accounts are done one by one.  An account that fails alone is reported.  The
 * run recognizes what was done before.  So after an interruption, it is simply started
 * again.
 *
 * A batch has many accounts that others may want, so it does not wait for anything.  If
 * an account is busy, the run postpones it.  At the end, the run tries the postponed
 * accounts once more.  Then it waits for each of them, in a transaction of its own that
 * has nothing else locked.  Accounts that are still busy are reported and left for
 * another run.  A batch may need something else that is locked, a plan or a partition.
 * Then the batch is undone, which releases its accounts, and it is done again as soon as
 * the lock was free.  Inside a transaction of the caller, accounts stay locked, so there
 * the run waits for nothing.
 *
 * A conflict (40001, 40P01) is not the account's fault either.  Above READ COMMITTED, a
 * transaction cannot use an account that was changed after the transaction began.  So the
 * account counts as busy, and the run tries it again in another transaction.  Inside a
 * transaction of the caller this is not possible, so the caller gets the error.
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/proc.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/subtransaction.h"
#include "base/sums.h"
#include "bulk/bulk.h"
#include "ledger/books.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "store/columns.h"
#include "store/locks.h"
#include "store/lookup.h"
#include "store/own_sql.h"
#include "store/relations.h"
#include "store/table_code.h"
#include "store/writer.h"
#include "tables/audit_log.h"
#include "tables/find.h"
#include "tables/plan_versions.h"
#include "tables/rows.h"
#include "tables/run_record.h"

#define DEFAULT_BATCH	 1000
#define MAX_BATCH		 100000
#define DEFAULT_MAX_WAIT 10000
#define MAX_MAX_WAIT	 (INT64CONST(24) * 3600 * 1000)
#define LEAST_WAIT		 INT64CONST(10) /* ms */
#define MAX_POSTPONED	 10000			/* how many accounts a run postpones */
#define MAX_LISTED		 100

/* The type of a column.  InvalidOid if the query has no such column. */
Oid
bulk_column_type(const BulkItem *item, const char *name)
{
	int column = SPI_fnumber(item->desc, name);

	return column > 0 ? SPI_gettypeid(item->desc, column) : InvalidOid;
}

/* A column of an item, by its name.  NULL if the query has no such column. */
Datum
bulk_column(const BulkItem *item, const char *name, Oid type, bool *isnull)
{
	int column = SPI_fnumber(item->desc, name);

	*isnull = true;
	if (column <= 0)
		return (Datum) 0;
	if (type == INT8OID && SPI_gettypeid(item->desc, column) == INT4OID)
	{
		Datum value = SPI_getbinval(item->tuple, item->desc, column, isnull);

		return *isnull ? (Datum) 0 : Int64GetDatum(DatumGetInt32(value));
	}
	if (SPI_gettypeid(item->desc, column) != type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of the query must be of type %s", name,
						format_type_be(type))));
	return SPI_getbinval(item->tuple, item->desc, column, isnull);
}

/* Has a row been undone? */
bool
bulk_is_undone(const char *user_id, int64 seq)
{
	Lookup lookup;
	bool found = false;

	referring_begin(&lookup, user_id, seq);
	while (!found && lookup_next(&lookup, ForwardScanDirection))
		found = strcmp(slot_text(lookup.slot, HIST_KIND), cr_kind_name(CR_KIND_UNDO)) == 0;
	lookup_end(&lookup);
	return found;
}

/*
 * Locks the account if no other transaction has it locked.  If the account is being tried
 * again, waits for it, up to bulk->wait, with nothing else locked.
 */
static bool
lock_account(Bulk *bulk, Ledger *ledger)
{
	int usual = LockTimeout;
	volatile bool known = false;

	ledger->books->skips = bulk->wait == 0;
	if (bulk->wait > 0 && (usual == 0 || usual > bulk->wait))
		LockTimeout = (int) bulk->wait;
	PG_TRY();
	{
		known = ledger_lock(ledger);
		CHECK_FOR_INTERRUPTS(); /* a timeout that came as the wait ended is handled here */
	}
	PG_FINALLY();
	{
		LockTimeout = usual;
	}
	PG_END_TRY();
	return known;
}

/* Does one account.  A dry run writes nothing. */
static void
do_one(Bulk *bulk, Books *books, Plans *plans, BulkItem *item)
{
	Request request = {.function = bulk->function, .kind = bulk->row_kind};
	Ledger ledger;
	BulkOutcome outcome;

	if (item->user_id[0] == '\0' || strlen(item->user_id) > CR_MAX_NAME)
		error_bad_length("user_id", CR_MAX_NAME);
	request.user_id = item->user_id;
	request.run_id = bulk->run.run_id;
	request.reason = bulk->reason;
	ledger_prepare(&ledger, &request, books, plans);
	if (!lock_account(bulk, &ledger))
	{
		if (!ledger.is_busy)
			error_account_not_found(item->user_id);
		item->busy = true;
		return;
	}
	if (bulk->row_kind == CR_KIND_GRANT)
		(void) ledger_apply_ready(&ledger);
	else
		ledger_apply_due(&ledger);
	outcome = bulk->decide(bulk, &ledger, item);
	if (outcome == BULK_DONE)
	{
		if (!bulk->dry_run)
			(void) ledger_write(&ledger);
		bulk->batch.run.accounts++;
	}
	else if (outcome == BULK_ALREADY)
		bulk->batch.already++;
	else
		bulk->batch.skipped++;
	ledger_end(&ledger);
}

/* A part of a batch. */
typedef struct Try
{
	Bulk *bulk;
	BulkItem *items;
	int first;
	int last;
	MemoryContext memory;	   /* of the books, which an error leaves open */
	MemoryContext item_memory; /* of the current item */
} Try;

static bool
do_batch(void *arg)
{
	Try *batch = arg;
	Bulk *bulk = batch->bulk;
	MemoryContext memory = CurrentMemoryContext;
	Plans plans;
	Books books;

	plans_init(&plans, NULL);
	plans.busy = &bulk->busy_plan;
	books_lock_tables();
	MemoryContextSwitchTo(batch->memory);
	books_open(&books, true);
	for (int i = batch->first; i <= batch->last; i++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(batch->item_memory);
		do_one(bulk, &books, &plans, &batch->items[i]);
		MemoryContextReset(batch->item_memory);
	}
	MemoryContextSwitchTo(memory);
	books_close(&books);
	if (bulk->own_transactions)
		code_fire_deferred();
	return !bulk->dry_run; /* all work and all locks of a dry run are undone */
}

/*
 * Does the items from first to last, in a subtransaction.  On an error, all their work is
 * undone and the error is returned.
 */
static ErrorData *
try_items(Bulk *bulk, BulkItem *items, int first, int last)
{
	Try batch = {.bulk = bulk, .items = items, .first = first, .last = last};
	ErrorData *failure;

	batch.memory = AllocSetContextCreate(CurrentMemoryContext, "credits bulk books",
										 ALLOCSET_DEFAULT_SIZES);
	batch.item_memory = AllocSetContextCreate(batch.memory, "credits bulk account",
											  ALLOCSET_DEFAULT_SIZES);
	memset(&bulk->batch, 0, sizeof(bulk->batch));
	bulk->busy_plan = NULL;
	bulk->lacks = bulk->conflict = false;
	for (int i = first; i <= last; i++)
		items[i].busy = false;
	failure = subtransaction_try(do_batch, &batch);
	MemoryContextDelete(batch.memory);
	if (bulk->settle)
		bulk->settle(bulk, failure == NULL);
	if (failure == NULL)
	{
		bulk->has_work = bulk->has_work ||
			(!bulk->dry_run &&
			 bulk->batch.run.accounts + bulk->batch.already + bulk->batch.skipped > 0);
		run_add(&bulk->run, &bulk->batch.run);
		bulk->counts.already += bulk->batch.already;
		bulk->counts.skipped += bulk->batch.skipped;
		sum_add(&bulk->counts.not_taken, bulk->batch.not_taken);
		bulk->counts.rows += bulk->batch.rows;
	}
	return failure;
}

/*
 * Does an error end the run?  That is so if it does not belong to one account.  Errors of
 * the query are among these.
 */
static bool
is_fatal(const Bulk *bulk, int sqlstate)
{
	return run_is_fatal(sqlstate, bulk->own_transactions) ||
		ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_PRIVILEGE) ||
		sqlstate == ERRCODE_DATATYPE_MISMATCH || sqlstate == ERRCODE_READ_ONLY_SQL_TRANSACTION;
}

/* Ends the current transaction, which releases its accounts. */
static void
commit_batch(Bulk *bulk)
{
	MemoryContext memory = CurrentMemoryContext;

	if (bulk->has_work)
		run_save(&bulk->run);
	SPI_commit();
	EnsurePortalSnapshotExists();
	MemoryContextSwitchTo(memory);
	bulk->has_work = false;
}

/* Reduces max_wait by the time since begun. */
static void
count_wait(Bulk *bulk, int64 before, TimestampTz begun)
{
	bulk->max_wait = Max(before -
							 TimestampDifferenceMilliseconds(begun, GetCurrentTimestamp()),
						 0);
}

typedef struct Obtaining
{
	Bulk *bulk;
	TimestampTz until;
	bool got;
} Obtaining;

static bool
obtain_it(void *arg)
{
	Obtaining *obtaining = arg;
	Bulk *bulk = obtaining->bulk;

	obtaining->got = bulk->busy_plan
		? lock_name_until(LOCK_PLAN, bulk->busy_plan, ShareLock, obtaining->until)
		: bulk->obtain(bulk, obtaining->until);
	return true;
}

/*
 * Waits for the plan or the partition that the last try needed.  No account is locked.
 * False: it did not get it in time.  An error counts as an error of the accounts that
 * need it.
 */
static bool
obtain(Bulk *bulk, ErrorData **failure)
{
	TimestampTz begun = GetCurrentTimestamp();
	Obtaining obtaining = {bulk, begun, false};
	ErrorData *error;

	if (bulk->own_transactions)
	{
		if (bulk->has_work)
			commit_batch(bulk);
		obtaining.until = TimestampTzPlusMilliseconds(begun, bulk->max_wait);
	}
	error = subtransaction_try(obtain_it, &obtaining);
	if (bulk->own_transactions)
		count_wait(bulk, bulk->max_wait, begun);
	if (error)
	{
		FreeErrorData(*failure);
		*failure = error;
		bulk->busy_plan = NULL;
		bulk->lacks = false;
	}
	return obtaining.got;
}

static BulkItem *
copy_row(const BulkItem *item, TupleDesc desc)
{
	BulkItem *copy = palloc0(sizeof(BulkItem));

	copy->user_id = pstrdup(item->user_id);
	copy->desc = desc;
	copy->tuple = HeapTupleHasExternal(item->tuple)
		? toast_flatten_tuple(item->tuple, item->desc)
		: heap_copytuple(item->tuple);
	return copy;
}

/* Copies an item that the run postpones, with what prepare found for it. */
static BulkItem *
copy_item(const BulkItem *item, TupleDesc desc)
{
	BulkItem *copy = copy_row(item, desc);
	ListCell *cell;

	foreach(cell, item->more)
	{
		const BulkItem *more = lfirst(cell);

		copy->more = lappend(copy->more, copy_row(more, more->desc));
	}
	return copy;
}

static void
list_busy(Bulk *bulk, const char *user_id)
{
	MemoryContext old;

	if (bulk->busy++ >= MAX_LISTED)
		return;
	old = MemoryContextSwitchTo(bulk->memory);
	if (bulk->busy_users.len > 1)
		appendStringInfoString(&bulk->busy_users, ", ");
	escape_json(&bulk->busy_users, user_id);
	MemoryContextSwitchTo(old);
}

/*
 * Postpones an account.  If it was postponed before, its copy is already in the run's
 * memory.
 */
static void
postpone(Bulk *bulk, BulkItem *item)
{
	MemoryContext old;

	if (list_length(bulk->postponed) >= MAX_POSTPONED)
	{
		list_busy(bulk, item->user_id);
		return;
	}
	old = MemoryContextSwitchTo(bulk->memory);
	if (bulk->postponed_desc == NULL)
		bulk->postponed_desc = CreateTupleDescCopy(item->desc);
	bulk->postponed = lappend(bulk->postponed,
							  item->desc == bulk->postponed_desc
								  ? item
								  : copy_item(item, bulk->postponed_desc));
	MemoryContextSwitchTo(old);
}

/* Did the last try fail because of another transaction's lock or commit? */
static bool
was_busy(Bulk *bulk, const ErrorData *failure)
{
	bulk->conflict = !bulk->in_block &&
		ERRCODE_TO_CATEGORY(failure->sqlerrcode) ==
			ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK);
	return bulk->conflict || bulk->busy_plan || bulk->lacks ||
		(bulk->wait > 0 && failure->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE);
}

/*
 * Does the items from first to last, and waits for a plan or partition if they need one.
 * True if their work stays.  Busy accounts are postponed.
 */
static bool
do_some(Bulk *bulk, BulkItem *items, int first, int last)
{
	ErrorData *failure;
	bool is_busy;

	while ((failure = try_items(bulk, items, first, last)) != NULL &&
		   (bulk->busy_plan || bulk->lacks) && obtain(bulk, &failure))
		FreeErrorData(failure);
	is_busy = failure && was_busy(bulk, failure);
	if (failure && !is_busy && is_fatal(bulk, failure->sqlerrcode))
		ReThrowError(failure);
	if (failure && first < last)
	{
		FreeErrorData(failure);
		return false;
	}
	for (int i = first; i <= last; i++)
	{
		if (items[i].busy || is_busy)
			postpone(bulk, &items[i]);
	}
	if (failure && !is_busy)
	{
		run_failed(&bulk->run, items[first].user_id, failure);
		bulk->has_work = true; /* so that the run's record is saved with the failure */
	}
	if (failure)
		FreeErrorData(failure);
	return failure == NULL;
}

static void
do_items(Bulk *bulk, BulkItem *items, int count)
{
	if (do_some(bulk, items, 0, count - 1) || count == 1)
		return;
	for (int i = 0; i < count; i++)
		(void) do_some(bulk, items, i, i);
}

/* Fetches the next batch from the query.  Returns how many accounts it has. */
static int
fetch(Bulk *bulk, Portal portal, int64 limit, BulkItem **items)
{
	MemoryContext memory = CurrentMemoryContext;
	int count;

	SPI_cursor_fetch(portal, true, limit);
	MemoryContextSwitchTo(memory); /* SPI switches to its own memory context */
	count = (int) SPI_processed;
	*items = palloc0(sizeof(BulkItem) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		BulkItem *item = &(*items)[i];
		bool isnull;
		Datum user_id;

		item->tuple = SPI_tuptable->vals[i];
		item->desc = SPI_tuptable->tupdesc;
		user_id = bulk_column(item, "user_id", TEXTOID, &isnull);
		if (isnull)
			error_null("user_id");
		item->user_id = TextDatumGetCString(user_id);
		if (cr_text_equal(item->user_id, i > 0 ? (*items)[i - 1].user_id : bulk->last_user))
			error_bad_value("user_id", item->user_id, "each user once");
	}
	if (count > 0)
		bulk->last_user = MemoryContextStrdup(bulk->memory, (*items)[count - 1].user_id);
	return count;
}

/*
 * Opens a query.  The extension's own tables are read with their owner's rights, because
 * the caller may have no right to read them.
 */
static Portal
open_query(Bulk *bulk, const char *query, int nargs, Oid *types, Datum *values)
{
	Portal portal;

	CommandCounterIncrement(); /* what the caller's transaction has done is read, too */
	PushActiveSnapshot(GetTransactionSnapshot());
	if (bulk->reads_own_tables)
		portal = own_sql_open(query, nargs, types, values, store_table(TABLE_ACCOUNT));
	else
		portal = SPI_cursor_open_with_args(NULL, query, nargs, types, values, NULL, true,
										   CURSOR_OPT_NO_SCROLL);
	PopActiveSnapshot();
	return portal;
}

static void
end_batch(Bulk *bulk)
{
	if (bulk->own_transactions)
		commit_batch(bulk);
	else if (!bulk->dry_run)
		run_save(&bulk->run);
}

static void
do_all(Bulk *bulk, Portal portal)
{
	for (;;)
	{
		MemoryContext memory = AllocSetContextCreate(bulk->memory, "credits bulk batch",
													 ALLOCSET_DEFAULT_SIZES);
		int64 limit = Min(bulk->batch_size, bulk->max_accounts - run_done(&bulk->run));
		BulkItem *items;
		int count;
		SPITupleTable *rows;

		MemoryContextSwitchTo(memory);
		count = fetch(bulk, portal, Max(limit, 1), &items);
		rows = SPI_tuptable;
		bulk->more = count > 0 && limit <= 0;
		if (count > 0 && !bulk->more)
		{
			if (bulk->prepare)
				bulk->prepare(bulk, items, count);
			do_items(bulk, items, count);
		}
		SPI_freetuptable(rows);
		MemoryContextSwitchTo(bulk->memory);
		MemoryContextDelete(memory);
		if (count == 0 || bulk->more)
			break;
		end_batch(bulk);
	}
}

/*
 * Tries the postponed accounts again, one by one.  Accounts that are still busy are
 * postponed again.
 */
static void
retry_postponed(Bulk *bulk, bool wait)
{
	List *postponed = bulk->postponed;
	int64 share = Max(bulk->max_wait / (4 * list_length(postponed)), LEAST_WAIT);
	MemoryContext memory = AllocSetContextCreate(bulk->memory, "credits bulk account again",
												 ALLOCSET_DEFAULT_SIZES);
	ListCell *cell;

	bulk->postponed = NIL;
	foreach(cell, postponed)
	{
		BulkItem *item = lfirst(cell);
		TimestampTz begun = GetCurrentTimestamp();
		int64 left = bulk->max_wait;

		if (run_done(&bulk->run) >= bulk->max_accounts)
		{
			bulk->more = true;
			break;
		}
		MemoryContextSwitchTo(memory);
		bulk->wait = wait ? Min(share, left) : 0;
		(void) do_some(bulk, item, 0, 0);
		bulk->wait = 0;
		if (wait && bulk->conflict) /* a conflict can come at once and again and again */
			(void) lock_pause(TimestampTzPlusMilliseconds(begun, left));
		if (wait)
			count_wait(bulk, left, begun);
		MemoryContextSwitchTo(bulk->memory);
		MemoryContextReset(memory);
		end_batch(bulk);
	}
	MemoryContextDelete(memory);
	list_free(postponed);
}

/*
 * Tries the postponed accounts once without waiting, because most of them have been
 * released by now.  Then it waits for each in turn, for a share of the time that is left.
 * A transaction that has one of these accounts, such as another run, often has others of
 * them, and releases all at once.
 */
static void
retry_busy(Bulk *bulk)
{
	ListCell *cell;

	if (bulk->postponed != NIL)
		retry_postponed(bulk, false);
	while (bulk->postponed != NIL && bulk->own_transactions && bulk->max_wait > 0 &&
		   !bulk->more)
		retry_postponed(bulk, true);
	foreach(cell, bulk->postponed)
		list_busy(bulk, ((BulkItem *) lfirst(cell))->user_id);
	if (bulk->busy > 0)
		ereport(NOTICE,
				(errmsg_plural(INT64_FORMAT " account was busy and is left for another run",
							   INT64_FORMAT " accounts were busy and are left for another run",
							   (unsigned long) bulk->busy, bulk->busy),
				 errdetail("{\"busy_users\": %s]}", bulk->busy_users.data)));
}

static Datum
report(Bulk *bulk, bool to_caller)
{
	Object object;

	object_begin(&object);
	run_report_to(&bulk->run, bulk->more, bulk->dry_run, &object);
	object_int(&object, "already", bulk->counts.already);
	object_int(&object, "skipped", bulk->counts.skipped);
	object_int(&object, "not_taken", bulk->counts.not_taken);
	object_int(&object, "busy", bulk->busy);
	if (bulk->busy > 0)
		object_json(&object, "busy_users", psprintf("%s]", bulk->busy_users.data));
	if (bulk->report)
		bulk->report(bulk, &object);
	if (to_caller)
		run_report_failed(&bulk->run, &object);
	return object_end(&object);
}

/* Gives the result of a procedure, which is its INOUT argument. */
Datum
bulk_result(FunctionCallInfo fcinfo, Datum report)
{
	TupleDesc desc;
	bool isnull = false;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(desc, &report, &isnull));
}

/*
 * An interval in ms.  A day has 24 hours.  A month has no certain length, so it is not
 * allowed.
 */
static int64
arg_max_wait(FunctionCallInfo fcinfo, int arg)
{
	Interval *interval;
	int64 ms = -1;

	if (PG_ARGISNULL(arg))
		return DEFAULT_MAX_WAIT;
	interval = PG_GETARG_INTERVAL_P(arg);
	if (interval->month == 0 && interval->day >= -1 && interval->day <= 1 &&
		interval->time >= -2 * CR_DAY && interval->time <= 2 * CR_DAY)
		ms = interval->day * (CR_DAY / 1000) + interval->time / 1000;
	if (ms < 0 || ms > MAX_MAX_WAIT)
		error_bad_value("max_wait", "out of range", "from 0 to 24 hours, without months");
	return ms;
}

/*
 * Reads the arguments dry_run, max_accounts, batch_size and max_wait, with which every
 * such procedure ends, before its report.
 */
void
bulk_arguments(Bulk *bulk, FunctionCallInfo fcinfo, int first)
{
	bulk->dry_run = !PG_ARGISNULL(first) && PG_GETARG_BOOL(first);
	bulk->max_accounts = PG_ARGISNULL(first + 1) ? PG_INT64_MAX : PG_GETARG_INT64(first + 1);
	if (bulk->max_accounts < 1)
		error_too_small("max_accounts", bulk->max_accounts, 1);
	bulk->batch_size = arg_optional_count(fcinfo, first + 2, "batch_size", DEFAULT_BATCH,
										  MAX_BATCH);
	bulk->max_wait = arg_max_wait(fcinfo, first + 3);
}

/*
 * Checks that a plan exists.  Otherwise a misspelled plan would be a run that finds
 * nothing to do.
 */
void
bulk_check_plan(const char *plan)
{
	Plans plans;

	plans_init(&plans, NULL);
	if (plans_in_force(&plans, plan, clock_now()) == NULL)
		error_plan_not_found(plan);
}

/* The whole run, from the first batch to the report in the audit log. */
static void
run_query(Bulk *bulk, const char *query, int nargs, Oid *types, Datum *values)
{
	Portal portal = open_query(bulk, query, nargs, types, values);

	PinPortal(portal);
	if (bulk->second_query)
	{
		*bulk->second = open_query(bulk, bulk->second_query, 0, NULL, NULL);
		PinPortal(*bulk->second);
	}
	do_all(bulk, portal);
	retry_busy(bulk);
	if (bulk->second_query)
	{
		UnpinPortal(*bulk->second);
		SPI_cursor_close(*bulk->second);
	}
	UnpinPortal(portal);
	SPI_cursor_close(portal);
	if (!bulk->dry_run)
	{
		char *subject = run_text(&bulk->run);

		run_finish(&bulk->run, bulk->more ? RUN_STOPPED : RUN_FINISHED);
		audit_append(bulk->kind, subject, (Datum) 0, report(bulk, false));
	}
}

/*
 * Does a run for a procedure that is called with CALL.  Each batch is a transaction.  If
 * CALL is inside a transaction block, the whole run is in the caller's transaction.
 */
Datum
bulk_run(Bulk *bulk, FunctionCallInfo fcinfo, const char *query, int nargs, Oid *types,
		 Datum *values)
{
	CallContext *call = (CallContext *) fcinfo->context;
	Datum result;

	bulk->memory = CurrentMemoryContext;
	initStringInfo(&bulk->busy_users);
	appendStringInfoChar(&bulk->busy_users, '[');
	bulk->in_block = call == NULL || !IsA(call, CallContext) || call->atomic;
	bulk->own_transactions = !bulk->dry_run && !bulk->in_block;
	writer_check_allowed(bulk->function);
	SPI_connect_ext(bulk->own_transactions ? SPI_OPT_NONATOMIC : 0);
	MemoryContextSwitchTo(bulk->memory);
	if (bulk->own_transactions)
	{
		EnsurePortalSnapshotExists();
		run_stop_killed();
	}
	if (bulk->dry_run)
		run_init(&bulk->run, bulk->kind);
	else
		run_start(&bulk->run, bulk->kind);
	if (bulk->own_transactions)
	{
		run_lock(&bulk->run);
		PG_TRY();
		{
			run_query(bulk, query, nargs, types, values);
		}
		PG_CATCH();
		{
			run_unlock(&bulk->run);
			PG_RE_THROW();
		}
		PG_END_TRY();
		run_unlock(&bulk->run);
	}
	else
		run_query(bulk, query, nargs, types, values);
	result = report(bulk, true);
	SPI_finish();
	MemoryContextSwitchTo(bulk->memory);
	return result;
}
