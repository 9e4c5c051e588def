/*
 * due.c
 *		What time does to an account: the events that are due.
 *
 * The state at a time depends only on the history and on that time.  Therefore an
 * event, however late it is applied, is applied at its own instant and with the plan
 * version in force at that instant; and reads, calls and bulk runs all use the one
 * function cr_fold_due().  At one instant, holds end first, then grants end, then a
 * scheduled plan change comes, then the period ends.
 *
 * An account without a plan has periods, too.  If it has no monthly credits, a boundary
 * changes nothing but the number and the times of its period.  Such a boundary is silent: it
 * makes no row, and the next row has the number and the times.
 *
 * A boundary needs the account's time zone to work out the end of the next period.
 * If the server does not know the zone, the boundary waits, and so does everything
 * that is due after it.  The account's time stands still just before the boundary,
 * and rows that are written in the meantime have that time.  So rows stay in the
 * order of time, and when the boundary is applied at last, the result is the same
 * as if those calls had been made before it.
 */
#include "core/private.h"

/* A silent boundary is no event, so next_event_at can be later than it. */
bool
cr_is_due(const CrAccount *acc, CrTime upto)
{
	return acc->next_event_at <= upto || acc->next_reset_at <= upto;
}

static void
emit(const CrEnv *env, const CrRow *row)
{
	if (env->emit)
		env->emit(env->ctx, row);
}

/* A grant ends: what is left of it, and is not held, expires. */
void
cr_apply_grant_end(CrAccount *acc, CrGrant *grant, CrRow *row)
{
	CrAccount after = *acc;
	int64_t expired = cr_grant_close(grant);

	after.balance.granted -= expired;
	cr_row_init(row, CR_KIND_GRANT_END, grant->ends_at, expired);
	cr_row_refer(row, grant->seq);
	row->expired = expired;
	(void) cr_row_finish(row, acc, &after);
}

/* The scheduled plan replaces the old one.  NULL: there is no plan from now on. */
void
cr_apply_plan_change(CrAccount *acc, CrTime at, const CrPlanVersion *plan, CrRow *row)
{
	CrAccount after = *acc;

	cr_take_plan(&after, plan);
	after.facts.scheduled_plan = NULL;
	if (plan)
		cr_change_cycle(&after, acc->facts.cycle_anchor, acc->facts.time_zone, plan->cycle);
	(void) cr_record(row, CR_KIND_PLAN_CHANGE, at, 0, acc, &after);
}

/*
 * Begins the period after a boundary.  Held credits neither expire here nor roll over.  The
 * part of the allowance that would take the account past the cap is forfeited.
 */
void
cr_apply_boundary(CrAccount *acc, CrTime at, const CrPlanVersion *plan, CrPeriod period,
				  int32_t skipped, CrRow *row)
{
	CrAccount after = *acc;
	CrFacts *facts = &after.facts;
	int64_t expired = cr_begin_period(&after, at, plan, period.share);
	int64_t allowance = cr_allowance(&after, plan);
	int64_t granted = cr_min(allowance,
							 CR_MAX_CREDITS - cr_available(&after) - cr_held(&after));

	after.balance.monthly += granted;
	facts->period_granted = granted;
	if (plan)
		facts->cycle = plan->cycle;
	after.end_from = (CrEndFrom){0};
	after.next_reset_at = period.end;
	after.period += skipped;
	if (skipped > 0) /* at each of them, the allowance before was left */
	{
		facts->last_left = granted;
		after.last_charged = 0;
	}

	cr_row_init(row, CR_KIND_RESET, at, granted);
	row->expired = expired;
	row->forfeited = allowance - granted;
	row->skipped = skipped;
	(void) cr_row_finish(row, acc, &after);
}

/*
 * The period that begins at a boundary.  If the boundary is one of the cycle that the account
 * has now, it is a full period.  If not, the period lasts to the first boundary of that
 * cycle, and has a share of the full period's length.
 */
static CrPeriod
period_from(const CrAccount *acc, const CrEnv *env, CrCycle cycle, CrTime start)
{
	const CrFacts *facts = &acc->facts;

	if (acc->end_from.differs || cycle != facts->cycle)
		return cr_changed_period(env, cycle, facts->time_zone, facts->cycle_anchor, start);
	return cr_next_period(env, cycle, facts->time_zone, facts->cycle_anchor, start);
}

/* Nothing changes at the end of the period but the period itself. */
static void
pass_boundary(CrAccount *acc, const CrEnv *env)
{
	CrFacts *facts = &acc->facts;
	CrPeriod period = period_from(acc, env, facts->cycle, acc->next_reset_at);

	(void) cr_begin_period(acc, acc->next_reset_at, NULL, period.share);
	acc->end_from = (CrEndFrom){0};
	acc->next_reset_at = period.end;
	acc->is_ahead = true;
}

/*
 * Would applying the next boundary, too, give the same as both one by one, in one row?  plan:
 * the version in force at the boundary that is applied.
 */
static bool
can_skip(const CrAccount *acc, const CrPlanVersion *plan, CrPeriod period,
		 const CrPlanVersion *next)
{
	return next && next->version == plan->version && plan->rollover_limit == 0 &&
		period.share == CR_FULL_SHARE && acc->held.monthly == 0;
}

/*
 * Applies the boundary at next_reset_at.  If later boundaries up to the time are due, too,
 * and only the last one matters, that one is applied, and the row counts those that were
 * skipped.  False if the plan has no version.
 */
static bool
fold_boundary(CrAccount *acc, const CrEnv *env, CrTime upto)
{
	const char *name = acc->facts.plan;
	CrTime at = acc->next_reset_at;
	const CrPlanVersion *plan = name ? env->plan_at(env->ctx, name, at) : NULL;
	CrPeriod period = period_from(acc, env, plan ? plan->cycle : acc->facts.cycle, at);
	int32_t skipped = 0;
	CrRow row;

	if (name && plan == NULL)
		return false;
	while (plan && period.end <= upto &&
		   can_skip(acc, plan, period, env->plan_at(env->ctx, name, period.end)))
	{
		at = period.end;
		period = cr_next_period(env, plan->cycle, acc->facts.time_zone,
								acc->facts.cycle_anchor, at);
		skipped++;
	}
	cr_apply_boundary(acc, at, plan, period, skipped, &row);
	emit(env, &row);
	return true;
}

/* Is the end of the period due, but has to wait because the zone is not known? */
bool
cr_waits_for_zone(const CrAccount *acc, const CrEnv *env, CrTime upto)
{
	return acc->next_reset_at != CR_NEVER && acc->next_reset_at <= upto &&
		!cr_knows_zone(env, acc->facts.time_zone);
}

/* The time at which the account's time stands still while its reset waits. */
CrTime
cr_waiting_time(const CrAccount *acc)
{
	return acc->next_reset_at - 1;
}

/* Ends the period with a row, after the plan change that was scheduled for its end. */
static bool
end_period(CrAccount *acc, const CrEnv *env, CrTime upto)
{
	const char *scheduled = acc->facts.scheduled_plan;
	const CrPlanVersion *plan = NULL;
	CrRow row;

	if (scheduled && scheduled[0] != '\0')
	{
		plan = env->plan_at(env->ctx, scheduled, acc->next_reset_at);
		if (plan == NULL)
			return false;
	}
	if (scheduled)
	{
		cr_apply_plan_change(acc, acc->next_reset_at, plan, &row);
		emit(env, &row);
	}
	return fold_boundary(acc, env, upto);
}

/*
 * Applies every event up to and including a time, in the order of time.  If a
 * boundary has to wait, it applies those before it.  Boundaries before and after the
 * end of a hold or grant are not applied as one.  If it does not return CR_FOLDED or
 * CR_WAITS_FOR_ZONE, the account is no longer of use.
 */
CrFold
cr_fold_due(CrAccount *acc, const CrEnv *env, CrTime upto)
{
	CrRow row;
	CrFold result = CR_FOLDED;
	int periods = 0;

	if (cr_waits_for_zone(acc, env, upto))
	{
		upto = cr_waiting_time(acc);
		result = CR_WAITS_FOR_ZONE;
	}
	for (;;)
	{
		CrHold *hold = cr_next_hold_end(acc);
		CrGrant *grant = cr_next_grant_end(acc);
		CrTime hold_end = hold ? hold->ends_at : CR_NEVER;
		CrTime grant_end = grant ? grant->ends_at : CR_NEVER;
		CrTime other = cr_min(hold_end, grant_end);

		if (other <= upto && other <= acc->next_reset_at)
		{
			if (hold_end <= grant_end)
				cr_apply_hold_end(acc, hold, &row);
			else
				cr_apply_grant_end(acc, grant, &row);
			emit(env, &row);
		}
		else if (acc->next_reset_at == CR_NEVER || acc->next_reset_at > upto)
			break;
		else if (cr_is_silent(acc))
			pass_boundary(acc, env);
		else
		{
			if (++periods > CR_MAX_PERIODS)
				return CR_TOO_MANY_PERIODS;
			if (!end_period(acc, env, other <= upto ? other - 1 : upto))
				return CR_PLAN_MISSING;
		}
	}
	acc->next_event_at = cr_next_event(acc);
	return result;
}
