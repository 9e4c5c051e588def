/*
 * undo_rules.c
 *		Taking back what a row of a bulk run did.
 *
 * Nothing is removed: a row compensates for the other, once.  What was spent in
 * the meantime and cannot be taken is owed where the bucket can owe, and is left
 * otherwise.
 */
#include "core/private.h"

/* Takes monthly credits, and owes what is not there; or gives them. */
static bool
change_monthly(CrAccount *acc, int64_t change)
{
	int64_t		taken;

	if (change >= 0)
		return cr_credit(acc, &acc->balance.monthly, &acc->owed_monthly, change);
	taken = -change < acc->balance.monthly ? -change : acc->balance.monthly;
	acc->balance.monthly -= taken;
	if (-change - taken > CR_MAX_CREDITS - acc->owed_monthly)
		return false;
	acc->owed_monthly += -change - taken;
	return true;
}

static void
change_period_granted(CrAccount *acc, int64_t change)
{
	acc->facts.period_granted += change;
	if (acc->facts.period_granted < 0)
		acc->facts.period_granted = 0;
}

/*
 * The period stays consumed: what expired comes back, what was granted goes, and
 * may be granted anew by another version of the plan.  The version says which
 * cycle the period's end belongs to, so that moves on with another cycle.
 */
static CrVerdict
undo_reset(CrAccount *after, const CrRow *target, int64_t expired,
		   const CrRegrant *regrant, int64_t *change)
{
	if (target->period_start != after->period_start)
		return CR_NOT_UNDOABLE;
	*change = expired - target->amount;
	if (!change_monthly(after, *change))
		return CR_OVER_CAP;
	change_period_granted(after, -target->amount);
	if (regrant == NULL)
		return CR_OK;
	*change += regrant->plan->monthly_credits;
	if (!change_monthly(after, regrant->plan->monthly_credits))
		return CR_OVER_CAP;
	change_period_granted(after, regrant->plan->monthly_credits);
	after->facts.plan_version = regrant->plan->version;
	after->next_reset_at = regrant->next_reset_at;
	return CR_OK;
}

static CrVerdict
undo_plan(CrAccount *after, const CrRow *target, int64_t *change)
{
	if (target->period_start != after->period_start)
		return CR_NOT_UNDOABLE;
	*change = -target->amount;
	if (!change_monthly(after, *change))
		return CR_OVER_CAP;
	change_period_granted(after, *change);
	return CR_OK;
}

/* What is held comes back to a grant that is closed, and expires. */
static CrVerdict
undo_grant(CrAccount *after, CrTime at, const CrRow *target, int64_t *change)
{
	CrGrant    *grant = cr_find_grant(after, target->seq, at, false);

	if (grant == NULL)
		return CR_NOT_UNDOABLE;
	*change = -grant->left;
	after->balance.granted -= grant->left;
	grant->left = 0;
	grant->closed = true;
	grant->changed = true;
	return CR_OK;
}

/* The plan goes, with all that it gave, and what is left of what was brought. */
static CrVerdict
undo_import(CrAccount *after, const CrRow *target, int64_t *change)
{
	int64_t		purchased = target->delta.purchased < after->balance.purchased ?
		target->delta.purchased : after->balance.purchased;

	*change = -after->balance.monthly - purchased;
	after->balance.monthly = after->owed_monthly = 0;
	after->balance.purchased -= purchased;
	after->facts.plan = after->facts.scheduled_plan = NULL;
	after->facts.plan_version = 0;
	after->facts.period_granted = 0;
	after->next_reset_at = CR_NEVER;
	return CR_OK;
}

/*
 * What the last boundary of a reset took.  A row that stands for several took what
 * there was before the first; its last one what the boundary before that, by the
 * version before (NULL: not known), had granted or, if it was the first, let stay.
 */
int64_t
cr_expired_by_last(const CrRow *reset, const CrPlanVersion *before)
{
	int64_t		kept = 0;

	if (reset->skipped == 0 || before == NULL)
		return reset->expired;
	if (reset->skipped == 1)
		kept = reset->expired < before->rollover_limit ? reset->expired : before->rollover_limit;
	return before->monthly_credits + kept;
}

/*
 * expired, regrant: of a reset, what it took, and the version to grant by (NULL:
 * none).  A grant needs acc->lots.
 */
CrVerdict
cr_undo(CrAccount *acc, CrTime at, const CrRow *target, bool is_undone, int64_t expired,
		const CrRegrant *regrant, CrRow *row)
{
	CrAccount	after = *acc;
	CrVerdict	verdict = CR_NOT_UNDOABLE;
	int64_t		change = 0;

	if (is_undone)
		return CR_NOT_UNDOABLE;
	if (target->kind == CR_KIND_RESET)
		verdict = undo_reset(&after, target, expired, regrant, &change);
	else if (target->kind == CR_KIND_SET_PLAN)
		verdict = undo_plan(&after, target, &change);
	else if (target->kind == CR_KIND_GRANT)
		verdict = undo_grant(&after, at, target, &change);
	else if (target->kind == CR_KIND_IMPORT)
		verdict = undo_import(&after, target, &change);
	if (verdict != CR_OK)
		return verdict;

	cr_row_init(row, CR_KIND_UNDO, at, change);
	row->has_ref_seq = true;
	row->ref_seq = target->seq;
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}
