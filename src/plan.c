/*
 * plan.c
 *		Defining plans, and giving accounts another one.
 */
#include "postgres.h"

#include "fmgr.h"
#include "access/xact.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "audit.h"
#include "errors.h"
#include "ledger.h"
#include "locks.h"
#include "plan.h"
#include "receipt.h"
#include "settings.h"
#include "store.h"
#include "utc.h"
#include "writer.h"

PG_FUNCTION_INFO_V1(credits_define_plan);
PG_FUNCTION_INFO_V1(credits_set_plan);

static void
insert_version(const CrPlanVersion *plan)
{
	Writer	   *writer;
	Datum	   *values;

	writer = writer_begin(TABLE_PLAN, CurrentMemoryContext);
	writer_clear(writer);
	memset(writer->slot->tts_isnull, 0, sizeof(bool) * PLAN_NATTS);
	values = writer->slot->tts_values;
	values[PLAN_VERSION - 1] = Int32GetDatum(plan->version);
	values[PLAN_EFFECTIVE_FROM - 1] = TimestampTzGetDatum(plan->effective_from);
	values[PLAN_MONTHLY_CREDITS - 1] = Int64GetDatum(plan->monthly_credits);
	values[PLAN_ROLLOVER_LIMIT - 1] = Int64GetDatum(plan->rollover_limit);
	values[PLAN_LOW_BALANCE_THRESHOLD - 1] = Int64GetDatum(plan->low_balance_threshold);
	values[PLAN_CREATED_AT - 1] = TimestampTzGetDatum(plan->created_at);
	values[PLAN_PLAN - 1] = CStringGetTextDatum(plan->plan);
	values[PLAN_CYCLE - 1] = CStringGetTextDatum(cr_cycle_name(plan->cycle));
	writer_insert(writer);
	writer_end(writer);
}

static void
put_facts(Object *object, const CrPlanVersion *plan)
{
	object_text(object, "plan", plan->plan);
	object_int(object, "version", plan->version);
	object_time(object, "created_at", plan->created_at);
	object_time(object, "effective_from", plan->effective_from);
	object_int(object, "monthly_credits", plan->monthly_credits);
	object_text(object, "cycle", cr_cycle_name(plan->cycle));
	object_int(object, "rollover_limit", plan->rollover_limit);
	object_int(object, "low_balance_threshold", plan->low_balance_threshold);
}

/* A version as the audit log has it; verification looks for it there. */
Datum
plan_facts(const CrPlanVersion *plan)
{
	Object		object;

	object_begin(&object);
	put_facts(&object, plan);
	return object_end(&object);
}

static Datum
plan_receipt(const CrPlanVersion *plan, bool replayed)
{
	Object		object;

	object_begin(&object);
	object_bool(&object, "ok", true);
	object_bool(&object, "replayed", replayed);
	put_facts(&object, plan);
	return object_end(&object);
}

/*
 * effective_from strictly increases and, for a plan that accounts can have, is
 * after the time that is read under the plan's exclusive lock, held to commit:
 * so no boundary that was applied under the shared lock is ever given another
 * version afterwards.
 */
static void
choose_effective_from(CrPlanVersion *plan, const CrPlanVersion *newest, CrTime now,
					  FunctionCallInfo fcinfo, int arg)
{
	char		text[UTC_TEXT_SIZE];

	plan->effective_from = PG_ARGISNULL(arg) ? now : PG_GETARG_TIMESTAMPTZ(arg);
	if (!utc_is_ordinary(plan->effective_from))
		error_bad_value("effective_from", "out of range", "a time in the years 1 to 9999");
	if (plan->effective_from < now)
		error_bad_value("effective_from", utc_text(plan->effective_from, text),
						"a time that is not in the past");
	if (newest && plan->effective_from == now)
		plan->effective_from++; /* a boundary at this instant may be applied already */
	if (newest && plan->effective_from <= newest->effective_from)
		error_bad_value("effective_from", utc_text(plan->effective_from, text),
						"a time after the newest version's");
}

/*
 * Whoever opens accounts or applies resets of the plan has it locked, shared, to the
 * end of their transaction.  Queueing for it, we would have everybody behind us who
 * comes after them; and with it, we must not wait for the audit log.
 */
static void
lock_plan(const char *plan)
{
	TimestampTz deadline = lock_deadline();

	LockRelationOid(store_table(TABLE_PLAN), RowExclusiveLock);
	for (;;)
	{
		bool		has_plan = try_lock_name(LOCK_PLAN, plan, ExclusiveLock);

		if (has_plan && audit_try_lock())
			return;
		if (has_plan)
			unlock_name(LOCK_PLAN, plan, ExclusiveLock);
		if (lock_pause(deadline))
			continue;
		if (has_plan)
			audit_error_in_use();
		error_in_use("plan", plan, lock_name_holders(LOCK_PLAN, plan));
	}
}

Datum
credits_define_plan(PG_FUNCTION_ARGS)
{
	CrPlanVersion plan = {0};
	const CrPlanVersion *newest;
	Plans		plans;
	CrTime		now;
	char	   *cycle;
	Datum		result;

	store_attach(fcinfo);
	plan.plan = arg_name(fcinfo, 0, "plan");
	if (PG_ARGISNULL(1))
		error_null("monthly_credits");
	plan.monthly_credits = arg_optional_credits(fcinfo, 1, "monthly_credits", 0);
	cycle = arg_optional_name(fcinfo, 2, "cycle");
	if (cycle && !cr_cycle_parse(cycle, &plan.cycle))
		error_bad_value("cycle", cycle, "calendar or anniversary");

	writer_check_allowed("credits_define_plan()");
	CommandCounterIncrement();
	lock_plan(plan.plan);
	now = clock_now();
	plans_init(&plans, NULL);
	newest = plans_newest(&plans, plan.plan);
	if (cycle == NULL && newest)
		plan.cycle = newest->cycle;
	plan.rollover_limit = arg_optional_credits(fcinfo, 3, "rollover_limit",
											   newest ? newest->rollover_limit : 0);
	plan.low_balance_threshold =
		arg_optional_credits(fcinfo, 4, "low_balance_threshold",
							 newest ? newest->low_balance_threshold : 0);
	if (newest && plan.monthly_credits == newest->monthly_credits &&
		plan.cycle == newest->cycle && plan.rollover_limit == newest->rollover_limit &&
		plan.low_balance_threshold == newest->low_balance_threshold &&
		(PG_ARGISNULL(5) || PG_GETARG_TIMESTAMPTZ(5) == newest->effective_from))
		return plan_receipt(newest, true);

	choose_effective_from(&plan, newest, now, fcinfo, 5);
	plan.version = newest ? newest->version + 1 : 1;
	plan.created_at = now;
	insert_version(&plan);
	result = plan_receipt(&plan, false);
	audit_append("define_plan", plan.plan,
				 newest ? plan_facts(newest) : (Datum) 0, plan_facts(&plan));
	return result;
}

Datum
credits_set_plan(PG_FUNCTION_ARGS)
{
	Request		request;
	Ledger		ledger;
	CrRow		row;
	CrVerdict	verdict;
	const CrPlanVersion *plan = NULL;
	Datum		receipt;
	char	   *name;
	char	   *at;

	request_init(&request, fcinfo, "credits_set_plan()", CR_KIND_SET_PLAN);
	name = arg_optional_name(fcinfo, 1, "plan");
	at = arg_optional_name(fcinfo, 2, "at");
	if (at == NULL)
		at = "now";
	if (strcmp(at, "now") != 0 && strcmp(at, "next_reset") != 0)
		error_bad_value("at", at, "'now' or 'next_reset'");
	request.reason = arg_optional_text(fcinfo, 3);
	request.idempotency_key = arg_optional_name(fcinfo, 4, "idempotency_key");
	request_metadata(&request, fcinfo, 5);
	if (request.idempotency_key)
		request_seal(&request, 0, name, at);

	ledger_begin(&ledger, &request);
	if (!ledger_replay(&ledger, &receipt))
	{
		ledger_apply_due(&ledger);
		if (name)
		{
			plan = plans_in_force(ledger.plans, name, ledger.now);
			if (plan == NULL)
				error_plan_not_found(name);
		}
		verdict = strcmp(at, "now") == 0 ?
			cr_set_plan(&ledger.acc, &ledger.env, ledger.now, plan, &row) :
			cr_schedule_plan(&ledger.acc, ledger.now, name, &row);
		if (verdict != CR_OK)
			error_refused(verdict, &ledger.acc, plan ? plan->monthly_credits : 0);
		receipt = ledger_append(&ledger, &row);
	}
	ledger_end(&ledger);
	return receipt;
}
