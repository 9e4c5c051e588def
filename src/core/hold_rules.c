/*
 * hold_rules.c
 *		Holds: credits that are set aside, and later captured or given back.
 *
 * A hold remembers which bucket, grant and period its credits came from.  What it
 * gives back goes there, and pays first what that bucket owes.  If the period or
 * grant has ended, it expires at once.
 */
#include <string.h>

#include "core/private.h"

/*
 * Sets credits aside, in the order in which they would be spent.  seq: the number
 * that the row will have, which is the hold's name too.
 */
CrVerdict
cr_hold(CrAccount *acc, CrTime at, int64_t seq, int64_t amount, CrTime ends_at, CrRow *row)
{
	CrAccount after = *acc;
	CrLots *lots = acc->lots;
	CrHold *hold;

	if (acc->facts.status != CR_ACTIVE)
		return acc->facts.status == CR_FROZEN ? CR_IS_FROZEN : CR_IS_CLOSED;
	if (ends_at <= at)
		return CR_ENDS_TOO_SOON;
	if (amount > cr_available(acc))
		return CR_INSUFFICIENT; /* an overdraft is for spending, not for holding */

	cr_parts_begin(lots);
	cr_spend(&after, amount, false);
	hold = cr_lots_add_hold(lots, seq, lots->n_parts);
	hold->ends_at = ends_at;
	hold->period_start = acc->period_start;
	hold->amount = amount;
	hold->monthly = acc->balance.monthly - after.balance.monthly;
	hold->purchased = acc->balance.purchased - after.balance.purchased;
	if (lots->n_parts > 0)
		memcpy(hold->parts, lots->parts, sizeof(CrPart) * (size_t) lots->n_parts);
	hold->changed = hold->is_new = true;
	after.held.monthly += hold->monthly;
	after.held.granted += acc->balance.granted - after.balance.granted;
	after.held.purchased += hold->purchased;
	cr_wake_at(&after, ends_at);

	cr_row_init(row, CR_KIND_HOLD, at, amount);
	cr_row_set_end(row, ends_at);
	cr_parts_to_row(lots, row);
	return cr_row_finish(row, acc, &after);
}

/* Spends what is held of one source, up to what is wanted; returns the rest of that. */
static int64_t
consume(CrAccount *acc, int64_t *held, int64_t *of_hold, int64_t source, int64_t wanted)
{
	int64_t taken = cr_min(*of_hold, wanted);

	*of_hold -= taken;
	*held -= taken;
	cr_parts_add(acc->lots, source, taken);
	return wanted - taken;
}

/* Spends what a hold has, in the order in which it was taken. */
static void
consume_hold(CrAccount *acc, CrHold *hold, int64_t wanted)
{
	bool current = hold->period_start == acc->period_start;

	wanted = consume(acc, &acc->held.monthly, &hold->monthly,
					 current ? CR_FROM_MONTHLY : CR_FROM_CLOSED, wanted);
	for (int i = 0; i < hold->n_parts; i++)
		wanted = consume(acc, &acc->held.granted, &hold->parts[i].credits,
						 hold->parts[i].source, wanted);
	(void) consume(acc, &acc->held.purchased, &hold->purchased, CR_FROM_PURCHASED, wanted);
}

/* Gives back all that a hold still has, and tells how much of it expires. */
static int64_t
give_back(CrAccount *acc, CrHold *hold, CrTime at, bool is_event)
{
	int64_t expired = 0;

	acc->held.monthly -= hold->monthly;
	if (hold->period_start == acc->period_start)
		(void) cr_credit(acc, &acc->balance.monthly, &acc->owed_monthly, hold->monthly);
	else
		expired += hold->monthly;
	for (int i = 0; i < hold->n_parts; i++)
	{
		const CrPart *part = &hold->parts[i];
		CrGrant *grant = cr_find_grant(acc, part->source, at, is_event);

		if (part->credits == 0)
			continue;
		acc->held.granted -= part->credits;
		if (grant == NULL)
		{
			expired += part->credits;
			continue;
		}
		cr_grant_return(acc, grant, part->credits);
		acc->balance.granted += part->credits;
	}
	acc->held.purchased -= hold->purchased;
	(void) cr_credit(acc, &acc->balance.purchased, &acc->owed_purchased, hold->purchased);
	return expired;
}

static void
close_hold(CrHold *hold, CrHoldState state)
{
	hold->state = state;
	hold->changed = true;
	if (state == CR_HOLD_EXPIRED)
		return; /* a late capture needs to know what was held */
	hold->monthly = hold->purchased = 0;
	for (int i = 0; i < hold->n_parts; i++)
		hold->parts[i].credits = 0;
}

/*
 * Spends an amount from the hold.  If it is more than what is held, the rest is
 * spent from the balances like a deduction.  If it is less, the hold stays open if
 * the caller wants that; otherwise what is left is given back and the hold is closed.
 * A hold that has expired has given everything back, so the whole amount is spent
 * from the balances; it can be captured only once.
 */
CrVerdict
cr_capture(CrAccount *acc, CrTime at, CrHold *hold, int64_t amount, bool keep_open, CrRow *row)
{
	CrAccount after = *acc;
	bool late = hold->state == CR_HOLD_EXPIRED;
	int64_t held = late ? 0 : cr_hold_left(hold);
	int64_t excess = amount > held ? amount - held : 0;
	int64_t expired = 0;
	bool stays_open = keep_open && amount < held;

	if (hold->state != CR_HOLD_OPEN && !late)
		return CR_HOLD_CLOSED;
	if (excess > 0)
	{
		CrVerdict verdict = cr_may_spend(acc, excess);

		if (verdict != CR_OK)
			return verdict;
	}

	cr_parts_begin(acc->lots);
	if (!late)
		consume_hold(&after, hold, amount - excess);
	if (excess > 0)
		cr_spend(&after, excess, true);
	if (late)
		close_hold(hold, CR_HOLD_SETTLED);
	else if (!stays_open)
	{
		expired = give_back(&after, hold, at, false);
		close_hold(hold, CR_HOLD_CAPTURED);
	}
	hold->changed = true;

	cr_row_init(row, CR_KIND_CAPTURE, at, amount);
	cr_row_refer(row, hold->seq);
	row->expired = expired;
	if (stays_open)
		cr_row_set_end(row, hold->ends_at);
	cr_parts_to_row(acc->lots, row);
	return cr_row_finish(row, acc, &after);
}

/* Closes a hold and gives back all that it has. */
static void
end_hold(CrAccount *acc, CrHold *hold, CrTime at, CrKind kind, CrHoldState state, CrRow *row)
{
	CrAccount after = *acc;

	cr_row_init(row, kind, at, cr_hold_left(hold));
	cr_row_refer(row, hold->seq);
	row->expired = give_back(&after, hold, at, kind == CR_KIND_HOLD_END);
	close_hold(hold, state);
	(void) cr_row_finish(row, acc, &after);
}

/* Gives back all that is held, because the caller does not need it. */
CrVerdict
cr_release(CrAccount *acc, CrTime at, CrHold *hold, CrRow *row)
{
	if (hold->state != CR_HOLD_OPEN)
		return CR_HOLD_CLOSED;
	end_hold(acc, hold, at, CR_KIND_RELEASE, CR_HOLD_RELEASED, row);
	return CR_OK;
}

/* The same because the hold's time is over. */
void
cr_apply_hold_end(CrAccount *acc, CrHold *hold, CrRow *row)
{
	end_hold(acc, hold, hold->ends_at, CR_KIND_HOLD_END, CR_HOLD_EXPIRED, row);
}
