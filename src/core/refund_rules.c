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

/*
 * A refund under way.  It is done twice: the first time as a trial that finds out
 * whether it fits, and changes no grant, because grants are changed in place.
 */
typedef struct Giving
{
	CrAccount	after;
	const CrSpent *spent;
	CrTime		at;
	int64_t		skip;			/* was refunded before: not to be given again */
	int64_t		wanted;			/* is still to be given */
	int64_t		forfeited;
	bool		trial;
	bool		over_cap;
} Giving;

/* Gives back what one source gave, as far as it is wanted. */
static void
give(Giving *giving, const CrPart *part)
{
	CrAccount  *acc = &giving->after;
	int64_t		skipped = cr_min(giving->skip, part->credits);
	int64_t		back = cr_min(part->credits - skipped, giving->wanted);
	int64_t		nothing = 0;
	CrGrant    *grant;
	bool		fits = true;

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
	Giving		giving = {.after = *acc,.spent = spent,.at = at,.skip = spent->refunded,
	.wanted = amount,.trial = trial};
	CrPart		monthly = {CR_FROM_MONTHLY, spent->monthly};
	CrPart		purchased = {CR_FROM_PURCHASED, spent->purchased};

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
	Giving		giving;

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
