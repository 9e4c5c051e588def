/*
 * transfer_rules.c
 *		Purchased credits that go to another user.
 */
#include "core/private.h"

/* Purchased credits to another user. */
CrVerdict
cr_transfer_out(CrAccount *acc, CrTime at, int64_t amount, CrRow *row)
{
	CrAccount	after = *acc;

	if (acc->facts.status == CR_FROZEN)
		return CR_IS_FROZEN;
	if (amount > acc->balance.purchased)
		return CR_INSUFFICIENT;
	after.balance.purchased -= amount;
	cr_row_init(row, CR_KIND_TRANSFER_OUT, at, amount);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}

CrVerdict
cr_transfer_in(CrAccount *acc, CrTime at, int64_t amount, CrRow *row)
{
	CrAccount	after = *acc;

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (!cr_credit(&after, &after.balance.purchased, &after.owed_purchased, amount))
		return CR_OVER_CAP;
	cr_row_init(row, CR_KIND_TRANSFER_IN, at, amount);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}
