/*
 * plan_rules.c
 *		Another plan, now or at the next boundary, and another cycle.
 */
#include "core/private.h"

void
cr_set_facts_plan(CrFacts *facts, const CrPlanVersion *plan)
{
	facts->plan = plan ? plan->plan : NULL;
	facts->plan_version = plan ? plan->version : 0;
}

/* Does the period keep its end with another plan?  A stored end is final. */
static bool
keeps_end(const CrAccount *acc, const CrEnv *env, const CrPlanVersion *plan)
{
	const CrPlanVersion *old = NULL;

	if (plan == NULL)
		return true;
	if (acc->next_reset_at == CR_NEVER)
		return false;
	if (acc->facts.plan)
		old = env->plan_version(env->ctx, acc->facts.plan, acc->facts.plan_version);
	return old && old->cycle == plan->cycle;
}

/*
 * The end that a period gets with another plan: only another cycle stretches it;
 * an open-ended period starts anew.
 */
CrTime
cr_end_with_plan(const CrAccount *acc, const CrEnv *env, CrTime at, const CrPlanVersion *plan)
{
	const char *zone = acc->facts.time_zone;
	CrLocal		anchor = acc->facts.cycle_anchor;

	if (keeps_end(acc, env, plan))
		return acc->next_reset_at;
	if (acc->next_reset_at == CR_NEVER)
		return cr_next_boundary(env, plan->cycle, zone, anchor, at);
	return cr_stretch(env, plan->cycle, zone, anchor, acc->next_reset_at);
}

/* Another plan now; NULL cancels, keeping the period to its end. */
CrVerdict
cr_set_plan(CrAccount *acc, const CrEnv *env, CrTime at, const CrPlanVersion *plan,
			CrRow *row)
{
	if (!keeps_end(acc, env, plan) && !cr_knows_zone(env, acc->facts.time_zone))
		return CR_ZONE_UNKNOWN;
	return cr_apply_plan(acc, at, plan, cr_end_with_plan(acc, env, at, plan), row);
}

CrVerdict
cr_apply_plan(CrAccount *acc, CrTime at, const CrPlanVersion *plan,
			  CrTime next_reset_at, CrRow *row)
{
	CrAccount	after = *acc;
	int64_t		change = (plan ? plan->monthly_credits : 0) - acc->facts.period_granted;

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (change > 0)
	{
		if (!cr_credit(&after, &after.balance.monthly, &after.owed_monthly, change))
			return CR_OVER_CAP;
	}
	else
	{
		int64_t		still_wanted = -change;

		cr_take(&after.balance.monthly, &still_wanted);
		change += still_wanted; /* what could be taken */
	}
	after.facts.period_granted += change;
	cr_set_facts_plan(&after.facts, plan);
	after.facts.scheduled_plan = NULL;
	if (acc->next_reset_at == CR_NEVER && next_reset_at != CR_NEVER)
		after.period_start = at;
	after.next_reset_at = next_reset_at;

	cr_row_init(row, CR_KIND_SET_PLAN, at, change);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}

/*
 * Another anchor or time zone.  The period is stretched to the first new boundary
 * at or after its end, so that none gets two allowances.  That of a cancelled plan
 * gets one by the anchor: whichever plan comes next, it starts where a period of
 * one of the cycles does.
 *
 * If only the zone changes, because the old one is not known any more, the period
 * keeps its end: it was made by the old zone, which the new one stands for.
 */
CrVerdict
cr_set_cycle(CrAccount *acc, const CrEnv *env, CrTime at, CrLocal anchor, const char *zone,
			 CrRow *row)
{
	const CrPlanVersion *plan = acc->facts.plan ?
		env->plan_version(env->ctx, acc->facts.plan, acc->facts.plan_version) : NULL;
	CrTime		end = acc->next_reset_at;
	bool		moves = anchor != acc->facts.cycle_anchor ||
		(!cr_text_equal(zone, acc->facts.time_zone) && cr_knows_zone(env, acc->facts.time_zone));

	if (moves && !cr_knows_zone(env, zone))
		return CR_ZONE_UNKNOWN;
	if (moves)
		end = cr_stretch(env, plan ? plan->cycle : CR_ANNIVERSARY, zone, anchor, end);
	return cr_apply_cycle(acc, at, anchor, zone, end, row);
}

CrVerdict
cr_apply_cycle(CrAccount *acc, CrTime at, CrLocal anchor, const char *zone,
			   CrTime next_reset_at, CrRow *row)
{
	CrAccount	after = *acc;

	after.facts.cycle_anchor = anchor;
	after.facts.time_zone = zone;
	after.next_reset_at = next_reset_at;
	cr_row_init(row, CR_KIND_SET_CYCLE, at, 0);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}

/*
 * Another plan from the next boundary on; NULL cancels then.  Scheduling the
 * plan that the account has takes back what was scheduled.
 */
CrVerdict
cr_schedule_plan(CrAccount *acc, CrTime at, const char *plan, CrRow *row)
{
	CrAccount	after = *acc;

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (acc->next_reset_at == CR_NEVER)
		return CR_NO_PERIOD;
	if (cr_text_equal(plan, acc->facts.plan))
		after.facts.scheduled_plan = NULL;
	else
		after.facts.scheduled_plan = plan ? plan : "";

	cr_row_init(row, CR_KIND_SCHEDULE_PLAN, at, 0);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}
