/*
 * refund_rules.c
 *		Giving back what a row spent, to where it came from, last spent first.
 *
 * returns.c gives them back.  What it cannot give back is forfeited, and counts as refunded
 * all the same.
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
	spent->period = row->period;
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

	if (row->amount < (row->kind == CR_KIND_CAPTURE ? 0 : 1) || row->amount > CR_MAX_CREDITS)
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

/* A refund under way. */
typedef struct Refund
{
	CrGiving giving;
	const CrSpent *spent;
	int64_t skip;	/* was refunded before: not to be given again */
	int64_t wanted; /* is still to be given */
} Refund;

/* Gives back what one source gave, as far as it is wanted. */
static void
give(Refund *refund, const CrPart *part)
{
	CrGiving *giving = &refund->giving;
	int64_t skipped = cr_min(refund->skip, part->credits);
	int64_t back = cr_min(part->credits - skipped, refund->wanted);

	refund->skip -= skipped;
	refund->wanted -= back;
	if (back == 0)
		return;
	if (part->source == CR_FROM_PURCHASED)
		cr_give_purchased(giving, back);
	else if (part->source == CR_FROM_MONTHLY)
		cr_give_monthly(giving, refund->spent->period, back);
	else if (part->source == CR_FROM_LAST)
		cr_give_monthly(giving, refund->spent->period - 1, back);
	else if (part->source > 0)
	{
		back = cr_give_granted(giving, part->source, back);
		if (!giving->is_trial)
			cr_parts_add(giving->acc->lots, part->source, back);
	}
	else
		giving->lost += back;
}

/* Gives back from all sources, the last one first. */
static CrGiving
give_all(CrAccount *after, CrTime at, const CrSpent *spent, int64_t amount, bool is_trial)
{
	Refund refund =
		{.giving = {.acc = after, .at = at, .seq = spent->seq, .is_trial = is_trial},
		 .spent = spent,
		 .skip = spent->refunded,
		 .wanted = amount};
	CrPart monthly = {CR_FROM_MONTHLY, spent->monthly};
	CrPart purchased = {CR_FROM_PURCHASED, spent->purchased};

	cr_parts_begin(after->lots);
	give(&refund, &purchased);
	for (int i = spent->n_parts - 1; i >= 0; i--)
		give(&refund, &spent->parts[i]);
	give(&refund, &monthly);
	return refund.giving;
}

/*
 * Needs acc->lots with every grant that has not ended, and with the paid ones that the row
 * took from.
 */
CrVerdict
cr_refund(CrAccount *acc, CrTime at, const CrSpent *spent, int64_t amount, CrRow *row)
{
	CrAccount after = *acc;
	CrAccount tried = *acc;
	CrGiving giving;

	if (amount > spent->amount - spent->refunded)
		return CR_MORE_THAN_SPENT;
	if (give_all(&tried, at, spent, amount, true).is_over_cap)
		return CR_OVER_CAP;
	giving = give_all(&after, at, spent, amount, false);

	cr_row_init(row, CR_KIND_REFUND, at, amount);
	cr_row_refer(row, spent->seq);
	row->forfeited = giving.lost;
	cr_parts_to_row(acc->lots, row);
	return cr_row_finish(row, acc, &after);
}
