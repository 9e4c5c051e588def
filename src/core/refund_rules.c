/*
 * refund_rules.c
 *		Giving back what was spent, to where it came from, last spent first.
 *
 * What belongs to a period or grant that has ended is forfeited, and counts as
 * refunded.
 */
#include "core/private.h"

/*
 * What a stored row spent; false if it is not of a kind that spends.  A
 * deduction took the monthly credits first and what is not allocated, a
 * shortfall included, from the purchased ones; a capture says it all.
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

/* A refund under way; tried before it is done, because grants are changed in place. */
typedef struct Giving
{
	CrAccount	after;
	const CrSpent *spent;
	CrTime		at;
	int64_t		skip;			/* refunded before */
	int64_t		wanted;
	int64_t		forfeited;
	bool		trial;
	bool		over_cap;
} Giving;

static void
give(Giving *giving, const CrPart *part)
{
	CrAccount  *acc = &giving->after;
	int64_t		skipped = giving->skip < part->credits ? giving->skip : part->credits;
	int64_t		back = part->credits - skipped;
	int64_t		nothing = 0;
	CrGrant    *grant;
	bool		fits = true;

	giving->skip -= skipped;
	if (back > giving->wanted)
		back = giving->wanted;
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

/* Needs acc->lots, with every grant that has not ended. */
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
	row->has_ref_seq = true;
	row->ref_seq = spent->seq;
	row->forfeited = giving.forfeited;
	cr_parts_to_row(acc->lots, row);
	cr_row_finish(row, acc, &giving.after);
	*acc = giving.after;
	return CR_OK;
}
