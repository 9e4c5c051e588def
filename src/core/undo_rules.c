/*
 * undo_rules.c
 *		Taking back what a row of a bulk run did.
 *
 * No row is removed: a new row compensates for the old one, once.  Credits that were
 * spent in the meantime cannot be taken.  If the bucket can owe, it owes them;
 * otherwise the user keeps them.
 */
#include "core/private.h"

/*
 * Is the row of the running period, and of the plans that the account has had since it last
 * had none?  The undo of an import ends them, and begins the period anew.
 */
static bool
is_of_this_life(const CrAccount *acc, const CrRow *target)
{
	return target->period == acc->period && acc->facts.cycle != CR_NO_CYCLE &&
		(!target->has_facts || target->facts.period_start == acc->facts.period_start);
}

/*
 * Are plan and version still those that the row left, and nothing else granted since?  If the
 * import was undone since, which brought the account, nothing is.
 */
static bool
is_as_left(const CrAccount *acc, const CrRow *target, int64_t granted)
{
	return is_of_this_life(acc, target) && target->has_facts &&
		cr_text_equal(target->facts.plan, acc->facts.plan) &&
		target->facts.plan_version == acc->facts.plan_version &&
		acc->facts.period_granted == granted;
}

/*
 * What expired when a hold of the period before ended comes back by the undo.  So a late
 * capture cannot use it any more.  It is then an ordinary deduction.
 */
static void
give_back_expired(const CrAccount *acc)
{
	for (int i = 0; i < acc->lots->n_holds; i++)
	{
		CrHold *hold = &acc->lots->holds[i];

		if (hold->state != CR_HOLD_EXPIRED || hold->period != acc->period - 1 ||
			hold->monthly == 0)
			continue;
		hold->given_back += hold->monthly;
		hold->monthly = 0;
		hold->changed = true;
	}
}

/*
 * Undoes a reset.  The period stays the same.  Without regrant, the allowance goes, and what
 * the boundary let expire comes back, as if the plan had granted just that.  What comes back
 * later from the period before is not lost any more, either.  With regrant, the allowance
 * of that version takes the place of the one that was granted.
 */
static CrVerdict
undo_reset(CrAccount *after, const CrRow *target, const CrPlanVersion *regrant)
{
	CrFacts *facts = &after->facts;
	int64_t granted;

	if (target->has_facts && target->facts.status == CR_CLOSED)
		return CR_NOT_UNDOABLE; /* it granted nothing, and let nothing expire */
	if (regrant)
	{
		if (!is_of_this_life(after, target) || !cr_same_length(regrant->cycle, facts->cycle))
			return CR_NOT_UNDOABLE;
		granted = cr_allowance(after, regrant);
		if (granted == facts->period_granted && regrant->version == facts->plan_version)
			return CR_UNCHANGED;
		cr_take_version(after, regrant);
		cr_change_cycle(after, facts->cycle_anchor, facts->time_zone, regrant->cycle);
	}
	else
	{
		if (!is_as_left(after, target, target->amount))
			return CR_NOT_UNDOABLE;
		granted = cr_carried(facts->last_left, INT64_MAX) -
			cr_carried(facts->last_left, facts->last_limit);
		facts->last_undone = true;
	}
	return cr_change_granted(after, granted) ? CR_OK : CR_OVER_CAP;
}

/* What the plan granted or took when it was applied is taken or given; the plan stays. */
static CrVerdict
undo_plan(CrAccount *after, const CrRow *target)
{
	int64_t granted = after->facts.period_granted;

	if (!is_as_left(after, target, target->facts.period_granted) || target->amount > granted)
		return CR_NOT_UNDOABLE;
	return cr_change_granted(after, granted - target->amount) ? CR_OK : CR_OVER_CAP;
}

/*
 * What is left of the grant goes, and the grant is closed.  So what is held of it
 * expires as soon as the hold gives it back.
 */
static CrVerdict
undo_grant(CrAccount *after, CrTime at, const CrRow *target)
{
	CrGrant *grant = cr_find_grant(after, target->seq);

	if (grant == NULL || !cr_grant_is_open(grant, at, false))
		return CR_NOT_UNDOABLE;
	after->balance.granted -= cr_grant_close(grant);
	return CR_OK;
}

/*
 * How much of what rolled over into the period goes with an import of an earlier period.  What
 * adjustments brought since then stays, as far as it rolled over.  So only that much rolls over
 * of what comes back later, too.
 */
static int64_t
take_rolled_over(CrFacts *facts, int64_t adjusted)
{
	int64_t carried = cr_carried(facts->last_left, facts->last_limit);
	int64_t limit = facts->last_undone ? INT64_MAX : facts->last_limit;

	facts->last_limit = cr_min(limit, adjusted);
	return carried - cr_carried(facts->last_left, facts->last_limit);
}

/*
 * What the import brought goes, and the plan with everything that it granted.  What is held
 * or spent of it is owed.  The account is then as if it never had a plan.
 */
static CrVerdict
undo_import(CrAccount *after, CrTime at, const CrRow *target, int64_t adjusted)
{
	CrFacts *facts = &after->facts;
	int64_t monthly = facts->period_granted;

	if (target->period == after->period)
		monthly += cr_brought(target, CR_FROM_MONTHLY) - target->facts.period_granted;
	else
		monthly += take_rolled_over(facts, adjusted);
	facts->period_granted = monthly; /* negative: a plan change took more than was brought */
	if (!cr_change_granted(after, 0) ||
		!cr_take_or_owe(&after->balance.purchased, &after->owed_purchased,
						cr_brought(target, CR_FROM_PURCHASED)))
		return CR_OVER_CAP;
	cr_take_plan(after, NULL);
	facts->scheduled_plan = NULL;
	facts->cycle = CR_NO_CYCLE;
	facts->period_start = at;
	facts->period_share = CR_FULL_SHARE;
	facts->last_undone = false;
	after->end_from = (CrEndFrom){0};
	after->next_reset_at = CR_NEVER;
	return CR_OK;
}

/* The same for an import: what it brought is its amount, and the balances got no more. */
static bool
import_fits(const CrRow *import)
{
	int64_t monthly = cr_brought(import, CR_FROM_MONTHLY);
	int64_t purchased = cr_brought(import, CR_FROM_PURCHASED);

	return import->n_allocations <= 2 && import->has_facts && import->delta.monthly >= 0 &&
		import->delta.purchased >= 0 && monthly >= import->delta.monthly &&
		purchased >= import->delta.purchased && monthly <= import->amount &&
		purchased == import->amount - monthly;
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

	if (amount < (target->kind == CR_KIND_SET_PLAN ? -CR_MAX_CREDITS : 0) ||
		amount > CR_MAX_CREDITS)
		return false;
	switch (target->kind)
	{
		case CR_KIND_RESET:
			return target->expired >= 0 && target->expired <= CR_MAX_CREDITS &&
				monthly == amount - target->expired;
		case CR_KIND_SET_PLAN:
			return amount > 0 ? monthly >= 0 && monthly <= amount
							  : monthly <= 0 && monthly >= amount;
		case CR_KIND_GRANT:
			return target->delta.granted == amount;
		case CR_KIND_IMPORT:
			return import_fits(target);
		default:
			return true;
	}
}

/* What the row gives, or takes: what is owed counts as taken. */
static int64_t
change_of(const CrAccount *before, const CrAccount *after)
{
	return cr_available(after) - after->owed_monthly - after->owed_purchased -
		(cr_available(before) - before->owed_monthly - before->owed_purchased);
}

/*
 * Undoes a reset, an applied plan, a grant or an import.  regrant: for a reset, the version
 * of the plan that grants anew (NULL: none).  adjusted: for an import, see core.h.  Undoing a
 * grant needs acc->lots, and undoing a reset needs there the holds that have expired and were
 * not captured.
 */
CrVerdict
cr_undo(CrAccount *acc, CrTime at, const CrRow *target, bool is_undone,
		const CrPlanVersion *regrant, int64_t adjusted, CrRow *row)
{
	CrAccount after = *acc;
	CrVerdict verdict = CR_NOT_UNDOABLE;

	if (is_undone || acc->closed_seq > target->seq)
		return CR_NOT_UNDOABLE; /* closing has taken all, and what it took stays lost */
	if (target->kind == CR_KIND_RESET)
		verdict = undo_reset(&after, target, regrant);
	else if (target->kind == CR_KIND_SET_PLAN)
		verdict = undo_plan(&after, target);
	else if (target->kind == CR_KIND_GRANT)
		verdict = undo_grant(&after, at, target);
	else if (target->kind == CR_KIND_IMPORT)
		verdict = undo_import(&after, at, target, adjusted);
	if (verdict != CR_OK)
		return verdict;
	if (target->kind == CR_KIND_RESET && regrant == NULL)
		give_back_expired(acc);

	cr_row_init(row, CR_KIND_UNDO, at, change_of(acc, &after));
	cr_row_refer(row, target->seq);
	return cr_row_finish(row, acc, &after);
}
