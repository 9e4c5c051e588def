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
 * When an account is closed, it forfeits its credits.  What left it before and comes back
 * later gives back only what the account has been charged since for the time before: what it
 * owed when it was closed, and what chargebacks of older payments took.  The rest is lost.  So
 * it does not matter in which order chargebacks, refunds and reinstatements come, nor what the
 * account does meanwhile.
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

/* Of what left the account before it was closed: gives back what was charged for it. */
static int64_t
undo_charge(int64_t *charged, int64_t credits)
{
	int64_t undone = cr_min(credits, *charged);

	*charged -= undone;
	return undone;
}

/*
 * The period in which they were taken has just ended.  Returns what is carried over.  If the
 * boundary was undone, all of it is.  Then the plan counts as having granted what the limit
 * would have let expire; see undo_rules.c.
 */
static int64_t
carry(CrAccount *acc, int64_t credits)
{
	CrFacts *facts = &acc->facts;
	int64_t left = facts->last_left;
	int64_t carried;
	int64_t all;

	facts->last_left += credits;
	carried = cr_carried(facts->last_left, facts->last_limit) -
		cr_carried(left, facts->last_limit);
	if (!facts->last_undone)
		return carried;
	all = cr_carried(facts->last_left, INT64_MAX) - cr_carried(left, INT64_MAX);
	facts->period_granted += all - carried;
	return all;
}

/* The same, of credits that can have left the account before it was closed. */
static int64_t
carry_over_closing(const CrGiving *giving, int64_t credits)
{
	CrAccount *acc = giving->acc;
	int64_t carried;

	if (giving->seq < acc->last_closed_seq)
		credits = undo_charge(&acc->last_charged, credits);
	carried = carry(acc, credits);
	if (giving->seq < acc->closed_seq && acc->closed_seq != acc->last_closed_seq)
		carried = undo_charge(&acc->charged_monthly, carried);
	return carried;
}

/* period: number of the period to which the credits belong. */
void
cr_give_monthly(CrGiving *giving, int64_t period, int64_t credits)
{
	CrAccount *acc = giving->acc;
	int64_t back = 0;

	if (period == acc->period)
		back = giving->seq < acc->closed_seq ? undo_charge(&acc->charged_monthly, credits)
											 : credits;
	else if (period == acc->period - 1)
		back = carry_over_closing(giving, credits);
	giving->lost += credits - back;
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

	if (giving->seq < acc->closed_seq)
		back = undo_charge(&acc->charged_purchased, credits);
	giving->lost += credits - back;
	cr_add_up(&acc->forfeited, credits - back);
	credit(giving, &acc->balance.purchased, &acc->owed_purchased, back);
}
