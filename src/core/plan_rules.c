/*
 * plan_rules.c
 *		Changing the plan, now or at the next boundary; a new period now; and the anchor
 *		and the time zone of the cycle.
 *
 * The running period is never changed.  Its number, its start, its end and its share stay,
 * whatever plan, cycle, anchor or zone the account gets.  Its allowance is the plan's
 * credits times its share, so changing to and fro never grants twice.  due.c works out the
 * next period from what is in force at the boundary.  Only a restart, which is paid for,
 * begins a new period.
 */
#include "core/private.h"

/* Another version of the account's plan.  NULL: it has no plan. */
void
cr_take_version(CrAccount *acc, const CrPlanVersion *plan)
{
	acc->facts.plan_version = plan ? plan->version : 0;
	acc->plan_threshold = plan ? plan->low_balance_threshold : 0;
}

/* Another plan.  NULL: none. */
void
cr_take_plan(CrAccount *acc, const CrPlanVersion *plan)
{
	acc->facts.plan = plan ? plan->plan : NULL;
	cr_take_version(acc, plan);
}

/*
 * Another anchor, zone or cycle.  The account remembers from which ones the end of its
 * period was worked out, until they are the same again.
 */
void
cr_change_cycle(CrAccount *acc, CrLocal anchor, const char *zone, CrCycle cycle)
{
	CrFacts *facts = &acc->facts;
	CrEndFrom *from = &acc->end_from;

	if (facts->cycle != CR_NO_CYCLE && !from->differs)
		*from = (CrEndFrom){true, facts->cycle_anchor, facts->time_zone, facts->cycle};
	facts->cycle_anchor = anchor;
	facts->time_zone = zone;
	facts->cycle = cycle;
	if (from->differs && from->anchor == anchor && cr_text_equal(from->zone, zone) &&
		from->cycle == cycle)
		*from = (CrEndFrom){0};
}

/* What a version of a plan gives in the account's period.  NULL: no plan. */
int64_t
cr_allowance(const CrAccount *acc, const CrPlanVersion *plan)
{
	return plan ? cr_share_of(plan->monthly_credits, acc->facts.period_share) : 0;
}

/*
 * Makes this the number of credits that the plan has granted in the period.  The difference
 * is given or taken.  The bucket owes what it does not have: then it does not matter whether
 * credits that are held or spent come back before the change or after it.
 */
bool
cr_change_granted(CrAccount *acc, int64_t granted)
{
	int64_t change = granted - acc->facts.period_granted;

	acc->facts.period_granted = granted;
	if (change < 0)
		return cr_take_or_owe(&acc->balance.monthly, &acc->owed_monthly, -change);
	return cr_credit(acc, &acc->balance.monthly, &acc->owed_monthly, change);
}

/* An account that never had a plan has an open-ended period.  Its first plan ends it. */
static bool
is_first_plan(const CrAccount *acc, const CrPlanVersion *plan)
{
	return plan && acc->facts.cycle == CR_NO_CYCLE;
}

/* Another plan from now on.  NULL: no plan from now on. */
CrVerdict
cr_set_plan(CrAccount *acc, const CrEnv *env, CrTime at, const CrPlanVersion *plan, CrRow *row)
{
	CrTime end = acc->next_reset_at;

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (is_first_plan(acc, plan))
	{
		if (!cr_knows_zone(env, acc->facts.time_zone))
			return CR_ZONE_UNKNOWN;
		end = cr_next_boundary(env, plan->cycle, acc->facts.time_zone, acc->facts.cycle_anchor,
							   at);
	}
	return cr_apply_plan(acc, at, plan, end, row);
}

/* next_reset_at: the end of the period; another than before only for the first plan. */
CrVerdict
cr_apply_plan(CrAccount *acc, CrTime at, const CrPlanVersion *plan, CrTime next_reset_at,
			  CrRow *row)
{
	CrAccount after = *acc;
	CrFacts *facts = &after.facts;
	int64_t allowance = cr_allowance(acc, plan);

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (plan && !is_first_plan(acc, plan) && !cr_same_length(plan->cycle, facts->cycle))
		return CR_OTHER_LENGTH;
	if (!cr_change_granted(&after, allowance))
		return CR_OVER_CAP;
	cr_take_plan(&after, plan);
	facts->scheduled_plan = NULL;
	facts->last_undone = false; /* what it gave back is part of the allowance now */
	if (plan)
		cr_change_cycle(&after, facts->cycle_anchor, facts->time_zone, plan->cycle);
	after.next_reset_at = next_reset_at;
	return cr_record(row, CR_KIND_SET_PLAN, at, allowance - acc->facts.period_granted, acc,
					 &after);
}

/*
 * Ends the period and begins the next one, in which the plan grants so much: what is left
 * beyond the rollover limit expires, and what the monthly bucket owes lapses.  Returns how
 * much expires.
 */
int64_t
cr_begin_period(CrAccount *acc, CrTime at, const CrPlanVersion *plan, int32_t share)
{
	CrFacts *facts = &acc->facts;
	int64_t before = acc->balance.monthly;

	facts->last_left = before - acc->owed_monthly;
	facts->last_limit = plan ? plan->rollover_limit : 0;
	facts->last_undone = false;
	facts->period_start = at;
	facts->period_share = share;
	facts->period_granted = 0;
	cr_take_version(acc, plan);
	acc->period++;
	acc->owed_monthly = 0;
	acc->last_charged = acc->charged_monthly;
	acc->last_closed_seq = acc->closed_seq;
	acc->charged_monthly = 0;
	acc->balance.monthly = cr_carried(facts->last_left, facts->last_limit);
	return before - acc->balance.monthly;
}

/*
 * A new period from now on, with the plan's full allowance.  It lasts one full period of the
 * plan's cycle.  The anchor moves to now, unless keep_anchor is set.
 */
CrVerdict
cr_restart(CrAccount *acc, const CrEnv *env, CrTime at, const CrPlanVersion *plan,
		   bool keep_anchor, CrRow *row)
{
	CrLocal anchor = acc->facts.cycle_anchor;
	CrLocal now;
	CrTime end;

	if (!cr_knows_zone(env, acc->facts.time_zone))
		return CR_ZONE_UNKNOWN;
	end = cr_restart_end(env, plan->cycle, acc->facts.time_zone, at, &now);
	return cr_apply_restart(acc, at, plan, keep_anchor ? anchor : now, end, row);
}

/*
 * If the boundaries are not counted from now on, the period's end is no boundary of the
 * cycle.  The period after it then lasts to the first one.
 */
CrVerdict
cr_apply_restart(CrAccount *acc, CrTime at, const CrPlanVersion *plan, CrLocal anchor,
				 CrTime next_reset_at, CrRow *row)
{
	CrAccount after = *acc;
	CrFacts *facts = &after.facts;
	int64_t expired;

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	expired = cr_begin_period(&after, at, plan, CR_FULL_SHARE);
	if (!cr_change_granted(&after, plan->monthly_credits))
		return CR_OVER_CAP;
	cr_take_plan(&after, plan);
	facts->scheduled_plan = NULL;
	after.end_from = (CrEndFrom){0};
	if (!cr_cycle_has_anchor(plan->cycle) || anchor == facts->cycle_anchor)
		after.end_from = (CrEndFrom){true, anchor, "", plan->cycle};
	facts->cycle_anchor = anchor;
	facts->cycle = plan->cycle;
	after.next_reset_at = next_reset_at;

	cr_row_init(row, CR_KIND_RESTART, at, plan->monthly_credits);
	row->expired = expired;
	return cr_row_finish(row, acc, &after);
}

/*
 * Another anchor or time zone, for the periods after the running one.  The zone must be
 * known, because the next boundary will need it.
 */
CrVerdict
cr_set_cycle(CrAccount *acc, const CrEnv *env, CrTime at, CrLocal anchor, const char *zone,
			 CrRow *row)
{
	if (!cr_text_equal(zone, acc->facts.time_zone) && !cr_knows_zone(env, zone))
		return CR_ZONE_UNKNOWN;
	return cr_apply_cycle(acc, at, anchor, zone, row);
}

CrVerdict
cr_apply_cycle(CrAccount *acc, CrTime at, CrLocal anchor, const char *zone, CrRow *row)
{
	CrAccount after = *acc;

	cr_change_cycle(&after, anchor, zone, acc->facts.cycle);
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
