/*
 * chargeback_rules.c
 *		Taking a payment back because its payer took it back, and giving it back again.
 *
 * A revocation takes credits where they hurt the user least, in this order: from the grant
 * that was paid for; from what that grant had when it ended; from what was forfeited when
 * the account was closed, if the payment is older; and from the purchased bucket, which owes
 * what it does not have.  The allocations of its row say where it took how much.  A
 * reinstatement goes the other way: first what the purchased bucket gave or owed, then the
 * grant.
 */
#include "core/private.h"

/* Takes what it can from one place, and notes it. */
static void
take_from(CrAccount *acc, int64_t *place, int64_t source, int64_t *wanted)
{
	int64_t before = *wanted;

	cr_take(place, wanted);
	cr_parts_add(acc->lots, source, before - *wanted);
}

static void
take_from_grant(CrAccount *acc, CrGrant *grant, int64_t *wanted)
{
	int64_t left = grant->left;

	take_from(acc, &grant->left, grant->seq, wanted);
	acc->balance.granted -= left - grant->left;
	take_from(acc, &grant->expired, CR_FROM_ENDED, wanted);
	grant->changed = true;
}

/* Was the payment made before the account was closed? */
static bool
is_before_closing(const CrAccount *acc, const CrPaid *paid)
{
	return paid->seq < acc->closed_seq;
}

/* How much a revocation can take without owing anything. */
static int64_t
available_for(const CrAccount *acc, const CrPaid *paid)
{
	int64_t sum = acc->balance.purchased;

	if (paid->grant)
		sum += paid->grant->left + paid->grant->expired;
	if (is_before_closing(acc, paid))
		sum += cr_min(acc->forfeited, CR_MAX_CREDITS);
	return sum;
}

/*
 * total: how much is revoked in all, as the caller said; it is only noted.  0: the caller
 * did not say it.
 */
CrVerdict
cr_revoke(CrAccount *acc, CrTime at, int64_t amount, const CrPaid *paid, int64_t total,
		  CrRow *row)
{
	CrAccount after = *acc;
	int64_t wanted = amount;
	int64_t elsewhere;

	if (amount > CR_MAX_CREDITS - acc->owed_purchased + available_for(acc, paid))
		return CR_OVER_CAP;
	cr_parts_begin(acc->lots);
	if (paid->grant)
		take_from_grant(&after, paid->grant, &wanted);
	elsewhere = wanted;
	if (is_before_closing(acc, paid))
	{
		take_from(&after, &after.forfeited, CR_FROM_FORFEITED, &wanted);
		cr_add_up(&after.charged_purchased, wanted);
	}
	take_from(&after, &after.balance.purchased, CR_FROM_PURCHASED, &wanted);
	after.owed_purchased += wanted;
	cr_parts_add(acc->lots, CR_FROM_OWED, wanted);
	if (paid->grant)
		paid->grant->elsewhere += elsewhere;
	cr_parts_add(acc->lots, CR_TOTAL, total);

	cr_row_init(row, CR_KIND_REVOKE, at, amount);
	cr_row_refer(row, paid->seq);
	cr_parts_to_row(acc->lots, row);
	return cr_row_finish(row, acc, &after);
}

/* Gives back; a trial only finds out whether it fits. */
static CrGiving
give_back(CrAccount *after, CrTime at, int64_t purchased, int64_t granted, const CrPaid *paid,
		  bool is_trial)
{
	CrGiving giving = {.acc = after, .at = at, .seq = paid->seq, .is_trial = is_trial};

	cr_give_purchased(&giving, purchased);
	if (paid->grant == NULL)
		return giving;
	paid->grant->elsewhere -= purchased;
	(void) cr_give_granted(&giving, paid->grant->seq, granted);
	if (is_trial)
		paid->grant->elsewhere += purchased;
	else
		paid->grant->changed = true;
	return giving;
}

/*
 * What a revocation took from the grant goes back there last.  A grant that has elsewhere
 * left takes nothing back before that is given.
 */
CrVerdict
cr_reinstate(CrAccount *acc, CrTime at, int64_t amount, const CrPaid *paid, CrRow *row)
{
	CrAccount after = *acc;
	CrAccount tried = *acc;
	CrGiving giving;
	int64_t purchased = paid->grant ? cr_min(amount, paid->grant->elsewhere) : amount;
	int64_t granted = amount - purchased;

	if (amount > paid->revoked)
		return CR_MORE_THAN_REVOKED;
	if (give_back(&tried, at, purchased, granted, paid, true).is_over_cap)
		return CR_OVER_CAP;
	giving = give_back(&after, at, purchased, granted, paid, false);
	cr_parts_begin(acc->lots);
	cr_parts_add(acc->lots, CR_FROM_PURCHASED, purchased);
	if (paid->grant)
		cr_parts_add(acc->lots, paid->grant->seq, granted);

	cr_row_init(row, CR_KIND_REINSTATE, at, amount);
	cr_row_refer(row, paid->seq);
	row->forfeited = giving.lost;
	cr_parts_to_row(acc->lots, row);
	return cr_row_finish(row, acc, &after);
}
