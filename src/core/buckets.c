/*
 * buckets.c
 *		The three buckets: their sums, the order of spending, and what adds to them.
 *
 * No sum in the core can overflow: callers check that an amount lies within the
 * cap (CR_MAX_CREDITS), and the rules refuse whatever would take an account's
 * balances and holds together past it.
 */
#include "core/private.h"

int64_t
cr_bucket_balance(const CrAccount *acc, CrBucket bucket)
{
	return bucket == CR_MONTHLY ? acc->balance.monthly
		: bucket == CR_GRANTED	? acc->balance.granted
								: acc->balance.purchased;
}

int64_t
cr_held(const CrAccount *acc)
{
	return acc->held.monthly + acc->held.granted + acc->held.purchased;
}

/*
 * What a user owes.  Monthly credits that are owed are not among it: they lapse at the next
 * reset, and until then they only lower what comes back to the bucket.
 */
int64_t
cr_owed(const CrAccount *acc)
{
	return acc->owed_purchased;
}

/* How many credits can still be added before the account reaches the cap. */
static int64_t
room(const CrAccount *acc)
{
	return CR_MAX_CREDITS - cr_available(acc) - cr_held(acc);
}

/*
 * Adds credits to a bucket.  They pay first what the bucket owes.  False, and
 * nothing changes, if they would take the account past the cap.
 */
bool
cr_credit(CrAccount *acc, int64_t *bucket, int64_t *owed, int64_t amount)
{
	int64_t pays = cr_min(amount, *owed);

	if (amount - pays > room(acc))
		return false;
	*owed -= pays;
	*bucket += amount - pays;
	return true;
}

/* Takes as much as the bucket has, up to what is still wanted. */
void
cr_take(int64_t *bucket, int64_t *wanted)
{
	int64_t taken = cr_min(*wanted, *bucket);

	*bucket -= taken;
	*wanted -= taken;
}

/*
 * Takes credits from a bucket, which owes what it does not have.  False if it would
 * owe more than the cap.
 */
bool
cr_take_or_owe(int64_t *bucket, int64_t *owed, int64_t amount)
{
	int64_t missing = amount;

	cr_take(bucket, &missing);
	if (missing > CR_MAX_CREDITS - *owed)
		return false;
	*owed += missing;
	return true;
}

/*
 * Adds to what the account has forfeited or was charged.  That can come to more than the cap,
 * because an account can be closed again and again.
 */
void
cr_add_up(int64_t *sum, int64_t credits)
{
	*sum += cr_min(credits, INT64_MAX - *sum);
}

/*
 * How many more purchased credits the account needs before so much can be spent.  0: none,
 * it has enough, or the overdraft has room for the rest.
 */
int64_t
cr_missing(const CrAccount *acc, int64_t amount)
{
	int64_t shortfall = amount - cr_available(acc);
	int64_t overdraft = acc->facts.overdraft_limit - acc->owed_purchased;

	return shortfall > 0 && shortfall > overdraft ? shortfall - overdraft : 0;
}

/*
 * Can so much be spent?  Only an active account spends.  It may spend more than it
 * has as long as the purchased bucket then owes no more than the overdraft limit.
 * owes: it may owe more than that.
 */
CrVerdict
cr_may_spend(const CrAccount *acc, int64_t amount, bool owes)
{
	int64_t shortfall = amount - cr_available(acc);

	if (acc->facts.status != CR_ACTIVE)
		return acc->facts.status == CR_FROZEN ? CR_IS_FROZEN : CR_IS_CLOSED;
	if (shortfall <= 0)
		return CR_OK;
	if (owes)
		return shortfall > CR_MAX_CREDITS - acc->owed_purchased ? CR_OVER_CAP : CR_OK;
	return cr_missing(acc, amount) > 0 ? CR_INSUFFICIENT : CR_OK;
}

/*
 * Spends monthly credits first, then granted, then purchased ones.  The purchased
 * bucket owes any shortfall.  Notes the allocations: how much each grant gave, or
 * how much every source gave.
 */
void
cr_spend(CrAccount *acc, int64_t amount, bool every_source)
{
	int64_t wanted = amount;
	int64_t granted;

	cr_take(&acc->balance.monthly, &wanted);
	if (every_source)
		cr_parts_add(acc->lots, CR_FROM_MONTHLY, amount - wanted);
	granted = cr_min(wanted, acc->balance.granted);
	if (granted > 0)
		cr_burn(acc, granted);
	wanted -= granted;
	if (every_source)
		cr_parts_add(acc->lots, CR_FROM_PURCHASED, wanted);
	cr_take(&acc->balance.purchased, &wanted);
	acc->owed_purchased += wanted;
}

/* An account with granted credits needs acc->lots. */
CrVerdict
cr_deduct(CrAccount *acc, CrTime at, int64_t amount, CrRow *row)
{
	CrAccount after = *acc;
	CrVerdict verdict = cr_may_spend(acc, amount, false);

	if (verdict != CR_OK)
		return verdict;
	if (acc->lots)
		cr_parts_begin(acc->lots);
	cr_spend(&after, amount, false);

	cr_row_init(row, CR_KIND_DEDUCT, at, amount);
	if (acc->lots)
		cr_parts_to_row(acc->lots, row);
	return cr_row_finish(row, acc, &after);
}

CrVerdict
cr_purchase(CrAccount *acc, CrTime at, int64_t amount, CrRow *row)
{
	CrAccount after = *acc;

	if (!cr_credit(&after, &after.balance.purchased, &after.owed_purchased, amount))
		return CR_OVER_CAP;
	return cr_record(row, CR_KIND_PURCHASE, at, amount, acc, &after);
}

/* Takes credits from one bucket for a correction.  It does not owe any. */
static CrVerdict
correct_down(CrAccount *after, CrBucket bucket, int64_t *balance, int64_t amount)
{
	if (amount > *balance)
		return CR_INSUFFICIENT;
	if (bucket == CR_GRANTED)
	{
		cr_parts_begin(after->lots);
		cr_burn(after, amount);
	}
	else
		*balance -= amount;
	return CR_OK;
}

/*
 * An administrator's correction of one bucket.  Granted credits can only be taken,
 * because each has a grant with an end; taking them needs acc->lots.
 */
CrVerdict
cr_adjust(CrAccount *acc, CrTime at, CrBucket bucket, int64_t delta, CrRow *row)
{
	CrAccount after = *acc;
	CrVerdict verdict = CR_OK;
	int64_t nothing = 0;
	int64_t *balance = bucket == CR_MONTHLY ? &after.balance.monthly
		: bucket == CR_GRANTED				? &after.balance.granted
											: &after.balance.purchased;
	int64_t *owed = bucket == CR_MONTHLY ? &after.owed_monthly
		: bucket == CR_GRANTED			 ? &nothing
										 : &after.owed_purchased;

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (delta > 0 && bucket == CR_GRANTED)
		return CR_GRANT_UPWARDS;
	if (delta <= 0)
		verdict = correct_down(&after, bucket, balance, -delta);
	else if (!cr_credit(&after, balance, owed, delta))
		verdict = CR_OVER_CAP;
	if (verdict != CR_OK)
		return verdict;

	cr_row_init(row, CR_KIND_ADJUST, at, delta);
	if (bucket == CR_GRANTED)
		cr_parts_to_row(acc->lots, row);
	return cr_row_finish(row, acc, &after);
}
