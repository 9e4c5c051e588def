/*
 * plan_rules.c
 *		Changing the plan, now or at the next boundary, and changing the anchor or
 *		the time zone of the cycle.
 */
#include "core/private.h"

void
cr_set_facts_plan(CrFacts *facts, const CrPlanVersion *plan)
{
	facts->plan = plan ? plan->plan : NULL;
	facts->plan_version = plan ? plan->version : 0;
}

/*
 * Does the period keep its end with another plan?  A stored end is final, so it
 * moves only if the plan has another cycle, or if the period was open-ended.
 */
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
 * The end that the period has with another plan.  Another cycle stretches it.  An
 * open-ended period is replaced by one that starts now.
 */
CrTime
cr_end_with_plan(const CrAccount *acc, const CrEnv *env, CrTime at, const CrPlanVersion *plan)
{
	const char *zone = acc->facts.time_zone;
	CrLocal anchor = acc->facts.cycle_anchor;

	if (keeps_end(acc, env, plan))
		return acc->next_reset_at;
	if (acc->next_reset_at == CR_NEVER)
		return cr_next_boundary(env, plan->cycle, zone, anchor, at);
	return cr_stretch(env, plan->cycle, zone, anchor, acc->next_reset_at);
}

/* Another plan from now on.  NULL: no plan from now on; the period keeps its end. */
CrVerdict
cr_set_plan(CrAccount *acc, const CrEnv *env, CrTime at, const CrPlanVersion *plan, CrRow *row)
{
	if (!keeps_end(acc, env, plan) && !cr_knows_zone(env, acc->facts.time_zone))
		return CR_ZONE_UNKNOWN;
	return cr_apply_plan(acc, at, plan, cr_end_with_plan(acc, env, at, plan), row);
}

/*
 * The new plan's allowance takes the place of what this period has granted: more
 * is granted now, less is taken as far as it is still there.  So changing plans to
 * and fro never grants twice.
 */
CrVerdict
cr_apply_plan(CrAccount *acc, CrTime at, const CrPlanVersion *plan, CrTime next_reset_at,
			  CrRow *row)
{
	CrAccount after = *acc;
	int64_t change = (plan ? plan->monthly_credits : 0) - acc->facts.period_granted;

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (change <= 0)
	{
		change = -cr_min(-change, acc->balance.monthly);
		after.balance.monthly += change;
	}
	else if (!cr_credit(&after, &after.balance.monthly, &after.owed_monthly, change))
		return CR_OVER_CAP;
	after.facts.period_granted += change;
	cr_set_facts_plan(&after.facts, plan);
	after.facts.scheduled_plan = NULL;
	if (acc->next_reset_at == CR_NEVER && next_reset_at != CR_NEVER)
		after.period_start = at;
	after.next_reset_at = next_reset_at;
	return cr_record(row, CR_KIND_SET_PLAN, at, change, acc, &after);
}

/*
 * Another anchor or time zone.  The period is stretched to the first new boundary
 * at or after its end, so that no period gets two allowances.  The period of a
 * cancelled plan is stretched by the anchor, so that the next plan, whichever it
 * is, starts at a boundary of one of the cycles.
 *
 * If only the zone changes, and the server does not know the old one any more, the
 * period keeps its end: the new zone is another name for the old one, which the end
 * was worked out with.
 */
CrVerdict
cr_set_cycle(CrAccount *acc, const CrEnv *env, CrTime at, CrLocal anchor, const char *zone,
			 CrRow *row)
{
	const CrPlanVersion *plan = acc->facts.plan
		? env->plan_version(env->ctx, acc->facts.plan, acc->facts.plan_version)
		: NULL;
	CrTime end = acc->next_reset_at;
	bool moves = anchor != acc->facts.cycle_anchor ||
		(!cr_text_equal(zone, acc->facts.time_zone) &&
		 cr_knows_zone(env, acc->facts.time_zone));

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
	CrAccount after = *acc;

	after.facts.cycle_anchor = anchor;
	after.facts.time_zone = zone;
	after.next_reset_at = next_reset_at;
	return cr_record(row, CR_KIND_SET_CYCLE, at, 0, acc, &after);
}

/*
 * Another plan from the next boundary on.  NULL: no plan from then on.  Scheduling
 * the plan that the account has takes back what was scheduled.
 */
CrVerdict
cr_schedule_plan(CrAccount *acc, CrTime at, const char *plan, CrRow *row)
{
	CrAccount after = *acc;

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (acc->next_reset_at == CR_NEVER)
		return CR_NO_PERIOD;
	if (cr_text_equal(plan, acc->facts.plan))
		after.facts.scheduled_plan = NULL;
	else
		after.facts.scheduled_plan = plan ? plan : "";
	return cr_record(row, CR_KIND_SCHEDULE_PLAN, at, 0, acc, &after);
}
