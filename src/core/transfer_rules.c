/*
 * transfer_rules.c
 *		Moving purchased credits to another user's account.
 */
#include "core/private.h"

/* recent: how many of the credits were bought so lately that a chargeback can still come. */
CrVerdict
cr_transfer_out(CrAccount *acc, CrTime at, int64_t amount, int64_t recent, CrRow *row)
{
	CrAccount after = *acc;

	if (acc->facts.status == CR_FROZEN)
		return CR_IS_FROZEN;
	if (amount > acc->balance.purchased)
		return CR_INSUFFICIENT;
	after.balance.purchased -= amount;
	cr_parts_begin(acc->lots);
	cr_parts_add(acc->lots, CR_RECENT, recent);
	cr_row_init(row, CR_KIND_TRANSFER_OUT, at, amount);
	cr_parts_to_row(acc->lots, row);
	return cr_row_finish(row, acc, &after);
}

CrVerdict
cr_transfer_in(CrAccount *acc, CrTime at, int64_t amount, CrRow *row)
{
	CrAccount after = *acc;

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (!cr_credit(&after, &after.balance.purchased, &after.owed_purchased, amount))
		return CR_OVER_CAP;
	return cr_record(row, CR_KIND_TRANSFER_IN, at, amount, acc, &after);
}
