/*
 * apply_plan.c
 *		credits_apply_plan: applies a plan's version in force to all users of the plan
 *		now.  Without it, they get the version at their next boundary.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/sums.h"
#include "bulk/bulk.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "store/relations.h"
#include "store/writer.h"
#include "tables/plan_versions.h"

PG_FUNCTION_INFO_V1(credits_apply_plan);

static void
push(Ledger *ledger, CrVerdict verdict, const CrRow *row, int64 amount)
{
	ledger_check(ledger, verdict, amount);
	(void) ledger_push(ledger, row);
}

/* A scheduled plan change stays scheduled. */
static BulkOutcome
apply_plan(Bulk *bulk, Ledger *ledger, const BulkItem *item)
{
	const char *name = bulk->ctx;
	CrAccount *acc = &ledger->acc;
	const char *scheduled = acc->facts.scheduled_plan;
	const CrPlanVersion *plan = plans_in_force(ledger->plans, name, ledger->now);
	int64 before = cr_available(acc);
	CrRow row;
	CrVerdict verdict;

	(void) item;
	if (plan == NULL)
		error_plan_not_found(name);
	if (!cr_text_equal(acc->facts.plan, name))
		return BULK_SKIPPED;
	if (acc->facts.plan_version == plan->version)
		return BULK_ALREADY;
	verdict = cr_set_plan(acc, &ledger->env, ledger->now, plan, &row);
	if (verdict == CR_OTHER_LENGTH)
		return BULK_SKIPPED; /* it gets the version at the end of its period */
	push(ledger, verdict, &row, plan->monthly_credits);
	if (scheduled)
	{
		verdict = cr_schedule_plan(acc, ledger->now, scheduled[0] ? scheduled : NULL, &row);
		push(ledger, verdict, &row, 0);
	}
	sum_add(&bulk->batch.run.granted, Max(cr_available(acc) - before, 0));
	sum_add(&bulk->batch.run.expired, Max(before - cr_available(acc), 0));
	return BULK_DONE;
}

Datum
credits_apply_plan(PG_FUNCTION_ARGS)
{
	Bulk bulk = {.function = "credits_apply_plan()",
				 .kind = "apply_plan",
				 .reads_own_tables = true,
				 .row_kind = CR_KIND_SET_PLAN,
				 .decide = apply_plan};
	Oid types[2] = {TEXTOID, TIMESTAMPTZOID};
	Datum values[2];
	char *query;

	store_attach(fcinfo);
	writer_check_allowed(bulk.function);
	bulk.ctx = arg_name(fcinfo, 0, "plan");
	bulk_check_plan(bulk.ctx);
	bulk.reason = arg_optional_text(fcinfo, 1);
	bulk_arguments(&bulk, fcinfo, 2);
	values[0] = PG_GETARG_DATUM(0);
	values[1] = TimestampTzGetDatum(clock_now());
	query =
		psprintf("SELECT a.user_id FROM ONLY %s.credit_account a"
				 " WHERE a.plan OPERATOR(pg_catalog.=) $1 OR (a.scheduled_plan OPERATOR(pg_catalog.=) $1"
				 " AND a.next_event_at OPERATOR(pg_catalog.<=) $2) ORDER BY a.user_id",
				 quote_identifier(store_schema_name()));
	return bulk_result(fcinfo, bulk_run(&bulk, fcinfo, query, 2, types, values));
}
