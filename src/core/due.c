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
 * A boundary needs the account's time zone to work out the end of the next period.
 * If the server does not know the zone, the boundary waits, and so does everything
 * that is due after it.  The account's time stands still just before the boundary,
 * and rows that are written in the meantime have that time.  So rows stay in the
 * order of time, and when the boundary is applied at last, the result is the same
 * as if those calls had been made before it.
 */
#include "core/private.h"

bool
cr_is_due(const CrAccount *acc, CrTime upto)
{
	return acc->next_event_at <= upto;
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

	cr_set_facts_plan(&after.facts, plan);
	after.facts.scheduled_plan = NULL;
	(void) cr_record(row, CR_KIND_PLAN_CHANGE, at, 0, acc, &after);
}

/*
 * A period ends and the next begins.  What is left beyond the rollover limit
 * expires, what the monthly bucket owes lapses, and the allowance is granted.  Held
 * credits neither expire here nor roll over.  The part of the allowance that would
 * take the account past the cap is forfeited.
 */
void
cr_apply_boundary(CrAccount *acc, CrTime at, const CrPlanVersion *plan, CrTime next_reset_at,
				  int32_t skipped, CrRow *row)
{
	CrAccount after = *acc;
	int64_t allowance = plan ? plan->monthly_credits : 0;
	int64_t rollover = plan ? plan->rollover_limit : 0;
	int64_t left = acc->balance.monthly;
	int64_t kept = cr_min(left, rollover);
	int64_t granted;

	after.balance.monthly = kept;
	granted = cr_min(allowance, CR_MAX_CREDITS - cr_available(&after) - cr_held(&after));
	after.balance.monthly += granted;
	after.owed_monthly = 0;
	after.facts.period_granted = granted;
	after.facts.plan_version = plan ? plan->version : 0;
	after.period_start = at;
	after.next_reset_at = next_reset_at;

	cr_row_init(row, CR_KIND_RESET, at, granted);
	row->expired = left - kept;
	row->forfeited = allowance - granted;
	row->skipped = skipped;
	(void) cr_row_finish(row, acc, &after);
}

/*
 * Applies the boundary at next_reset_at.  If later boundaries up to the time are due
 * too and nothing rolls over at them, only the last one matters: it is applied, and
 * the row counts those that were skipped.  before: the plan version of the period
 * that ends.  False if the plan has no version.
 */
static bool
fold_boundary(CrAccount *acc, const CrEnv *env, CrTime upto, const CrPlanVersion *before)
{
	const char *zone = acc->facts.time_zone;
	CrLocal anchor = acc->facts.cycle_anchor;
	CrTime at = acc->next_reset_at;
	CrTime end = CR_NEVER;
	const CrPlanVersion *plan = NULL;
	int32_t skipped = 0;
	CrRow row;

	if (acc->facts.plan)
	{
		plan = env->plan_at(env->ctx, acc->facts.plan, at);
		if (plan == NULL)
			return false;
		end = before ? cr_period_end(env, before->cycle, plan->cycle, zone, anchor, at)
					 : cr_first_period_end(env, plan->cycle, zone, anchor, at);
		while (end <= upto)
		{
			const CrPlanVersion *next = env->plan_at(env->ctx, acc->facts.plan, end);

			if (next == NULL || next->rollover_limit > 0)
				break;
			at = end;
			end = cr_period_end(env, plan->cycle, next->cycle, zone, anchor, at);
			plan = next;
			skipped++;
		}
	}
	cr_apply_boundary(acc, at, plan, end, skipped, &row);
	emit(env, &row);
	return true;
}

/*
 * Is the end of the period due, but has to wait because the account's time zone is
 * not known?  Without a plan the next period has no end, so it need not wait.
 */
bool
cr_waits_for_zone(const CrAccount *acc, const CrEnv *env, CrTime upto)
{
	const char *next = acc->facts.scheduled_plan ? acc->facts.scheduled_plan : acc->facts.plan;

	return acc->next_reset_at != CR_NEVER && acc->next_reset_at <= upto && next &&
		next[0] != '\0' && !cr_knows_zone(env, acc->facts.time_zone);
}

/* The time at which the account's time stands still while its reset waits. */
CrTime
cr_waiting_time(const CrAccount *acc)
{
	return acc->next_reset_at - 1;
}

/* Ends the period, after the plan change that was scheduled for its end. */
static bool
end_period(CrAccount *acc, const CrEnv *env, CrTime upto)
{
	const CrPlanVersion *before = NULL;
	const CrPlanVersion *plan = NULL;
	CrRow row;

	if (acc->facts.plan)
	{
		before = env->plan_version(env->ctx, acc->facts.plan, acc->facts.plan_version);
		if (before == NULL)
			return false;
	}
	if (acc->facts.scheduled_plan)
	{
		if (acc->facts.scheduled_plan[0] != '\0')
		{
			plan = env->plan_at(env->ctx, acc->facts.scheduled_plan, acc->next_reset_at);
			if (plan == NULL)
				return false;
		}
		cr_apply_plan_change(acc, acc->next_reset_at, plan, &row);
		emit(env, &row);
	}
	return fold_boundary(acc, env, upto, before);
}

/*
 * Applies every event up to and including a time, in the order of time.  If a
 * boundary has to wait, it applies those before it.  Boundaries before and after the
 * end of a hold or grant are not applied as one.
 */
CrFold
cr_fold_due(CrAccount *acc, const CrEnv *env, CrTime upto)
{
	CrRow row;
	CrFold result = CR_FOLDED;

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
		else if (acc->next_reset_at != CR_NEVER && acc->next_reset_at <= upto)
		{
			if (!end_period(acc, env, other <= upto ? other - 1 : upto))
				return CR_PLAN_MISSING;
		}
		else
			break;
	}
	acc->next_event_at = cr_next_event(acc);
	return result;
}
