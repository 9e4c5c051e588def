/*
 * reset.c
 *		The reset sweep: applying what is due to the accounts that nobody called.
 *
 * No balance depends on it: every call and every read applies what is due by
 * itself.  It keeps the rows fresh and the trail complete.  Accounts are taken
 * in next_event_at order, locked ones are left for the next sweep, each batch
 * is one transaction.  A batch runs in one subtransaction; if it fails, its
 * accounts are done singly, and one that fails alone is parked for this run
 * and reported.  A plan that is being defined is waited for once, with no account
 * locked; after that its accounts are left for the next sweep.
 *
 * An account that nobody is at is updated without being locked first, which is
 * a WAL record less.  Should somebody lock it in between, the update has to wait;
 * a batch that holds others must not, since whoever it waits for may want one of
 * those.  It gives up at once, is undone, which lets go of them all, and is done
 * again with every account locked first.
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
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/subtransaction.h"
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

#define DEFAULT_BATCH 1000
#define MAX_BATCH 100000
#define BUSY_BATCH 100			/* of a sweep beside others */
#define LOCK_TIMEOUT_MS 5000
#define RACE_TIMEOUT_MS 10

PG_FUNCTION_INFO_V1(credits_reset_due);
PG_FUNCTION_INFO_V1(credits_run_reset);

typedef struct Sweep
{
	const char *function;
	Run			run;
	int64		batch_size;
	int64		max_accounts;
	bool		more;			/* something due was left */
	bool		blocked;		/* by a lock on anything but an account */
	bool		own_transactions;	/* not the caller's */
	bool		racing;			/* an account that is not locked is being written */
	const char *busy_plan;		/* the last try would have had to wait for it; NULL: none */
	bool		waited;			/* for a plan, in vain: this run does so once */
	CrTime		position;		/* next_event_at that the sweep has come to */
	HTAB	   *passed;			/* users that were locked or failed: not again */
	MemoryContext memory;		/* lives as long as the sweep */
} Sweep;

static void
sweep_init(Sweep *sweep, const char *function)
{
	HASHCTL		info = {.keysize = CR_MAX_NAME + 1, .entrysize = CR_MAX_NAME + 1};

	memset(sweep, 0, sizeof(*sweep));
	sweep->function = function;
	sweep->memory = CurrentMemoryContext;
	sweep->position = DT_NOBEGIN;
	info.hcxt = sweep->memory;
	sweep->passed = hash_create("credits sweep", 256, &info,
								HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

static void
pass(Sweep *sweep, const char *user_id)
{
	char		key[CR_MAX_NAME + 1] = {0};

	strlcpy(key, user_id, sizeof(key));
	(void) hash_search(sweep->passed, key, HASH_ENTER, NULL);
}

static bool
was_passed(Sweep *sweep, const char *user_id)
{
	char		key[CR_MAX_NAME + 1] = {0};

	if (hash_get_num_entries(sweep->passed) == 0)
		return false;
	strlcpy(key, user_id, sizeof(key));
	return hash_search(sweep->passed, key, HASH_FIND, NULL) != NULL;
}

/* Looks for what is due, from where the sweep has come to, in an open look-up. */
static void
seek_due(Sweep *sweep, Lookup *lookup, CrTime now)
{
	lookup_key(lookup, 1, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
			   TimestampTzGetDatum(sweep->position));
	lookup_key(lookup, 1, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
			   TimestampTzGetDatum(now));
}

/*
 * The next account in next_event_at order, in the look-up's slot: its user, or
 * NULL.  Users at the position that the last batch ended with and that are still
 * due come again, so those that were passed over are remembered.
 */
static char *
next_due(Sweep *sweep, Lookup *lookup)
{
	bool		isnull;

	while (lookup_next(lookup, ForwardScanDirection))
	{
		char	   *user_id = slot_text(lookup->slot, ACC_USER_ID);

		CHECK_FOR_INTERRUPTS();
		if (was_passed(sweep, user_id))
			continue;
		sweep->position = DatumGetTimestampTz(slot_getattr(lookup->slot, ACC_NEXT_EVENT_AT,
														   &isnull));
		return user_id;
	}
	return NULL;
}

static bool
is_any_due(Sweep *sweep)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Lookup		lookup;
	bool		found;

	lookup_begin(&lookup, TABLE_ACCOUNT, INDEX_ACCOUNT_NEXT_EVENT, snapshot);
	seek_due(sweep, &lookup, clock_now());
	found = next_due(sweep, &lookup) != NULL;
	lookup_end(&lookup);
	UnregisterSnapshot(snapshot);
	return found;
}

/*
 * Writes the account.  False, and nothing is written, if it is not locked and
 * somebody is at it or was since it was read.  If they come only now, the update
 * waits, and is 55P03 long before deadlock_timeout: who came to wait for us since
 * has not looked for a deadlock yet.  Like synchronous_commit in early_release.c, the
 * variable is set for the moment alone.
 */
static bool
write_one(Sweep *sweep, Ledger *ledger)
{
	int			usual = LockTimeout;
	int			brief = Max(Min(RACE_TIMEOUT_MS, DeadlockTimeout / 2), 1);
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
		CHECK_FOR_INTERRUPTS();	/* a timeout as the wait ended is the race's too */
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
	return sweep->racing && (failure->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
							 failure->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED);
}

/*
 * Applies what is due to the account in the slot.  False if somebody else is at
 * it, or its reset waits for a time zone: it is left for the next sweep.
 */
static bool
reset_one(Sweep *sweep, const char *user_id, Books *books, Plans *plans,
		  TupleTableSlot *slot, bool lock, RunCounts *counts)
{
	Request		request = {.function = sweep->function,.kind = CR_KIND_RESET};
	Ledger		ledger;

	request.user_id = user_id;
	request.run_id = sweep->run.run_id;
	ledger_prepare(&ledger, &request, books, plans);
	for (;; lock = true)
	{
		if (!lock)
			ledger_read_at(&ledger, slot);
		else if (!ledger_lock_at(&ledger, slot))
		{
			pass(sweep, user_id);
			counts->skipped_locked++;
			return false;
		}
		if (!cr_is_due(&ledger.acc, ledger.now))
			return true;

		/*
		 * If the reset waits, what was due before it is written, and next time it
		 * is a failure.  Raised, it would end the batch.
		 */
		if (!ledger_apply_ready(&ledger) && ledger.n_rows == 0)
		{
			pass(sweep, user_id);
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

/* The accounts of the users that are listed, for the second time: locked first. */
static void
reset_users(Sweep *sweep, Books *books, Plans *plans, List *users, RunCounts *counts)
{
	ListCell   *cell;

	foreach(cell, users)
	{
		if (books_find(books, lfirst(cell)))
			(void) reset_one(sweep, lfirst(cell), books, plans, books->accounts.slot, true,
							 counts);
	}
}

/*
 * Up to limit accounts that are due.  Their users are listed, in the memory of
 * the batch, before they are done, so that a batch that fails can be done singly.
 */
static void
reset_due(Sweep *sweep, Books *books, Plans *plans, int64 limit, List **users,
		  RunCounts *counts)
{
	MemoryContext batch = CurrentMemoryContext;
	MemoryContext memory = AllocSetContextCreate(batch, "credits sweep account",
												 ALLOCSET_DEFAULT_SIZES);
	Lookup		lookup;
	char	   *user_id;

	sweep->more = false;
	lookup_in(&lookup, books->account->rel,
			  writer_index(books->account, INDEX_ACCOUNT_NEXT_EVENT),
			  writer_read_slot(books->account), books->snapshot);
	seek_due(sweep, &lookup, clock_now());
	while ((user_id = next_due(sweep, &lookup)) != NULL)
	{
		if (list_length(*users) >= limit)
		{
			sweep->more = true;
			break;
		}
		*users = lappend(*users, user_id);
		MemoryContextSwitchTo(memory);
		if (!reset_one(sweep, user_id, books, plans, lookup.slot, false, counts))
			*users = list_delete_last(*users);
		MemoryContextSwitchTo(batch);
		MemoryContextReset(memory);
	}
	lookup_end(&lookup);
	MemoryContextDelete(memory);
}

/* A batch, or the accounts of one that failed, which are listed. */
typedef struct Try
{
	Sweep	   *sweep;
	List	  **users;
	int64		limit;
	RunCounts	counts;
} Try;

static bool
reset_batch(void *arg)
{
	Try		   *batch = arg;
	Sweep	   *sweep = batch->sweep;
	Plans		plans;
	Books		books;

	plans_init(&plans, NULL);
	plans.busy = &sweep->busy_plan;
	books_lock_tables();
	books_open(&books, true);
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
 * Does the users that are listed, or, if none are, up to limit accounts that are
 * due, whose users are listed then.  It is one subtransaction: on an error
 * nothing of it stays; the error is returned, or thrown on if it is fatal.
 */
static ErrorData *
try_accounts(Sweep *sweep, List **users, int64 limit)
{
	Try			batch = {sweep, users, limit, {0}};
	ErrorData  *failure;

	sweep->racing = false;
	sweep->busy_plan = NULL;
	failure = subtransaction_try(reset_batch, &batch);
	if (failure == NULL)
		run_add(&sweep->run, &batch.counts);
	else
		sweep->run.counts.skipped_locked += batch.counts.skipped_locked;	/* they stay passed over */
	if (failure && !lost_race(sweep, failure) && run_is_fatal(failure->sqlerrcode, sweep->own_transactions))
		ReThrowError(failure);
	return failure;
}

/*
 * A wait for anything but a row or a plan, which are not waited for while accounts are
 * locked, is cut short: for DDL, say.  Undone by AtEOXact_GUC with the nest level.
 */
static int
limit_lock_waits(void)
{
	int			nest = NewGUCNestLevel();

	if (LockTimeout == 0 || LockTimeout > LOCK_TIMEOUT_MS)
		(void) set_config_option("lock_timeout", CppAsString2(LOCK_TIMEOUT_MS), PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nest;
}

/* A lock that is no account's was in the way: the run stops. */
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
 * Waits for the plan that the last try, of which nothing stays, wanted.  No account
 * may be locked.  False: it wanted none, or did not get it in time.
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

/* After a batch failed: its accounts one by one. */
static void
sweep_singly(Sweep *sweep, List *users)
{
	ListCell   *cell;

	foreach(cell, users)
	{
		List	   *user = list_make1(lfirst(cell));
		ErrorData  *failure = try_accounts(sweep, &user, 1);

		if (failure == NULL)
			continue;
		if (sweep->busy_plan == NULL && blocked_by(sweep, failure))
			return;
		pass(sweep, lfirst(cell));
		if (sweep->busy_plan || ERRCODE_TO_CATEGORY(failure->sqlerrcode) ==
			ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK))
			sweep->run.counts.skipped_locked++; /* somebody else was at it */
		else
			run_failed(&sweep->run, lfirst(cell), failure);
		FreeErrorData(failure);
	}
}

/*
 * One batch: at most limit accounts.  What one of them fails with costs those
 * before it their subtransaction; they are done singly, and then the rest.  If
 * one would have had to be waited for, they are first tried together once more.
 * False if nothing was due any more, or a lock was in the way: what is left is
 * for the next run, and no account's fault.
 */
static bool
sweep_batch(Sweep *sweep, int64 limit)
{
	MemoryContext memory = AllocSetContextCreate(sweep->memory, "credits sweep batch",
												 ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(memory);
	int			nest = limit_lock_waits();
	int64		before = sweep->run.counts.skipped_locked;
	int64		done = 0;
	ErrorData  *failure;

	do
	{
		bool		holds = done > 0;
		List	   *users = NIL;

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
			ReThrowError(failure);	/* no account's */
		sweep_singly(sweep, users);
	} while (done < limit && !sweep->blocked);
	AtEOXact_GUC(true, nest);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(memory);
	return !sweep->blocked && (done > 0 || sweep->run.counts.skipped_locked > before);
}

/* What a sweep would do with an account.  One whose reset waits would fail. */
static void
imagine_reset(Sweep *sweep, CrAccount *acc, const CrEnv *env, CrTime now)
{
	switch (cr_fold_due(acc, env, Max(now, acc->effective_at)))
	{
		case CR_FOLDED:
			sweep->run.counts.accounts++;
			break;
		case CR_WAITS_FOR_ZONE:
			run_failed_with(&sweep->run, acc->user_id, ERRCODE_CREDITS_ZONE_UNKNOWN,
							zone_unknown_message(acc));
			break;
		case CR_PLAN_MISSING:
			error_corrupted("credit_plan", "a plan that an account has is missing");
	}
}

/* The same for all that are due, without writing or locking. */
static void
dry_run(Sweep *sweep)
{
	CrTime		now = clock_now();
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	MemoryContext old = CurrentMemoryContext;
	MemoryContext memory = AllocSetContextCreate(old, "credits sweep account",
												 ALLOCSET_DEFAULT_SIZES);
	Plans		plans;
	CrEnv		env;
	Lookup		lookup;

	sweep->run.memory = sweep->memory;
	plans_init(&plans, snapshot);
	plans.emit = run_count_row;
	plans.emit_ctx = &sweep->run.counts;
	env = plans_env(&plans);
	lookup_begin(&lookup, TABLE_ACCOUNT, INDEX_ACCOUNT_NEXT_EVENT, snapshot);
	lookup_key(&lookup, 1, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
			   TimestampTzGetDatum(now));
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		CrAccount	acc;

		CHECK_FOR_INTERRUPTS();
		if (run_done(&sweep->run) >= sweep->max_accounts)
		{
			sweep->more = true;
			break;
		}
		MemoryContextSwitchTo(memory);
		account_from_slot(&acc, lookup.slot);
		if (cr_has_lots(&acc))
			lots_load(&acc, snapshot);
		imagine_reset(sweep, &acc, &env, now);
		MemoryContextSwitchTo(old);
		MemoryContextReset(memory);
	}
	lookup_end(&lookup);
	UnregisterSnapshot(snapshot);
	MemoryContextDelete(memory);
}

/* One batch in the caller's transaction. */
Datum
credits_reset_due(PG_FUNCTION_ARGS)
{
	Sweep		sweep;

	store_attach(fcinfo);
	sweep_init(&sweep, "credits_reset_due()");
	sweep.max_accounts = arg_optional_count(fcinfo, 0, "batch_size", DEFAULT_BATCH, MAX_BATCH);
	if (!PG_ARGISNULL(1) && PG_GETARG_BOOL(1))
	{
		dry_run(&sweep);
		return run_report(&sweep.run, sweep.more, true);
	}
	writer_check_allowed(sweep.function);
	CommandCounterIncrement();
	run_start(&sweep.run, "reset");
	(void) sweep_batch(&sweep, sweep.max_accounts);
	run_finish(&sweep.run, sweep.more ? RUN_STOPPED : RUN_FINISHED);
	return run_report(&sweep.run, sweep.more, false);
}

/*
 * Another transaction.  The portal's snapshot ends with the old one, so each
 * transaction ensures its own.
 */
static void
commit(void)
{
	SPI_commit();
	EnsurePortalSnapshotExists();
}

/*
 * The commit of a batch is not waited for.  What a crash makes of it is that
 * accounts are as due as they were, which changes no balance; whatever a caller
 * is told of afterwards is flushed with its own commit, and all of the run with
 * its last, which is the caller's usual one.
 */
static void
set_synchronous_commit(const char *value)
{
	(void) set_config_option("synchronous_commit", value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

/*
 * While others are writing, a batch is small, and a rest as long as it took
 * follows: their calls matter more than when the sweep is done.  A call for an
 * account that a batch has waits for the batch's end, and whoever commits then
 * waits until all that it wrote is flushed.
 */
static bool
others_are_writing(void)
{
	return MinimumActiveBackends(1);
}

static void
rest(TimestampTz since)
{
	long		ms = TimestampDifferenceMilliseconds(since, GetCurrentTimestamp());

	if (!others_are_writing())
		return;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Max(Min(ms, 1000), 1), PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Runs batches until nothing is due.  One runner at a time: the lock is held
 * for each batch's transaction, and whoever finds it taken, or its run ended by
 * another, stops.
 */
static RunState
sweep_all(Sweep *sweep)
{
	for (;;)
	{
		TimestampTz begun = GetCurrentTimestamp();
		int64		limit = Min(sweep->batch_size,
								sweep->max_accounts - run_done(&sweep->run));

		if (limit <= 0)
		{
			sweep->more = is_any_due(sweep);
			return sweep->more ? RUN_STOPPED : RUN_FINISHED;
		}
		if (!try_lock_name(LOCK_SWEEP, "", ExclusiveLock) || !run_is_ours(&sweep->run))
		{
			ereport(NOTICE, (errmsg("another reset run is under way")));
			sweep->more = true;
			return RUN_STOPPED;
		}
		if (others_are_writing())
			limit = Min(limit, BUSY_BATCH);
		set_synchronous_commit("off");
		if (!sweep_batch(sweep, limit))
			return sweep->blocked ? RUN_STOPPED : RUN_FINISHED;
		run_save(&sweep->run);
		commit();
		rest(begun);
	}
}

/* A run that finds others unfinished ends them: whoever has the lock runs. */
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
	Sweep		sweep;
	bool		dry;
	const char *usual_commit;
	RunState	state;
	Datum		report;
	HeapTuple	tuple;
	TupleDesc	desc;
	bool		isnull = false;

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
	report = run_report(&sweep.run, sweep.more, dry);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	tuple = heap_form_tuple(desc, &report, &isnull);
	return HeapTupleGetDatum(tuple);
}
