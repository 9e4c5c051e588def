/*
 * undo_run.c
 *		credits_undo_run: undoes a bulk run, given by its id, or one boundary of a plan,
 *		whichever calls applied it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/errors.h"
#include "base/sums.h"
#include "bulk/bulk.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "store/writer.h"
#include "tables/checkpoint.h"
#include "tables/find.h"
#include "tables/lot_rows.h"
#include "tables/plan_versions.h"
#include "tables/rows.h"
#include "tables/run_record.h"

PG_FUNCTION_INFO_V1(credits_undo_run);

typedef struct Undo
{
	const char *plan; /* NULL: undo by run; else by plan and boundary */
	CrTime boundary;
	bool regrant;
} Undo;

/* How many of the credits that the undone row gave could not be taken. */
static int64
not_taken(const CrAccount *before, const CrAccount *after, const CrRow *target)
{
	if (target->kind == CR_KIND_GRANT)
		return target->amount - (before->balance.granted - after->balance.granted);
	if (target->kind == CR_KIND_IMPORT)
		return Max(after->owed_monthly - before->owed_monthly, 0) +
			Max(after->owed_purchased - before->owed_purchased, 0);
	return Max(after->owed_monthly - before->owed_monthly, 0);
}

static bool
find_in_history(void *ctx, const char *user_id, int64 seq, CrRow *row)
{
	(void) ctx;
	return find_row(user_id, seq, SnapshotSelf, row);
}

/* See cr_undo(). */
static int64
adjusted_since(const CrAccount *acc, const CrRow *import)
{
	int64 adjusted = find_adjusted(acc->user_id, import->seq, acc->history_seq, acc->period,
								   find_in_history, NULL);

	if (adjusted < 0)
		error_corrupted("credit_history", "a row since the import is missing");
	return adjusted;
}

/* Appends a row that undoes the target. */
static BulkOutcome
undo_row(Bulk *bulk, Ledger *ledger, const CrRow *target)
{
	Undo *undo = bulk->ctx;
	CrAccount before = ledger->acc;
	const CrPlanVersion *regrant = NULL;
	int64 adjusted = 0;
	CrRow row;
	CrVerdict verdict;
	int64 change;

	if (bulk_is_undone(ledger->acc.user_id, target->seq))
		return BULK_ALREADY;
	if (!cr_undone_fits(target))
		error_corrupted("credit_history", "amount does not fit what the row took or gave");
	if (undo->regrant && target->kind == CR_KIND_RESET)
	{
		if (ledger->acc.facts.plan == NULL)
			return BULK_SKIPPED;
		regrant = plans_in_force(ledger->plans, ledger->acc.facts.plan, ledger->now);
	}
	if (target->kind == CR_KIND_RESET && regrant == NULL)
		lots_load_expired(&ledger->acc, target->seq, SnapshotSelf);
	if (target->kind == CR_KIND_IMPORT)
		adjusted = adjusted_since(&ledger->acc, target);
	verdict = cr_undo(&ledger->acc, ledger->now, target, false, regrant, adjusted, &row);
	if (verdict == CR_NOT_UNDOABLE)
		return BULK_SKIPPED;
	if (verdict == CR_UNCHANGED)
		return BULK_ALREADY;
	ledger_check(ledger, verdict, target->amount);
	(void) ledger_push(ledger, &row);
	change = cr_available(&ledger->acc) - cr_available(&before);
	if (change > 0)
		sum_add(&bulk->batch.run.granted, change);
	else
		sum_subtract(&bulk->batch.run.expired, change);
	sum_add(&bulk->batch.not_taken, not_taken(&before, &ledger->acc, target));
	return BULK_DONE;
}

/*
 * Undoes the rows of the run, newest first.  These are the rows that the run was for, and
 * not the resets that it applied because they were due.  The query found the rows before
 * the account was locked.  Rows that were archived since are not undone.
 */
static BulkOutcome
undo_rows(Bulk *bulk, Ledger *ledger, const BulkItem *item)
{
	BulkOutcome outcome = BULK_ALREADY;
	bool isnull;
	ArrayType *array = DatumGetArrayTypeP(bulk_column(item, "seqs", INT8ARRAYOID, &isnull));
	Datum *seqs;
	int count;

	deconstruct_array(array, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &seqs, NULL,
					  &count);
	for (int i = 0; i < count; i++)
	{
		int64 seq = DatumGetInt64(seqs[i]);
		CrRow target;
		BulkOutcome one = BULK_SKIPPED;

		if (!find_row(item->user_id, seq, SnapshotSelf, &target))
		{
			if (!checkpoint_covers(item->user_id, seq, SnapshotSelf))
				error_corrupted("credit_history", "a row of the run is missing");
		}
		else if (target.malformed)
			error_corrupted("credit_history", target.malformed);
		else
			one = undo_row(bulk, ledger, &target);
		if (one == BULK_DONE || outcome == BULK_ALREADY)
			outcome = outcome == BULK_DONE ? BULK_DONE : one;
	}
	return outcome;
}

/* Finds the reset of a boundary, which is about to be written or is in the history. */
static bool
find_reset(const Ledger *ledger, CrTime boundary, CrRow *reset)
{
	Lookup lookup;
	bool found = false;

	for (int i = ledger->n_rows - 1; i >= 0; i--)
	{
		*reset = ledger->rows[i];
		reset->seq = ledger->acc.history_seq + i + 1;
		if (reset->kind == CR_KIND_RESET && reset->effective_at == boundary)
			return true;
	}
	lookup_begin(&lookup, TABLE_HISTORY, INDEX_HISTORY, SnapshotSelf);
	lookup_text_key(&lookup, 1, ledger->acc.user_id);
	while (!found && lookup_next(&lookup, BackwardScanDirection))
	{
		row_from_slot(reset, lookup.slot);
		if (reset->malformed)
			error_corrupted("credit_history", reset->malformed);
		if (reset->period != ledger->acc.period)
			break;
		found = reset->kind == CR_KIND_RESET && reset->effective_at == boundary;
	}
	lookup_end(&lookup);
	return found;
}

/*
 * Undoes a boundary of the account.  What was due has been applied, so the boundary has
 * been applied.
 */
static BulkOutcome
undo_boundary(Bulk *bulk, Ledger *ledger, const BulkItem *item)
{
	Undo *undo = bulk->ctx;
	CrRow reset;

	(void) item;
	if (!cr_text_equal(ledger->acc.facts.plan, undo->plan) ||
		ledger->acc.facts.period_start != undo->boundary ||
		!find_reset(ledger, undo->boundary, &reset))
		return BULK_SKIPPED;
	return undo_row(bulk, ledger, &reset);
}

Datum
credits_undo_run(PG_FUNCTION_ARGS)
{
	Undo undo = {0};
	Bulk bulk = {.function = "credits_undo_run()",
				 .kind = "undo",
				 .reads_own_tables = true,
				 .row_kind = CR_KIND_UNDO,
				 .ctx = &undo};
	Oid types[2];
	Datum values[2];
	char *query;

	store_attach(fcinfo);
	writer_check_allowed(bulk.function);
	undo.plan = arg_optional_name(fcinfo, 1, "plan");
	undo.regrant = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);
	bulk.reason = arg_optional_text(fcinfo, 4);
	bulk_arguments(&bulk, fcinfo, 5);
	if (PG_ARGISNULL(0) == (undo.plan == NULL) || (undo.plan == NULL) != PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("either run_id, or plan and boundary, must be given")));
	if (undo.plan == NULL)
	{
		const char *kind = run_kind(PG_GETARG_UUID_P(0)->data);

		if (kind == NULL)
			error_bad_value("run_id",
							DatumGetCString(DirectFunctionCall1(uuid_out, PG_GETARG_DATUM(0))),
							"a run_id of credit_reset_run");
		bulk.decide = undo_rows;
		types[0] = UUIDOID;
		values[0] = PG_GETARG_DATUM(0);
		types[1] = TEXTOID;
		values[1] = CStringGetTextDatum(strcmp(kind, "apply_plan") == 0 ? "set_plan" : kind);
		query = psprintf(
			"SELECT h.user_id, pg_catalog.array_agg(h.seq ORDER BY h.seq DESC) AS seqs"
			" FROM ONLY %s.credit_history h WHERE h.run_id OPERATOR(pg_catalog.=) $1"
			" AND h.kind OPERATOR(pg_catalog.=) $2 AND h.kind OPERATOR(pg_catalog.=) ANY ('{reset,set_plan,grant,import}'::pg_catalog.text[])"
			" GROUP BY h.user_id ORDER BY h.user_id",
			quote_identifier(store_schema_name()));
		return bulk_result(fcinfo, bulk_run(&bulk, fcinfo, query, 2, types, values));
	}
	bulk.decide = undo_boundary;
	undo.boundary = PG_GETARG_TIMESTAMPTZ(2);
	bulk_check_plan(undo.plan);
	types[0] = TEXTOID;
	values[0] = PG_GETARG_DATUM(1);
	types[1] = TIMESTAMPTZOID;
	values[1] = PG_GETARG_DATUM(2);
	query = psprintf(
		"SELECT a.user_id FROM ONLY %s.credit_account a"
		" WHERE (a.plan OPERATOR(pg_catalog.=) $1 OR a.scheduled_plan OPERATOR(pg_catalog.=) $1) AND"
		" (a.last_monthly_reset OPERATOR(pg_catalog.>=) $2 OR a.next_event_at OPERATOR(pg_catalog.<=) $2)"
		" ORDER BY a.user_id",
		quote_identifier(store_schema_name()));
	return bulk_result(fcinfo, bulk_run(&bulk, fcinfo, query, 2, types, values));
}
