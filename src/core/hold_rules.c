/*
 * hold_rules.c
 *		Holds: credits that are set aside, and later captured or given back.
 *
 * A hold remembers which bucket, grant and period its credits came from.  What it
 * gives back goes there (returns.c).  If the period or grant has ended, it expires at once.
 *
 * A hold that has expired can be captured late, once.  Such a capture uses first what
 * expired with the hold, because the user has lost that already.
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
	hold->period = acc->period;
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
	int64_t ended = acc->period - hold->period; /* how many periods have ended since */

	wanted = consume(acc, &acc->held.monthly, &hold->monthly,
					 ended == 0		  ? CR_FROM_MONTHLY
						 : ended == 1 ? CR_FROM_LAST
									  : CR_FROM_OLDER,
					 wanted);
	for (int i = 0; i < hold->n_parts; i++)
		wanted = consume(acc, &acc->held.granted, &hold->parts[i].credits,
						 hold->parts[i].source, wanted);
	(void) consume(acc, &acc->held.purchased, &hold->purchased, CR_FROM_PURCHASED, wanted);
}

/*
 * How much a capture can take of a hold's part.  What a paid grant had at its end may have
 * covered the chargeback of the payment.  That is then gone for the hold, too.
 */
static int64_t
usable(const CrAccount *acc, const CrHold *hold, const CrPart *part)
{
	const CrGrant *grant = cr_find_grant(acc, part->source);

	if (hold->state != CR_HOLD_EXPIRED || grant == NULL || !grant->paid)
		return part->credits;
	return cr_min(part->credits, grant->expired);
}

/* How much a capture can take of the hold: of what is held, or of what expired with it. */
int64_t
cr_hold_has(const CrAccount *acc, const CrHold *hold)
{
	int64_t has = hold->monthly + hold->purchased;

	for (int i = 0; i < hold->n_parts; i++)
		has += usable(acc, hold, &hold->parts[i]);
	return has;
}

/*
 * Spends what expired with a hold, up to what is wanted, and returns the rest of that.  What
 * a paid grant had at its end is then no longer unused.
 */
static int64_t
consume_expired(CrAccount *acc, CrHold *hold, int64_t wanted)
{
	int64_t monthly = cr_min(hold->monthly, wanted);
	int64_t rest = wanted - monthly;

	if (hold->period == acc->period - 1)
		acc->facts.last_left -= monthly;
	for (int i = 0; i < hold->n_parts; i++)
	{
		int64_t taken = cr_min(usable(acc, hold, &hold->parts[i]), rest);
		CrGrant *grant = cr_find_grant(acc, hold->parts[i].source);

		rest -= taken;
		if (taken == 0 || grant == NULL || !grant->paid)
			continue;
		grant->expired -= taken;
		grant->changed = true;
	}
	cr_parts_add(acc->lots, CR_FROM_EXPIRED, wanted - rest);
	return rest;
}

/*
 * Gives back all that a hold still has, and returns how much of it expires.  The hold then
 * says of each source how much of it expired, and how much it gave back in all.
 */
static int64_t
give_back(CrAccount *acc, CrHold *hold, CrTime at, bool is_hold_end)
{
	CrGiving giving = {.acc = acc, .seq = hold->seq, .at = at, .is_hold_end = is_hold_end};
	int64_t total = cr_hold_left(hold);

	acc->held.monthly -= hold->monthly;
	cr_give_monthly(&giving, hold->period, hold->monthly);
	hold->monthly = giving.lost;
	for (int i = 0; i < hold->n_parts; i++)
	{
		CrPart *part = &hold->parts[i];
		int64_t lost = giving.lost;

		acc->held.granted -= part->credits;
		if (part->credits > 0)
			(void) cr_give_granted(&giving, part->source, part->credits);
		part->credits = giving.lost - lost;
	}
	acc->held.purchased -= hold->purchased;
	cr_give_purchased(&giving, hold->purchased);
	hold->purchased = 0;
	hold->given_back = total - giving.lost;
	return giving.lost;
}

static void
close_hold(CrHold *hold, CrHoldState state)
{
	hold->state = state;
	hold->changed = true;
	if (state == CR_HOLD_EXPIRED)
		return; /* a late capture needs to know what expired */
	hold->monthly = hold->purchased = hold->given_back = 0;
	for (int i = 0; i < hold->n_parts; i++)
		hold->parts[i].credits = 0;
}

/* Can the hold be captured, and can what it does not have be spent? */
static CrVerdict
may_capture(const CrAccount *acc, const CrHold *hold, const CrCapture *capture)
{
	int64_t has = cr_hold_has(acc, hold);

	if (hold->state != CR_HOLD_OPEN && hold->state != CR_HOLD_EXPIRED)
		return CR_HOLD_CLOSED;
	if (capture->amount <= has)
		return CR_OK;
	return cr_may_spend(acc, capture->amount - has, capture->owes);
}

/*
 * Spends an amount from the hold.  If it is more than what the hold has, the rest is spent
 * from the balances like a deduction.  If it is less, the hold stays open if the caller
 * wants that; otherwise what is left is given back and the hold is closed.
 */
CrVerdict
cr_capture(CrAccount *acc, CrTime at, CrHold *hold, const CrCapture *capture, CrRow *row)
{
	CrAccount after = *acc;
	CrVerdict verdict = may_capture(acc, hold, capture);
	int64_t wanted = capture->amount;
	int64_t expired = 0;
	bool stays_open = false;

	if (verdict != CR_OK)
		return verdict;
	cr_parts_begin(acc->lots);
	if (hold->state == CR_HOLD_EXPIRED)
	{
		wanted = consume_expired(&after, hold, wanted);
		close_hold(hold, CR_HOLD_SETTLED);
	}
	else
	{
		int64_t held = cr_hold_left(hold);

		stays_open = capture->keep_open && wanted < held;
		consume_hold(&after, hold, cr_min(wanted, held));
		wanted -= cr_min(wanted, held);
	}
	if (wanted > 0)
		cr_spend(&after, wanted, true);
	if (hold->state == CR_HOLD_OPEN && !stays_open)
	{
		expired = give_back(&after, hold, at, false);
		close_hold(hold, CR_HOLD_CAPTURED);
	}
	hold->changed = true;

	cr_row_init(row, CR_KIND_CAPTURE, at, capture->amount);
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
