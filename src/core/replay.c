/*
 * replay.c
 *		Does a stored row follow from the state before it?
 *
 * Verification replays an account's rows through the very rules that wrote
 * them.  The end of a period is not worked out again, because time-zone data
 * may have changed since: it is believed within what any zone could give (the
 * chain protects it).  So is the version of a plan, if it was in force: with a
 * clock that ran ahead, a newer one can be defined for a time already passed.
 */
#include <string.h>

#include "core/private.h"

static const char *
compare_rows(const CrRow *expected, const CrRow *row)
{
#define CHECK(field, complaint) \
	do { if (expected->field != row->field) return complaint; } while (0)

	CHECK(delta.monthly, "monthly_delta does not follow from the operation");
	CHECK(delta.granted, "granted_delta does not follow from the operation");
	CHECK(delta.purchased, "purchased_delta does not follow from the operation");
	CHECK(balance.monthly, "monthly is not the balance before plus the delta");
	CHECK(balance.granted, "granted is not the balance before plus the delta");
	CHECK(balance.purchased, "purchased is not the balance before plus the delta");
	CHECK(held.monthly, "held_monthly does not follow from the operation");
	CHECK(held.granted, "held_granted does not follow from the operation");
	CHECK(held.purchased, "held_purchased does not follow from the operation");
	CHECK(owed_monthly, "owed_monthly does not follow from the operation");
	CHECK(owed_purchased, "owed_purchased does not follow from the operation");
	CHECK(amount, "amount does not follow from the operation");
	CHECK(expired, "expired does not follow from the operation");
	CHECK(forfeited, "forfeited does not follow from the operation");
	CHECK(skipped, "skipped does not follow from the operation");
	CHECK(period_start, "period_start does not follow from the operation");
	CHECK(next_reset_at, "next_reset_at does not follow from the operation");
	CHECK(plan_version, "plan_version does not follow from the operation");
	CHECK(has_facts, "facts are stored where none changed, or missing where they did");
	CHECK(has_ref_seq, "ref_seq does not follow from the operation");
	CHECK(ref_seq, "ref_seq does not follow from the operation");
	CHECK(has_ends_at, "ends_at does not follow from the operation");
	CHECK(n_allocations, "allocations do not follow from the operation");
#undef CHECK
	if (row->has_ends_at && expected->ends_at != row->ends_at)
		return "ends_at does not follow from the operation";
	for (int i = 0; i < row->n_allocations; i++)
	{
		if (expected->allocations[i].source != row->allocations[i].source ||
			expected->allocations[i].credits != row->allocations[i].credits)
			return "allocations do not follow from the operation";
	}
	if (row->has_facts && !cr_facts_equal(&expected->facts, &row->facts))
		return "plan, cycle, zone, status or limits do not follow from the operation";
	return NULL;
}

/*
 * The version that a row says a plan had.  The plan's name is in the row where
 * the row changed it, else the account's.  Another cycle keeps the version that
 * the account has, which after a clock repair may be one to come.
 */
static const CrPlanVersion *
row_plan(const CrAccount *acc, const CrEnv *env, const CrRow *row, const char **complaint)
{
	const char *name = row->has_facts ? row->facts.plan : acc->facts.plan;
	const CrPlanVersion *plan;

	if (name == NULL)
		return NULL;
	plan = env->plan_version(env->ctx, name, row->plan_version);
	if (plan == NULL)
		*complaint = "plan_version names no version of the plan";
	else if (plan->effective_from > row->effective_at && row->kind != CR_KIND_SET_CYCLE)
		*complaint = "plan_version was not in force";
	return plan;
}

/* Some 140,000 years either way: no difference of two times overflows. */
#define EARLIEST_TIME	(INT64_MIN / 2)
#define LATEST_TIME		(INT64_MAX / 2)

/* Is the end that a row gives the period one that it can have? */
static const char *
end_problem(const CrAccount *acc, const CrEnv *env, const CrRow *row,
			const CrPlanVersion *plan)
{
	CrTime		end = row->next_reset_at;
	bool		fresh = (row->kind != CR_KIND_SET_PLAN && row->kind != CR_KIND_SET_CYCLE &&
						 row->kind != CR_KIND_UNDO) || acc->next_reset_at == CR_NEVER;
	const CrPlanVersion *old = NULL;

	if (plan == NULL && (row->kind != CR_KIND_SET_CYCLE || acc->next_reset_at == CR_NEVER))
		return end == (fresh ? CR_NEVER : acc->next_reset_at) ? NULL :
			"next_reset_at is not what it is without a plan";
	if (end == CR_NEVER || end <= row->effective_at)
		return "next_reset_at is no end of the period";
	if (end - (fresh ? row->effective_at : acc->next_reset_at) > cr_longest_period())
		return "next_reset_at is too far away";
	if (fresh)
		return NULL;
	if (acc->facts.plan)
		old = env->plan_version(env->ctx, acc->facts.plan, acc->facts.plan_version);
	if (end < acc->next_reset_at ||
		(old && plan && old->cycle == plan->cycle && end != acc->next_reset_at &&
		 row->kind != CR_KIND_SET_CYCLE) ||
		(row->kind == CR_KIND_SET_CYCLE && !row->has_facts && end != acc->next_reset_at))
		return "next_reset_at is not the end that the period had";
	return NULL;
}

/* Kinds of rows that take or give a number of credits, at least one. */
static bool
has_amount(CrKind kind)
{
	return kind == CR_KIND_DEDUCT || kind == CR_KIND_PURCHASE || kind == CR_KIND_GRANT ||
		kind == CR_KIND_HOLD || kind == CR_KIND_CAPTURE || kind == CR_KIND_REFUND ||
		kind == CR_KIND_REVOKE || kind == CR_KIND_TRANSFER_OUT ||
		kind == CR_KIND_TRANSFER_IN;
}

/*
 * A row is written only after all that was due before it, and an event in its
 * turn: holds end first, then grants, then the period.
 */
static const char *
turn_problem(const CrAccount *acc, const CrRow *row)
{
	const CrHold *hold = cr_next_hold_end(acc);
	const CrGrant *grant = cr_next_grant_end(acc);
	CrTime		hold_end = hold ? hold->ends_at : CR_NEVER;
	CrTime		grant_end = grant ? grant->ends_at : CR_NEVER;
	CrTime		at = row->effective_at;

	switch (row->kind)
	{
		case CR_KIND_CLOCK_REPAIR:
			return NULL;
		case CR_KIND_HOLD_END:
			return hold && row->has_ref_seq && row->ref_seq == hold->seq && at == hold_end &&
				at <= grant_end && at <= acc->next_reset_at ? NULL :
				"no hold ends here";
		case CR_KIND_GRANT_END:
			return grant && row->has_ref_seq && row->ref_seq == grant->seq &&
				at == grant_end && at < hold_end && at <= acc->next_reset_at ? NULL :
				"no grant ends here";
		default:
			break;
	}
	if (hold_end <= at)
		return "the end of a hold that was due is missing";
	if (grant_end <= at)
		return "the end of a grant that was due is missing";
	if (row->kind == CR_KIND_RESET || row->kind == CR_KIND_PLAN_CHANGE)
		return row->skipped < 0 || acc->next_reset_at == CR_NEVER ||
			(row->skipped == 0 ? at != acc->next_reset_at : at <= acc->next_reset_at) ?
			"effective_at is not the end of the period" : NULL;
	return acc->next_reset_at <= at ? "a reset that was due is missing" : NULL;
}

/* Captures and releases name a hold that there was. */
static CrHold *
named_hold(const CrAccount *acc, const CrRow *row)
{
	return row->has_ref_seq ? cr_find_hold(acc, row->ref_seq) : NULL;
}

static const char *
replay_import(CrAccount *after, const CrAccount *acc, const CrPlanVersion *plan,
			  const CrRow *row, CrVerdict *verdict, CrRow *expected)
{
	CrImport	import = {.plan = plan,.anchor = acc->facts.cycle_anchor,
		.zone = acc->facts.time_zone,.period_start = row->period_start,
		.next_reset_at = row->next_reset_at,.monthly = row->delta.monthly,
	.purchased = row->delta.purchased};

	if (row->has_facts)
	{
		import.anchor = row->facts.cycle_anchor;
		import.zone = row->facts.time_zone;
	}
	if (import.monthly < 0 || import.monthly > CR_MAX_CREDITS || import.purchased < 0 ||
		import.purchased > CR_MAX_CREDITS)
		return "amount is out of range";
	if (import.period_start > row->effective_at)
		return "period_start is after the import";
	if (!cr_can_import(acc))
		return "the account was in use already";
	*verdict = cr_import(after, row->effective_at, &import, expected);
	return NULL;
}

/*
 * Undoes a row as the row at hand says.  A reset can be undone with all that it
 * took, or only its last boundary, before which some version of the plan had
 * granted; and it may be granted anew.  The amount alone does not tell which.
 */
static CrVerdict
replay_undo(CrAccount *after, const CrEnv *env, const CrRow *target, int64_t used,
			const CrRow *row, CrRow *expected)
{
	const char *name = after->facts.plan;
	const CrPlanVersion *again = NULL;
	const CrPlanVersion *before = NULL;
	CrRegrant	regrant;

	if (name)
		again = env->plan_version(env->ctx, name, row->plan_version);
	if (again && (again->effective_from > row->effective_at ||
				  end_problem(after, env, row, again)))
		again = NULL;
	regrant = (CrRegrant){.plan = again,.next_reset_at = row->next_reset_at};
	for (int32_t version = 1; target->kind == CR_KIND_RESET; version++)
	{
		int64_t		expired = cr_expired_by_last(target, before);

		for (int anew = 0; anew < (again ? 2 : 1); anew++)
		{
			CrAccount	tried = *after;

			if (cr_undo(&tried, row->effective_at, target, used > 0, expired,
						anew ? &regrant : NULL, expected) == CR_OK &&
				compare_rows(expected, row) == NULL)
			{
				*after = tried;
				return CR_OK;
			}
		}
		before = name && target->skipped > 0 ?
			env->plan_version(env->ctx, name, version) : NULL;
		if (before == NULL || before->effective_from > target->effective_at)
			break;
	}
	return cr_undo(after, row->effective_at, target, used > 0, target->expired, NULL, expected);
}

const char *
cr_replay(CrAccount *acc, const CrEnv *env, const CrRow *row, const CrRow *target,
		  int64_t used)
{
	CrAccount	after = *acc;
	CrRow		expected;
	CrVerdict	verdict = CR_OK;
	CrTime		at = row->effective_at;
	CrHold	   *hold;
	bool		event = row->kind == CR_KIND_RESET || row->kind == CR_KIND_PLAN_CHANGE;
	const char *complaint = NULL;
	const CrPlanVersion *plan = NULL;
	CrSpent		spent;

	if (row->malformed)
		return row->malformed;
	if (row->seq != acc->history_seq + 1)
		return "seq has a gap";
	if (row->seq == 1 && row->kind != CR_KIND_OPEN && row->kind != CR_KIND_IMPORT &&
		row->kind != CR_KIND_IMPORTED)
		return "the first row does not open the account";
	if (row->amount < -CR_MAX_CREDITS || row->amount > CR_MAX_CREDITS ||
		(row->amount < 1 && has_amount(row->kind)))
		return "amount is out of range";
	if (at < EARLIEST_TIME || at > LATEST_TIME)
		return "effective_at is out of range";
	if (at < acc->effective_at && row->kind != CR_KIND_CLOCK_REPAIR)
		return "effective_at is before the row before it";
	complaint = turn_problem(acc, row);
	if (complaint)
		return complaint;

	if (event || row->kind == CR_KIND_OPEN || row->kind == CR_KIND_SET_PLAN ||
		row->kind == CR_KIND_SET_CYCLE || row->kind == CR_KIND_IMPORT)
	{
		plan = row_plan(acc, env, row, &complaint);
		if (complaint == NULL && row->kind != CR_KIND_PLAN_CHANGE)
			complaint = end_problem(acc, env, row, plan);
		if (complaint)
			return complaint;
	}

	/*
	 * Text that the rules store in the account is taken from the row, whose
	 * memory the caller keeps.
	 */
	switch (row->kind)
	{
		case CR_KIND_OPEN:
			if (!row->has_facts)
				return "the opening row has no facts";
			if (acc->history_seq > 0 && (acc->facts.plan || acc->next_reset_at != CR_NEVER))
				return "the account was open already";
			verdict = cr_apply_open(&after, at, plan, row->facts.cycle_anchor,
									row->facts.time_zone, row->next_reset_at, &expected);
			break;
		case CR_KIND_DEDUCT:
			verdict = cr_deduct(&after, at, row->amount, &expected);
			break;
		case CR_KIND_PURCHASE:
			verdict = cr_purchase(&after, at, row->amount, &expected);
			break;
		case CR_KIND_ADJUST:
			verdict = cr_adjust(&after, at,
								row->delta.granted != 0 ? CR_GRANTED :
								row->delta.monthly != 0 ||
								row->owed_monthly != acc->owed_monthly ? CR_MONTHLY :
								CR_PURCHASED, row->amount, &expected);
			break;
		case CR_KIND_SET_PLAN:
			verdict = cr_apply_plan(&after, at, plan, row->next_reset_at, &expected);
			break;
		case CR_KIND_SET_CYCLE:
			verdict = cr_apply_cycle(&after, at, row->has_facts ? row->facts.cycle_anchor :
									 acc->facts.cycle_anchor,
									 row->has_facts ? row->facts.time_zone :
									 acc->facts.time_zone, row->next_reset_at, &expected);
			break;
		case CR_KIND_SCHEDULE_PLAN:
			{
				const char *next = row->has_facts ? row->facts.scheduled_plan :
					acc->facts.scheduled_plan;

				verdict = cr_schedule_plan(&after, at,
										   next == NULL ? acc->facts.plan :
										   next[0] == '\0' ? NULL : next, &expected);
				break;
			}
		case CR_KIND_PLAN_CHANGE:
			if (acc->facts.scheduled_plan == NULL)
				return "no plan change was scheduled";
			if (!cr_text_equal(plan ? plan->plan : "", acc->facts.scheduled_plan))
				return "the plan is not the one scheduled";
			cr_apply_plan_change(&after, at, plan, &expected);
			break;
		case CR_KIND_RESET:
			if (acc->facts.scheduled_plan)
				return "the scheduled plan change is missing";
			if (row->skipped > 0 && (plan == NULL || plan->rollover_limit > 0))
				return "boundaries were skipped where each one counts";
			cr_apply_boundary(&after, at, plan, row->next_reset_at, row->skipped, &expected);
			break;
		case CR_KIND_FREEZE:
			verdict = cr_set_status(&after, at, CR_FROZEN, &expected);
			break;
		case CR_KIND_UNFREEZE:
			verdict = cr_set_status(&after, at, CR_ACTIVE, &expected);
			break;
		case CR_KIND_CLOCK_REPAIR:
			verdict = cr_repair_clock(&after, at, &expected);
			break;
		case CR_KIND_GRANT:
			if (!row->has_ends_at || row->ends_at == CR_NEVER)
				return "a grant has no end";
			verdict = cr_grant(&after, at, row->seq, row->amount, row->ends_at, &expected);
			break;
		case CR_KIND_GRANT_END:
			cr_apply_grant_end(&after, cr_next_grant_end(acc), &expected);
			break;
		case CR_KIND_HOLD:
			if (!row->has_ends_at || row->ends_at > at + CR_LONGEST_HOLD)
				return "a hold has no end, or one too far away";
			verdict = cr_hold(&after, at, row->seq, row->amount, row->ends_at, &expected);
			break;
		case CR_KIND_HOLD_END:
			cr_apply_hold_end(&after, cr_next_hold_end(acc), &expected);
			break;
		case CR_KIND_CAPTURE:
			hold = named_hold(acc, row);
			if (hold == NULL)
				return "ref_seq names no hold";
			verdict = cr_capture(&after, at, hold, row->amount, row->has_ends_at, &expected);
			break;
		case CR_KIND_RELEASE:
			hold = named_hold(acc, row);
			if (hold == NULL)
				return "ref_seq names no hold";
			verdict = cr_release(&after, at, hold, &expected);
			break;
		case CR_KIND_REFUND:
			if (target == NULL || !cr_spent(&spent, target))
				return "ref_seq names nothing that was spent";
			spent.refunded = used;
			verdict = cr_refund(&after, at, &spent, row->amount, &expected);
			break;
		case CR_KIND_UNDO:
			if (target == NULL)
				return "ref_seq names nothing that can be undone";
			verdict = replay_undo(&after, env, target, used, row, &expected);
			break;
		case CR_KIND_IMPORTED:
			if (!cr_can_import(acc))
				return "the account was in use already";
			verdict = cr_imported(&after, at, row->amount, &expected);
			break;
		case CR_KIND_IMPORT:
			complaint = replay_import(&after, acc, plan, row, &verdict, &expected);
			if (complaint)
				return complaint;
			break;
		case CR_KIND_TRANSFER_OUT:
			verdict = cr_transfer_out(&after, at, row->amount, &expected);
			break;
		case CR_KIND_TRANSFER_IN:
			verdict = cr_transfer_in(&after, at, row->amount, &expected);
			break;
		case CR_KIND_ARCHIVE:
			if (!row->has_ref_seq || row->ref_seq < 1 || row->ref_seq >= row->seq ||
				row->request_digest == NULL)
				return "it seals no checkpoint";
			cr_archive(&after, at, row->ref_seq, &expected);
			break;
		case CR_KIND_CLOSE:
			verdict = cr_close(&after, at, &expected);
			break;
		case CR_KIND_REVOKE:
			if (!row->has_ref_seq)
				return "ref_seq names no purchase";
			verdict = cr_revoke(&after, at, row->amount, row->ref_seq, &expected);
			break;
		case CR_KIND_SET_OVERDRAFT:
			if (row->has_facts && (row->facts.overdraft_limit < 0 ||
								   row->facts.overdraft_limit > CR_MAX_CREDITS))
				return "overdraft_limit is out of range";
			verdict = cr_set_overdraft(&after, at, row->has_facts ?
									   row->facts.overdraft_limit :
									   acc->facts.overdraft_limit, &expected);
			break;
		case CR_KIND_COUNT:
			return "kind is not known";
	}
	if (verdict != CR_OK)
		return "the operation could not have been done in this state";
	complaint = compare_rows(&expected, row);
	if (complaint)
		return complaint;

	after.history_seq = row->seq;
	memcpy(after.history_hash, row->hash, CR_HASH_LEN);
	*acc = after;
	return NULL;
}

/* Is the account's own row the state that its history ends in? */
const char *
cr_compare_head(const CrAccount *stored, const CrAccount *replayed)
{
#define CHECK(field, complaint) \
	do { if (stored->field != replayed->field) return complaint; } while (0)

	CHECK(history_seq, "history_seq is not the last row's");
	if (memcmp(stored->history_hash, replayed->history_hash, CR_HASH_LEN) != 0)
		return "history_hash is not the last row's";
	CHECK(balance.monthly, "monthly is not what the history gives");
	CHECK(balance.granted, "granted is not what the history gives");
	CHECK(balance.purchased, "purchased is not what the history gives");
	CHECK(held.monthly, "held_monthly is not what the history gives");
	CHECK(held.granted, "held_granted is not what the history gives");
	CHECK(held.purchased, "held_purchased is not what the history gives");
	CHECK(owed_monthly, "owed_monthly is not what the history gives");
	CHECK(owed_purchased, "owed_purchased is not what the history gives");
	CHECK(period_start, "last_monthly_reset is not what the history gives");
	CHECK(next_reset_at, "next_reset_at is not what the history gives");
	CHECK(effective_at, "effective_at is not the last row's");
#undef CHECK
	if (!cr_facts_equal(&stored->facts, &replayed->facts))
		return "plan, cycle, zone, status or limits are not what the history gives";
	if (stored->next_event_at > cr_next_event(replayed))
		return "next_event_at is later than the next event";
	return NULL;
}
