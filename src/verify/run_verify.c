/*
 * run_verify.c
 *		credits_run_verify: verification in slices, each in a transaction of its own.
 *
 * credits_verify sees everything in one snapshot, and as long as that lasts, dead rows
 * cannot be removed.  Here each slice has a snapshot of its own.  A slice is a range of
 * users, or a range of payments.  An account is always in one slice as a whole, so
 * lasting damage cannot be missed.
 *
 * If the session may write, the run is recorded in credit_reset_run, from the first slice
 * on.  So a run that was killed is visible, too.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "base/json.h"
#include "ledger/request.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/rows.h"
#include "tables/run_record.h"
#include "verify/anchor_check.h"
#include "verify/archive_check.h"
#include "verify/filter.h"
#include "verify/findings.h"
#include "verify/judge_lots.h"
#include "verify/parallel.h"
#include "verify/progress.h"
#include "verify/verify_structure.h"

#define DEFAULT_SLICE	   10000
#define MAX_SLICE		   1000000
#define MAX_LISTED		   100
#define NOTICE_INTERVAL_MS 10000

PG_FUNCTION_INFO_V1(credits_run_verify);

typedef struct VerifyRun
{
	FunctionCallInfo fcinfo;
	int64 slice_size;
	Share share; /* of payments; its sample is also that of accounts */
	int64 accounts;
	int64 rows;
	int64 bad;
	AnchorCheck *anchors;
	bool recorded; /* the session may write, so the run has a record */
	Run record;
	StringInfoData listed; /* the first bad accounts, as JSON */
	TimestampTz noticed_at;
	MemoryContext memory; /* lives as long as the run */
} VerifyRun;

/*
 * Begins a slice.  The slice's snapshot is taken here.  The portal's snapshot ends with
 * the transaction, so each transaction makes sure that there is one.
 */
static MemoryContext
begin_slice(VerifyRun *run, Findings *findings)
{
	MemoryContext slice = AllocSetContextCreate(run->memory, "credits verify slice",
												ALLOCSET_DEFAULT_SIZES);

	MemoryContextSwitchTo(slice);
	findings_to_store(findings, tuplestore_begin_heap(false, false, work_mem));
	return slice;
}

static void
list_finding(VerifyRun *run, TupleTableSlot *slot)
{
	char *json;

	run->bad++;
	run_finding(&run->record, slot, finding_json);
	if (run->bad > MAX_LISTED)
		return;
	json = finding_json(slot);
	appendStringInfo(&run->listed, "%s%s", run->bad > 1 ? ", " : "", json);
	ereport(WARNING,
			(errmsg("verification failed: %s: %s", slot_text(slot, 1), slot_text(slot, 4)),
			 errdetail("%s", json)));
}

static void
show_progress(VerifyRun *run)
{
	TimestampTz now = GetCurrentTimestamp();
	char *text = psprintf(INT64_FORMAT " accounts with " INT64_FORMAT
									   " rows verified, " INT64_FORMAT " bad",
						  run->accounts, run->rows, run->bad);

	progress_show(text);
	if (TimestampDifferenceExceeds(run->noticed_at, now, NOTICE_INTERVAL_MS))
	{
		ereport(NOTICE, (errmsg("%s so far", text)));
		run->noticed_at = now;
	}
}

static void
end_slice(VerifyRun *run, Findings *findings, MemoryContext slice)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(findings->slot->tts_tupleDescriptor,
													&TTSOpsMinimalTuple);

	while (tuplestore_gettupleslot(findings->store, true, false, slot))
		list_finding(run, slot);
	tuplestore_end(findings->store);
	show_progress(run);
	run->record.counts.accounts = run->accounts;
	run->record.history_rows = run->rows;
	if (run->recorded)
		run_save(&run->record);
	MemoryContextSwitchTo(run->memory);
	MemoryContextDelete(slice);

	SPI_commit();
	EnsurePortalSnapshotExists();
	MemoryContextSwitchTo(run->memory);
}

/* The last user of the next slice.  NULL if it is the last slice. */
static char *
slice_end(const VerifyRun *run, const char *after)
{
	Lookup lookup;
	char *last = NULL;
	int64 count = 0;

	lookup_begin(&lookup, TABLE_ACCOUNT, INDEX_ACCOUNT, GetActiveSnapshot());
	lookup_after_key(&lookup, 1, after);
	while (count < run->slice_size && lookup_next(&lookup, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		count++;
	}
	if (count == run->slice_size)
		last = slot_text(lookup.slot, ACC_USER_ID);
	lookup_end(&lookup);
	return last;
}

/*
 * Verifies the next slice of accounts, and of histories without an account.  Returns its
 * last user.
 */
static char *
verify_slice(VerifyRun *run, Findings *findings, const char *after)
{
	Extent extent = {.after = after, .seed = run->share.seed, .sample = run->share.sample};
	Findings found;
	Totals totals;

	extent.upto = slice_end(run, after);

	/* this reads every user of the slice, so it is done for a sample of whole slices */
	if (share_has(&run->share,
				  share_hash(&run->share, after ? after : "", after ? strlen(after) : 0)))
	{
		verify_orphans(findings, after, extent.upto);
		anchor_check_users(run->anchors, findings, after, extent.upto);
	}
	findings_to_sort(&found);
	verify_accounts(run->fcinfo, &extent, &found, &totals);
	findings_move_sorted(&found, findings);
	run->accounts += totals.accounts;
	run->rows += totals.rows;
	return extent.upto ? MemoryContextStrdup(run->memory, extent.upto) : NULL;
}

static void
verify_all(VerifyRun *run)
{
	Findings findings;
	MemoryContext slice = begin_slice(run, &findings);
	char *last = NULL;

	verify_base(&findings);
	verify_lot_orphans(&findings);
	verify_archive(&findings);
	MemoryContextSwitchTo(run->memory);
	run->anchors = anchor_check_begin(&findings, NULL);
	MemoryContextSwitchTo(slice);
	end_slice(run, &findings, slice);
	do
	{
		slice = begin_slice(run, &findings);
		last = verify_payments(&findings, last, run->slice_size, &run->share);
		if (last)
			last = MemoryContextStrdup(run->memory, last);
		end_slice(run, &findings, slice);
	} while (last);
	do
	{
		slice = begin_slice(run, &findings);
		last = verify_slice(run, &findings, last);
		if (last == NULL && run->share.sample == 1)
			anchor_check_end(run->anchors, &findings);
		end_slice(run, &findings, slice);
	} while (last);
}

static Datum
report(const VerifyRun *run)
{
	StringInfoData buf;

	json_begin(&buf);
	json_bool(&buf, "ok", run->bad == 0);
	json_int(&buf, "accounts", run->accounts);
	json_int(&buf, "rows", run->rows);
	json_int(&buf, "bad", run->bad);
	appendStringInfo(&buf, ", \"sample\": %.17g, \"problems\": [%s]", run->share.sample,
					 run->listed.data);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json_end(&buf)));
}

static bool
begin_record(VerifyRun *run)
{
	run->record.sample = run->share.sample;
	return run_try_record(&run->record);
}

/* While the run holds the lock of its record, other sessions know that it is running. */
static void
verify_recorded(VerifyRun *run)
{
	run_lock(&run->record);
	PG_TRY();
	{
		verify_all(run);
		run_finish(&run->record, RUN_FINISHED);
	}
	PG_CATCH();
	{
		run_unlock(&run->record);
		PG_RE_THROW();
	}
	PG_END_TRY();
	run_unlock(&run->record);
}

Datum
credits_run_verify(PG_FUNCTION_ARGS)
{
	CallContext *call = (CallContext *) fcinfo->context;
	VerifyRun run = {.fcinfo = fcinfo, .share = {.shares = 1, .sample = 1}};
	Datum result;
	bool isnull = false;
	TupleDesc desc;

	store_attach(fcinfo);
	if (!PG_ARGISNULL(0))
		run.share.sample = PG_GETARG_FLOAT8(0);
	if (!(run.share.sample > 0 && run.share.sample <= 1))
		error_bad_value("sample", psprintf("%g", run.share.sample),
						"a fraction above 0, at most 1");
	run.slice_size = arg_optional_count(fcinfo, 1, "slice_size", DEFAULT_SLICE, MAX_SLICE);
	if (call == NULL || !IsA(call, CallContext) || call->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("credits_run_verify cannot run inside a transaction block, because it commits"),
				 errhint("Use credits_verify() there.")));
	if (!pg_strong_random(&run.share.seed, sizeof(run.share.seed)))
		elog(ERROR, "could not generate random bytes");
	run.memory = CurrentMemoryContext;
	initStringInfo(&run.listed);
	run.noticed_at = GetCurrentTimestamp();

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	MemoryContextSwitchTo(run.memory);
	EnsurePortalSnapshotExists();
	progress_begin();
	run_init(&run.record, "verify");
	run.recorded = !XactReadOnly && !RecoveryInProgress() && begin_record(&run);
	if (run.recorded)
		verify_recorded(&run);
	else
		verify_all(&run);
	progress_end();
	SPI_finish();
	MemoryContextSwitchTo(run.memory);

	result = report(&run);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(desc, &result, &isnull));
}
