/*
 * undo_rules.c
 *		Taking back what a row of a bulk run did.
 *
 * No row is removed: a new row compensates for the old one, once.  Credits that were
 * spent in the meantime cannot be taken.  If the bucket can owe, it owes them;
 * otherwise the user keeps them.
 */
#include "core/private.h"

/* Gives monthly credits, or takes them; the bucket owes what it does not have. */
static bool
change_monthly(CrAccount *acc, int64_t change)
{
	if (change < 0)
		return cr_take_or_owe(&acc->balance.monthly, &acc->owed_monthly, -change);
	return cr_credit(acc, &acc->balance.monthly, &acc->owed_monthly, change);
}

static void
change_period_granted(CrAccount *acc, int64_t change)
{
	acc->facts.period_granted += change;
	if (acc->facts.period_granted < 0)
		acc->facts.period_granted = 0;
}

/*
 * What the reset let expire comes back, and what it granted goes.  The period stays
 * the same.  Another version of the plan may grant for it anew; if that version has
 * another cycle, the period gets an end of that cycle.
 */
static CrVerdict
undo_reset(CrAccount *after, const CrRow *target, int64_t expired, const CrRegrant *regrant,
		   int64_t *change)
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

/* What the plan granted when it was applied goes; the plan itself stays. */
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

/*
 * What is left of the grant goes, and the grant is closed.  So what is held of it
 * expires as soon as the hold gives it back.
 */
static CrVerdict
undo_grant(CrAccount *after, CrTime at, const CrRow *target, int64_t *change)
{
	CrGrant *grant = cr_find_grant(after, target->seq, at, false);

	if (grant == NULL)
		return CR_NOT_UNDOABLE;
	*change = -cr_grant_close(grant);
	after->balance.granted += *change;
	return CR_OK;
}

/*
 * The plan goes with everything that it granted.  Of the purchased credits that the
 * import brought, those that are left go.
 */
static CrVerdict
undo_import(CrAccount *after, const CrRow *target, int64_t *change)
{
	int64_t purchased = cr_min(target->delta.purchased, after->balance.purchased);

	*change = -after->balance.monthly - purchased;
	after->balance.monthly = after->owed_monthly = 0;
	after->balance.purchased -= purchased;
	cr_set_facts_plan(&after->facts, NULL);
	after->facts.scheduled_plan = NULL;
	after->facts.period_granted = 0;
	after->next_reset_at = CR_NEVER;
	return CR_OK;
}

/*
 * Is the amount of a row that a run wrote what its deltas come to?  Only verification
 * reads a row's hash.  So a call that takes back what the row says asks this first.
 */
bool
cr_undone_fits(const CrRow *target)
{
	int64_t amount = target->amount;
	int64_t monthly = target->delta.monthly;
	int64_t purchased = target->delta.purchased;

	if (amount < (target->kind == CR_KIND_SET_PLAN ? -CR_MAX_CREDITS : 0) ||
		amount > CR_MAX_CREDITS)
		return false;
	switch (target->kind)
	{
		case CR_KIND_RESET:
			return target->expired >= 0 && target->expired <= CR_MAX_CREDITS &&
				monthly == amount - target->expired;
		case CR_KIND_SET_PLAN:
			return amount > 0 ? monthly >= 0 && monthly <= amount : monthly == amount;
		case CR_KIND_GRANT:
			return target->delta.granted == amount;
		case CR_KIND_IMPORT:
			return monthly >= 0 && monthly <= amount && purchased == amount - monthly;
		default:
			return true;
	}
}

/*
 * What the last boundary of a reset let expire.  If the row stands for one boundary,
 * that is what the row says.  If it stands for several, the row says what expired at
 * the first.  At the last one, the allowance of the boundary before it expired,
 * and, if that was the first, also what rolled over there.  before: the plan's
 * version at the boundary before the last (NULL: not known).
 */
int64_t
cr_expired_by_last(const CrRow *reset, const CrPlanVersion *before)
{
	int64_t kept = 0;

	if (reset->skipped == 0 || before == NULL)
		return reset->expired;
	if (reset->skipped == 1)
		kept = cr_min(reset->expired, before->rollover_limit);
	return before->monthly_credits + kept;
}

/*
 * Undoes a reset, an applied plan, a grant or an import.  expired and regrant are for
 * resets: what of it is to come back, and which version of the plan is to grant anew
 * (NULL: none).  Undoing a grant needs acc->lots.
 */
CrVerdict
cr_undo(CrAccount *acc, CrTime at, const CrRow *target, bool is_undone, int64_t expired,
		const CrRegrant *regrant, CrRow *row)
{
	CrAccount after = *acc;
	CrVerdict verdict = CR_NOT_UNDOABLE;
	int64_t change = 0;

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
	cr_row_refer(row, target->seq);
	return cr_row_finish(row, acc, &after);
}
