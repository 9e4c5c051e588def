/*
 * account_rules.c
 *		Opening, freezing, closing an account, its overdraft limit and its clock.
 *
 * Every function works on a copy of the account and stores it only when nothing refuses, so a
 * verdict other than CR_OK leaves the account and the row as they were.  Amounts were
 * checked to lie within the cap, and an account's balances and holds never
 * pass it together, so that no sum here can overflow.
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
cr_open(CrAccount *acc, const CrEnv *env, CrTime at, const CrPlanVersion *plan,
		CrLocal anchor, const char *zone, CrRow *row)
{
	CrTime		end = CR_NEVER;

	if (plan)
		end = cr_next_boundary(env, plan->cycle, zone, anchor, at);
	return cr_apply_open(acc, at, plan, anchor, zone, end, row);
}

/*
 * Opens an account and grants the plan's first allowance; also an account that
 * a purchase opened without a plan.
 */
CrVerdict
cr_apply_open(CrAccount *acc, CrTime at, const CrPlanVersion *plan, CrLocal anchor,
			  const char *zone, CrTime next_reset_at, CrRow *row)
{
	CrAccount	after = *acc;
	int64_t		allowance = plan ? plan->monthly_credits : 0;

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

	cr_row_init(row, CR_KIND_OPEN, at, allowance);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}

CrVerdict
cr_set_overdraft(CrAccount *acc, CrTime at, int64_t limit, CrRow *row)
{
	CrAccount	after = *acc;

	after.facts.overdraft_limit = limit;
	cr_row_init(row, CR_KIND_SET_OVERDRAFT, at, 0);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}

CrVerdict
cr_set_status(CrAccount *acc, CrTime at, CrStatus status, CrRow *row)
{
	CrAccount	after = *acc;

	if (acc->facts.status == CR_CLOSED && status == CR_FROZEN)
		return CR_IS_CLOSED;
	after.facts.status = status;
	cr_row_init(row, status == CR_FROZEN ? CR_KIND_FREEZE : CR_KIND_UNFREEZE, at, 0);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}

/*
 * Takes the account's time back to the clock.  The period and its end stay, so
 * nothing that was granted ahead of time is granted again.
 */
CrVerdict
cr_repair_clock(CrAccount *acc, CrTime at, CrRow *row)
{
	CrAccount	after = *acc;

	if (at >= acc->effective_at)
		return CR_NOT_AHEAD;
	cr_row_init(row, CR_KIND_CLOCK_REPAIR, at, 0);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}

/*
 * All that is left goes, and the plan.  The period keeps its end and remembers
 * what it granted and was spent of it, so that coming back never grants twice.
 */
CrVerdict
cr_close(CrAccount *acc, CrTime at, CrRow *row)
{
	CrAccount	after = *acc;
	int64_t		unspent = acc->balance.monthly < acc->facts.period_granted ?
		acc->balance.monthly : acc->facts.period_granted;

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (cr_held(acc) > 0)
		return CR_HAS_HOLDS;
	cr_parts_begin(acc->lots);
	cr_burn(&after, acc->balance.granted);
	for (int i = 0; i < acc->lots->n_grants; i++)
	{
		CrGrant    *grant = &acc->lots->grants[i];

		if (grant->closed || grant->ends_at <= at)
			continue;
		grant->closed = grant->changed = true;
	}
	after.balance.monthly = after.balance.purchased = 0;
	after.facts.period_granted -= unspent;
	after.facts.plan = after.facts.scheduled_plan = NULL;
	after.facts.plan_version = 0;
	after.facts.status = CR_CLOSED;

	cr_row_init(row, CR_KIND_CLOSE, at, cr_available(acc));
	row->expired = acc->balance.monthly + acc->balance.granted;
	row->forfeited = acc->balance.purchased;
	cr_parts_to_row(acc->lots, row);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}

/*
 * The rows up to one have gone to the archive.  Nothing about the account changes;
 * the row is where its chain holds the digest of the checkpoint that they left.
 */
void
cr_archive(CrAccount *acc, CrTime at, int64_t upto, CrRow *row)
{
	CrAccount	after = *acc;

	cr_row_init(row, CR_KIND_ARCHIVE, at, 0);
	row->has_ref_seq = true;
	row->ref_seq = upto;
	cr_row_finish(row, acc, &after);
	*acc = after;
}
