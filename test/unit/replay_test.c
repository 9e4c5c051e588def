/*
 * replay_test.c
 *		A history proves the state that it ends in, and a row that was changed is
 *		complained about.
 */
#include "unit.h"

#define START utc(2026, 1, 1, 0, 0, 0)
#define T0	  utc(2026, 1, 10, 12, 0, 0)
#define FEB	  utc(2026, 2, 1, 0, 0, 0)
#define MAR	  utc(2026, 3, 1, 0, 0, 0)
#define APR	  utc(2026, 4, 1, 0, 0, 0)
#define MAY	  utc(2026, 5, 1, 0, 0, 0)

static World world;
static World replayed; /* whose lists are the replayed account's */
static World tried; /* and those of a copy of it */
static CrPart altered[64];

/* Is it an event that comes when the period ends? */
static bool
is_event(const CrRow *row)
{
	return row->kind == CR_KIND_RESET || row->kind == CR_KIND_PLAN_CHANGE;
}

static bool
is_an_end(const CrRow *row)
{
	return row->kind == CR_KIND_GRANT_END || row->kind == CR_KIND_HOLD_END;
}

/* Is the row after boundaries that made no row?  Only time zones know how many there were. */
static bool
is_ahead(const CrRow *row, const CrAccount *before)
{
	int64_t		begun = row->kind == CR_KIND_RESET ? 1 + row->skipped : row->kind == CR_KIND_RESTART;

	return row->period - begun > before->period;
}

/* Does the row say an end of the period that it does not have from the row before it? */
static bool
sets_end(const CrRow *row, const CrAccount *before)
{
	return row->kind == CR_KIND_RESET || row->kind == CR_KIND_RESTART ||
		row->kind == CR_KIND_OPEN || row->kind == CR_KIND_IMPORT || is_ahead(row, before) ||
		(row->kind == CR_KIND_SET_PLAN && before->facts.cycle == CR_NO_CYCLE);
}

/* Can the period that the row begins be a part of one? */
static bool
can_be_part(const CrRow *row, const CrAccount *before)
{
	return (row->kind == CR_KIND_RESET || is_ahead(row, before)) &&
		(before->end_from.differs || row->facts.cycle != before->facts.cycle);
}

/* Sources that say what a caller knew, and that no rule works out. */
static bool
is_noted(const CrRow *row, int part)
{
	return row->allocations[part].source == CR_RECENT ||
		row->allocations[part].source == CR_TOTAL;
}

/* Gives the row a copy of its allocations, to be changed, with room for one more. */
static CrPart *
alter(CrRow *row)
{
	if (row->n_allocations > 0)
		memcpy(altered, row->allocations, sizeof(CrPart) * (size_t) row->n_allocations);
	row->allocations = altered;
	return altered;
}

static void
swap_ends(CrRow *row)
{
	CrPart	   *parts = alter(row);
	CrPart		first = parts[0];

	parts[0] = parts[row->n_allocations - 1];
	parts[row->n_allocations - 1] = first;
}

/*
 * One change to a row, and whether it can be tried on a row of this kind.  Some
 * changes give a row that is right in itself, and only the chain shows that it was
 * changed: another end or share of a period that a zone could give, how many boundaries are in
 * one row or were passed without a row, and what a caller is free to choose (an anchor, a limit,
 * the end of a grant, which of two equal holds).
 */
typedef struct Change
{
	const char *name;
	bool (*make)(CrRow *row, const CrAccount *before);
} Change;

#define CHANGE(name, applies, does)                                \
	static bool change_##name(CrRow *row, const CrAccount *before) \
	{                                                              \
		(void) before;                                             \
		if (!(applies))                                            \
			return false;                                          \
		does;                                                      \
		return true;                                               \
	}

CHANGE(delta_monthly, true, row->delta.monthly++)
CHANGE(delta_granted, true, row->delta.granted--)
CHANGE(delta_purchased, true, row->delta.purchased++)
CHANGE(monthly, true, row->balance.monthly++)
CHANGE(granted, true, row->balance.granted++)
CHANGE(purchased, true, row->balance.purchased++)
CHANGE(monthly_and_delta, true, (row->balance.monthly++, row->delta.monthly++))
CHANGE(granted_and_delta, true, (row->balance.granted++, row->delta.granted++))
CHANGE(purchased_and_delta, true, (row->balance.purchased++, row->delta.purchased++))
CHANGE(held_monthly, true, row->held.monthly++)
CHANGE(held_granted, true, row->held.granted++)
CHANGE(held_purchased, true, row->held.purchased++)
CHANGE(owed_monthly, true, row->owed_monthly++)
CHANGE(owed_purchased, true, row->owed_purchased++)
CHANGE(amount_up, row->kind != CR_KIND_IMPORTED, row->amount++)
CHANGE(amount_down, row->kind != CR_KIND_IMPORTED, row->amount--)
CHANGE(expired_up, true, row->expired++)
CHANGE(expired_down, true, row->expired--)
CHANGE(forfeited, true, row->forfeited++)
CHANGE(forfeited_down, true, row->forfeited--)
CHANGE(skipped_one, row->skipped == 0, row->skipped = 1)
CHANGE(skipped_none, row->skipped > 0, row->skipped = 0)
CHANGE(skipped_negative, true, row->skipped = -1)
CHANGE(period_next, !is_ahead(row, before), row->period++)
CHANGE(period_before, !is_ahead(row, before), row->period--)
CHANGE(period_negative, true, row->period = -1)
CHANGE(period_huge, true, row->period = INT64_MAX)
CHANGE(skipped_and_period, row->kind == CR_KIND_RESET && row->skipped == 0,
	   (row->skipped++, row->period++))
CHANGE(plan_version_next, true, row->plan_version++)
CHANGE(plan_version_none, row->plan_version != 0, row->plan_version = 0)
CHANGE(next_reset_later, !sets_end(row, before) || row->next_reset_at == CR_NEVER,
	   row->next_reset_at = row->next_reset_at == CR_NEVER ? row->effective_at + 30 * DAY
														   : row->next_reset_at + 1)
CHANGE(next_reset_earlier, row->next_reset_at != CR_NEVER && !sets_end(row, before),
	   row->next_reset_at--)
CHANGE(next_reset_never, row->next_reset_at != CR_NEVER, row->next_reset_at = CR_NEVER)
CHANGE(next_reset_at_start, row->next_reset_at != CR_NEVER && row->has_facts,
	   row->next_reset_at = row->facts.period_start)
CHANGE(next_reset_far, row->next_reset_at != CR_NEVER,
	   row->next_reset_at = row->effective_at + 600 * DAY)
CHANGE(back_in_time, before->history_seq > 0 && row->kind != CR_KIND_CLOCK_REPAIR,
	   row->effective_at = before->effective_at - 1)
CHANGE(repair_ahead, row->kind == CR_KIND_CLOCK_REPAIR,
	   row->effective_at = before->effective_at)
CHANGE(into_next_period,
	   before->next_reset_at != CR_NEVER && !is_event(row) && !is_ahead(row, before) &&
		   row->effective_at != before->next_reset_at,
	   row->effective_at = before->next_reset_at)
CHANGE(event_later, is_event(row) || is_an_end(row), row->effective_at++)
CHANGE(event_earlier, is_event(row) || is_an_end(row), row->effective_at--)
CHANGE(event_and_period_earlier, row->kind == CR_KIND_RESET,
	   row->effective_at = row->facts.period_start = before->next_reset_at - 1)
CHANGE(kind_purchase,
	   row->kind == CR_KIND_DEDUCT || row->kind == CR_KIND_RESET ||
		   row->kind == CR_KIND_GRANT || row->kind == CR_KIND_REFUND,
	   row->kind = CR_KIND_PURCHASE)
CHANGE(kind_deduct,
	   row->kind == CR_KIND_PURCHASE || row->kind == CR_KIND_HOLD ||
		   row->kind == CR_KIND_CAPTURE || row->kind == CR_KIND_REVOKE,
	   row->kind = CR_KIND_DEDUCT)
CHANGE(kind_release, row->kind == CR_KIND_CAPTURE || row->kind == CR_KIND_HOLD_END,
	   row->kind = CR_KIND_RELEASE)
CHANGE(kind_capture, row->kind == CR_KIND_RELEASE || row->kind == CR_KIND_REFUND,
	   row->kind = CR_KIND_CAPTURE)
CHANGE(kind_hold_end, row->kind == CR_KIND_RELEASE || row->kind == CR_KIND_GRANT_END,
	   row->kind = CR_KIND_HOLD_END)
CHANGE(kind_grant_end, row->kind == CR_KIND_HOLD_END || row->kind == CR_KIND_DEDUCT,
	   row->kind = CR_KIND_GRANT_END)
CHANGE(kind_grant, row->kind == CR_KIND_PURCHASE || row->kind == CR_KIND_HOLD,
	   row->kind = CR_KIND_GRANT)
CHANGE(kind_hold, row->kind == CR_KIND_GRANT || row->kind == CR_KIND_DEDUCT,
	   row->kind = CR_KIND_HOLD)
CHANGE(kind_refund, row->kind == CR_KIND_RELEASE || row->kind == CR_KIND_PURCHASE,
	   row->kind = CR_KIND_REFUND)
CHANGE(kind_revoke, row->kind == CR_KIND_DEDUCT, row->kind = CR_KIND_REVOKE)
CHANGE(kind_revoke_back, row->kind == CR_KIND_REINSTATE, row->kind = CR_KIND_REVOKE)
CHANGE(kind_reinstate, row->kind == CR_KIND_REVOKE && row->amount > 0,
	   row->kind = CR_KIND_REINSTATE)
CHANGE(kind_restart, row->kind == CR_KIND_RESET || row->kind == CR_KIND_SET_PLAN,
	   row->kind = CR_KIND_RESTART)
CHANGE(kind_set_plan, row->kind == CR_KIND_RESTART && !is_ahead(row, before),
	   row->kind = CR_KIND_SET_PLAN)
CHANGE(kind_unfreeze, row->kind == CR_KIND_FREEZE, row->kind = CR_KIND_UNFREEZE)
CHANGE(kind_freeze, row->kind == CR_KIND_UNFREEZE, row->kind = CR_KIND_FREEZE)
CHANGE(kind_reset, row->kind == CR_KIND_PLAN_CHANGE || row->kind == CR_KIND_RESTART,
	   row->kind = CR_KIND_RESET)
CHANGE(kind_unknown, true, row->kind = CR_KIND_COUNT)
CHANGE(malformed, true, row->malformed = "no row at all")
CHANGE(reference, !row->has_ref_seq, row->has_ref_seq = true)
CHANGE(no_reference, row->has_ref_seq, (row->has_ref_seq = false, row->ref_seq = 0))
CHANGE(other_reference, is_an_end(row), row->ref_seq++)
CHANGE(first_reference,
	   row->has_ref_seq && row->kind != CR_KIND_UNDO, row->ref_seq = 1)
CHANGE(own_reference, row->has_ref_seq, row->ref_seq = row->seq)
CHANGE(end, !row->has_ends_at, row->has_ends_at = true)
CHANGE(no_end, row->has_ends_at, row->has_ends_at = false)
CHANGE(end_now, row->has_ends_at, row->ends_at = row->effective_at)
CHANGE(end_of_nothing, row->has_ends_at, row->ends_at = INT64_MIN)
CHANGE(end_later, row->has_ends_at && row->kind == CR_KIND_CAPTURE, row->ends_at++)
CHANGE(end_too_far, row->kind == CR_KIND_HOLD,
	   row->ends_at = row->effective_at + 31 * DAY + 1)
CHANGE(end_never, row->has_ends_at, row->ends_at = CR_NEVER)
CHANGE(other_source, row->n_allocations > 0, alter(row)[0].source++)
CHANGE(more_of_a_source, row->n_allocations > 0 && !is_noted(row, 0),
	   alter(row)[0].credits++)
CHANGE(less_of_the_last, row->n_allocations > 0 && !is_noted(row, row->n_allocations - 1),
	   alter(row)[row->n_allocations - 1].credits--)
CHANGE(first_source_last,
	   row->n_allocations > 1 &&
		   row->allocations[0].source != row->allocations[row->n_allocations - 1].source,
	   swap_ends(row))
CHANGE(source_dropped,
	   row->n_allocations > 0 &&
		   (!is_noted(row, row->n_allocations - 1) || row->amount == 0),
	   row->n_allocations--)
CHANGE(source_added, true, alter(row)[row->n_allocations++] = ((CrPart){2, 1}))
/* without facts, these can be true calls that had nothing to change */
CHANGE(facts_dropped,
	   row->has_facts && row->kind != CR_KIND_SCHEDULE_PLAN &&
		   row->kind != CR_KIND_SET_OVERDRAFT && row->kind != CR_KIND_SET_CYCLE &&
		   row->kind != CR_KIND_UNDO &&
		   (row->kind != CR_KIND_SET_PLAN || row->amount != 0),
	   row->has_facts = false)
CHANGE(facts_frozen, row->has_facts,
	   row->facts.status = row->facts.status == CR_ACTIVE ? CR_FROZEN : CR_ACTIVE)
CHANGE(facts_overdraft, row->has_facts && row->kind != CR_KIND_SET_OVERDRAFT,
	   row->facts.overdraft_limit++)
CHANGE(facts_period_granted, row->has_facts, row->facts.period_granted++)
CHANGE(facts_version, row->has_facts, row->facts.plan_version++)
CHANGE(facts_plan, row->has_facts, row->facts.plan = "other")
CHANGE(facts_no_plan, row->has_facts && row->facts.plan != NULL, row->facts.plan = NULL)
CHANGE(facts_start_later, row->has_facts && row->kind != CR_KIND_IMPORT && !is_ahead(row, before),
	   row->facts.period_start++)
CHANGE(facts_start_earlier,
	   row->has_facts && row->kind != CR_KIND_IMPORT && !is_ahead(row, before),
	   row->facts.period_start--)
CHANGE(facts_share_more, row->has_facts && !can_be_part(row, before), row->facts.period_share++)
CHANGE(facts_share_less, row->has_facts && !can_be_part(row, before), row->facts.period_share--)
CHANGE(facts_share_below, row->has_facts, row->facts.period_share = -1)
CHANGE(facts_share_twice, row->has_facts, row->facts.period_share = 2 * CR_FULL_SHARE)
CHANGE(facts_cycle, row->has_facts, row->facts.cycle = (row->facts.cycle + 1) % CR_CYCLE_COUNT)
CHANGE(facts_no_cycle, row->has_facts && row->facts.cycle != CR_NO_CYCLE,
	   row->facts.cycle = CR_NO_CYCLE)
CHANGE(facts_left_more, row->has_facts, row->facts.last_left++)
CHANGE(facts_left_less, row->has_facts, row->facts.last_left--)
CHANGE(facts_limit, row->has_facts,
	   row->facts.last_limit++)
/* an undo says with it whether it granted anew, which can give the same */
CHANGE(facts_no_limit,
	   row->has_facts && row->kind != CR_KIND_UNDO,
	   row->facts.last_undone = !row->facts.last_undone)
CHANGE(facts_overdraft_negative, row->has_facts, row->facts.overdraft_limit = -1)
CHANGE(facts_overdraft_over_cap, row->has_facts,
	   row->facts.overdraft_limit = CR_MAX_CREDITS + 1)
CHANGE(facts_zone,
	   row->has_facts && row->kind != CR_KIND_OPEN && row->kind != CR_KIND_SET_CYCLE &&
		   row->kind != CR_KIND_IMPORT,
	   row->facts.time_zone = "Etc/Other")
CHANGE(facts_anchor,
	   row->has_facts && row->kind != CR_KIND_OPEN && row->kind != CR_KIND_SET_CYCLE &&
		   row->kind != CR_KIND_IMPORT && row->kind != CR_KIND_RESTART,
	   row->facts.cycle_anchor++)
CHANGE(facts_scheduled, row->has_facts && row->kind != CR_KIND_SCHEDULE_PLAN,
	   row->facts.scheduled_plan = row->facts.scheduled_plan ? NULL : "")
CHANGE(facts_added_overdraft, !row->has_facts && row->kind != CR_KIND_SET_OVERDRAFT,
	   (row->has_facts = true, row->facts = before->facts,
		row->facts.overdraft_limit = 1000))
CHANGE(facts_added_plan, !row->has_facts,
	   (row->has_facts = true, row->facts = before->facts, row->facts.plan = "other"))

#define LISTED(name)         \
	{                        \
#name, change_##name \
	}

static const Change changes[] = {
	LISTED(delta_monthly),
	LISTED(delta_granted),
	LISTED(delta_purchased),
	LISTED(monthly),
	LISTED(granted),
	LISTED(purchased),
	LISTED(monthly_and_delta),
	LISTED(granted_and_delta),
	LISTED(purchased_and_delta),
	LISTED(held_monthly),
	LISTED(held_granted),
	LISTED(held_purchased),
	LISTED(owed_monthly),
	LISTED(owed_purchased),
	LISTED(amount_up),
	LISTED(amount_down),
	LISTED(expired_up),
	LISTED(expired_down),
	LISTED(forfeited),
	LISTED(forfeited_down),
	LISTED(skipped_one),
	LISTED(skipped_none),
	LISTED(skipped_negative),
	LISTED(period_next),
	LISTED(period_before),
	LISTED(period_negative),
	LISTED(period_huge),
	LISTED(skipped_and_period),
	LISTED(plan_version_next),
	LISTED(plan_version_none),
	LISTED(next_reset_later),
	LISTED(next_reset_earlier),
	LISTED(next_reset_never),
	LISTED(next_reset_at_start),
	LISTED(next_reset_far),
	LISTED(back_in_time),
	LISTED(repair_ahead),
	LISTED(into_next_period),
	LISTED(event_later),
	LISTED(event_earlier),
	LISTED(event_and_period_earlier),
	LISTED(kind_purchase),
	LISTED(kind_deduct),
	LISTED(kind_release),
	LISTED(kind_capture),
	LISTED(kind_hold_end),
	LISTED(kind_grant_end),
	LISTED(kind_grant),
	LISTED(kind_hold),
	LISTED(kind_refund),
	LISTED(kind_revoke),
	LISTED(kind_revoke_back),
	LISTED(kind_reinstate),
	LISTED(kind_restart),
	LISTED(kind_set_plan),
	LISTED(kind_unfreeze),
	LISTED(kind_freeze),
	LISTED(kind_reset),
	LISTED(kind_unknown),
	LISTED(malformed),
	LISTED(reference),
	LISTED(no_reference),
	LISTED(other_reference),
	LISTED(first_reference),
	LISTED(own_reference),
	LISTED(end),
	LISTED(no_end),
	LISTED(end_now),
	LISTED(end_of_nothing),
	LISTED(end_later),
	LISTED(end_too_far),
	LISTED(end_never),
	LISTED(other_source),
	LISTED(more_of_a_source),
	LISTED(less_of_the_last),
	LISTED(first_source_last),
	LISTED(source_dropped),
	LISTED(source_added),
	LISTED(facts_dropped),
	LISTED(facts_frozen),
	LISTED(facts_overdraft),
	LISTED(facts_period_granted),
	LISTED(facts_version),
	LISTED(facts_plan),
	LISTED(facts_no_plan),
	LISTED(facts_start_later),
	LISTED(facts_start_earlier),
	LISTED(facts_share_more),
	LISTED(facts_share_less),
	LISTED(facts_share_below),
	LISTED(facts_share_twice),
	LISTED(facts_cycle),
	LISTED(facts_no_cycle),
	LISTED(facts_left_more),
	LISTED(facts_left_less),
	LISTED(facts_limit),
	LISTED(facts_no_limit),
	LISTED(facts_overdraft_negative),
	LISTED(facts_overdraft_over_cap),
	LISTED(facts_zone),
	LISTED(facts_anchor),
	LISTED(facts_scheduled),
	LISTED(facts_added_overdraft),
	LISTED(facts_added_plan),
};

static int seen[lengthof(changes)][CR_KIND_COUNT];
static int missed[lengthof(changes)][CR_KIND_COUNT];

static bool
is_changed(const CrAccount *a, const CrAccount *b)
{
	return !same_account(a, b) || a->next_event_at != b->next_event_at ||
		   a->history_seq != b->history_seq;
}

/* Replays a row after the first so many, with the row that it refers to. */
static const char *
replay(CrAccount *acc, const CrRow *row, int n_rows)
{
	return world_replay(&world, acc, row, n_rows);
}

static void
start_replay(CrAccount *acc)
{
	cr_account_init(acc, world.acc.user_id);
	acc->lots = world_lists(&replayed);
}

/*
 * Replays the world's rows, starting with an account that has none.  Before each row,
 * every change of it is tried, and must be complained about.
 */
static const char *
replay_all(bool with_changes)
{
	CrAccount	acc;
	int			zone_calls = world.zone_calls;

	start_replay(&acc);
	for (int i = 0; i < world.n_rows; i++)
	{
		const CrRow *row = &world.rows[i];
		const char *complaint;

		for (int c = 0; with_changes && c < lengthof(changes); c++)
		{
			CrAccount	state = acc;
			CrAccount	before;
			CrRow		changed = *row;

			if (!changes[c].make(&changed, &acc))
				continue;
			seen[c][row->kind]++;
			state.lots = world_copy_lists(&tried, acc.lots);
			before = state;
			if (replay(&state, &changed, i) == NULL)
			{
				if (missed[c][row->kind]++ == 0)
					note("%s goes unnoticed in %s row %d at %s", changes[c].name,
						 cr_kind_name(row->kind), i + 1, show_time(row->effective_at));
			}
			else if (is_changed(&state, &before))
				return "a complaint changed the account";
		}
		complaint = replay(&acc, row, i);
		if (complaint != NULL)
		{
			note("row %d, %s at %s: %s", i + 1, cr_kind_name(row->kind),
				 show_time(row->effective_at), complaint);
			return "a true row is complained about";
		}
	}
	if (world.zone_calls != zone_calls)
		return "a time zone was asked";
	return world_head_differs(&world, &acc);
}

/* A command that opens, imports, transfers, closes or undoes. */
static void
random_life(Command *cmd, int n_plans)
{
	static const Op ops[] = {OP_TRANSFER_OUT, OP_TRANSFER_IN, OP_UNDO,	 OP_UNDO,
							 OP_UNDO,		  OP_IMPORTED,	  OP_IMPORT, OP_OPEN};
	int			n = 0;

	cmd->op = one_in(20) ? OP_CLOSE : ops[random_between(0, lengthof(ops) - 1)];
	cmd->amount = random_between(1, 60);
	cmd->purchased = random_between(0, 30);
	cmd->plan = one_in(3) ? NULL : world.versions[random_between(0, n_plans - 1)].plan;
	cmd->zone = random_zone();
	cmd->anchor = cmd->at - random_between(0, 90 * DAY);
	cmd->period_start = cmd->at - random_between(0, 20 * DAY);
	while (world_nth(&world, OP_UNDO, n) != NULL)
		n++;
	cmd->target = n == 0 || one_in(10) ? n : n - 1;
	cmd->regrant = one_in(2);
	cmd->total = cmd->op == OP_TRANSFER_OUT ? random_between(0, cmd->amount) : 0;
}

static void
random_history(void)
{
	int			n_plans;
	CrTime		at = START + random_between(0, 40 * DAY);

	world_init(&world);
	world.strict = true;
	n_plans = world_random_plans(&world, START, START + 300 * DAY, true);
	if (one_in(3))
	{
		Command		cmd = {.op = OP_IMPORTED, .at = at, .amount = random_between(-9, 9)};

		if (one_in(2))
			world_run(&world, &cmd);
		random_life(&cmd, n_plans);
		cmd.op = OP_IMPORT;
		world_run(&world, &cmd);
	}
	else
		world_open(&world, at, one_in(5) ? NULL : world.versions[0].plan,
				   zone_to_local("UTC", at), random_zone());
	for (int i = 0; i < 30; i++)
	{
		Command		cmd;

		at += one_in(6) ? random_between(0, 100 * DAY) : random_between(0, 9 * DAY);
		if (at < world.acc.effective_at)
			at = world.acc.effective_at;
		cmd = world_random_open_command(&world, at, n_plans);
		if (one_in(7))
			random_life(&cmd, n_plans);
		if (one_in(15))
		{
			cmd.op = OP_REPAIR_CLOCK;
			cmd.at = world.acc.effective_at - random_between(0, 20 * DAY);
		}
		world_run(&world, &cmd);
	}
	world_fold(&world, at + random_between(0, 100 * DAY));
}

static void
test_random(void)
{
	const char *wrong = NULL;
	int			kinds[CR_KIND_COUNT] = {0};
	int			missing = 0;

	for (int run = 0; run < 400 && wrong == NULL; run++)
	{
		random_history();
		wrong = replay_all(true);
		if (wrong == NULL)
			wrong = world.broken;
		if (wrong != NULL)
			note("run %d: %s", run, wrong);
		for (int i = 0; i < world.n_rows; i++)
			kinds[world.rows[i].kind]++;
	}
	ok(wrong == NULL,
	   "random histories replay to the same state, without asking a time zone");
	for (int k = 0; k < CR_KIND_COUNT; k++)
	{
		if (kinds[k] > 0 || k == CR_KIND_ARCHIVE)
			continue;
		note("no row of kind %s", cr_kind_name((CrKind) k));
		missing++;
	}
	is_int(missing, 0, "with rows of every kind");
	for (int c = 0; c < lengthof(changes); c++)
	{
		int			tried = 0;
		int			unnoticed = 0;

		for (int k = 0; k < CR_KIND_COUNT; k++)
		{
			tried += seen[c][k];
			unnoticed += missed[c][k];
			if (missed[c][k] > 0)
				note("%s rows: %d of %d", cr_kind_name((CrKind) k), missed[c][k],
					 seen[c][k]);
		}
		ok(tried > 0 && unnoticed == 0, "a row with another %s is complained about",
		   changes[c].name);
	}
}

/* Replays all rows except the last, which the caller replays, or another instead. */
static CrAccount
replay_to_last(void)
{
	CrAccount	acc;

	start_replay(&acc);
	for (int i = 0; i < world.n_rows - 1; i++)
		replay(&acc, &world.rows[i], i);
	return acc;
}

static void
complains(CrAccount acc, const CrRow *row, const char *name)
{
	acc.lots = world_copy_lists(&tried, acc.lots);
	ok(replay(&acc, row, (int) row->seq - 1) != NULL, "%s", name);
}

static CrRow *
last_row(void)
{
	return &world.rows[world.n_rows - 1];
}

static void
fresh(int64_t rollover)
{
	world_init(&world);
	world_plan(&world, "free", utc(2020, 1, 1, 0, 0, 0), 100, CR_CALENDAR, rollover);
	world_open(&world, T0, "free", T0, "UTC");
}

/* Rows that agree with themselves, but are not what the rules make. */
static void
test_forged(void)
{
	CrPeriod	to_march = {MAR, CR_FULL_SHARE};
	CrReplayed	nothing = {0};
	CrRow		row;
	CrAccount	acc;

	fresh(0);
	world_purchase(&world, T0 + 1, 50);
	world_deduct(&world, T0 + 2, 30);
	acc = replay_to_last();
	row = *last_row();
	row.delta = (CrBuckets){0, 0, -30};
	row.balance = (CrBuckets){100, 0, 20};
	complains(acc, &row, "purchased credits spent before monthly ones");
	row = *last_row();
	row.seq++;
	complains(acc, &row, "a gap in seq");
	row.seq -= 2;
	complains(acc, &row, "a row twice");
	row = *last_row();
	row.amount = 151;
	row.delta = (CrBuckets){-100, 0, -50};
	row.balance = (CrBuckets){0, 0, 0};
	row.owed_purchased = 1;
	complains(acc, &row, "a debt without an overdraft");

	fresh(0);
	world_fold(&world, FEB);
	acc = replay_to_last();
	row = *last_row();
	row.amount = row.balance.monthly = 1000;
	row.delta.monthly = 900;
	row.has_facts = true;
	row.facts = world.acc.facts;
	row.facts.period_granted = 1000;
	complains(acc, &row, "a reset that grants more than the plan");
	row = *last_row();
	row.delta.monthly = 50;
	row.balance.monthly = 150;
	row.expired = 50;
	complains(acc, &row, "a reset that keeps what should expire");
	row = *last_row();
	row.amount = 90;
	row.forfeited = 10;
	row.balance.monthly = 90;
	row.delta.monthly = -10;
	row.has_facts = true;
	row.facts = world.acc.facts;
	row.facts.period_granted = 90;
	complains(acc, &row, "a reset that forfeits with room under the cap");

	fresh(50);
	world_deduct(&world, T0 + 1, 90);
	world_fold(&world, FEB);
	acc = replay_to_last();
	cr_apply_boundary(&acc, APR, &world.versions[0], (CrPeriod){MAY, CR_FULL_SHARE}, 2, &row);
	row.seq = world.n_rows;
	complains(replay_to_last(), &row,
			  "boundaries skipped where rollover gives something else");

	fresh(0);
	world_plan(&world, "free", FEB, 50, CR_CALENDAR, 0);
	world_fold(&world, FEB);
	acc = replay_to_last();
	cr_apply_boundary(&acc, FEB, &world.versions[0], to_march, 0, &row);
	row.seq = world.n_rows;
	row.created_at = FEB + DAY;
	acc = replay_to_last();
	ok(cr_replay(&acc, &world.env, &row, &nothing) == NULL,
	   "a version overtaken by a newer one is believed: the clock may have run ahead");

	/* a clock ran ahead, was put right, and then the plan was changed */
	fresh(0);
	world_fold(&world, FEB);
	world_plan(&world, "free", FEB - DAY, 50, CR_CALENDAR, 0);
	world.versions[1].created_at = last_row()->created_at + 1;
	acc = replay_to_last();
	ok(cr_replay(&acc, &world.env, last_row(), &nothing) == NULL,
	   "a version defined only after the row was written says nothing of it");

	fresh(0);
	world_plan(&world, "free", FEB + 1, 500, CR_CALENDAR, 0);
	world_fold(&world, FEB);
	acc = replay_to_last();
	cr_apply_boundary(&acc, FEB, &world.versions[1], to_march, 0, &row);
	row.seq = world.n_rows;
	complains(replay_to_last(), &row, "a reset by a version that was not yet in force");

	fresh(0);
	world_plan(&world, "pro", utc(2020, 1, 1, 0, 0, 0), 300, CR_CALENDAR, 0);
	world_schedule(&world, T0 + DAY, "pro");
	world_fold(&world, FEB);
	start_replay(&acc);
	for (int i = 0; i < 2; i++)
		cr_replay(&acc, &world.env, &world.rows[i], &nothing);
	{
		CrAccount	unchanged = acc;

		cr_apply_boundary(&unchanged, FEB, &world.versions[0], to_march, 0, &row);
		row.seq = 3;
		complains(acc, &row, "a reset by the old plan where another was scheduled");
	}
	row = *last_row();
	row.seq = 3;
	complains(acc, &row, "a reset without the scheduled plan change before it");
	row = world.rows[2];
	ok(row.kind == CR_KIND_PLAN_CHANGE &&
		   cr_replay(&acc, &world.env, &row, &nothing) == NULL,
	   "the plan change itself");
	row = (CrRow){0};
	cr_deduct(&acc, FEB, 1, &row);
	acc = replay_to_last();
	row.seq = 4;
	complains(acc, &row, "a deduction between the plan change and its reset");

	world_init(&world);
	cr_purchase(&world.acc, T0, 5, &row);
	row.seq = 1;
	start_replay(&acc);
	complains(acc, &row, "a first row that does not open the account");

	fresh(0);
	world_open(&world, T0 + DAY, "free", T0, "UTC");
	complains(replay_to_last(), last_row(), "an account opened twice");

	fresh(0);
	acc = world.acc;
	cr_set_status(&acc, T0 + 1, CR_FROZEN, &row);
	world.env.emit(&world, &row);
	acc.facts.status = CR_ACTIVE;
	cr_deduct(&acc, T0 + 2, 1, &row);
	world.env.emit(&world, &row);
	complains(replay_to_last(), last_row(), "a deduction from a frozen account");

	/* as if the plan granted nothing and let nothing expire */
	fresh(0);
	acc = world.acc;
	acc.period++;
	acc.is_ahead = true;
	acc.next_reset_at = MAR;
	acc.facts.period_start = FEB;
	acc.facts.period_granted = 0;
	cr_deduct(&acc, FEB + 1, 10, &row);
	world.env.emit(&world, &row);
	complains(replay_to_last(), last_row(), "a boundary of a plan passed without a row");

	fresh(0);
	world_set_cycle(&world, T0 + 1, T0, "Asia/Tokyo");
	acc = world.acc;
	cr_apply_boundary(&acc, MAR, &world.versions[0], (CrPeriod){APR, CR_FULL_SHARE / 2}, 1, &row);
	world.env.emit(&world, &row);
	complains(replay_to_last(), last_row(), "a part of a period after whole ones");

	/* the total is only noted, so nothing else depends on it */
	fresh(0);
	world_purchase(&world, T0 + 1, 50);
	world_run(&world, &(Command){.op = OP_REVOKE, .at = T0 + 2, .total = 30});
	acc = replay_to_last();
	row = *last_row();
	alter(&row)[row.n_allocations - 1].credits = 51;
	complains(acc, &row, "a revocation that notes a total above the payment");
	altered[row.n_allocations - 1].credits = 50;
	ok(replay(&acc, &row, (int) row.seq - 1) == NULL, "one up to it is believed");
}

/* What an account row can say otherwise. */
#define HEAD(name, change)                     \
	static void head_##name(CrAccount *acc)    \
	{                                          \
		acc->change;                           \
	}

HEAD(balance_monthly, balance.monthly++)
HEAD(balance_granted, balance.granted++)
HEAD(balance_purchased, balance.purchased++)
HEAD(held_monthly, held.monthly++)
HEAD(held_granted, held.granted++)
HEAD(held_purchased, held.purchased++)
HEAD(owed_monthly, owed_monthly++)
HEAD(owed_purchased, owed_purchased++)
HEAD(facts_plan, facts.plan = "pro")
HEAD(facts_plan_version, facts.plan_version++)
HEAD(facts_scheduled_plan, facts.scheduled_plan = "")
HEAD(facts_cycle_anchor, facts.cycle_anchor++)
HEAD(facts_time_zone, facts.time_zone = "Asia/Tokyo")
HEAD(facts_status, facts.status = CR_FROZEN)
HEAD(facts_overdraft_limit, facts.overdraft_limit++)
HEAD(facts_period_granted, facts.period_granted++)
HEAD(facts_period_start, facts.period_start++)
HEAD(facts_period_share, facts.period_share--)
HEAD(facts_cycle, facts.cycle = CR_DAILY)
HEAD(facts_last_left, facts.last_left++)
HEAD(facts_last_limit, facts.last_limit++)
HEAD(facts_last_undone, facts.last_undone = !acc->facts.last_undone)
HEAD(period, period++)
HEAD(next_reset_at, next_reset_at++)
HEAD(end_from_differs, end_from.differs = true)
HEAD(effective_at, effective_at++)
HEAD(closed_seq, closed_seq = 1)
HEAD(forfeited, forfeited++)
HEAD(history_seq, history_seq++)
HEAD(hash, history_hash[CR_HASH_LEN - 1] ^= 1)

static void (*const changes_of_head[])(CrAccount *acc) = {
	head_balance_monthly,
	head_balance_granted,
	head_balance_purchased,
	head_held_monthly,
	head_held_granted,
	head_held_purchased,
	head_owed_monthly,
	head_owed_purchased,
	head_facts_plan,
	head_facts_plan_version,
	head_facts_scheduled_plan,
	head_facts_cycle_anchor,
	head_facts_time_zone,
	head_facts_status,
	head_facts_overdraft_limit,
	head_facts_period_granted,
	head_facts_period_start,
	head_facts_period_share,
	head_facts_cycle,
	head_facts_last_left,
	head_facts_last_limit,
	head_facts_last_undone,
	head_period,
	head_next_reset_at,
	head_end_from_differs,
	head_effective_at,
	head_closed_seq,
	head_forfeited,
	head_history_seq,
	head_hash,
};

/* The account's own row must be the state that its history ends in. */
static void
test_head(void)
{
	CrAccount	acc;
	CrAccount	other;
	const char *complaint;
	int			unnoticed = 0;

	fresh(0);
	world_purchase(&world, T0 + 1, 50);
	acc = world.acc;
	ok(cr_compare_head(&acc, &world.acc) == NULL, "the head of the history");
	for (int i = 0; i < lengthof(changes_of_head); i++)
	{
		other = acc;
		changes_of_head[i](&other);
		complaint = cr_compare_head(&other, &acc);
		if (complaint == NULL)
		{
			note("change %d goes unnoticed", i);
			unnoticed++;
		}
	}
	/* the end of the period can be that of another cycle, zone or anchor */
	world_set_cycle(&world, T0 + 2, T0 + DAY, "UTC");
	acc = world.acc;
	for (int i = 0; i < 3; i++)
	{
		other = acc;
		other.end_from.anchor += i == 0;
		other.end_from.zone = i == 1 ? "Asia/Tokyo" : other.end_from.zone;
		other.end_from.cycle = i == 2 ? CR_WEEKLY : other.end_from.cycle;
		unnoticed += cr_compare_head(&other, &acc) == NULL;
	}
	is_int(unnoticed, 0, "an account row that says anything else is complained about");
	other = acc;
	other.next_event_at = FEB - DAY;
	ok(cr_compare_head(&other, &acc) == NULL, "but next_event_at may be early");
	other.next_event_at = FEB + 1;
	ok(cr_compare_head(&other, &acc) != NULL, "never late");
}

void
test_replay(void)
{
	test_random();
	test_forged();
	test_head();
}
