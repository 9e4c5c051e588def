/*
 * grant_rules.c
 *		Granting credits that end.
 */
#include "core/private.h"

/* Have so many grants not ended?  They are in the order of their ends. */
static bool
has_too_many(const CrLots *lots, CrTime at)
{
	int last = lots->n_grants - CR_MAX_GRANTS;

	return last >= 0 && lots->grants[last].ends_at > at;
}

/*
 * seq: the number that the row will have, which is the grant's name too.  paid: it is paid
 * for.  An account that was closed takes only what is paid for, as it takes purchases.
 */
CrVerdict
cr_grant(CrAccount *acc, CrTime at, int64_t seq, int64_t amount, CrTime ends_at, bool paid,
		 CrRow *row)
{
	CrAccount after = *acc;
	int64_t nothing = 0;
	CrGrant *grant;

	if (acc->facts.status == CR_CLOSED && !paid)
		return CR_IS_CLOSED;
	if (ends_at <= at)
		return CR_ENDS_TOO_SOON;
	if (!paid && has_too_many(acc->lots, at))
		return CR_TOO_MANY_GRANTS;
	if (!cr_credit(&after, &after.balance.granted, &nothing, amount))
		return CR_OVER_CAP;
	grant = cr_lots_add_grant(acc->lots, seq, ends_at);
	grant->amount = grant->left = amount;
	grant->paid = paid;
	grant->changed = grant->is_new = true;
	cr_wake_at(&after, ends_at);

	cr_row_init(row, CR_KIND_GRANT, at, amount);
	cr_row_set_end(row, ends_at);
	return cr_row_finish(row, acc, &after);
}
