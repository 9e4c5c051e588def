/*
 * replay.c
 *		Does a stored row follow from the state before it?
 *
 * Verification replays an account's rows through the rules that wrote them.  The
 * table "kinds" says for each kind of row what must hold and which rule is replayed.
 * The row that the rule makes must then be the stored one.
 *
 * Two things are not worked out again.  The end of a period is believed if some time
 * zone could give it, because time-zone data may have changed since the row was
 * written.  The version of a plan is believed if it was in force at the row's time,
 * because after a clock ran ahead, a newer version may be defined for a time that
 * has passed already.  The chain protects both.
 */
#include <string.h>

#include "core/private.h"

/* Some 140,000 years either way: no difference of two times overflows. */
#define EARLIEST_TIME (INT64_MIN / 2)
#define LATEST_TIME	  (INT64_MAX / 2)

/* A row, and what it is replayed with. */
typedef struct Replay
{
	const CrAccount *acc; /* the state before the row */
	const CrEnv *env;
	const CrRow *row;
	CrTime at;				   /* the row's time */
	const CrFacts *facts;	   /* as they are after the row, if it says the truth */
	const CrPlanVersion *plan; /* that the row says; NULL: none */
	const CrRow *target;	   /* the row that it refunds or undoes; NULL: none */
	int64_t used;			   /* see cr_replay() in core.h */
	CrHold *hold;			   /* that the row captures or releases */
} Replay;

#define CHECK(field, complaint)               \
	do                                        \
	{                                         \
		if (expected->field != stored->field) \
			return complaint;                 \
	} while (0)

static const char *
compare_rows(const CrRow *expected, const CrRow *stored)
{
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
	if (stored->has_ends_at && expected->ends_at != stored->ends_at)
		return "ends_at does not follow from the operation";
	for (int i = 0; i < stored->n_allocations; i++)
	{
		if (expected->allocations[i].source != stored->allocations[i].source ||
			expected->allocations[i].credits != stored->allocations[i].credits)
			return "allocations do not follow from the operation";
	}
	if (stored->has_facts && !cr_facts_equal(&expected->facts, &stored->facts))
		return "plan, cycle, zone, status or limits do not follow from the operation";
	return NULL;
}

/* Is the account's own row the state that its history ends in? */
const char *
cr_compare_head(const CrAccount *stored, const CrAccount *expected)
{
	CHECK(history_seq, "history_seq is not the last row's");
	if (memcmp(stored->history_hash, expected->history_hash, CR_HASH_LEN) != 0)
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
	if (!cr_facts_equal(&stored->facts, &expected->facts))
		return "plan, cycle, zone, status or limits are not what the history gives";
	if (stored->next_event_at > cr_next_event(expected))
		return "next_event_at is later than the next event";
	return NULL;
}

/*
 * The place of a row in the history
 */

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
static const char *
turn_problem(const CrAccount *acc, const CrRow *row)
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

/*
 * The plan and the end of the period that a row says
 */

/*
 * Finds the version of the plan.  Another cycle keeps the version that the account
 * has, which after a clock repair may be one that is not in force yet.
 */
static const char *
plan_problem(Replay *r)
{
	if (r->facts->plan == NULL)
		return NULL;
	r->plan = r->env->plan_version(r->env->ctx, r->facts->plan, r->row->plan_version);
	if (r->plan == NULL)
		return "plan_version names no version of the plan";
	if (r->plan->effective_from > r->at && r->row->kind != CR_KIND_SET_CYCLE)
		return "plan_version was not in force";
	return NULL;
}

/* Does the row leave the account in the period in which it is? */
static bool
keeps_period(const Replay *r)
{
	return r->acc->next_reset_at != CR_NEVER &&
		(r->row->kind == CR_KIND_SET_PLAN || r->row->kind == CR_KIND_SET_CYCLE ||
		 r->row->kind == CR_KIND_UNDO);
}

/* May the row stretch the period?  Another anchor, zone or cycle does that. */
static bool
may_stretch(const Replay *r, const CrPlanVersion *plan)
{
	const CrPlanVersion *old = NULL;

	if (r->row->kind == CR_KIND_SET_CYCLE)
		return r->row->has_facts;
	if (r->acc->facts.plan)
		old = r->env->plan_version(r->env->ctx, r->acc->facts.plan,
								   r->acc->facts.plan_version);
	return old == NULL || old->cycle != plan->cycle;
}

/* Can the period have the end that the row says, with this version of the plan? */
static const char *
end_problem(const Replay *r, const CrPlanVersion *plan)
{
	CrTime end = r->row->next_reset_at;
	CrTime old_end = r->acc->next_reset_at;
	bool keeps = keeps_period(r);

	if (plan == NULL && !(keeps && r->row->kind == CR_KIND_SET_CYCLE))
		return end == (keeps ? old_end : CR_NEVER)
			? NULL
			: "next_reset_at is not what it is without a plan";
	if (end == CR_NEVER || end <= r->at)
		return "next_reset_at is no end of the period";
	if (end - (keeps ? old_end : r->at) > cr_longest_period())
		return "next_reset_at is too far away";
	if (keeps && (end < old_end || (end > old_end && !may_stretch(r, plan))))
		return "next_reset_at is not the end that the period had";
	return NULL;
}

/*
 * What else must hold for a kind of row before its rule is replayed.  Some of these
 * functions also find what the rule needs.
 */

static const char *
open_problem(Replay *r)
{
	const CrAccount *acc = r->acc;

	if (!r->row->has_facts)
		return "the opening row has no facts";
	if (acc->history_seq > 0 && (acc->facts.plan || acc->next_reset_at != CR_NEVER))
		return "the account was open already";
	return NULL;
}

static const char *
imported_problem(Replay *r)
{
	return cr_can_import(r->acc) ? NULL : "the account was in use already";
}

static const char *
import_problem(Replay *r)
{
	const CrBuckets *brought = &r->row->delta;

	if (brought->monthly < 0 || brought->monthly > CR_MAX_CREDITS || brought->purchased < 0 ||
		brought->purchased > CR_MAX_CREDITS)
		return "amount is out of range";
	if (r->row->period_start > r->at)
		return "period_start is after the import";
	return imported_problem(r);
}

static const char *
plan_change_problem(Replay *r)
{
	if (r->acc->facts.scheduled_plan == NULL)
		return "no plan change was scheduled";
	if (!cr_text_equal(r->plan ? r->plan->plan : "", r->acc->facts.scheduled_plan))
		return "the plan is not the one scheduled";
	return NULL;
}

static const char *
reset_problem(Replay *r)
{
	if (r->acc->facts.scheduled_plan)
		return "the scheduled plan change is missing";
	if (r->row->skipped > 0 && (r->plan == NULL || r->plan->rollover_limit > 0))
		return "boundaries were skipped where each one counts";
	return NULL;
}

static const char *
overdraft_problem(Replay *r)
{
	if (r->row->has_facts &&
		(r->row->facts.overdraft_limit < 0 ||
		 r->row->facts.overdraft_limit > CR_MAX_OVERDRAFT))
		return "overdraft_limit is out of range";
	return NULL;
}

static const char *
grant_problem(Replay *r)
{
	return !r->row->has_ends_at || r->row->ends_at == CR_NEVER ? "a grant has no end" : NULL;
}

static const char *
hold_problem(Replay *r)
{
	return !r->row->has_ends_at || r->row->ends_at > r->at + CR_LONGEST_HOLD
		? "a hold has no end, or one too far away"
		: NULL;
}

static const char *
settled_hold_problem(Replay *r)
{
	r->hold = r->row->has_ref_seq ? cr_find_hold(r->acc, r->row->ref_seq) : NULL;
	return r->hold ? NULL : "ref_seq names no hold";
}

static const char *
refund_problem(Replay *r)
{
	CrSpent spent;

	return r->target && cr_spent(&spent, r->target) ? NULL
													: "ref_seq names nothing that was spent";
}

static const char *
revoke_problem(Replay *r)
{
	return r->row->has_ref_seq ? NULL : "ref_seq names no purchase";
}

static const char *
undo_problem(Replay *r)
{
	return r->target ? NULL : "ref_seq names nothing that can be undone";
}

static const char *
archive_problem(Replay *r)
{
	const CrRow *row = r->row;

	return !row->has_ref_seq || row->ref_seq < 1 || row->ref_seq >= row->seq ||
			row->request_digest == NULL
		? "it seals no checkpoint"
		: NULL;
}

static const char *
unknown_problem(Replay *r)
{
	(void) r;
	return "kind is not known";
}

/*
 * The rules, given what the row says.  They put texts into the account that are in
 * the row's memory, which the caller keeps.
 */

static CrVerdict
replay_open(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_apply_open(after, r->at, r->plan, r->facts->cycle_anchor, r->facts->time_zone,
						 r->row->next_reset_at, expected);
}

static CrVerdict
replay_import(const Replay *r, CrAccount *after, CrRow *expected)
{
	CrImport import = {.plan = r->plan,
					   .anchor = r->facts->cycle_anchor,
					   .zone = r->facts->time_zone,
					   .period_start = r->row->period_start,
					   .next_reset_at = r->row->next_reset_at,
					   .monthly = r->row->delta.monthly,
					   .purchased = r->row->delta.purchased};

	return cr_import(after, r->at, &import, expected);
}

static CrVerdict
replay_set_plan(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_apply_plan(after, r->at, r->plan, r->row->next_reset_at, expected);
}

static CrVerdict
replay_set_cycle(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_apply_cycle(after, r->at, r->facts->cycle_anchor, r->facts->time_zone,
						  r->row->next_reset_at, expected);
}

static CrVerdict
replay_schedule_plan(const Replay *r, CrAccount *after, CrRow *expected)
{
	const char *next = r->facts->scheduled_plan;

	if (next == NULL)
		next = r->acc->facts.plan;
	else if (next[0] == '\0')
		next = NULL;
	return cr_schedule_plan(after, r->at, next, expected);
}

static CrVerdict
replay_plan_change(const Replay *r, CrAccount *after, CrRow *expected)
{
	cr_apply_plan_change(after, r->at, r->plan, expected);
	return CR_OK;
}

static CrVerdict
replay_reset(const Replay *r, CrAccount *after, CrRow *expected)
{
	cr_apply_boundary(after, r->at, r->plan, r->row->next_reset_at, r->row->skipped, expected);
	return CR_OK;
}

static CrVerdict
replay_freeze(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_set_status(after, r->at, CR_FROZEN, expected);
}

static CrVerdict
replay_unfreeze(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_set_status(after, r->at, CR_ACTIVE, expected);
}

static CrVerdict
replay_set_overdraft(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_set_overdraft(after, r->at, r->facts->overdraft_limit, expected);
}

/* The bucket is not stored, but it is the one in which something changed. */
static CrVerdict
replay_adjust(const Replay *r, CrAccount *after, CrRow *expected)
{
	CrBucket bucket = CR_PURCHASED;

	if (r->row->delta.granted != 0)
		bucket = CR_GRANTED;
	else if (r->row->delta.monthly != 0 || r->row->owed_monthly != r->acc->owed_monthly)
		bucket = CR_MONTHLY;
	return cr_adjust(after, r->at, bucket, r->row->amount, expected);
}

static CrVerdict
replay_revoke(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_revoke(after, r->at, r->row->amount, r->row->ref_seq, expected);
}

static CrVerdict
replay_grant(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_grant(after, r->at, r->row->seq, r->row->amount, r->row->ends_at, expected);
}

static CrVerdict
replay_grant_end(const Replay *r, CrAccount *after, CrRow *expected)
{
	cr_apply_grant_end(after, cr_next_grant_end(r->acc), expected);
	return CR_OK;
}

static CrVerdict
replay_hold(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_hold(after, r->at, r->row->seq, r->row->amount, r->row->ends_at, expected);
}

static CrVerdict
replay_hold_end(const Replay *r, CrAccount *after, CrRow *expected)
{
	cr_apply_hold_end(after, cr_next_hold_end(r->acc), expected);
	return CR_OK;
}

static CrVerdict
replay_capture(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_capture(after, r->at, r->hold, r->row->amount, r->row->has_ends_at, expected);
}

static CrVerdict
replay_release(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_release(after, r->at, r->hold, expected);
}

static CrVerdict
replay_refund(const Replay *r, CrAccount *after, CrRow *expected)
{
	CrSpent spent;

	(void) cr_spent(&spent, r->target);
	spent.refunded = r->used;
	return cr_refund(after, r->at, &spent, r->row->amount, expected);
}

static CrVerdict
replay_archive(const Replay *r, CrAccount *after, CrRow *expected)
{
	cr_archive(after, r->at, r->row->ref_seq, expected);
	return CR_OK;
}

/* The version of the plan by which an undone reset can have been granted anew. */
static const CrPlanVersion *
regrant_version(const Replay *r)
{
	const CrPlanVersion *plan = NULL;

	if (r->acc->facts.plan)
		plan = r->env->plan_version(r->env->ctx, r->acc->facts.plan, r->row->plan_version);
	if (plan && (plan->effective_from > r->at || end_problem(r, plan)))
		plan = NULL;
	return plan;
}

/* Undoes a reset in one of the possible ways; false if the row is not of that way. */
static bool
try_undo(const Replay *r, int64_t expired, const CrRegrant *regrant, CrAccount *after,
		 CrRow *expected)
{
	CrAccount tried = *after;

	if (cr_undo(&tried, r->at, r->target, r->used > 0, expired, regrant, expected) != CR_OK ||
		compare_rows(expected, r->row) != NULL)
		return false;
	*after = tried;
	return true;
}

/*
 * A reset can be undone with everything that it let expire, or only with what its
 * last boundary did, before which some version of the plan had granted.  In both
 * cases it may be granted anew.  The row's amount alone does not tell which of these
 * it was, so they are tried.
 */
static CrVerdict
replay_undo(const Replay *r, CrAccount *after, CrRow *expected)
{
	const char *name = r->acc->facts.plan;
	const CrRow *target = r->target;
	const CrPlanVersion *before = NULL;
	CrRegrant regrant = {.plan = regrant_version(r), .next_reset_at = r->row->next_reset_at};

	for (int32_t version = 1; target->kind == CR_KIND_RESET; version++)
	{
		int64_t expired = cr_expired_by_last(target, before);

		if (try_undo(r, expired, NULL, after, expected) ||
			(regrant.plan && try_undo(r, expired, &regrant, after, expected)))
			return CR_OK;
		before = name && target->skipped > 0 ? r->env->plan_version(r->env->ctx, name, version)
											 : NULL;
		if (before == NULL || before->effective_from > target->effective_at)
			break;
	}
	return cr_undo(after, r->at, target, r->used > 0, target->expired, NULL, expected);
}

/* What a row of a kind says, beside what every row does. */
enum
{
	FIRST = 1,	 /* it can be the first row of an account */
	CREDITS = 2, /* its amount is at least one credit */
	PLAN = 4,	 /* the version of the plan */
	END = 8		 /* the end of the period; goes with PLAN */
};

/* One of the last three is the rule. */
typedef struct KindRule
{
	int says;
	const char *(*problem)(Replay *r); /* NULL: nothing else must hold */
	CrVerdict (*rule)(const Replay *r, CrAccount *after, CrRow *expected);
	CrVerdict (*amount_rule)(CrAccount *acc, CrTime at, int64_t amount, CrRow *row);
	CrVerdict (*time_rule)(CrAccount *acc, CrTime at, CrRow *row);
} KindRule;

/* For each kind of row: what must hold (says and problem), and the rule that made it. */
static const KindRule kinds[CR_KIND_COUNT + 1] = {
	[CR_KIND_OPEN] = {.says = FIRST | PLAN | END, .problem = open_problem, .rule = replay_open},
	[CR_KIND_IMPORTED] = {.says = FIRST,
						  .problem = imported_problem,
						  .amount_rule = cr_imported},
	[CR_KIND_IMPORT] = {.says = FIRST | PLAN | END,
						.problem = import_problem,
						.rule = replay_import},

	[CR_KIND_SET_PLAN] = {.says = PLAN | END, .rule = replay_set_plan},
	[CR_KIND_SET_CYCLE] = {.says = PLAN | END, .rule = replay_set_cycle},
	[CR_KIND_SCHEDULE_PLAN] = {.rule = replay_schedule_plan},
	[CR_KIND_PLAN_CHANGE] = {.says = PLAN,
							 .problem = plan_change_problem,
							 .rule = replay_plan_change},
	[CR_KIND_RESET] = {.says = PLAN | END, .problem = reset_problem, .rule = replay_reset},

	[CR_KIND_FREEZE] = {.rule = replay_freeze},
	[CR_KIND_UNFREEZE] = {.rule = replay_unfreeze},
	[CR_KIND_SET_OVERDRAFT] = {.problem = overdraft_problem, .rule = replay_set_overdraft},
	[CR_KIND_CLOCK_REPAIR] = {.time_rule = cr_repair_clock},
	[CR_KIND_CLOSE] = {.time_rule = cr_close},

	[CR_KIND_DEDUCT] = {.says = CREDITS, .amount_rule = cr_deduct},
	[CR_KIND_PURCHASE] = {.says = CREDITS, .amount_rule = cr_purchase},
	[CR_KIND_REVOKE] = {.says = CREDITS, .problem = revoke_problem, .rule = replay_revoke},
	[CR_KIND_REFUND] = {.says = CREDITS, .problem = refund_problem, .rule = replay_refund},
	[CR_KIND_ADJUST] = {.rule = replay_adjust},
	[CR_KIND_TRANSFER_OUT] = {.says = CREDITS, .amount_rule = cr_transfer_out},
	[CR_KIND_TRANSFER_IN] = {.says = CREDITS, .amount_rule = cr_transfer_in},

	[CR_KIND_GRANT] = {.says = CREDITS, .problem = grant_problem, .rule = replay_grant},
	[CR_KIND_GRANT_END] = {.rule = replay_grant_end},
	[CR_KIND_HOLD] = {.says = CREDITS, .problem = hold_problem, .rule = replay_hold},
	[CR_KIND_HOLD_END] = {.rule = replay_hold_end},
	[CR_KIND_CAPTURE] = {.says = CREDITS,
						 .problem = settled_hold_problem,
						 .rule = replay_capture},
	[CR_KIND_RELEASE] = {.problem = settled_hold_problem, .rule = replay_release},

	[CR_KIND_UNDO] = {.problem = undo_problem, .rule = replay_undo},
	[CR_KIND_ARCHIVE] = {.problem = archive_problem, .rule = replay_archive},
	[CR_KIND_COUNT] = {.problem = unknown_problem},
};

/* Can a row of the kind come next in the account's history? */
static const char *
place_problem(const CrAccount *acc, const CrRow *row, const KindRule *kind)
{
	if (row->malformed)
		return row->malformed;
	if (row->seq != acc->history_seq + 1)
		return "seq has a gap";
	if (row->seq == 1 && !(kind->says & FIRST))
		return "the first row does not open the account";
	if (row->amount < -CR_MAX_CREDITS || row->amount > CR_MAX_CREDITS ||
		(row->amount < 1 && kind->says & CREDITS))
		return "amount is out of range";
	if (row->effective_at < EARLIEST_TIME || row->effective_at > LATEST_TIME)
		return "effective_at is out of range";
	if (row->effective_at < acc->effective_at && row->kind != CR_KIND_CLOCK_REPAIR)
		return "effective_at is before the row before it";
	return turn_problem(acc, row);
}

/* Makes the state after the row and the row that is expected. */
static const char *
replay_rule(Replay *r, const KindRule *kind, CrAccount *after, CrRow *expected)
{
	const char *complaint = NULL;
	CrVerdict verdict;

	if (kind->says & PLAN)
		complaint = plan_problem(r);
	if (complaint == NULL && kind->says & END)
		complaint = end_problem(r, r->plan);
	if (complaint == NULL && kind->problem)
		complaint = kind->problem(r);
	if (complaint)
		return complaint;
	if (kind->amount_rule)
		verdict = kind->amount_rule(after, r->at, r->row->amount, expected);
	else if (kind->time_rule)
		verdict = kind->time_rule(after, r->at, expected);
	else
		verdict = kind->rule(r, after, expected);
	return verdict == CR_OK ? NULL : "the operation could not have been done in this state";
}

const char *
cr_replay(CrAccount *acc, const CrEnv *env, const CrRow *row, const CrRow *target,
		  int64_t used)
{
	const KindRule *kind = &kinds[row->kind < CR_KIND_COUNT ? row->kind : CR_KIND_COUNT];
	const char *complaint = place_problem(acc, row, kind);
	CrAccount after = *acc;
	CrRow expected;
	Replay r = {.acc = acc,
				.env = env,
				.row = row,
				.at = row->effective_at,
				.facts = row->has_facts ? &row->facts : &acc->facts,
				.target = target,
				.used = used};

	if (complaint == NULL)
		complaint = replay_rule(&r, kind, &after, &expected);
	if (complaint == NULL)
		complaint = compare_rows(&expected, row);
	if (complaint)
		return complaint;

	after.history_seq = row->seq;
	memcpy(after.history_hash, row->hash, CR_HASH_LEN);
	*acc = after;
	return NULL;
}
