/*
 * chargeback_rules.c
 *		Taking a purchase back because its payer took the payment back.
 */
#include "core/private.h"

/*
 * The purchased bucket owes what it does not have any more, or has set aside in
 * holds.  Whatever comes back to the bucket later pays that first.
 */
CrVerdict
cr_revoke(CrAccount *acc, CrTime at, int64_t amount, int64_t purchase, CrRow *row)
{
	CrAccount after = *acc;

	if (!cr_take_or_owe(&after.balance.purchased, &after.owed_purchased, amount))
		return CR_OVER_CAP;
	cr_row_init(row, CR_KIND_REVOKE, at, amount);
	cr_row_refer(row, purchase);
	return cr_row_finish(row, acc, &after);
}
