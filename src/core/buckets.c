/*
 * buckets.c
 *		The three buckets: sums, the order of spending, what is credited and corrected.
 *
 * Every function works on a copy of the account and stores it only when nothing refuses, so a
 * verdict other than CR_OK leaves the account and the row as they were.  Amounts were
 * checked to lie within the cap, and an account's balances and holds never
 * pass it together, so that no sum here can overflow.
 */
#include "core/private.h"

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
void
cr_take(int64_t *bucket, int64_t *wanted)
{
	int64_t		taken = *wanted < *bucket ? *wanted : *bucket;

	*bucket -= taken;
	*wanted -= taken;
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

	cr_take(&acc->balance.monthly, &wanted);
	if (every_source)
		cr_parts_add(acc->lots, CR_FROM_MONTHLY, amount - wanted);
	granted = wanted < acc->balance.granted ? wanted : acc->balance.granted;
	if (granted > 0)
		cr_burn(acc, granted);
	wanted -= granted;
	if (every_source)
		cr_parts_add(acc->lots, CR_FROM_PURCHASED, wanted);
	cr_take(&acc->balance.purchased, &wanted);
	acc->owed_purchased += wanted;
}

/* Needs acc->lots where there are granted credits. */
CrVerdict
cr_deduct(CrAccount *acc, CrTime at, int64_t amount, CrRow *row)
{
	CrAccount	after = *acc;
	CrVerdict	verdict = cr_may_spend(acc, amount);

	if (verdict != CR_OK)
		return verdict;
	if (acc->lots)
		cr_parts_begin(acc->lots);
	cr_spend(&after, amount, false);

	cr_row_init(row, CR_KIND_DEDUCT, at, amount);
	if (acc->lots)
		cr_parts_to_row(acc->lots, row);
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
			cr_parts_begin(acc->lots);
			cr_burn(&after, -delta);
		}
		else
			*balance += delta;
	}

	cr_row_init(row, CR_KIND_ADJUST, at, delta);
	if (bucket == CR_GRANTED)
		cr_parts_to_row(acc->lots, row);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}
