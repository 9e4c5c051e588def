/*
 * open.c
 *		The grants and holds of an account.
 *
 * Most accounts have neither, and then nothing of this is needed: the sums in
 * the account say so.
 */
#include <string.h>

#include "core/inside.h"

/* Do the sums say that there are grants or holds that time or spending changes? */
bool
cr_has_open(const CrAccount *acc)
{
	return acc->balance.granted > 0 || cr_held(acc) > 0;
}

/* Room for one more of count things. */
static void *
grow(CrOpen *open, void *old, int count, int *room, size_t size)
{
	void	   *bigger;

	if (count < *room)
		return old;
	*room = *room ? *room * 2 : 4;
	bigger = open->alloc(open->ctx, size * (size_t) *room);
	if (count > 0)
		memcpy(bigger, old, size * (size_t) count);
	return bigger;
}

/* A grant in its place in the order in which they burn. */
CrGrant *
cr_open_add_grant(CrOpen *open, int64_t seq, CrTime ends_at)
{
	int			at;

	open->grants = grow(open, open->grants, open->n_grants, &open->room_grants,
						sizeof(CrGrant));
	at = open->n_grants++;
	while (at > 0 && (open->grants[at - 1].ends_at > ends_at ||
					  (open->grants[at - 1].ends_at == ends_at &&
					   open->grants[at - 1].seq > seq)))
	{
		open->grants[at] = open->grants[at - 1];
		at--;
	}
	memset(&open->grants[at], 0, sizeof(CrGrant));
	open->grants[at].seq = seq;
	open->grants[at].ends_at = ends_at;
	return &open->grants[at];
}

/*
 * A hold, younger than those there are, with room for parts.  Pointers to holds
 * are good until the next one is added.
 */
CrHold *
cr_open_add_hold(CrOpen *open, int64_t seq, int n_parts)
{
	CrHold	   *hold;

	open->holds = grow(open, open->holds, open->n_holds, &open->room_holds, sizeof(CrHold));
	hold = &open->holds[open->n_holds++];
	memset(hold, 0, sizeof(*hold));
	hold->seq = seq;
	hold->n_parts = n_parts;
	if (n_parts > 0)
		hold->parts = open->alloc(open->ctx, sizeof(CrPart) * (size_t) n_parts);
	return hold;
}

CrHold *
cr_open_hold(const CrAccount *acc, int64_t seq)
{
	for (int i = acc->open ? acc->open->n_holds - 1 : -1; i >= 0; i--)
	{
		if (acc->open->holds[i].seq == seq)
			return &acc->open->holds[i];
	}
	return NULL;
}

int64_t
cr_hold_left(const CrHold *hold)
{
	int64_t		left = hold->monthly + hold->purchased;

	for (int i = 0; i < hold->n_parts; i++)
		left += hold->parts[i].credits;
	return left;
}

/* The open hold that ends first, the oldest of several. */
CrHold *
cr_next_hold_end(const CrAccount *acc)
{
	CrHold	   *next = NULL;

	for (int i = 0; acc->open && i < acc->open->n_holds; i++)
	{
		CrHold	   *hold = &acc->open->holds[i];

		if (hold->state == CR_HOLD_OPEN && (next == NULL || hold->ends_at < next->ends_at))
			next = hold;
	}
	return next;
}

/* The grant with anything left that ends first. */
CrGrant *
cr_next_grant_end(const CrAccount *acc)
{
	for (int i = 0; acc->open && i < acc->open->n_grants; i++)
	{
		if (acc->open->grants[i].left > 0)
			return &acc->open->grants[i];
	}
	return NULL;
}

/* When something happens next. */
CrTime
cr_next_event(const CrAccount *acc)
{
	CrTime		next = acc->next_reset_at;
	CrHold	   *hold = cr_next_hold_end(acc);
	CrGrant    *grant = cr_next_grant_end(acc);

	if (hold && hold->ends_at < next)
		next = hold->ends_at;
	if (grant && grant->ends_at < next)
		next = grant->ends_at;
	return next;
}

/* The allocations of the row at hand. */
void
cr_parts_begin(CrOpen *open)
{
	open->n_parts = 0;
}

void
cr_parts_add(CrOpen *open, int64_t source, int64_t credits)
{
	if (credits == 0)
		return;
	open->parts = grow(open, open->parts, open->n_parts, &open->room_parts, sizeof(CrPart));
	open->parts[open->n_parts].source = source;
	open->parts[open->n_parts++].credits = credits;
}

/* They are the row's until the next one is made. */
void
cr_parts_to_row(const CrOpen *open, CrRow *row)
{
	row->n_allocations = open->n_parts;
	row->allocations = open->n_parts > 0 ? open->parts : NULL;
}

/* Takes granted credits that there are, from the grants in their order. */
void
cr_burn(CrAccount *acc, int64_t credits)
{
	CrOpen	   *open = acc->open;

	acc->balance.granted -= credits;
	for (int i = 0; i < open->n_grants && credits > 0; i++)
	{
		CrGrant    *grant = &open->grants[i];
		int64_t		taken = grant->left < credits ? grant->left : credits;

		if (taken == 0)
			continue;
		grant->left -= taken;
		grant->changed = true;
		credits -= taken;
		cr_parts_add(open, grant->seq, taken);
	}
}

/*
 * The grant, if it still takes anything back.  At the instant of its end it does
 * so for a hold that ends then.
 */
CrGrant *
cr_grant_open_at(const CrAccount *acc, int64_t seq, CrTime at, bool at_its_end)
{
	for (int i = 0; i < acc->open->n_grants; i++)
	{
		CrGrant    *grant = &acc->open->grants[i];

		if (grant->seq == seq)
			return grant->closed || grant->ends_at < at ||
				(grant->ends_at == at && !at_its_end) ? NULL : grant;
	}
	return NULL;
}
