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

/* A row, and what it is replayed with. */
typedef struct Replay
{
	const CrAccount *acc; /* the state before the row */
	const CrEnv *env;
	const CrRow *row;
	CrTime at;				   /* the row's time */
	const CrFacts *facts;	   /* as they are after the row, if it says the truth */
	const CrPlanVersion *plan; /* that the row says; NULL: none */
	const CrReplayed *about;   /* see cr_replay() in core.h */
	CrHold *hold;			   /* that the row captures or releases */
} Replay;

#define CHECK(field, complaint)               \
	do                                        \
	{                                         \
		if (expected->field != stored->field) \
			return complaint;                 \
	} while (0)

static bool
same_parts(const CrRow *a, const CrRow *b)
{
	if (a->n_allocations != b->n_allocations)
		return false;
	for (int i = 0; i < a->n_allocations; i++)
	{
		if (a->allocations[i].source != b->allocations[i].source ||
			a->allocations[i].credits != b->allocations[i].credits)
			return false;
	}
	return true;
}

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
	CHECK(crossed, "crossed does not follow from the operation");
	CHECK(period, "period does not follow from the operation");
	CHECK(next_reset_at, "next_reset_at does not follow from the operation");
	CHECK(plan_version, "plan_version does not follow from the operation");
	CHECK(has_facts, "facts are stored where none changed, or missing where they did");
	CHECK(has_ref_seq, "ref_seq does not follow from the operation");
	CHECK(ref_seq, "ref_seq does not follow from the operation");
	CHECK(has_ends_at, "ends_at does not follow from the operation");
	if (stored->has_ends_at && expected->ends_at != stored->ends_at)
		return "ends_at does not follow from the operation";
	if (!same_parts(expected, stored))
		return "allocations do not follow from the operation";
	if (stored->has_facts && !cr_facts_equal(&expected->facts, &stored->facts))
		return "plan, period, cycle, zone, status or limits do not follow from the operation";
	return NULL;
}

static bool
same_end(const CrEndFrom *a, const CrEndFrom *b)
{
	return a->differs == b->differs &&
		(!a->differs ||
		 (a->anchor == b->anchor && cr_text_equal(a->zone, b->zone) && a->cycle == b->cycle));
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
	CHECK(period, "period is not what the history gives");
	CHECK(closed_seq, "closed_seq is not what the history gives");
	CHECK(forfeited, "forfeited is not what the history gives");
	CHECK(charged_monthly, "charged_monthly is not what the history gives");
	CHECK(charged_purchased, "charged_purchased is not what the history gives");
	CHECK(last_charged, "last_charged is not what the history gives");
	CHECK(last_closed_seq, "last_closed_seq is not what the history gives");
	CHECK(plan_threshold, "plan_threshold is not what the history gives");
	CHECK(level, "level is not what the history gives");
	CHECK(flags, "flags is not what the history gives");
	CHECK(next_reset_at, "next_reset_at is not what the history gives");
	CHECK(effective_at, "effective_at is not the last row's");
	if (!cr_facts_equal(&stored->facts, &expected->facts))
		return "plan, period, cycle, zone, status or limits are not what the history gives";
	if (!same_end(&stored->end_from, &expected->end_from))
		return "end_anchor, end_zone or end_cycle is not what the history gives";
	if (stored->next_event_at > cr_next_event(expected))
		return "next_event_at is later than the next event";
	return NULL;
}

/*
 * The plan and the period that a row says
 */

/* Finds the version of the plan. */
static const char *
plan_problem(Replay *r)
{
	if (r->facts->plan == NULL)
		return NULL;
	r->plan = r->env->plan_version(r->env->ctx, r->facts->plan, r->row->plan_version);
	if (r->plan == NULL)
		return "plan_version names no version of the plan";
	return r->plan->effective_from > r->at ? "plan_version was not in force" : NULL;
}

/* Can the period have the end that the row says? */
static const char *
end_problem(const Replay *r)
{
	bool is_first_plan = r->plan && r->acc->facts.cycle == CR_NO_CYCLE;
	CrTime end = r->row->next_reset_at;

	if (cr_begun_by(r->row) > 0)
		return cr_period_problem(r->acc, r->at, r->row,
								 r->row->kind == CR_KIND_RESET && r->row->skipped == 0);
	if (!is_first_plan)
		return end == r->acc->next_reset_at ? NULL
											: "next_reset_at is not the end of the period";
	return cr_period_problem(r->acc, r->at, r->row, false);
}

/*
 * What else must hold for a kind of row before its rule is replayed.  Some of these
 * functions also find what the rule needs.
 */

static const char *
open_problem(Replay *r)
{
	if (!r->row->has_facts)
		return "the opening row has no facts";
	return r->acc->facts.cycle == CR_NO_CYCLE ? NULL : "the account was open already";
}

static const char *
imported_problem(Replay *r)
{
	return cr_can_import(r->acc) ? NULL : "the account was in use already";
}

static const char *
import_problem(Replay *r)
{
	const CrRow *row = r->row;
	int64_t monthly = cr_brought(row, CR_FROM_MONTHLY);
	int64_t purchased = cr_brought(row, CR_FROM_PURCHASED);

	if (monthly < 0 || monthly > CR_MAX_CREDITS || purchased < 0 || purchased > CR_MAX_CREDITS)
		return "amount is out of range";
	if (!row->has_facts || row->facts.period_start > r->at)
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
threshold_problem(Replay *r)
{
	int64_t threshold = r->facts->low_threshold;

	return threshold < CR_NO_THRESHOLD || threshold > CR_MAX_CREDITS
		? "low_threshold is out of range"
		: NULL;
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
	if (r->row->amount < 0)
		return "amount is out of range";
	r->hold = r->row->has_ref_seq ? cr_find_hold(r->acc, r->row->ref_seq) : NULL;
	return r->hold ? NULL : "ref_seq names no hold";
}

static const char *
refund_problem(Replay *r)
{
	CrSpent spent;

	return r->about->target && cr_spent(&spent, r->about->target)
		? NULL
		: "ref_seq names nothing that was spent";
}

static const char *
payment_problem(Replay *r)
{
	int64_t total = cr_part_of(r->row, CR_TOTAL);

	if (r->about->paid == NULL)
		return "ref_seq names no payment";
	if (r->row->amount < (total > 0 ? 0 : 1) || total < 0)
		return "amount is out of range";
	if (total > r->about->paid->amount)
		return "allocations are out of range";
	return r->row->kind == CR_KIND_REVOKE &&
			r->row->amount > r->about->paid->amount - r->about->paid->revoked
		? "more is revoked than was paid for"
		: NULL;
}

static const char *
transfer_problem(Replay *r)
{
	int64_t recent = cr_part_of(r->row, CR_RECENT);

	return recent < 0 || recent > r->row->amount ? "allocations are out of range" : NULL;
}

static const char *
undo_problem(Replay *r)
{
	return r->about->target ? NULL : "ref_seq names nothing that can be undone";
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
					   .period_start = r->facts->period_start,
					   .next_reset_at = r->row->next_reset_at,
					   .monthly = cr_brought(r->row, CR_FROM_MONTHLY),
					   .purchased = cr_brought(r->row, CR_FROM_PURCHASED)};
	CrVerdict verdict = cr_import(after, r->at, &import, expected);

	/* the parts are in this function's memory */
	if (verdict == CR_OK && same_parts(expected, r->row))
		expected->allocations = r->row->allocations;
	else
		expected->n_allocations = -1;
	return verdict;
}

static CrVerdict
replay_set_plan(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_apply_plan(after, r->at, r->plan, r->row->next_reset_at, expected);
}

static CrVerdict
replay_set_cycle(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_apply_cycle(after, r->at, r->facts->cycle_anchor, r->facts->time_zone, expected);
}

static CrVerdict
replay_restart(const Replay *r, CrAccount *after, CrRow *expected)
{
	if (r->plan == NULL)
		return CR_NO_PERIOD;
	return cr_apply_restart(after, r->at, r->plan, r->facts->cycle_anchor,
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
	CrPeriod period = {r->row->next_reset_at, r->facts->period_share};

	cr_apply_boundary(after, r->at, r->plan, period, r->row->skipped, expected);
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

static CrVerdict
replay_set_low_threshold(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_set_low_threshold(after, r->at, r->facts->low_threshold, expected);
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
	return cr_revoke(after, r->at, r->row->amount, r->about->paid,
					 cr_part_of(r->row, CR_TOTAL), expected);
}

static CrVerdict
replay_reinstate(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_reinstate(after, r->at, r->row->amount, r->about->paid, expected);
}

static CrVerdict
replay_transfer_out(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_transfer_out(after, r->at, r->row->amount, cr_part_of(r->row, CR_RECENT),
						   expected);
}

static CrVerdict
replay_close(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_close(after, r->at, r->row->seq, expected);
}

static CrVerdict
replay_grant(const Replay *r, CrAccount *after, CrRow *expected)
{
	return cr_grant(after, r->at, r->row->seq, r->row->amount, r->row->ends_at,
					r->row->payment_ref != NULL, expected);
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
	CrCapture capture = {r->row->amount, r->row->has_ends_at, true};

	return cr_capture(after, r->at, r->hold, &capture, expected);
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

	(void) cr_spent(&spent, r->about->target);
	spent.refunded = r->about->used;
	return cr_refund(after, r->at, &spent, r->row->amount, expected);
}

static CrVerdict
replay_archive(const Replay *r, CrAccount *after, CrRow *expected)
{
	cr_archive(after, r->at, r->row->ref_seq, expected);
	return CR_OK;
}

/* After a reset was undone without a regrant, the facts say so.  That tells the two apart. */
static CrVerdict
replay_undo(const Replay *r, CrAccount *after, CrRow *expected)
{
	const CrRow *target = r->about->target;
	const CrPlanVersion *regrant = NULL;

	if (target->kind == CR_KIND_RESET && !r->facts->last_undone)
	{
		if (r->facts->plan)
			regrant = r->env->plan_version(r->env->ctx, r->facts->plan, r->row->plan_version);
		if (regrant == NULL || regrant->effective_from > r->at)
			return CR_NOT_UNDOABLE;
	}
	return cr_undo(after, r->at, target, r->about->used > 0, regrant, r->about->adjusted,
				   expected);
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
	[CR_KIND_RESTART] = {.says = PLAN | END, .rule = replay_restart},
	[CR_KIND_SET_CYCLE] = {.rule = replay_set_cycle},
	[CR_KIND_SCHEDULE_PLAN] = {.rule = replay_schedule_plan},
	[CR_KIND_PLAN_CHANGE] = {.says = PLAN,
							 .problem = plan_change_problem,
							 .rule = replay_plan_change},
	[CR_KIND_RESET] = {.says = PLAN | END, .problem = reset_problem, .rule = replay_reset},

	[CR_KIND_FREEZE] = {.rule = replay_freeze},
	[CR_KIND_UNFREEZE] = {.rule = replay_unfreeze},
	[CR_KIND_SET_OVERDRAFT] = {.problem = overdraft_problem, .rule = replay_set_overdraft},
	[CR_KIND_SET_LOW_THRESHOLD] = {.problem = threshold_problem,
								   .rule = replay_set_low_threshold},
	[CR_KIND_CLOCK_REPAIR] = {.time_rule = cr_repair_clock},
	[CR_KIND_CLOSE] = {.rule = replay_close},

	[CR_KIND_DEDUCT] = {.says = CREDITS, .amount_rule = cr_deduct},
	[CR_KIND_PURCHASE] = {.says = CREDITS, .amount_rule = cr_purchase},
	[CR_KIND_REVOKE] = {.problem = payment_problem, .rule = replay_revoke},
	[CR_KIND_REINSTATE] = {.says = CREDITS,
						   .problem = payment_problem,
						   .rule = replay_reinstate},
	[CR_KIND_REFUND] = {.says = CREDITS, .problem = refund_problem, .rule = replay_refund},
	[CR_KIND_ADJUST] = {.rule = replay_adjust},
	[CR_KIND_TRANSFER_OUT] = {.says = CREDITS,
							  .problem = transfer_problem,
							  .rule = replay_transfer_out},
	[CR_KIND_TRANSFER_IN] = {.says = CREDITS, .amount_rule = cr_transfer_in},

	[CR_KIND_GRANT] = {.says = CREDITS, .problem = grant_problem, .rule = replay_grant},
	[CR_KIND_GRANT_END] = {.rule = replay_grant_end},
	[CR_KIND_HOLD] = {.says = CREDITS, .problem = hold_problem, .rule = replay_hold},
	[CR_KIND_HOLD_END] = {.rule = replay_hold_end},
	[CR_KIND_CAPTURE] = {.problem = settled_hold_problem, .rule = replay_capture},
	[CR_KIND_RELEASE] = {.problem = settled_hold_problem, .rule = replay_release},

	[CR_KIND_UNDO] = {.problem = undo_problem, .rule = replay_undo},
	[CR_KIND_ARCHIVE] = {.problem = archive_problem, .rule = replay_archive},
	[CR_KIND_COUNT] = {.problem = unknown_problem},
};

/* Can a row of the kind come next in the account's history? */
static const char *
place_problem(const CrAccount *acc, const CrRow *row, const KindRule *kind)
{
	if (row->seq != acc->history_seq + 1)
		return "seq has a gap";
	if (row->seq == 1 && !(kind->says & FIRST))
		return "the first row does not open the account";
	if (row->amount < -CR_MAX_CREDITS || row->amount > CR_MAX_CREDITS ||
		(row->amount < 1 && kind->says & CREDITS))
		return "amount is out of range";
	if (row->effective_at < CR_EARLIEST_TIME || row->effective_at > CR_LATEST_TIME)
		return "effective_at is out of range";
	if (row->effective_at < acc->effective_at && row->kind != CR_KIND_CLOCK_REPAIR)
		return "effective_at is before the row before it";
	return cr_turn_problem(acc, row);
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
		complaint = end_problem(r);
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
cr_replay(CrAccount *acc, const CrEnv *env, const CrRow *row, const CrReplayed *about)
{
	const KindRule *kind = &kinds[row->kind < CR_KIND_COUNT ? row->kind : CR_KIND_COUNT];
	CrAccount before = *acc;
	const char *complaint = row->malformed;
	CrAccount after;
	CrRow expected;
	Replay r = {.acc = &before,
				.env = env,
				.row = row,
				.at = row->effective_at,
				.facts = row->has_facts ? &row->facts : &before.facts,
				.about = about};

	if (complaint == NULL)
		complaint = cr_pass_silently(&before, row);
	if (complaint == NULL)
		complaint = place_problem(&before, row, kind);
	after = before;
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
