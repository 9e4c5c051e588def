/*
 * place.c
 *		Can a stored row come next in its account's history, and in that period?
 *
 * replay.c asks this before it replays the row's rule.
 */
#include "core/private.h"

/* Does a reset, or the plan change before it, come when the period ends? */
static bool
is_at_period_end(const CrAccount *acc, const CrRow *row)
{
	if (row->skipped < 0 || acc->next_reset_at == CR_NEVER)
		return false;
	return row->skipped == 0 ? row->effective_at == acc->next_reset_at
							 : row->effective_at > acc->next_reset_at;
}

/*
 * A row is written only after everything that was due before it, and an event only
 * in its turn: first holds end, then grants, then the period.
 */
const char *
cr_turn_problem(const CrAccount *acc, const CrRow *row)
{
	const CrHold *hold = cr_next_hold_end(acc);
	const CrGrant *grant = cr_next_grant_end(acc);
	CrTime hold_end = hold ? hold->ends_at : CR_NEVER;
	CrTime grant_end = grant ? grant->ends_at : CR_NEVER;
	CrTime at = row->effective_at;

	switch (row->kind)
	{
		case CR_KIND_CLOCK_REPAIR:
			return NULL;
		case CR_KIND_HOLD_END:
			return hold && row->has_ref_seq && row->ref_seq == hold->seq && at == hold_end &&
					at <= grant_end && at <= acc->next_reset_at
				? NULL
				: "no hold ends here";
		case CR_KIND_GRANT_END:
			return grant && row->has_ref_seq && row->ref_seq == grant->seq &&
					at == grant_end && at < hold_end && at <= acc->next_reset_at
				? NULL
				: "no grant ends here";
		default:
			break;
	}
	if (hold_end <= at)
		return "the end of a hold that was due is missing";
	if (grant_end <= at)
		return "the end of a grant that was due is missing";
	if (row->kind == CR_KIND_RESET || row->kind == CR_KIND_PLAN_CHANGE)
		return is_at_period_end(acc, row) ? NULL : "effective_at is not the end of the period";
	return acc->next_reset_at <= at ? "a reset that was due is missing" : NULL;
}

/* Of how many periods does the row itself write the beginning? */
int64_t
cr_begun_by(const CrRow *row)
{
	return row->kind == CR_KIND_RESET ? 1 + (int64_t) row->skipped
									  : row->kind == CR_KIND_RESTART;
}

/* Can a period of the account begin and end then, with this share of a full period? */
const char *
cr_period_problem(const CrAccount *acc, CrTime start, const CrRow *row, bool is_first)
{
	const CrFacts *facts = &row->facts;
	CrTime end = row->next_reset_at;

	if (!row->has_facts)
		return "a period begins without facts";
	if (start < CR_EARLIEST_TIME || facts->cycle == CR_NO_CYCLE || end <= start)
		return "next_reset_at is no end of the period";
	if (end > CR_LATEST_TIME || end - start > cr_longest_period(facts->cycle))
		return "next_reset_at is too far away";
	if (facts->period_share < 0 || facts->period_share > CR_FULL_SHARE)
		return "period_share is out of range";
	/* only another anchor, zone or cycle makes a period shorter, and only the first one */
	if (facts->period_share < CR_FULL_SHARE &&
		(!is_first || !(acc->end_from.differs || facts->cycle != acc->facts.cycle)))
		return "period_share is not a whole period's";
	return NULL;
}

/*
 * An account without a plan passes boundaries that make no row.  The next row says in which
 * period the account is.  Brings the account there, if that can be.
 */
const char *
cr_pass_silently(CrAccount *acc, const CrRow *row)
{
	CrFacts *facts = &acc->facts;
	CrTime start = row->facts.period_start;
	const char *complaint;
	int64_t passed;

	if (row->period < 1 || row->period > CR_MAX_CREDITS)
		return "period is out of range";
	passed = row->period - cr_begun_by(row) - acc->period;
	if (passed == 0)
		return NULL;
	if (passed < 0 || !cr_is_silent(acc) || acc->next_reset_at > row->effective_at)
		return "period does not follow from the row before it";
	/* a restart ends that period, and the undo of an import leaves it open-ended */
	if (row->kind != CR_KIND_RESTART && row->facts.cycle != CR_NO_CYCLE)
	{
		complaint = cr_period_problem(acc, start, row, passed == 1);
		if (complaint)
			return complaint;
		if (passed == 1 ? start != acc->next_reset_at : start < acc->next_reset_at)
			return "period_start is not the end of the period before";
		if (start > row->effective_at)
			return "period_start is after the row";
	}
	acc->period += passed;
	acc->is_ahead = true;
	acc->next_reset_at = row->kind == CR_KIND_RESTART ? CR_NEVER : row->next_reset_at;
	acc->end_from = (CrEndFrom){0};
	facts->period_start = start;
	facts->period_share = row->facts.period_share;
	facts->period_granted = 0;
	facts->last_left = facts->last_limit = 0;
	facts->last_undone = false;
	acc->last_charged = passed == 1 ? acc->charged_monthly : 0;
	acc->last_closed_seq = acc->closed_seq;
	acc->charged_monthly = 0;
	return NULL;
}
