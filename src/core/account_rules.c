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
	acc->facts.period_start = INT64_MIN;
	acc->facts.period_share = CR_FULL_SHARE;
	acc->facts.cycle = CR_NO_CYCLE;
	acc->facts.low_threshold = CR_NO_THRESHOLD;
	acc->level = CR_LEVEL_EMPTY;
	acc->period = 1;
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
 * Opens an account and grants the plan's first allowance.  The account may be one that a
 * purchase opened without a plan.  Then its period goes on, and nothing expires.  Opening
 * it without a plan only sets the anchor and the zone.
 */
CrVerdict
cr_apply_open(CrAccount *acc, CrTime at, const CrPlanVersion *plan, CrLocal anchor,
			  const char *zone, CrTime next_reset_at, CrRow *row)
{
	CrAccount after = *acc;
	int64_t allowance = cr_allowance(acc, plan);

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (!cr_change_granted(&after, allowance))
		return CR_OVER_CAP;
	cr_take_plan(&after, plan);
	cr_change_cycle(&after, anchor, zone, plan ? plan->cycle : CR_NO_CYCLE);
	if (acc->facts.period_start == INT64_MIN)
		after.facts.period_start = at;
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

/* The account's own threshold.  CR_NO_THRESHOLD: its plan's holds again. */
CrVerdict
cr_set_low_threshold(CrAccount *acc, CrTime at, int64_t threshold, CrRow *row)
{
	CrAccount after = *acc;

	after.facts.low_threshold = threshold;
	return cr_record(row, CR_KIND_SET_LOW_THRESHOLD, at, 0, acc, &after);
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
 * Closes the account: the plan and all credits go.  Its periods go on without a plan.  What
 * the plan granted and was spent is remembered as owed, so that an account that is opened
 * again gets only the rest.  The purchased credits that are lost cover later chargebacks.
 * seq: the number that the row will have.
 */
CrVerdict
cr_close(CrAccount *acc, CrTime at, int64_t seq, CrRow *row)
{
	CrAccount after = *acc;

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (cr_held(acc) > 0)
		return CR_HAS_HOLDS;
	if (!cr_change_granted(&after, 0))
		return CR_OVER_CAP;
	cr_parts_begin(acc->lots);
	for (int i = 0; i < acc->lots->n_grants; i++)
	{
		CrGrant *grant = &acc->lots->grants[i];

		if (grant->closed || grant->ends_at <= at)
			continue;
		cr_parts_add(acc->lots, grant->seq, cr_grant_close(grant));
	}
	cr_add_up(&after.forfeited, after.balance.purchased);
	after.charged_monthly = after.owed_monthly;
	after.charged_purchased = after.owed_purchased;
	after.balance = (CrBuckets){0};
	after.closed_seq = seq;
	cr_take_plan(&after, NULL);
	after.facts.scheduled_plan = NULL;
	after.facts.last_undone = false;
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
