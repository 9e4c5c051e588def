/*
 * row.c
 *		A history row is what lies between two states of an account.
 */
#include <string.h>

#include "core/core.h"

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
	return cr_text_equal(a->plan, b->plan) &&
		a->plan_version == b->plan_version &&
		cr_text_equal(a->scheduled_plan, b->scheduled_plan) &&
		a->cycle_anchor == b->cycle_anchor &&
		cr_text_equal(a->time_zone, b->time_zone) &&
		a->status == b->status &&
		a->overdraft_limit == b->overdraft_limit &&
		a->period_granted == b->period_granted;
}

void
cr_row_init(CrRow *row, CrKind kind, CrTime at, int64_t amount)
{
	memset(row, 0, sizeof(*row));
	row->kind = kind;
	row->effective_at = at;
	row->amount = amount;
}

/*
 * Fills the row from the states before and after, and moves the account's time
 * to the row's.  Facts are in the row only where they change, or begin.
 * next_event_at stays as early as it was, because it is indexed; time finds out
 * that nothing comes.
 */
void
cr_row_finish(CrRow *row, const CrAccount *before, CrAccount *after)
{
	after->effective_at = row->effective_at;
	if (after->next_reset_at < after->next_event_at ||
		(after->next_reset_at != before->next_reset_at && !cr_has_lots(after)))
		after->next_event_at = after->next_reset_at;

	row->period_start = after->period_start;
	row->next_reset_at = after->next_reset_at;
	row->plan_version = after->facts.plan_version;
	row->delta.monthly = after->balance.monthly - before->balance.monthly;
	row->delta.granted = after->balance.granted - before->balance.granted;
	row->delta.purchased = after->balance.purchased - before->balance.purchased;
	row->balance = after->balance;
	row->held = after->held;
	row->owed_monthly = after->owed_monthly;
	row->owed_purchased = after->owed_purchased;
	row->has_facts = row->kind == CR_KIND_OPEN || row->kind == CR_KIND_IMPORT ||
		!cr_facts_equal(&before->facts, &after->facts);
	if (row->has_facts)
		row->facts = after->facts;
}
