/*
 * account_rules.c
 *		Opening, freezing and closing an account, its overdraft limit and its clock.
 */
#include <string.h>

#include "core/private.h"

/* An account that has no row yet. */
void
cr_account_init(CrAccount *acc, const char *user_id)
{
	memset(acc, 0, sizeof(*acc));
	acc->user_id = user_id;
	acc->facts.time_zone = "UTC";
	acc->facts.status = CR_ACTIVE;
	acc->period_start = INT64_MIN;
	acc->effective_at = INT64_MIN;
	acc->next_reset_at = CR_NEVER;
	acc->next_event_at = CR_NEVER;
}

CrVerdict
cr_open(CrAccount *acc, const CrEnv *env, CrTime at, const CrPlanVersion *plan, CrLocal anchor,
		const char *zone, CrRow *row)
{
	CrTime end = CR_NEVER;

	if (plan)
		end = cr_next_boundary(env, plan->cycle, zone, anchor, at);
	return cr_apply_open(acc, at, plan, anchor, zone, end, row);
}

/*
 * Opens an account and grants the plan's first allowance.  The account may be one
 * that a purchase opened without a plan.
 */
CrVerdict
cr_apply_open(CrAccount *acc, CrTime at, const CrPlanVersion *plan, CrLocal anchor,
			  const char *zone, CrTime next_reset_at, CrRow *row)
{
	CrAccount after = *acc;
	int64_t allowance = plan ? plan->monthly_credits : 0;

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (!cr_credit(&after, &after.balance.monthly, &after.owed_monthly, allowance))
		return CR_OVER_CAP;
	cr_set_facts_plan(&after.facts, plan);
	after.facts.scheduled_plan = NULL;
	after.facts.cycle_anchor = anchor;
	after.facts.time_zone = zone;
	after.facts.period_granted = allowance;
	after.period_start = at;
	after.next_reset_at = next_reset_at;
	return cr_record(row, CR_KIND_OPEN, at, allowance, acc, &after);
}

CrVerdict
cr_set_overdraft(CrAccount *acc, CrTime at, int64_t limit, CrRow *row)
{
	CrAccount after = *acc;

	after.facts.overdraft_limit = limit;
	return cr_record(row, CR_KIND_SET_OVERDRAFT, at, 0, acc, &after);
}

/* Freezes the account, or makes it active again, also if it was closed. */
CrVerdict
cr_set_status(CrAccount *acc, CrTime at, CrStatus status, CrRow *row)
{
	CrAccount after = *acc;

	if (acc->facts.status == CR_CLOSED && status == CR_FROZEN)
		return CR_IS_CLOSED;
	after.facts.status = status;
	return cr_record(row, status == CR_FROZEN ? CR_KIND_FREEZE : CR_KIND_UNFREEZE, at, 0, acc,
					 &after);
}

/*
 * Sets the account's time back to the clock.  The period and its end stay, so that
 * nothing that was granted too early is granted again.
 */
CrVerdict
cr_repair_clock(CrAccount *acc, CrTime at, CrRow *row)
{
	CrAccount after = *acc;

	if (at >= acc->effective_at)
		return CR_NOT_AHEAD;
	return cr_record(row, CR_KIND_CLOCK_REPAIR, at, 0, acc, &after);
}

/*
 * Closes the account: the plan and all credits go.  The period keeps its end and
 * remembers how much of what it granted was spent, so that an account that is
 * opened again gets only the rest.
 */
CrVerdict
cr_close(CrAccount *acc, CrTime at, CrRow *row)
{
	CrAccount after = *acc;

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (cr_held(acc) > 0)
		return CR_HAS_HOLDS;
	cr_parts_begin(acc->lots);
	cr_burn(&after, acc->balance.granted);
	for (int i = 0; i < acc->lots->n_grants; i++)
	{
		CrGrant *grant = &acc->lots->grants[i];

		if (grant->closed || grant->ends_at <= at)
			continue;
		(void) cr_grant_close(grant);
	}
	after.balance.monthly = after.balance.purchased = 0;
	after.facts.period_granted -= cr_min(acc->balance.monthly, acc->facts.period_granted);
	cr_set_facts_plan(&after.facts, NULL);
	after.facts.scheduled_plan = NULL;
	after.facts.status = CR_CLOSED;

	cr_row_init(row, CR_KIND_CLOSE, at, cr_available(acc));
	row->expired = acc->balance.monthly + acc->balance.granted;
	row->forfeited = acc->balance.purchased;
	cr_parts_to_row(acc->lots, row);
	return cr_row_finish(row, acc, &after);
}

/*
 * The rows up to one have moved to the archive and left a checkpoint.  Nothing about
 * the account changes.  The row puts the checkpoint's digest into the chain.
 */
void
cr_archive(CrAccount *acc, CrTime at, int64_t upto, CrRow *row)
{
	CrAccount after = *acc;

	cr_row_init(row, CR_KIND_ARCHIVE, at, 0);
	cr_row_refer(row, upto);
	(void) cr_row_finish(row, acc, &after);
}
