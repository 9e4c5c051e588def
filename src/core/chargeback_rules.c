/*
 * chargeback_rules.c
 *		A purchase that its payer took back.
 */
#include "core/private.h"

/*
 * The payer took a purchase back.  What is not there any more, or is held, is
 * owed: whatever comes back to the bucket pays it.
 */
CrVerdict
cr_revoke(CrAccount *acc, CrTime at, int64_t amount, int64_t purchase, CrRow *row)
{
	CrAccount	after = *acc;
	int64_t		still_wanted = amount;

	cr_take(&after.balance.purchased, &still_wanted);
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
