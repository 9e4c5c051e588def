/*
 * due.c
 *		What time does to an account: the events that are due.
 *
 * State at a time depends on history and that time alone.  So every event is
 * applied at its own instant with the plan then in force, however late, and
 * reads, calls and the sweep all use this one function.  At one instant holds
 * end first, then grants, then a scheduled plan change comes, then the boundary.
 *
 * A boundary needs the account's time zone, for the end of the next period.  If
 * the zone is not known, the boundary waits, and so does all that is due after
 * it: the account's time stands still just before the boundary.  Rows that are
 * written meanwhile are of that moment.  So the order of rows is the order of
 * time also when the boundary is applied in the end, and it gives the same as if
 * those calls had come in time.
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

/* What is left of a grant and not held is gone. */
void
cr_apply_grant_end(CrAccount *acc, CrGrant *grant, CrRow *row)
{
	CrAccount	after = *acc;

	after.balance.granted -= grant->left;
	cr_row_init(row, CR_KIND_GRANT_END, grant->ends_at, grant->left);
	row->has_ref_seq = true;
	row->ref_seq = grant->seq;
	row->expired = grant->left;
	grant->left = 0;
	grant->closed = true;
	grant->changed = true;
	cr_row_finish(row, acc, &after);
	*acc = after;
}

/* The scheduled plan takes the place of the old one; NULL: cancelled. */
void
cr_apply_plan_change(CrAccount *acc, CrTime at, const CrPlanVersion *plan, CrRow *row)
{
	CrAccount	after = *acc;

	after.facts.plan = plan ? plan->plan : NULL;
	after.facts.plan_version = plan ? plan->version : 0;
	after.facts.scheduled_plan = NULL;
	cr_row_init(row, CR_KIND_PLAN_CHANGE, at, 0);
	cr_row_finish(row, acc, &after);
	*acc = after;
}

/*
 * A period ends and the next begins: what is left beyond the rollover limit
 * expires, the allowance is granted, what the monthly bucket owes lapses.
 * Held credits are neither leftover nor allowance.  What would pass the
 * account's cap is not granted but recorded as forfeited.
 */
void
cr_apply_boundary(CrAccount *acc, CrTime at, const CrPlanVersion *plan,
				  CrTime next_reset_at, int32_t skipped, CrRow *row)
{
	CrAccount	after = *acc;
	int64_t		allowance = plan ? plan->monthly_credits : 0;
	int64_t		rollover = plan ? plan->rollover_limit : 0;
	int64_t		left = acc->balance.monthly;
	int64_t		kept = left < rollover ? left : rollover;
	int64_t		room;
	int64_t		granted;

	after.balance.monthly = kept;
	room = CR_MAX_CREDITS - cr_available(&after) - cr_held(&after);
	granted = allowance < room ? allowance : room;
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
	cr_row_finish(row, acc, &after);
	*acc = after;
}

/*
 * The boundary at next_reset_at, and with it all later ones up to a time that
 * give the same when the ones before them are left out: without rollover only
 * the last of them leaves a trace.
 */
static bool
fold_boundary(CrAccount *acc, const CrEnv *env, CrTime upto, const CrPlanVersion *before)
{
	const char *zone = acc->facts.time_zone;
	CrLocal		anchor = acc->facts.cycle_anchor;
	CrTime		at = acc->next_reset_at;
	CrTime		end = CR_NEVER;
	const CrPlanVersion *plan = NULL;
	int32_t		skipped = 0;
	CrRow		row;

	if (acc->facts.plan)
	{
		plan = env->plan_at(env->ctx, acc->facts.plan, at);
		if (plan == NULL)
			return false;
		end = before ?
			cr_period_end(env, before->cycle, plan->cycle, zone, anchor, at) :
			cr_first_period_end(env, plan->cycle, zone, anchor, at);
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
 * Is the end of the period due, and waits for the account's time zone?  Without
 * a plan the next period has no end, so nothing waits.
 */
bool
cr_waits_for_zone(const CrAccount *acc, const CrEnv *env, CrTime upto)
{
	const char *next = acc->facts.scheduled_plan ? acc->facts.scheduled_plan : acc->facts.plan;

	return acc->next_reset_at != CR_NEVER && acc->next_reset_at <= upto &&
		next && next[0] != '\0' && !cr_knows_zone(env, acc->facts.time_zone);
}

/* Where the account's time stands while its reset waits. */
CrTime
cr_waiting_time(const CrAccount *acc)
{
	return acc->next_reset_at - 1;
}

/* The end of the period, with the plan change that was scheduled for it. */
static bool
end_period(CrAccount *acc, const CrEnv *env, CrTime upto)
{
	const CrPlanVersion *before = NULL;
	const CrPlanVersion *plan = NULL;
	CrRow		row;

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
 * Applies, in time order, every event up to and including a time, or up to a
 * boundary that waits.  Boundaries are not put together across the end of a hold
 * or grant.
 */
CrFold
cr_fold_due(CrAccount *acc, const CrEnv *env, CrTime upto)
{
	CrRow		row;
	CrFold		result = CR_FOLDED;

	if (cr_waits_for_zone(acc, env, upto))
	{
		upto = cr_waiting_time(acc);
		result = CR_WAITS_FOR_ZONE;
	}
	for (;;)
	{
		CrHold	   *hold = cr_next_hold_end(acc);
		CrGrant    *grant = cr_next_grant_end(acc);
		CrTime		hold_end = hold ? hold->ends_at : CR_NEVER;
		CrTime		grant_end = grant ? grant->ends_at : CR_NEVER;
		CrTime		other = hold_end < grant_end ? hold_end : grant_end;

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
