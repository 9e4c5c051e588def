/*
 * define_plan.c
 *		credits_define_plan: defines a plan, or a new version of it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/utc.h"
#include "ledger/request.h"
#include "store/columns.h"
#include "store/locks.h"
#include "store/relations.h"
#include "store/slots.h"
#include "store/writer.h"
#include "tables/audit_log.h"
#include "tables/plan_versions.h"

PG_FUNCTION_INFO_V1(credits_define_plan);

static void
insert_version(const CrPlanVersion *plan)
{
	Writer *writer = writer_begin(TABLE_PLAN, CurrentMemoryContext);
	TupleTableSlot *slot = writer->slot;

	writer_clear(writer);
	slot_set(slot, PLAN_VERSION, Int32GetDatum(plan->version));
	slot_set_time(slot, PLAN_EFFECTIVE_FROM, plan->effective_from);
	slot_set_int(slot, PLAN_MONTHLY_CREDITS, plan->monthly_credits);
	slot_set_int(slot, PLAN_ROLLOVER_LIMIT, plan->rollover_limit);
	slot_set_int(slot, PLAN_LOW_BALANCE_THRESHOLD, plan->low_balance_threshold);
	slot_set_time(slot, PLAN_CREATED_AT, plan->created_at);
	slot_set_text(slot, PLAN_PLAN, plan->plan);
	slot_set_text(slot, PLAN_CYCLE, cr_cycle_name(plan->cycle));
	writer_insert(writer);
	writer_end(writer);
}

static Datum
plan_receipt(const CrPlanVersion *plan, bool replayed)
{
	Object object;

	object_begin(&object);
	object_bool(&object, "ok", true);
	object_bool(&object, "replayed", replayed);
	plan_put_facts(&object, plan);
	return object_end(&object);
}

/*
 * effective_from must be later than that of the version before.  If accounts can have the
 * plan, it must also be later than the time that was read under the plan's exclusive
 * lock.  That lock is held to commit, and a boundary is applied under the shared lock.
 * So no boundary that was applied ever gets another version afterwards.
 */
static void
choose_effective_from(CrPlanVersion *plan, const CrPlanVersion *newest, CrTime now,
					  FunctionCallInfo fcinfo, int arg)
{
	char text[UTC_TEXT_SIZE];

	plan->effective_from = PG_ARGISNULL(arg) ? now : PG_GETARG_TIMESTAMPTZ(arg);
	(void) check_time(plan->effective_from, "effective_from");
	if (plan->effective_from < now)
		error_bad_value("effective_from", utc_text(plan->effective_from, text),
						"a time that is not in the past");
	if (newest && plan->effective_from == now)
		plan->effective_from++; /* a boundary at exactly this time may have been applied */
	if (newest && plan->effective_from <= newest->effective_from)
		error_bad_value("effective_from", utc_text(plan->effective_from, text),
						"a time after the newest version's");
}

/*
 * Locks the plan.  Transactions that open accounts or apply resets have the plan locked,
 * shared, to their end.  If this call queued for the exclusive lock, all later
 * transactions that need the plan would queue behind it.  And while it holds the
 * exclusive lock, it must not wait for the audit log.
 */
static void
lock_plan(const char *plan)
{
	TimestampTz deadline = lock_deadline();

	LockRelationOid(store_table(TABLE_PLAN), RowExclusiveLock);
	for (;;)
	{
		bool has_plan = try_lock_name(LOCK_PLAN, plan, ExclusiveLock);

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
	Plans plans;
	CrTime now;
	char *cycle;
	Datum result;

	store_attach(fcinfo);
	plan.plan = arg_name(fcinfo, 0, "plan");
	if (PG_ARGISNULL(1))
		error_null("monthly_credits");
	plan.monthly_credits = arg_optional_credits(fcinfo, 1, "monthly_credits", 0);
	cycle = arg_optional_name(fcinfo, 2, "cycle");
	if (cycle && !cr_cycle_parse(cycle, &plan.cycle))
		error_bad_value("cycle", cycle, cr_cycle_choices);

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
	plan.low_balance_threshold = arg_optional_credits(fcinfo, 4, "low_balance_threshold",
													  newest ? newest->low_balance_threshold
															 : 0);
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
	audit_append("define_plan", plan.plan, newest ? plan_facts(newest) : (Datum) 0,
				 plan_facts(&plan));
	return result;
}
