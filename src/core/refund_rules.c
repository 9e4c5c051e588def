/*
 * refund_rules.c
 *		Giving back what a row spent, to where it came from, last spent first.
 *
 * If the period or grant that credits came from has ended, they are forfeited.  They
 * count as refunded all the same.
 */
#include "core/private.h"

/*
 * What a stored row spent; false if its kind is none that spends.  A capture has
 * every source in its allocations.  A deduction has only grants there: it took the
 * monthly credits that its delta says, and all the rest, with what is owed since,
 * from the purchased bucket.
 */
bool
cr_spent(CrSpent *spent, const CrRow *row)
{
	spent->seq = row->seq;
	spent->amount = row->amount;
	spent->period_start = row->period_start;
	spent->refunded = 0;
	spent->monthly = spent->purchased = 0;
	spent->n_parts = row->n_allocations;
	spent->parts = row->allocations;
	if (row->kind == CR_KIND_CAPTURE)
		return true;
	if (row->kind != CR_KIND_DEDUCT)
		return false;
	spent->monthly = -row->delta.monthly;
	spent->purchased = row->amount - spent->monthly + row->delta.granted;
	return true;
}

/* What is left of a number of credits after the row's parts; -1: they are no parts of it. */
static int64_t
without_parts(int64_t credits, const CrRow *row)
{
	for (int i = 0; i < row->n_allocations; i++)
	{
		int64_t part = row->allocations[i].credits;

		if (part < 1 || part > credits)
			return -1;
		credits -= part;
	}
	return credits;
}

static bool
was_taken(int64_t delta)
{
	return delta <= 0 && delta >= -CR_MAX_CREDITS;
}

/*
 * Is the amount of a row that spent what its deltas and parts come to?  Only verification
 * reads a row's hash.  So a call that gives back what the row says asks this first.
 */
bool
cr_spent_fits(const CrRow *row)
{
	int64_t owed;

	if (row->amount < 1 || row->amount > CR_MAX_CREDITS)
		return false;
	if (row->kind == CR_KIND_CAPTURE)
		return without_parts(row->amount, row) == 0;
	if (!was_taken(row->delta.monthly) || !was_taken(row->delta.granted) ||
		!was_taken(row->delta.purchased))
		return false;
	owed = row->amount + row->delta.monthly + row->delta.granted + row->delta.purchased;
	return owed >= 0 && owed <= row->owed_purchased &&
		without_parts(-row->delta.granted, row) == 0;
}

/*
 * A refund under way.  It is done twice: the first time as a trial that finds out
 * whether it fits, and changes no grant, because grants are changed in place.
 */
typedef struct Giving
{
	CrAccount after;
	const CrSpent *spent;
	CrTime at;
	int64_t skip;	/* was refunded before: not to be given again */
	int64_t wanted; /* is still to be given */
	int64_t forfeited;
	bool trial;
	bool over_cap;
} Giving;

/* Gives back what one source gave, as far as it is wanted. */
static void
give(Giving *giving, const CrPart *part)
{
	CrAccount *acc = &giving->after;
	int64_t skipped = cr_min(giving->skip, part->credits);
	int64_t back = cr_min(part->credits - skipped, giving->wanted);
	int64_t nothing = 0;
	CrGrant *grant;
	bool fits = true;

	giving->skip -= skipped;
	giving->wanted -= back;
	if (back == 0)
		return;
	if (part->source == CR_FROM_PURCHASED)
		fits = cr_credit(acc, &acc->balance.purchased, &acc->owed_purchased, back);
	else if (part->source == CR_FROM_MONTHLY &&
			 giving->spent->period_start == acc->period_start)
		fits = cr_credit(acc, &acc->balance.monthly, &acc->owed_monthly, back);
	else if (part->source > 0 &&
			 (grant = cr_find_grant(acc, part->source, giving->at, false)) != NULL)
	{
		fits = cr_credit(acc, &acc->balance.granted, &nothing, back);
		if (!giving->trial)
		{
			cr_grant_return(acc, grant, back);
			cr_parts_add(acc->lots, part->source, back);
		}
	}
	else
		giving->forfeited += back;
	giving->over_cap |= !fits;
}

/* Gives back from all sources, the last one first. */
static Giving
give_all(const CrAccount *acc, CrTime at, const CrSpent *spent, int64_t amount, bool trial)
{
	Giving giving = {.after = *acc,
					 .spent = spent,
					 .at = at,
					 .skip = spent->refunded,
					 .wanted = amount,
					 .trial = trial};
	CrPart monthly = {CR_FROM_MONTHLY, spent->monthly};
	CrPart purchased = {CR_FROM_PURCHASED, spent->purchased};

	cr_parts_begin(acc->lots);
	give(&giving, &purchased);
	for (int i = spent->n_parts - 1; i >= 0; i--)
		give(&giving, &spent->parts[i]);
	give(&giving, &monthly);
	return giving;
}

/* Needs acc->lots with every grant that has not ended. */
CrVerdict
cr_refund(CrAccount *acc, CrTime at, const CrSpent *spent, int64_t amount, CrRow *row)
{
	Giving giving;

	if (amount > spent->amount - spent->refunded)
		return CR_MORE_THAN_SPENT;
	if (give_all(acc, at, spent, amount, true).over_cap)
		return CR_OVER_CAP;
	giving = give_all(acc, at, spent, amount, false);

	cr_row_init(row, CR_KIND_REFUND, at, amount);
	cr_row_refer(row, spent->seq);
	row->forfeited = giving.forfeited;
	cr_parts_to_row(acc->lots, row);
	return cr_row_finish(row, acc, &giving.after);
}
