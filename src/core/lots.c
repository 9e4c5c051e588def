/*
 * lots.c
 *		The grants and holds of an account, as lists (CrLots).
 *
 * Most accounts have neither.  The sums in the account say so, and then no list
 * need be read.
 */
#include <string.h>

#include "core/private.h"

/* Do the sums say that there are grants or holds that time or spending can change? */
bool
cr_has_lots(const CrAccount *acc)
{
	return acc->balance.granted > 0 || acc->held.monthly > 0 || acc->held.granted > 0 ||
		acc->held.purchased > 0;
}

/* An array with room for one more than count things; the old one if it has room. */
static void *
grow(CrLots *lots, void *old, int count, int *room, size_t size)
{
	void *bigger;

	if (count < *room)
		return old;
	*room = *room ? *room * 2 : 4;
	bigger = lots->alloc(lots->ctx, size * (size_t) *room);
	if (count > 0)
		memcpy(bigger, old, size * (size_t) count);
	return bigger;
}

/* Adds a grant at its place in the order in which grants are spent. */
CrGrant *
cr_lots_add_grant(CrLots *lots, int64_t seq, CrTime ends_at)
{
	int at;

	lots->grants = grow(lots, lots->grants, lots->n_grants, &lots->room_grants,
						sizeof(CrGrant));
	at = lots->n_grants++;
	while (at > 0 &&
		   (lots->grants[at - 1].ends_at > ends_at ||
			(lots->grants[at - 1].ends_at == ends_at && lots->grants[at - 1].seq > seq)))
	{
		lots->grants[at] = lots->grants[at - 1];
		at--;
	}
	memset(&lots->grants[at], 0, sizeof(CrGrant));
	lots->grants[at].seq = seq;
	lots->grants[at].ends_at = ends_at;
	return &lots->grants[at];
}

/*
 * Adds a hold that is younger than the others, with room for so many parts.  A
 * pointer to a hold is good until the next hold is added.
 */
CrHold *
cr_lots_add_hold(CrLots *lots, int64_t seq, int n_parts)
{
	CrHold *hold;

	lots->holds = grow(lots, lots->holds, lots->n_holds, &lots->room_holds, sizeof(CrHold));
	hold = &lots->holds[lots->n_holds++];
	memset(hold, 0, sizeof(*hold));
	hold->seq = seq;
	hold->n_parts = n_parts;
	if (n_parts > 0)
		hold->parts = lots->alloc(lots->ctx, sizeof(CrPart) * (size_t) n_parts);
	return hold;
}

CrHold *
cr_find_hold(const CrAccount *acc, int64_t seq)
{
	for (int i = acc->lots ? acc->lots->n_holds - 1 : -1; i >= 0; i--)
	{
		if (acc->lots->holds[i].seq == seq)
			return &acc->lots->holds[i];
	}
	return NULL;
}

int64_t
cr_hold_left(const CrHold *hold)
{
	int64_t left = hold->monthly + hold->purchased + hold->given_back;

	for (int i = 0; i < hold->n_parts; i++)
		left += hold->parts[i].credits;
	return left;
}

/* Does a hold have no more than was set aside?  Only verification checks all of it. */
bool
cr_hold_fits(const CrHold *hold)
{
	int64_t left = hold->amount;

	if (hold->monthly < 0 || hold->monthly > left)
		return false;
	left -= hold->monthly;
	if (hold->purchased < 0 || hold->purchased > left)
		return false;
	left -= hold->purchased;
	if (hold->given_back < 0 || hold->given_back > left)
		return false;
	left -= hold->given_back;
	for (int i = 0; i < hold->n_parts; i++)
	{
		int64_t part = hold->parts[i].credits;

		if (part < 0 || part > left)
			return false;
		left -= part;
	}
	return true;
}

/* The open hold that ends first; the oldest, if several end then. */
CrHold *
cr_next_hold_end(const CrAccount *acc)
{
	CrHold *next = NULL;

	for (int i = 0; acc->lots && i < acc->lots->n_holds; i++)
	{
		CrHold *hold = &acc->lots->holds[i];

		if (hold->state == CR_HOLD_OPEN && (next == NULL || hold->ends_at < next->ends_at))
			next = hold;
	}
	return next;
}

/* The grant that ends first, of those with anything left. */
CrGrant *
cr_next_grant_end(const CrAccount *acc)
{
	for (int i = 0; acc->lots && i < acc->lots->n_grants; i++)
	{
		if (acc->lots->grants[i].left > 0)
			return &acc->lots->grants[i];
	}
	return NULL;
}

/* Do the account's boundaries change nothing but its period? */
bool
cr_is_silent(const CrAccount *acc)
{
	return acc->facts.plan == NULL && acc->facts.scheduled_plan == NULL &&
		acc->balance.monthly == 0 && acc->held.monthly == 0 && acc->owed_monthly == 0;
}

/* When time changes the account next. */
CrTime
cr_next_event(const CrAccount *acc)
{
	CrTime next = cr_is_silent(acc) ? CR_NEVER : acc->next_reset_at;
	CrHold *hold = cr_next_hold_end(acc);
	CrGrant *grant = cr_next_grant_end(acc);

	if (hold && hold->ends_at < next)
		next = hold->ends_at;
	if (grant && grant->ends_at < next)
		next = grant->ends_at;
	return next;
}

/*
 * No credits of the account change before then, if no call changes it and nothing is due
 * now.  It is the next event, or CR_NEVER.  If there are grants or holds, it may be earlier
 * than the next event, as next_event_at may be.
 *
 * The view credit_balance says the same in SQL; sql/balance_view.sql compares them.
 */
CrTime
cr_valid_until(const CrAccount *acc)
{
	return cr_has_lots(acc) ? acc->next_event_at : cr_next_event(acc);
}

/* The account must be looked at then. */
void
cr_wake_at(CrAccount *acc, CrTime at)
{
	if (at < acc->next_event_at)
		acc->next_event_at = at;
}

/* Begins the list of allocations of the row that is being made. */
void
cr_parts_begin(CrLots *lots)
{
	lots->n_parts = 0;
}

void
cr_parts_add(CrLots *lots, int64_t source, int64_t credits)
{
	if (credits == 0)
		return;
	lots->parts = grow(lots, lots->parts, lots->n_parts, &lots->room_parts, sizeof(CrPart));
	lots->parts[lots->n_parts].source = source;
	lots->parts[lots->n_parts++].credits = credits;
}

/* Gives the row the list, which is good until the next row is begun. */
void
cr_parts_to_row(const CrLots *lots, CrRow *row)
{
	row->n_allocations = lots->n_parts;
	row->allocations = lots->n_parts > 0 ? lots->parts : NULL;
}

/*
 * Takes granted credits from the grants, in their order, and notes how much each
 * gave.  The account must have so many.
 */
void
cr_burn(CrAccount *acc, int64_t credits)
{
	CrLots *lots = acc->lots;

	acc->balance.granted -= credits;
	for (int i = 0; i < lots->n_grants && credits > 0; i++)
	{
		CrGrant *grant = &lots->grants[i];
		int64_t taken = cr_min(grant->left, credits);

		if (taken == 0)
			continue;
		grant->left -= taken;
		grant->changed = true;
		credits -= taken;
		cr_parts_add(lots, grant->seq, taken);
	}
}

/* The grant, if it is in the list: it has not ended, or it is a paid one. */
CrGrant *
cr_find_grant(const CrAccount *acc, int64_t seq)
{
	for (int i = 0; i < acc->lots->n_grants; i++)
	{
		if (acc->lots->grants[i].seq == seq)
			return &acc->lots->grants[i];
	}
	return NULL;
}

/*
 * Does the grant still take credits back?  At the instant of its end it takes back only
 * what a hold that ends at that instant returns.
 */
bool
cr_grant_is_open(const CrGrant *grant, CrTime at, bool is_hold_end)
{
	return !grant->closed && (grant->ends_at > at || (grant->ends_at == at && is_hold_end));
}

/*
 * Gives credits back to a grant.  If it was empty, nothing waited for its end, but
 * something does now.
 */
void
cr_grant_return(CrAccount *acc, CrGrant *grant, int64_t credits)
{
	grant->left += credits;
	grant->changed = true;
	cr_wake_at(acc, grant->ends_at);
}

/* Ends a grant for good, and tells how much was left of it. */
int64_t
cr_grant_close(CrGrant *grant)
{
	int64_t left = grant->left;

	grant->left = 0;
	if (grant->paid)
		grant->expired += left;
	grant->closed = true;
	grant->changed = true;
	return left;
}
