/*
 * reset.c
 *		The reset sweep: applies what is due to accounts for which no call was made.
 *
 * No balance depends on the sweep, because every call and every read applies what is due.
 * The sweep keeps the rows up to date and the history complete.  It takes accounts in the
 * order of next_event_at.  Locked accounts are left for the next sweep.  Each batch is
 * one transaction and runs in one subtransaction.  If it fails, its accounts are done one
 * by one.  If an account fails alone, it is reported, and this sweep does not try it
 * again.  If a plan is being defined, the sweep waits for it once, with no account
 * locked.  After that, the accounts that need it are left for the next sweep.
 *
 * An account that no other transaction has locked or is changing is updated without
 * locking it first, which saves a WAL record.  If another transaction locks the account
 * in between, the update has to wait.  But a batch that holds accounts must not wait,
 * because the other transaction may want one of these accounts.  So the update gives up
 * at once, the batch is undone, which releases all its accounts, and the batch is done
 * again with every account locked first.
 *
 * When nothing is due any more, the sweep writes the notices of what ends soon (notices.c),
 * if they are wanted, in batches of the same kind.  sweep_order.c finds the accounts.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/subtransaction.h"
#include "bulk/notices.h"
#include "bulk/sweep_order.h"
#include "ledger/books.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "store/columns.h"
#include "store/locks.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "store/table_code.h"
#include "store/writer.h"
#include "tables/lot_rows.h"
#include "tables/plan_versions.h"
#include "tables/rows.h"
#include "tables/run_record.h"

#define DEFAULT_BATCH	1000
#define MAX_BATCH		100000
#define BUSY_BATCH		100 /* of a sweep while others write */
#define LOCK_TIMEOUT_MS 5000
#define RACE_TIMEOUT_MS 10

PG_FUNCTION_INFO_V1(credits_reset_due);
PG_FUNCTION_INFO_V1(credits_run_reset);

typedef struct Sweep
{
	const char *function;
	Run run;
	int64 batch_size;
	int64 max_accounts;
	bool more;			   /* something that is due is left */
	bool blocked;		   /* a lock on something other than an account is in the way */
	bool own_transactions; /* false: everything is in the caller's transaction */
	bool racing;		   /* an account that is not locked is being written */
	/* the last try needed this plan, which is locked; NULL: none */
	const char *busy_plan;
	bool waited; /* has waited for a plan and not got it; a run waits once */
	SweepOrder order;
	MemoryContext memory; /* lives as long as the sweep */
} Sweep;

static void
sweep_init(Sweep *sweep, const char *function)
{
	memset(sweep, 0, sizeof(*sweep));
	sweep->function = function;
	sweep->memory = CurrentMemoryContext;
	order_begin(&sweep->order);
}

/*
 * Writes the account.  False, and nothing is written, if the account is not locked by us
 * and another transaction has it locked or has changed it since it was read.  If another
 * transaction locks it only now, the update waits and raises 55P03 long before
 * deadlock_timeout.  So a transaction that began to wait for us after that has not begun
 * to search for a deadlock.  LockTimeout is changed only while the update runs, as
 * synchronous_commit is in early_release.c.
 */
static bool
write_one(Sweep *sweep, Ledger *ledger)
{
	int usual = LockTimeout;
	int brief = Max(Min(RACE_TIMEOUT_MS, DeadlockTimeout / 2), 1);
	volatile bool written = false;

	if (ledger->is_locked)
		return ledger_write(ledger);
	if (books_state(ledger->books, ledger->version) != BOOKS_FREE)
		return false;
	sweep->racing = true;
	if (usual == 0 || usual > brief)
		LockTimeout = brief;
	PG_TRY();
	{
		written = ledger_write(ledger);
		/* a timeout that came as the wait ended counts as a lost race */
		CHECK_FOR_INTERRUPTS();
	}
	PG_FINALLY();
	{
		LockTimeout = usual;
	}
	PG_END_TRY();
	sweep->racing = false;
	return written;
}

/* Did the last try fail because it would have had to wait for an account? */
static bool
lost_race(const Sweep *sweep, const ErrorData *failure)
{
	return sweep->racing &&
		(failure->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		 failure->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED);
}

/*
 * Applies what is due to the account in the slot.  False if another transaction has the
 * account locked or is changing it, or if its reset has to wait for a time zone.  The
 * account is then left for the next sweep.
 */
static bool
reset_one(Sweep *sweep, const char *user_id, Books *books, Plans *plans, TupleTableSlot *slot,
		  bool lock, RunCounts *counts)
{
	Request request = {.function = sweep->function, .kind = CR_KIND_RESET};
	Ledger ledger;

	request.user_id = user_id;
	request.run_id = sweep->run.run_id;
	ledger_prepare(&ledger, &request, books, plans);
	for (;; lock = true)
	{
		if (!lock)
			ledger_read_at(&ledger, slot);
		else if (!ledger_lock_at(&ledger, slot))
		{
			order_pass(&sweep->order, user_id);
			counts->skipped_locked++;
			return false;
		}
		if (!cr_is_due(&ledger.acc, ledger.now))
			return true;

		/*
		 * If the reset has to wait, what was due before the reset is written.  The next
		 * sweep reports the account as failed.  An error now would undo the batch.
		 */
		if (!ledger_apply_ready(&ledger) && ledger.n_rows == 0)
		{
			order_pass(&sweep->order, user_id);
			run_failed_with(&sweep->run, user_id, ERRCODE_CREDITS_ZONE_UNKNOWN,
							zone_unknown_message(&ledger.acc));
			return false;
		}
		if (write_one(sweep, &ledger))
			break;
	}
	counts->accounts++;
	for (int i = 0; i < ledger.n_rows; i++)
		run_count_row(counts, &ledger.rows[i]);
	return true;
}

/*
 * Writes the user's notices.  False if there were none, or if another transaction has the
 * account locked.  The user is then left for the next sweep.
 */
static bool
announce_one(Sweep *sweep, const char *user_id, Books *books, RunCounts *counts)
{
	NoticesResult result = notices_write(sweep->order.ends, user_id, books, counts);

	if (result == NOTICES_WRITTEN)
		counts->noticed++;
	else if (result == NOTICES_BUSY)
	{
		order_pass(&sweep->order, user_id);
		counts->skipped_locked++;
	}
	return result == NOTICES_WRITTEN;
}

/* Does the listed users again.  This time their accounts are locked first. */
static void
reset_users(Sweep *sweep, Books *books, Plans *plans, List *users, RunCounts *counts)
{
	ListCell *cell;

	foreach(cell, users)
	{
		if (sweep->order.ends)
			(void) announce_one(sweep, lfirst(cell), books, counts);
		else if (books_find(books, lfirst(cell)))
			(void) reset_one(sweep, lfirst(cell), books, plans, books->accounts.slot, true,
							 counts);
	}
}

/*
 * Does up to limit accounts that are due, or that have notices.  Their users are listed
 * before, in the memory of the batch, so that they can be done one by one if the batch fails.
 */
static void
reset_due(Sweep *sweep, Books *books, Plans *plans, int64 limit, List **users,
		  RunCounts *counts)
{
	MemoryContext batch = CurrentMemoryContext;
	MemoryContext memory = AllocSetContextCreate(batch, "credits sweep account",
												 ALLOCSET_DEFAULT_SIZES);
	Lookup lookup;
	char *user_id;

	sweep->more = false;
	order_seek(&sweep->order, &lookup, books->snapshot);
	while ((user_id = order_next(&sweep->order, &lookup)) != NULL)
	{
		if (list_length(*users) >= limit)
		{
			sweep->more = true;
			break;
		}
		*users = lappend(*users, user_id);
		MemoryContextSwitchTo(memory);
		if (!(sweep->order.ends
				  ? announce_one(sweep, user_id, books, counts)
				  : reset_one(sweep, user_id, books, plans, lookup.slot, false, counts)))
			*users = list_delete_last(*users);
		MemoryContextSwitchTo(batch);
		MemoryContextReset(memory);
	}
	lookup_end(&lookup);
	MemoryContextDelete(memory);
}

/* A batch, or the listed accounts of a batch that failed. */
typedef struct Try
{
	Sweep *sweep;
	List **users;
	int64 limit;
	RunCounts counts;
	MemoryContext memory; /* of the books, which an error leaves open */
} Try;

static bool
reset_batch(void *arg)
{
	Try *batch = arg;
	Sweep *sweep = batch->sweep;
	MemoryContext memory;
	Plans plans;
	Books books;

	plans_init(&plans, NULL);
	plans.busy = &sweep->busy_plan;
	books_lock_tables();
	memory = MemoryContextSwitchTo(batch->memory);
	books_open(&books, true);
	MemoryContextSwitchTo(memory);
	if (*batch->users == NIL)
		reset_due(sweep, &books, &plans, batch->limit, batch->users, &batch->counts);
	else
		reset_users(sweep, &books, &plans, *batch->users, &batch->counts);
	books_close(&books);
	if (sweep->own_transactions)
		code_fire_deferred();
	return true;
}

/*
 * Does the listed users.  If none are listed, does up to limit accounts that are due, and
 * lists their users.  This runs in one subtransaction.  On an error, all its work is
 * undone, and the error is returned, or raised again if it is fatal.
 */
static ErrorData *
try_accounts(Sweep *sweep, List **users, int64 limit)
{
	Try batch = {.sweep = sweep, .users = users, .limit = limit};
	ErrorData *failure;

	sweep->racing = false;
	sweep->busy_plan = NULL;
	batch.memory = AllocSetContextCreate(CurrentMemoryContext, "credits sweep books",
										 ALLOCSET_DEFAULT_SIZES);
	failure = subtransaction_try(reset_batch, &batch);
	MemoryContextDelete(batch.memory);
	if (failure == NULL)
		run_add(&sweep->run, &batch.counts);
	else
		/* they stay passed */
		sweep->run.counts.skipped_locked += batch.counts.skipped_locked;
	if (failure && !lost_race(sweep, failure) &&
		run_is_fatal(failure->sqlerrcode, sweep->own_transactions))
		ReThrowError(failure);
	return failure;
}

/*
 * Limits waits for locks other than those on rows and plans, for example locks of DDL.
 * Rows and plans are not waited for while accounts are locked.  The change is undone by
 * AtEOXact_GUC with the nest level.
 */
static int
limit_lock_waits(void)
{
	int nest = NewGUCNestLevel();

	if (LockTimeout == 0 || LockTimeout > LOCK_TIMEOUT_MS)
		(void) set_config_option("lock_timeout", CppAsString2(LOCK_TIMEOUT_MS), PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nest;
}

/* A lock on something other than an account was in the way, so the run stops. */
static bool
blocked_by(Sweep *sweep, const ErrorData *failure)
{
	if (failure->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		return false;
	ereport(NOTICE, (errmsg("the reset run stops: %s", failure->message)));
	sweep->blocked = sweep->more = true;
	return true;
}

/*
 * Waits for the plan that the last try needed.  All work of that try is undone, so no
 * account is locked.  False: it needed none, or did not get it in time.
 */
static bool
wait_for_plan(Sweep *sweep)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LockTimeout);

	if (sweep->busy_plan == NULL || sweep->waited)
		return false;
	sweep->waited = !lock_name_until(LOCK_PLAN, sweep->busy_plan, ShareLock, until);
	return !sweep->waited;
}

/* Does the accounts of a failed batch one by one. */
static void
sweep_singly(Sweep *sweep, List *users)
{
	ListCell *cell;

	foreach(cell, users)
	{
		List *user = list_make1(lfirst(cell));
		ErrorData *failure = try_accounts(sweep, &user, 1);

		if (failure == NULL)
			continue;
		if (sweep->busy_plan == NULL && blocked_by(sweep, failure))
			return;
		order_pass(&sweep->order, lfirst(cell));
		if (sweep->busy_plan ||
			ERRCODE_TO_CATEGORY(failure->sqlerrcode) ==
				ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK))
			sweep->run.counts.skipped_locked++; /* another transaction has it locked */
		else
			run_failed(&sweep->run, lfirst(cell), failure);
		FreeErrorData(failure);
	}
}

/*
 * Does one batch of at most limit accounts.  If an account fails, the work of the
 * accounts before it is undone with the subtransaction.  Then these are done one by one,
 * and so are the rest.  If the batch failed because it would have had to wait for an
 * account, all its accounts are first tried together once more.  False if nothing was due
 * any more, or if a lock was in the way.  Then what is left is for the next run, and no
 * account has failed.
 */
static bool
sweep_batch(Sweep *sweep, int64 limit)
{
	MemoryContext memory = AllocSetContextCreate(sweep->memory, "credits sweep batch",
												 ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(memory);
	int nest = limit_lock_waits();
	int64 before = sweep->run.counts.skipped_locked;
	int64 done = 0;
	ErrorData *failure;

	do
	{
		bool holds = done > 0;
		List *users = NIL;

		failure = try_accounts(sweep, &users, limit - done);
		done += list_length(users);
		if (failure == NULL)
			break;
		while (failure && users != NIL &&
			   (lost_race(sweep, failure) || (!holds && wait_for_plan(sweep))))
			failure = try_accounts(sweep, &users, 0);
		if (failure == NULL)
			continue;
		if (sweep->busy_plan == NULL && blocked_by(sweep, failure))
			break;
		if (users == NIL)
			ReThrowError(failure); /* it belongs to no account */
		sweep_singly(sweep, users);
	} while (done < limit && !sweep->blocked);
	AtEOXact_GUC(true, nest);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(memory);
	return !sweep->blocked && (done > 0 || sweep->run.counts.skipped_locked > before);
}

/*
 * Computes what a sweep would do with an account.  If the account's reset has to wait, or too
 * much is due, the account would fail.
 */
static void
preview_reset(Sweep *sweep, CrAccount *acc, const CrEnv *env, CrTime now)
{
	RunCounts before = sweep->run.counts;

	switch (cr_fold_due(acc, env, Max(now, acc->effective_at)))
	{
		case CR_FOLDED:
			sweep->run.counts.accounts++;
			break;
		case CR_WAITS_FOR_ZONE:
			run_failed_with(&sweep->run, acc->user_id, ERRCODE_CREDITS_ZONE_UNKNOWN,
							zone_unknown_message(acc));
			break;
		case CR_TOO_MANY_PERIODS:
			sweep->run.counts = before;
			run_failed_with(&sweep->run, acc->user_id, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
							too_many_periods_message);
			break;
		case CR_PLAN_MISSING:
			error_corrupted("credit_plan", "a plan that an account has is missing");
	}
}

/* The same with an end.  counted: the user is one that was counted before. */
static void
preview_notice(Sweep *sweep, const char *user_id, Plans *plans, TupleTableSlot *slot,
			   bool counted)
{
	if (!notices_preview(sweep->order.ends, slot, plans, clock_now()))
		return;
	sweep->run.counts.notices++;
	if (counted)
		return;
	order_pass(&sweep->order, user_id);
	sweep->run.counts.noticed++;
}

/* The same for all accounts that are due, or for all ends, without writing or locking. */
static void
preview_phase(Sweep *sweep, Plans *plans, MemoryContext memory)
{
	MemoryContext old = CurrentMemoryContext;
	CrTime now = clock_now();
	CrEnv env = plans_env(plans);
	Lookup lookup;

	order_seek(&sweep->order, &lookup, plans->snapshot);
	while (!sweep->more && lookup_next(&lookup, ForwardScanDirection))
	{
		CrAccount acc;
		const char *user_id;
		bool counted;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(memory);
		user_id = order_user(&sweep->order, &lookup);
		counted = order_has_passed(&sweep->order, user_id);
		if (!counted && run_done(&sweep->run) >= sweep->max_accounts)
			sweep->more = true;
		else if (sweep->order.ends)
			preview_notice(sweep, user_id, plans, lookup.slot, counted);
		else
		{
			account_from_slot(&acc, lookup.slot);
			if (cr_has_lots(&acc))
				lots_load(&acc, now, plans->snapshot);
			preview_reset(sweep, &acc, &env, now);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(memory);
	}
	lookup_end(&lookup);
}

static void
dry_run(Sweep *sweep)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "credits sweep account",
												 ALLOCSET_DEFAULT_SIZES);
	Plans plans;

	sweep->run.memory = sweep->memory;
	plans_init(&plans, snapshot);
	plans.emit = run_count_row;
	plans.emit_ctx = &sweep->run.counts;
	do
	{
		preview_phase(sweep, &plans, memory);
		plans.emit = NULL; /* it has counted what is due */
	} while (!sweep->more && order_next_phase(&sweep->order));
	UnregisterSnapshot(snapshot);
	MemoryContextDelete(memory);
}

static Datum
report(Sweep *sweep, bool dry)
{
	sweep->run.has_notices = notices_next(NULL) != NULL;
	return run_report(&sweep->run, sweep->more, dry);
}

/* One batch in the caller's transaction. */
Datum
credits_reset_due(PG_FUNCTION_ARGS)
{
	Sweep sweep;

	store_attach(fcinfo);
	sweep_init(&sweep, "credits_reset_due()");
	sweep.max_accounts = arg_optional_count(fcinfo, 0, "batch_size", DEFAULT_BATCH, MAX_BATCH);
	if (!PG_ARGISNULL(1) && PG_GETARG_BOOL(1))
	{
		dry_run(&sweep);
		return report(&sweep, true);
	}
	writer_check_allowed(sweep.function);
	CommandCounterIncrement();
	run_start(&sweep.run, "reset");
	do
		(void) sweep_batch(&sweep, sweep.max_accounts - run_done(&sweep.run));
	while (!sweep.more && order_next_phase(&sweep.order));
	run_finish(&sweep.run, sweep.more ? RUN_STOPPED : RUN_FINISHED);
	return report(&sweep, false);
}

/*
 * Begins another transaction.  The portal's snapshot ends with the old transaction, so
 * each transaction makes sure that there is one.
 */
static void
commit(void)
{
	SPI_commit();
	EnsurePortalSnapshotExists();
}

/*
 * The commit of a batch does not wait for the flush.  If a crash loses the batch, its
 * accounts are due as before, and no balance is different.  Everything that a caller is
 * told later is flushed with the caller's own commit.  The whole run is flushed with its
 * last commit, which is the usual commit of the caller.
 */
static void
set_synchronous_commit(const char *value)
{
	(void) set_config_option("synchronous_commit", value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

/*
 * While others write, batches are small, and after each batch the sweep rests as long as
 * the batch took.  The calls of others are more important than the end of the sweep.  A
 * call for an account of a batch waits for the end of the batch, and a commit of such a
 * call waits until everything that the batch wrote is flushed.
 */
static bool
others_are_writing(void)
{
	return MinimumActiveBackends(1);
}

static void
rest(TimestampTz since)
{
	long ms = TimestampDifferenceMilliseconds(since, GetCurrentTimestamp());

	if (!others_are_writing())
		return;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Max(Min(ms, 1000), 1), PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Does batches until nothing is due, and all notices are written.  Only one sweep runs at a time: it takes a lock in
 * the transaction of each batch.  If another sweep has the lock, or has ended this run,
 * this run stops.
 */
static RunState
sweep_all(Sweep *sweep)
{
	for (;;)
	{
		TimestampTz begun = GetCurrentTimestamp();
		int64 limit = Min(sweep->batch_size, sweep->max_accounts - run_done(&sweep->run));

		if (limit <= 0)
		{
			sweep->more = order_any_left(&sweep->order);
			return sweep->more ? RUN_STOPPED : RUN_FINISHED;
		}
		if (!try_lock_name(LOCK_SWEEP, "", ExclusiveLock) || !run_is_ours(&sweep->run))
		{
			ereport(NOTICE, (errmsg("another reset run is running")));
			sweep->more = true;
			return RUN_STOPPED;
		}
		if (others_are_writing())
			limit = Min(limit, BUSY_BATCH);
		set_synchronous_commit("off");
		if (!sweep_batch(sweep, limit))
		{
			if (sweep->blocked)
				return RUN_STOPPED;
			if (!order_next_phase(&sweep->order))
				return RUN_FINISHED;
			continue;
		}
		run_save(&sweep->run);
		commit();
		rest(begun);
	}
}

/* Ends unfinished records.  This run has the lock, so no other sweep is running. */
static void
start(Sweep *sweep)
{
	if (try_lock_name(LOCK_SWEEP, "", ExclusiveLock))
		run_stop_others();
	run_start(&sweep->run, "reset");
}

Datum
credits_run_reset(PG_FUNCTION_ARGS)
{
	CallContext *call = (CallContext *) fcinfo->context;
	MemoryContext memory = CurrentMemoryContext;
	Sweep sweep;
	bool dry;
	const char *usual_commit;
	RunState state;
	Datum result;
	HeapTuple tuple;
	TupleDesc desc;
	bool isnull = false;

	store_attach(fcinfo);
	sweep_init(&sweep, "credits_run_reset()");
	sweep.batch_size = arg_optional_count(fcinfo, 0, "batch_size", DEFAULT_BATCH, MAX_BATCH);
	sweep.max_accounts = PG_ARGISNULL(1) ? PG_INT64_MAX : PG_GETARG_INT64(1);
	if (sweep.max_accounts < 1)
		error_too_small("max_accounts", sweep.max_accounts, 1);
	dry = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);

	if (dry)
		dry_run(&sweep);
	else
	{
		writer_check_allowed(sweep.function);
		if (call == NULL || !IsA(call, CallContext) || call->atomic)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
					 errmsg("credits_run_reset cannot run inside a transaction block, because it commits"),
					 errhint("Use credits_reset_due() there.")));
		SPI_connect_ext(SPI_OPT_NONATOMIC);
		MemoryContextSwitchTo(memory);
		EnsurePortalSnapshotExists();
		sweep.own_transactions = true;
		start(&sweep);
		commit();
		MemoryContextSwitchTo(memory);
		usual_commit = pstrdup(GetConfigOption("synchronous_commit", false, false));
		state = sweep_all(&sweep);
		set_synchronous_commit(usual_commit);
		run_finish(&sweep.run, state);
		SPI_finish();
		MemoryContextSwitchTo(memory);
	}
	result = report(&sweep, dry);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	tuple = heap_form_tuple(desc, &result, &isnull);
	return HeapTupleGetDatum(tuple);
}
