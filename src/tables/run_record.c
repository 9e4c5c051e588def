/*
 * run_record.c
 *		The record of a sweep, a bulk run or a verification: a row in credit_reset_run.
 *
 * The row is written when the run starts, and updated batch by batch, so a DBA can watch
 * the run.  Only the run itself writes the row.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/subtransaction.h"
#include "base/sums.h"
#include "store/columns.h"
#include "store/locks.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "store/writer.h"
#include "tables/rows.h"
#include "tables/run_record.h"

#define MAX_LISTED 100

static const char *const state_names[] = {
	[RUN_RUNNING] = "running",
	[RUN_FINISHED] = "finished",
	[RUN_STOPPED] = "stopped",
};

static char *
failed_json(const List *failed)
{
	StringInfoData buf;
	ListCell *cell;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	foreach(cell, failed)
	{
		if (buf.len > 1)
			appendStringInfoString(&buf, ", ");
		appendStringInfoString(&buf, lfirst(cell));
	}
	appendStringInfoChar(&buf, ']');
	return buf.data;
}

static void
fill(const Run *run, TupleTableSlot *slot)
{
	Datum *values = slot->tts_values;
	bool *nulls = slot->tts_isnull;

	memset(nulls, 0, sizeof(bool) * RUN_NATTS);
	values[RUN_STARTED_AT - 1] = TimestampTzGetDatum(run->started_at);
	values[RUN_FINISHED_AT - 1] = TimestampTzGetDatum(run->finished_at);
	nulls[RUN_FINISHED_AT - 1] = run->state == RUN_RUNNING;
	values[RUN_ACCOUNTS - 1] = Int64GetDatum(run->counts.accounts);
	values[RUN_CREDITS_GRANTED - 1] = Int64GetDatum(run->counts.granted);
	values[RUN_CREDITS_EXPIRED - 1] = Int64GetDatum(run->counts.expired);
	values[RUN_FAILURES - 1] = Int64GetDatum(run->failures);
	values[RUN_RUN_ID - 1] = PointerGetDatum(run->run_id);
	values[RUN_KIND - 1] = CStringGetTextDatum(run->kind);
	values[RUN_STATE - 1] = CStringGetTextDatum(state_names[run->state]);
	values[RUN_ACTOR - 1] = CStringGetTextDatum(GetUserNameFromId(GetOuterUserId(), false));
	values[RUN_HISTORY_ROWS - 1] = Int64GetDatum(run->history_rows);
	values[RUN_SAMPLE - 1] = Float8GetDatum(run->sample);
	nulls[RUN_HISTORY_ROWS - 1] = nulls[RUN_SAMPLE - 1] = run->sample == 0;
	nulls[RUN_FAILED - 1] = run->failed == NIL;
	if (run->failed != NIL)
		values[RUN_FAILED - 1] =
			DirectFunctionCall1(jsonb_in, CStringGetDatum(failed_json(run->failed)));
}

/* Begins a run without a record, for example a dry run. */
void
run_init(Run *run, const char *kind)
{
	memset(run, 0, sizeof(*run));
	new_uuid(run->run_id);
	run->kind = kind;
	run->started_at = clock_now();
	run->memory = CurrentMemoryContext;
}

char *
run_text(const Run *run)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, PointerGetDatum(run->run_id)));
}

static void
insert_row(const Run *run)
{
	Writer *writer = writer_begin(TABLE_RESET_RUN, CurrentMemoryContext);

	writer_clear(writer);
	fill(run, writer->slot);
	writer_insert(writer);
	writer_end(writer);
}

void
run_start(Run *run, const char *kind)
{
	run_init(run, kind);
	insert_row(run);
}

void
run_add(Run *run, const RunCounts *counts)
{
	run->counts.accounts += counts->accounts;
	sum_add(&run->counts.granted, counts->granted);
	sum_add(&run->counts.expired, counts->expired);
	run->counts.skipped_locked += counts->skipped_locked;
	run->counts.noticed += counts->noticed;
	run->counts.notices += counts->notices;
}

/* Adds what one history row granted and took away. */
void
run_count_row(void *counts, const CrRow *row)
{
	RunCounts *sums = counts;

	if (row->kind == CR_KIND_RESET)
		sum_add(&sums->granted, row->amount);
	sum_add(&sums->expired, row->expired);
}

/*
 * Records that an account failed alone.  It is left for the next run.  The row has its
 * user and the SQLSTATE.  The message goes only to the caller and to the server's log: a
 * DBA's trigger can put anything into a message, and roles with the preset monitor can
 * read the row.
 */
void
run_failed(Run *run, const char *user_id, const ErrorData *error)
{
	run_failed_with(run, user_id, error->sqlerrcode, error->message);
}

void
run_failed_with(Run *run, const char *user_id, int sqlstate, const char *message)
{
	StringInfoData buf;
	MemoryContext old = MemoryContextSwitchTo(run->memory);

	run->failures++;
	if (list_length(run->failed) < MAX_LISTED)
	{
		json_begin(&buf);
		json_text(&buf, "user_id", user_id);
		json_text(&buf, "sqlstate", unpack_sql_state(sqlstate));
		run->failed = lappend(run->failed, json_end(&buf));
		json_begin(&buf);
		json_text(&buf, "user_id", user_id);
		json_text(&buf, "sqlstate", unpack_sql_state(sqlstate));
		json_text(&buf, "message", message);
		run->messages = lappend(run->messages, json_end(&buf));
		ereport(WARNING,
				(errmsg("account \"%s\" failed: %s", user_id, message)));
	}
	MemoryContextSwitchTo(old);
}

/*
 * Records a finding of a verification.  There may be very many findings, so only those
 * that are listed become JSON.
 */
void
run_finding(Run *run, TupleTableSlot *finding, char *(*as_json)(TupleTableSlot *) )
{
	MemoryContext old = MemoryContextSwitchTo(run->memory);

	run->failures++;
	if (list_length(run->failed) < MAX_LISTED)
		run->failed = lappend(run->failed, as_json(finding));
	MemoryContextSwitchTo(old);
}

/*
 * Does this error end the whole run, and not only one account?  Without transactions of
 * its own, the run cannot retry, so its caller has to.
 */
bool
run_is_fatal(int sqlstate, bool own_transactions)
{
	int class = ERRCODE_TO_CATEGORY(sqlstate);

	if (class == ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK))
		return !own_transactions;
	return class == ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION) ||
		class == ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES) ||
		class == ERRCODE_TO_CATEGORY(ERRCODE_SYSTEM_ERROR) ||
		class == ERRCODE_TO_CATEGORY(ERRCODE_INVALID_TRANSACTION_STATE);
}

int64
run_done(const Run *run)
{
	return run->counts.accounts + run->counts.noticed + run->failures;
}

/*
 * Begins to look up records.  Another run may be ending them without a lock that we hold.
 * So this uses an MVCC snapshot, which never misses a row that is being updated.
 */
static void
begin_lookup(Lookup *lookup, StoreIndex index)
{
	CommandCounterIncrement();
	lookup_begin(lookup, TABLE_RESET_RUN, index, RegisterSnapshot(GetLatestSnapshot()));
}

static void
end_lookup(Lookup *lookup)
{
	lookup_end(lookup);
	UnregisterSnapshot(lookup->snapshot);
}

static bool
find_run(Lookup *lookup, const Run *run)
{
	begin_lookup(lookup, INDEX_RESET_RUN);
	lookup_key(lookup, 1, BTEqualStrategyNumber, F_UUID_EQ, PointerGetDatum(run->run_id));
	return lookup_next(lookup, ForwardScanDirection);
}

static bool
is_running(Lookup *lookup)
{
	return strcmp(slot_text(lookup->slot, RUN_STATE), state_names[RUN_RUNNING]) == 0;
}

/*
 * Writes the run's row as it is now.  If another run has ended it, the row stays ended.
 */
void
run_save(Run *run)
{
	Lookup lookup;
	Writer *writer;

	if (!find_run(&lookup, run) || !lookup_lock(&lookup, LockWaitBlock))
		error_corrupted("credit_reset_run", "the run's row is missing");
	if (!is_running(&lookup))
	{
		run->state = RUN_STOPPED;
		run->finished_at = clock_now();
	}
	writer = writer_begin(TABLE_RESET_RUN, CurrentMemoryContext);
	writer_copy(writer, lookup.slot);
	fill(run, writer->slot);
	writer_update(writer, lookup.slot);
	writer_end(writer);
	end_lookup(&lookup);
}

/* The kind of a run.  NULL: there is no such run. */
const char *
run_kind(const uint8_t *run_id)
{
	Run run = {0};
	Lookup lookup;
	const char *kind = NULL;

	memcpy(run.run_id, run_id, UUID_LEN);
	if (find_run(&lookup, &run))
		kind = slot_text(lookup.slot, RUN_KIND);
	end_lookup(&lookup);
	return kind;
}

/* Is the run's record still running?  False if another run has ended it. */
bool
run_is_ours(const Run *run)
{
	Lookup lookup;
	bool running = find_run(&lookup, run) && is_running(&lookup);

	end_lookup(&lookup);
	return running;
}

/*
 * A bulk run that commits batch by batch has its id locked for the session.  However the
 * session ends, the lock ends with it.  So if another session gets the lock, the run is
 * no longer running.
 */
void
run_lock(const Run *run)
{
	lock_for_session(LOCK_RUN, run_text(run), ExclusiveLock);
}

void
run_unlock(const Run *run)
{
	unlock_for_session(LOCK_RUN, run_text(run), ExclusiveLock);
}

/* Ends the records that say running, but whose run is gone. */
static void
stop_killed(bool sweeps)
{
	Lookup lookup;
	Writer *writer;

	begin_lookup(&lookup, INDEX_RESET_RUN_STATE);
	lookup_text_key(&lookup, 1, state_names[RUN_RUNNING]);
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		bool isnull;
		Datum id = slot_getattr(lookup.slot, RUN_RUN_ID, &isnull);
		bool dead = strcmp(slot_text(lookup.slot, RUN_KIND), "reset") == 0
			? sweeps
			: try_lock_name(LOCK_RUN, DatumGetCString(DirectFunctionCall1(uuid_out, id)),
							ExclusiveLock);

		if (!dead || !lookup_lock(&lookup, LockWaitSkip) || !is_running(&lookup))
			continue;
		writer = writer_begin(TABLE_RESET_RUN, CurrentMemoryContext);
		writer_copy(writer, lookup.slot);
		writer->slot->tts_values[RUN_STATE - 1] = CStringGetTextDatum(
			state_names[RUN_STOPPED]);
		writer->slot->tts_values[RUN_FINISHED_AT - 1] = TimestampTzGetDatum(clock_now());
		writer->slot->tts_isnull[RUN_FINISHED_AT - 1] = false;
		writer_update(writer, lookup.slot);
		writer_end(writer);
	}
	end_lookup(&lookup);
}

static bool
record(void *run)
{
	if (((Run *) run)->state == RUN_RUNNING)
		stop_killed(false);
	insert_row(run);
	return true;
}

/*
 * Writes the record of a run that began without one, if that is possible.  What a
 * verification finds matters more than its record.  If the run has only begun, this first
 * ends the records of runs that are gone.  False: it gave a warning that says why.
 */
bool
run_try_record(Run *run)
{
	ErrorData *failure = subtransaction_try(record, run);

	if (failure == NULL)
		return true;
	if (ERRCODE_TO_CATEGORY(failure->sqlerrcode) ==
		ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION))
		ReThrowError(failure);
	ereport(WARNING,
			(errcode(failure->sqlerrcode),
			 errmsg("the verification cannot be recorded: %s", failure->message)));
	return false;
}

/* The same at the end of the run. */
void
run_record_finished(Run *run)
{
	run->state = RUN_FINISHED;
	run->finished_at = clock_now();
	(void) run_try_record(run);
}

/*
 * Ends the records of runs that were killed.  Only another sweep can tell that a sweep is
 * gone, so sweeps stay.
 */
void
run_stop_killed(void)
{
	stop_killed(false);
}

/*
 * The same, and ends the records of all sweeps.  A sweep that says running was cancelled
 * or killed, or it is between two batches and will notice that it was ended.  Call this
 * under LOCK_SWEEP.
 */
void
run_stop_others(void)
{
	stop_killed(true);
}

void
run_finish(Run *run, RunState state)
{
	run->state = state;
	run->finished_at = clock_now();
	run_save(run);
}

void
run_report_to(const Run *run, bool more, bool dry_run, Object *object)
{
	object_bool(object, "ok", true);
	object_bool(object, "dry_run", dry_run);
	if (!dry_run)
	{
		object_text(object, "run_id", run_text(run));
		object_text(object, "state", state_names[run->state]);
	}
	object_int(object, "accounts", run->counts.accounts);
	object_int(object, "credits_granted", run->counts.granted);
	object_int(object, "credits_expired", run->counts.expired);
	object_int(object, "failures", run->failures);
	object_bool(object, "more", more);
}

/* What failed and why, for the caller. */
void
run_report_failed(const Run *run, Object *object)
{
	if (run->messages != NIL)
		object_json(object, "failed", failed_json(run->messages));
}

Datum
run_report(const Run *run, bool more, bool dry_run)
{
	Object object;

	object_begin(&object);
	run_report_to(run, more, dry_run, &object);
	object_int(&object, "skipped_locked", run->counts.skipped_locked);
	if (run->has_notices)
		object_int(&object, "notices", run->counts.notices);
	run_report_failed(run, &object);
	return object_end(&object);
}
