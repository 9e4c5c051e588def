/*
 * row.c
 *		A history row is the difference between two states of an account.
 *
 * A rule changes a copy of the account.  If nothing refuses, it ends with
 * cr_record(), or with cr_row_init(), the row's own fields and cr_row_finish().
 * Until then neither the account nor the row is touched, so a refusal leaves both
 * as they were.  Grants and holds are changed in place, so a rule changes them only
 * when nothing can refuse any more.
 */
#include <string.h>

#include "core/private.h"

bool
cr_text_equal(const char *a, const char *b)
{
	if (a == b)
		return true;
	return a && b && strcmp(a, b) == 0;
}

bool
cr_facts_equal(const CrFacts *a, const CrFacts *b)
{
	return cr_text_equal(a->plan, b->plan) && a->plan_version == b->plan_version &&
		cr_text_equal(a->scheduled_plan, b->scheduled_plan) &&
		a->cycle_anchor == b->cycle_anchor && cr_text_equal(a->time_zone, b->time_zone) &&
		a->status == b->status && a->overdraft_limit == b->overdraft_limit &&
		a->period_granted == b->period_granted && a->period_start == b->period_start &&
		a->period_share == b->period_share && a->cycle == b->cycle &&
		a->last_left == b->last_left && a->last_limit == b->last_limit &&
		a->last_undone == b->last_undone && a->low_threshold == b->low_threshold;
}

/* How many credits the row's allocations say of a source. */
int64_t
cr_part_of(const CrRow *row, int64_t source)
{
	for (int i = 0; i < row->n_allocations; i++)
	{
		if (row->allocations[i].source == source)
			return row->allocations[i].credits;
	}
	return 0;
}

void
cr_row_init(CrRow *row, CrKind kind, CrTime at, int64_t amount)
{
	memset(row, 0, sizeof(*row));
	row->kind = kind;
	row->effective_at = at;
	row->amount = amount;
}

/* The row is about an earlier row. */
void
cr_row_refer(CrRow *row, int64_t seq)
{
	row->has_ref_seq = true;
	row->ref_seq = seq;
}

/* The row is about credits that end then. */
void
cr_row_set_end(CrRow *row, CrTime ends_at)
{
	row->has_ends_at = true;
	row->ends_at = ends_at;
}

/*
 * Fills the row from the states before and after, and makes the account the state
 * after, with the row's time.  The row has facts only if they change or begin, or if a
 * period begins: two restarts in one instant have the same facts.
 *
 * next_event_at is indexed, so it is not moved to a later time just because the
 * event that it waited for is gone: when that time comes, nothing is found to be
 * due.  If the period's end moves, it follows, unless a grant or hold may end
 * before.
 */
CrVerdict
cr_row_finish(CrRow *row, CrAccount *acc, const CrAccount *after)
{
	CrTime next_event_at = after->next_event_at;
	CrTime boundary = cr_is_silent(after) ? CR_NEVER : after->next_reset_at;

	if (boundary < next_event_at ||
		(after->next_reset_at != acc->next_reset_at && !cr_has_lots(after)))
		next_event_at = boundary;

	row->period = after->period;
	row->next_reset_at = after->next_reset_at;
	row->plan_version = after->facts.plan_version;
	row->delta.monthly = after->balance.monthly - acc->balance.monthly;
	row->delta.granted = after->balance.granted - acc->balance.granted;
	row->delta.purchased = after->balance.purchased - acc->balance.purchased;
	row->balance = after->balance;
	row->held = after->held;
	row->owed_monthly = after->owed_monthly;
	row->owed_purchased = after->owed_purchased;
	row->has_facts = row->kind == CR_KIND_OPEN || row->kind == CR_KIND_IMPORT ||
		acc->is_ahead || acc->period != after->period ||
		!cr_facts_equal(&acc->facts, &after->facts);
	if (row->has_facts)
		row->facts = after->facts;

	*acc = *after;
	row->crossed = cr_cross(acc, row->kind, row->amount);
	acc->flags = cr_flags(acc);
	acc->is_ahead = false;
	acc->effective_at = row->effective_at;
	acc->next_event_at = next_event_at;
	return CR_OK;
}

/* A row that has no fields beyond these. */
CrVerdict
cr_record(CrRow *row, CrKind kind, CrTime at, int64_t amount, CrAccount *acc,
		  const CrAccount *after)
{
	cr_row_init(row, kind, at, amount);
	return cr_row_finish(row, acc, after);
}
