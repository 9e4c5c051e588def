/*
 * returns.c
 *		Giving back credits that were held, spent or revoked.
 *
 * Credits go back to where they came from, and pay first what that bucket owes.
 *
 * Monthly credits belong to a period.  Those of the period that has just ended come back as
 * if they had been free at the boundary: as much of them is carried over as the rollover
 * limit still lets through.  Those of older periods are lost.
 *
 * A grant that has ended takes nothing back.  If a paid grant was revoked while its credits
 * were held or spent, the purchased bucket gave or owes what the grant did not have.  What
 * then comes back to the grant makes that good first.
 *
 * When an account is closed, it forfeits its credits.  So what left it before and comes back
 * later only pays what is owed.
 */
#include "core/private.h"

static void
credit(CrGiving *giving, int64_t *bucket, int64_t *owed, int64_t credits)
{
	giving->is_over_cap |= !cr_credit(giving->acc, bucket, owed, credits);
}

/* What rolls over at a boundary of what was left there. */
int64_t
cr_carried(int64_t left, int64_t limit)
{
	return left < 0 ? 0 : cr_min(left, limit);
}

/* What the last period's credits could still pay if they came back: its debt. */
static int64_t
debt_of(const CrAccount *acc, int64_t period)
{
	if (period == acc->period)
		return acc->owed_monthly;
	if (period == acc->period - 1 && acc->facts.last_left < 0)
		return -acc->facts.last_left;
	return 0;
}

/* The period in which they were taken has just ended.  Returns what is carried over. */
static int64_t
carry(CrAccount *acc, int64_t credits)
{
	CrFacts *facts = &acc->facts;
	int64_t before = cr_carried(facts->last_left, facts->last_limit);
	int64_t carried;

	facts->last_left += credits;
	carried = cr_carried(facts->last_left, facts->last_limit) - before;
	if (facts->last_limit == CR_NO_LIMIT) /* see undo_rules.c */
		facts->period_granted += carried;
	return carried;
}

/* period: number of the period to which the credits belong. */
void
cr_give_monthly(CrGiving *giving, int64_t period, int64_t credits)
{
	CrAccount *acc = giving->acc;
	int64_t back = credits;

	if (giving->is_before_closing)
		back = cr_min(back, debt_of(acc, period));
	giving->lost += credits - back;
	if (period != acc->period)
	{
		int64_t carried = period == acc->period - 1 ? carry(acc, back) : 0;

		giving->lost += back - carried;
		back = carried;
	}
	credit(giving, &acc->balance.monthly, &acc->owed_monthly, back);
}

/* Returns how many of the credits the grant takes. */
int64_t
cr_give_granted(CrGiving *giving, int64_t seq, int64_t credits)
{
	CrAccount *acc = giving->acc;
	CrGrant *grant = cr_find_grant(acc, seq);
	bool is_open = grant && cr_grant_is_open(grant, giving->at, giving->is_hold_end);
	int64_t made_good = grant ? cr_min(credits, grant->elsewhere) : 0;
	int64_t back = credits - made_good;
	int64_t nothing = 0;

	if (made_good > 0)
		cr_give_purchased(giving, made_good);
	if (is_open)
		credit(giving, &acc->balance.granted, &nothing, back);
	else
		giving->lost += back;
	if (giving->is_trial || grant == NULL)
		return is_open ? back : 0;
	if (made_good > 0 || grant->paid)
		grant->changed = true;
	grant->elsewhere -= made_good;
	if (is_open && back > 0)
		cr_grant_return(acc, grant, back);
	else if (!is_open && grant->paid)
		grant->expired += back;
	return is_open ? back : 0;
}

void
cr_give_purchased(CrGiving *giving, int64_t credits)
{
	CrAccount *acc = giving->acc;
	int64_t back = credits;

	if (giving->is_before_closing)
	{
		back = cr_min(back, acc->owed_purchased);
		giving->lost += credits - back;
		cr_forfeit(acc, credits - back);
	}
	credit(giving, &acc->balance.purchased, &acc->owed_purchased, back);
}
