/*
 * rules.c
 *		What each command does to an account.
 *
 * Every function works on a copy and stores it only when nothing refuses, so a
 * verdict other than CR_OK leaves account and row as they were.  Amounts were
 * checked to lie within the cap, and an account's balances and holds never
 * pass it together, so that no sum here can overflow.
 */
#include <string.h>

#include "core/inside.h"

int64_t
cr_available(const CrAccount *acc)
{
	return acc->balance.monthly + acc->balance.granted + acc->balance.purchased;
}

int64_t
cr_bucket_balance(const CrAccount *acc, CrBucket bucket)
{
	return bucket == CR_MONTHLY ? acc->balance.monthly :
		bucket == CR_GRANTED ? acc->balance.granted : acc->balance.purchased;
}

int64_t
cr_held(const CrAccount *acc)
{
	return acc->held.monthly + acc->held.granted + acc->held.purchased;
}

int64_t
cr_owed(const CrAccount *acc)
{
	return acc->owed_monthly + acc->owed_purchased;
}

bool
cr_is_low(const CrAccount *acc, const CrPlanVersion *plan)
{
	return plan != NULL && cr_available(acc) < plan->low_balance_threshold;
}

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

/* How much the account can still be credited. */
static int64_t
room(const CrAccount *acc)
{
	return CR_MAX_CREDITS - cr_available(acc) - cr_held(acc);
}

/*
 * Credits one bucket, paying what the bucket owes first.  Refuses what would
 * take the account past the cap.
 */
bool
cr_credit(CrAccount *acc, int64_t *bucket, int64_t *owed, int64_t amount)
{
	int64_t		pays = amount < *owed ? amount : *owed;

	if (amount - pays > room(acc))
		return false;
	*owed -= pays;
	*bucket += amount - pays;
	return true;
}

/* Takes as much as a bucket has, up to what is still wanted. */
static void
take(int64_t *bucket, int64_t *wanted)
{
	int64_t		taken = *wanted < *bucket ? *wanted : *bucket;

	*bucket -= taken;
	*wanted -= taken;
}

static void
set_facts_plan(CrFacts *facts, const CrPlanVersion *plan)
{
	facts->plan = plan ? plan->plan : NULL;
	facts->plan_version = plan ? plan->version : 0;
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
	set_facts_plan(&after.facts, plan);
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

/* Can so much be spent?  A shortfall within the overdraft limit can be owed. */
CrVerdict
cr_may_spend(const CrAccount *acc, int64_t amount)
{
	int64_t		shortfall = amount - cr_available(acc);

	if (acc->facts.status != CR_ACTIVE)
		return acc->facts.status == CR_FROZEN ? CR_IS_FROZEN : CR_IS_CLOSED;
	if (shortfall > 0 && shortfall > acc->facts.overdraft_limit - acc->owed_purchased)
		return CR_INSUFFICIENT;
	return CR_OK;
}

/*
 * Spends monthly first, then granted, then purchased, which owes any shortfall.
 * Notes what each grant gave, or every source.
 */
void
cr_spend(CrAccount *acc, int64_t amount, bool every_source)
{
	int64_t		wanted = amount;
	int64_t		granted;

	take(&acc->balance.monthly, &wanted);
	if (every_source)
		cr_parts_add(acc->open, CR_FROM_MONTHLY, amount - wanted);
	granted = wanted < acc->balance.granted ? wanted : acc->balance.granted;
	if (granted > 0)
		cr_burn(acc, granted);
	wanted -= granted;
	if (every_source)
		cr_parts_add(acc->open, CR_FROM_PURCHASED, wanted);
	take(&acc->balance.purchased, &wanted);
	acc->owed_purchased += wanted;
}

/* Needs acc->open where there are granted credits. */
CrVerdict
cr_deduct(CrAccount *acc, CrTime at, int64_t amount, CrRow *row)
{
	CrAccount	after = *acc;
	CrVerdict	verdict = cr_may_spend(acc, amount);

	if (verdict != CR_OK)
		return verdict;
	if (acc->open)
		cr_parts_begin(acc->open);
	cr_spend(&after, amount, false);

	cr_row_init(row, CR_KIND_DEDUCT, at, amount);
	if (acc->open)
		cr_parts_to_row(acc->open, row);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}

CrVerdict
cr_purchase(CrAccount *acc, CrTime at, int64_t amount, CrRow *row)
{
	CrAccount	after = *acc;

	if (!cr_credit(&after, &after.balance.purchased, &after.owed_purchased, amount))
		return CR_OVER_CAP;

	cr_row_init(row, CR_KIND_PURCHASE, at, amount);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}

/*
 * The payer took a purchase back.  What is not there any more, or is held, is
 * owed: whatever comes back to the bucket pays it.
 */
CrVerdict
cr_revoke(CrAccount *acc, CrTime at, int64_t amount, int64_t purchase, CrRow *row)
{
	CrAccount	after = *acc;
	int64_t		still_wanted = amount;

	take(&after.balance.purchased, &still_wanted);
	if (still_wanted > CR_MAX_CREDITS - acc->owed_purchased)
		return CR_OVER_CAP;
	after.owed_purchased += still_wanted;

	cr_row_init(row, CR_KIND_REVOKE, at, amount);
	row->has_ref_seq = true;
	row->ref_seq = purchase;
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}

/* Credits that end; seq is the number that the row will have. */
CrVerdict
cr_grant(CrAccount *acc, CrTime at, int64_t seq, int64_t amount, CrTime ends_at, CrRow *row)
{
	CrAccount	after = *acc;
	int64_t		nothing = 0;
	CrGrant    *grant;

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (ends_at <= at)
		return CR_ENDS_TOO_SOON;
	if (!cr_credit(&after, &after.balance.granted, &nothing, amount))
		return CR_OVER_CAP;
	grant = cr_open_add_grant(acc->open, seq, ends_at);
	grant->amount = grant->left = amount;
	grant->changed = grant->is_new = true;
	if (ends_at < after.next_event_at)
		after.next_event_at = ends_at;

	cr_row_init(row, CR_KIND_GRANT, at, amount);
	row->has_ends_at = true;
	row->ends_at = ends_at;
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

/* An administrator's signed correction of one bucket. */
CrVerdict
cr_adjust(CrAccount *acc, CrTime at, CrBucket bucket, int64_t delta, CrRow *row)
{
	CrAccount	after = *acc;
	int64_t		nothing = 0;
	int64_t    *balance = bucket == CR_MONTHLY ? &after.balance.monthly :
		bucket == CR_GRANTED ? &after.balance.granted : &after.balance.purchased;
	int64_t    *owed = bucket == CR_MONTHLY ? &after.owed_monthly :
		bucket == CR_GRANTED ? &nothing : &after.owed_purchased;

	if (delta > 0 && bucket == CR_GRANTED)
		return CR_GRANT_UPWARDS;
	if (delta > 0)
	{
		if (!cr_credit(&after, balance, owed, delta))
			return CR_OVER_CAP;
	}
	else
	{
		if (*balance + delta < 0)
			return CR_INSUFFICIENT;
		if (bucket == CR_GRANTED)
		{
			cr_parts_begin(acc->open);
			cr_burn(&after, -delta);
		}
		else
			*balance += delta;
	}

	cr_row_init(row, CR_KIND_ADJUST, at, delta);
	if (bucket == CR_GRANTED)
		cr_parts_to_row(acc->open, row);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
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

		take(&after.balance.monthly, &still_wanted);
		change += still_wanted; /* what could be taken */
	}
	after.facts.period_granted += change;
	set_facts_plan(&after.facts, plan);
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
