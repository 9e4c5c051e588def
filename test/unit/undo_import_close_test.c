/*
 * undo_import_close_test.c
 *		Bulk runs are undone, accounts are imported, credits transferred, accounts
 *		closed; and replay believes the right rows of these kinds, and no others.
 */
#include "unit.h"

#define T0	utc(2026, 1, 10, 12, 0, 0)
#define FEB utc(2026, 2, 1, 0, 0, 0)
#define MAR utc(2026, 3, 1, 0, 0, 0)
#define APR utc(2026, 4, 1, 0, 0, 0)

static World world;
static World replayed; /* whose lists are a replayed account's */

static const CrRow *
last_row(void)
{
	return &world.rows[world.n_rows - 1];
}

/* An account without a row, and plans of 100 and 250 a month.  Every step is checked. */
static CrAccount *
nothing_yet(int64_t rollover)
{
	world_init(&world);
	world.strict = true;
	world_plan(&world, "free", utc(2020, 1, 1, 0, 0, 0), 100, CR_CALENDAR, rollover);
	world_plan(&world, "pro", utc(2020, 1, 1, 0, 0, 0), 250, CR_CALENDAR, 0);
	return &world.acc;
}

static CrAccount *
fresh(int64_t rollover)
{
	CrAccount  *acc = nothing_yet(rollover);

	world_open(&world, T0, "free", T0, "UTC");
	return acc;
}

static CrVerdict
run(Op op, CrTime at, int64_t amount)
{
	return world_run(&world, &(Command){.op = op, .at = at, .amount = amount});
}

static CrVerdict
undo(CrTime at, int target)
{
	return world_run(&world, &(Command){.op = OP_UNDO, .at = at, .target = target});
}

static CrVerdict
undo_and_regrant(CrTime at, int target)
{
	return world_run(
		&world, &(Command){.op = OP_UNDO, .at = at, .target = target, .regrant = true});
}

static CrVerdict
import(CrTime at, const char *plan, int64_t monthly, int64_t purchased)
{
	return world_run(&world, &(Command){.op = OP_IMPORT,
										.at = at,
										.plan = plan,
										.amount = monthly,
										.purchased = purchased,
										.anchor = T0 - DAY,
										.zone = "Asia/Tokyo",
										.period_start = at - DAY});
}

/* Replays the first so many rows.  Returns the first complaint, or NULL. */
static const char *
replay_rows(CrAccount *acc, int n_rows)
{
	const char *complaint = NULL;

	cr_account_init(acc, world.acc.user_id);
	acc->lots = world_lists(&replayed);
	for (int i = 0; i < n_rows && complaint == NULL; i++)
		complaint = world_replay(&world, acc, &world.rows[i], i);
	return complaint;
}

static void
replays(const char *name)
{
	CrAccount	acc;
	const char *complaint = replay_rows(&acc, world.n_rows);

	if (complaint == NULL)
		complaint = world_head_differs(&world, &acc);
	ok(complaint == NULL && world.broken == NULL, "%s: its rows replay", name);
	if (complaint || world.broken)
		note("%s", complaint ? complaint : world.broken);
}

/* Tests that this row, in place of the last one, is complained about. */
static void
complains(const CrRow *row, const char *complaint, const char *name)
{
	CrAccount	acc;

	ok(replay_rows(&acc, world.n_rows - 1) == NULL, "before %s all is well", name);
	is_text(world_replay(&world, &acc, row, world.n_rows - 1), complaint, name);
}

static void
is_about(int64_t seq, const char *name)
{
	ok(last_row()->has_ref_seq && last_row()->ref_seq == seq && !last_row()->has_ends_at &&
		   last_row()->expired == 0 && last_row()->forfeited == 0 &&
		   last_row()->skipped == 0,
	   "%s", name);
}

static void
test_undo_reset(void)
{
	CrAccount  *acc = fresh(30);
	CrAccount	before;
	CrRow		row;

	world_deduct(&world, T0 + 1, 20);
	world_fold(&world, FEB);
	balance_is(&world, 130, 0, 0, "30 of 80 were kept");
	is_int(undo(FEB + 1, 0), CR_OK, "a reset is undone");
	row_is(&world, CR_KIND_UNDO, -50, B(-50, 0, 0), NOTHING, NO_PAIRS,
		   "what expired comes back, what was granted goes");
	is_about(3, "its row names the reset");
	ok(last_row()->has_facts && acc->facts.period_granted == 50 &&
		   acc->facts.last_undone && acc->facts.last_limit == 30 && acc->facts.plan_version == 1,
	   "as if the plan had granted just what had expired");
	ok(acc->period == 2 && acc->facts.period_start == FEB && acc->next_reset_at == MAR,
	   "the period stays");
	is_int(undo(FEB + 2, 0), CR_NOT_UNDOABLE, "only once");
	is_int(undo_and_regrant(FEB + 2, 0), CR_NOT_UNDOABLE, "for ever");
	replays("an undone reset");
	world_set_plan(&world, FEB + 3, "free");
	balance_is(&world, 130, 0, 0, "its plan, set again, grants the difference");

	/* late returns are carried in full after it */
	acc = fresh(0);
	world_hold(&world, T0 + 1, 60, FEB + 5 * DAY);
	world_deduct(&world, T0 + 2, 30);
	world_fold(&world, FEB);
	world_refund(&world, FEB + 1, 0, 5);
	is_int(last_row()->forfeited, 5, "before an undo, late returns are lost");
	undo(FEB + 2, 0);
	row_is(&world, CR_KIND_UNDO, -85, B(-85, 0, 0), B(60, 0, 0), NO_PAIRS,
		   "10 had expired, and 5 that came late");
	world_release(&world, FEB + 3, 0);
	row_is(&world, CR_KIND_RELEASE, 60, B(60, 0, 0), NOTHING, NO_PAIRS,
		   "after it they are carried in full");
	is_int(acc->facts.period_granted, 75, "and count as granted");
	world_set_plan(&world, FEB + 4, "free");
	balance_is(&world, 100, 0, 0, "so a plan change grants no more than the allowance");
	replays("late returns after an undo");

	/* what expired with a hold is back, so a late capture of the hold spends it */
	acc = fresh(0);
	world_hold(&world, T0 + 1, 30, FEB + DAY);
	world_fold(&world, FEB + DAY);
	is_int(last_row()->expired, 30, "a hold of the last period expires");
	undo(FEB + 2 * DAY, 0);
	balance_is(&world, 100, 0, 0, "an undo gives that back, too");
	world_capture(&world, FEB + 3 * DAY, 0, 30, false);
	balance_is(&world, 70, 0, 0, "so capturing it late is an ordinary deduction");
	replays("a late capture after an undo");

	/* what expired with a hold of the period before that is not */
	acc = fresh(0);
	world_hold(&world, FEB - DAY, 30, MAR + DAY);
	world_fold(&world, MAR + DAY);
	is_int(last_row()->expired, 30, "a hold of an older period expires");
	undo(MAR + 2 * DAY, 1);
	balance_is(&world, 100, 0, 0, "and stays expired when the last boundary is undone");
	world_capture(&world, MAR + 3 * DAY, 0, 30, false);
	row_is(&world, CR_KIND_CAPTURE, 30, NOTHING, NOTHING, PAIRS(-4, 30),
		   "so a late capture uses that");
	replays("a late capture of an older hold after an undo");

	/* but not beyond it: before and after the plan change it is the same */
	for (int first = 0; first <= 1; first++)
	{
		acc = fresh(0);
		world_deduct(&world, T0 + 1, 80);
		world_fold(&world, FEB);
		undo(FEB + 1, 0);
		if (first)
			world_refund(&world, FEB + 2, 0, 80);
		world_set_plan(&world, FEB + 3, "free");
		if (!first)
			world_refund(&world, FEB + 4, 0, 80);
		ok(acc->balance.monthly == 100 && acc->facts.period_granted == 100,
		   "a late return after an undo and a plan change is no second allowance");
	}

	/* more than there is */
	acc = fresh(0);
	world_purchase(&world, T0, 5);
	world_deduct(&world, T0 + 1, 30);
	world_fold(&world, FEB);
	world_deduct(&world, FEB + 1, 90);
	undo(FEB + 2, 0);
	row_is(&world, CR_KIND_UNDO, -30, B(-10, 0, 0), NOTHING, NO_PAIRS,
		   "takes what is there, of monthly credits alone");
	ok(acc->owed_monthly == 20 && acc->owed_purchased == 0, "the rest is remembered");
	world_refund(&world, FEB + 3, 1, 25);
	ok(acc->owed_monthly == 0 && acc->balance.monthly == 5, "a refund pays it");
	replays("an undo in debt");
	world_fold(&world, MAR);
	ok(acc->owed_monthly == 0 && acc->balance.monthly == 100, "the next reset is a reset");
	is_int(undo(MAR + 1, 0), CR_NOT_UNDOABLE, "the one before it stays as it is");
	is_int(undo(MAR + 1, 1), CR_OK, "and itself can be undone");

	/* the cap */
	acc = fresh(0);
	world_plan(&world, "free", FEB, 60, CR_CALENDAR, 0);
	world_fold(&world, FEB);
	world_purchase(&world, FEB + 1, CR_MAX_CREDITS - 99);
	is_int(undo(FEB + 2, 0), CR_OVER_CAP, "what comes back is over the cap");
	world_deduct(&world, FEB + 2, 1);
	is_int(undo(FEB + 2, 0), CR_OK, "with one credit less it is not");
	row_is(&world, CR_KIND_UNDO, 40, B(40, 0, 0), NOTHING, NO_PAIRS,
		   "more had expired than was granted");
	replays("an undo that gives");
	acc = fresh(0);
	world_deduct(&world, T0 + 1, 30);
	world_fold(&world, FEB);
	world_deduct(&world, FEB + 1, 90);
	acc->owed_monthly = CR_MAX_CREDITS - 19;
	acc->balance.monthly = 10;
	before = *acc;
	is_int(cr_undo(acc, FEB + 2, &world.rows[2], false, NULL, 0, &row), CR_OVER_CAP,
		   "a debt over the cap");
	ok(memcmp(&before, acc, sizeof(before)) == 0, "nothing was changed");
	acc->owed_monthly--;
	is_int(cr_undo(acc, FEB + 2, &world.rows[2], false, NULL, 0, &row), CR_OK,
		   "and one up to it");
	is_int(acc->owed_monthly, CR_MAX_CREDITS, "is owed");
}

/* What was left at the boundary in debt, and undone. */
static void
test_undo_in_debt(void)
{
	CrAccount  *acc = fresh(0);

	world_plan(&world, "none", T0, 0, CR_CALENDAR, 0);
	world_hold(&world, T0 + 1, 70, FEB + 5 * DAY);
	world_set_plan(&world, T0 + 2, "none");
	world_schedule(&world, T0 + 3, "free");
	world_fold(&world, FEB);
	ok(acc->facts.last_left == -70 && acc->balance.monthly == 100, "a debt of 70 lapsed");
	undo(FEB + 1, 1);
	row_is(&world, CR_KIND_UNDO, -100, B(-100, 0, 0), B(70, 0, 0), NO_PAIRS,
		   "undone: nothing had expired");
	world_release(&world, FEB + 2, 0);
	row_is(&world, CR_KIND_RELEASE, 70, NOTHING, NOTHING, NO_PAIRS,
		   "what comes back still makes the debt good first");
	ok(acc->facts.last_left == 0 && acc->facts.period_granted == 0 && last_row()->expired == 70,
	   "and is not carried");
	replays("an undo after a debt");

	/* undone without a plan, and then boundaries that make no row */
	acc = fresh(0);
	world_schedule(&world, T0 + 1, NULL);
	world_fold(&world, FEB);
	undo(FEB + 1, 0);
	row_is(&world, CR_KIND_UNDO, 100, B(100, 0, 0), NOTHING, NO_PAIRS,
		   "a boundary that ended the plan, undone: what had expired is back");
	world_deduct(&world, FEB + 2, 100);
	world_purchase(&world, APR + 1, 5);
	ok(acc->facts.period_granted == 0 && !acc->facts.last_undone && acc->period == 4,
	   "a boundary without a row clears that");
	replays("silent boundaries after an undo");
}

/* Something granted or took in the period since: then the undo would be wrong. */
static void
test_undo_not_as_left(void)
{
	CrAccount  *acc = fresh(0);

	world_fold(&world, FEB);
	world_set_plan(&world, FEB + 1, "pro");
	is_int(undo(FEB + 2, 0), CR_NOT_UNDOABLE, "a reset, after an upgrade");
	world_set_plan(&world, FEB + 3, NULL);
	is_int(undo(FEB + 4, 0), CR_NOT_UNDOABLE, "after cancelling");
	is_int(undo_and_regrant(FEB + 4, 0), CR_NOT_UNDOABLE, "and there is no plan to regrant by");
	fresh(0);
	world_fold(&world, FEB);
	world_set_plan(&world, FEB + 1, "pro");
	world_set_plan(&world, FEB + 3, "free");
	is_int(undo(FEB + 4, 0), CR_OK, "there and back again is as before");
	acc = fresh(0);
	world_fold(&world, FEB);
	world_plan(&world, "free", FEB + 1, 100, CR_CALENDAR, 0);
	world_set_plan(&world, FEB + 2, "free");
	is_int(undo(FEB + 3, 0), CR_NOT_UNDOABLE, "another version with the same allowance is not");
	ok(world.broken == NULL && acc->balance.monthly == 100, "nothing was changed");
	acc = fresh(0);
	world_plan(&world, "same", T0, 100, CR_CALENDAR, 0);
	world_fold(&world, FEB);
	world_set_plan(&world, FEB + 1, "same");
	is_int(undo(FEB + 2, 0), CR_NOT_UNDOABLE, "nor is another plan");
	/* the cap let only a part be granted; its plan, set again, has given the rest */
	acc = fresh(0);
	world_deduct(&world, T0 + 1, 40);
	world_purchase(&world, T0 + 2, CR_MAX_CREDITS - 60);
	world_fold(&world, FEB);
	is_int(acc->facts.period_granted, 60, "a boundary at the cap");
	world_deduct(&world, FEB + 1, 100);
	world_set_plan(&world, FEB + 2, "free");
	is_int(undo(FEB + 3, 0), CR_NOT_UNDOABLE, "nor the same, which has granted more since");
	acc = fresh(0);
	world_fold(&world, FEB);
	run(OP_CLOSE, FEB + 1, 0);
	is_int(undo(FEB + 2, 0), CR_NOT_UNDOABLE, "closed since");
	run(OP_UNFREEZE, FEB + 3, 0);
	world_set_plan(&world, FEB + 4, "free");
	is_int(undo(FEB + 5, 0), CR_NOT_UNDOABLE, "also if it was opened again");
	is_int(undo_and_regrant(FEB + 5, 0), CR_NOT_UNDOABLE, "even with regrant");
	acc = fresh(0);
	world_fold(&world, FEB);
	world_restart(&world, FEB + 1, "free", false);
	is_int(undo(FEB + 2, 0), CR_NOT_UNDOABLE, "restarted since");
	is_int(undo_and_regrant(FEB + 2, 0), CR_NOT_UNDOABLE, "it is another period");
	acc = fresh(0);
	world_fold(&world, FEB);
	world_fold(&world, MAR);
	is_int(undo(MAR, 0), CR_NOT_UNDOABLE, "not in the next period");
	acc = fresh(0);
	world_fold(&world, MAR);
	is_int(undo(MAR, 0), CR_OK, "a merged row in its last period");
}

static void
test_regrant(void)
{
	CrAccount  *acc = fresh(0);
	CrRow		row;

	/* nothing wrong: no row, and the reset can still be undone */
	world_fold(&world, FEB);
	is_int(undo_and_regrant(FEB + 1, 0), CR_UNCHANGED, "granted anew with nothing wrong");
	ok(last_row()->kind == CR_KIND_RESET && acc->facts.period_granted == 100 &&
		   acc->facts.plan_version == 1,
	   "all stays as it was");
	world_deduct(&world, FEB + 2, 30);
	is_int(undo(FEB + 3, 0), CR_OK, "and can be undone");
	row = *last_row();
	row.has_facts = false;
	complains(&row, "the operation could not have been done in this state",
			  "a row of a regrant that changes nothing");

	/* one of the two is not what it would be */
	acc = fresh(0);
	world_fold(&world, FEB);
	world_plan(&world, "free", FEB + DAY, 100, CR_CALENDAR, 0);
	is_int(undo_and_regrant(FEB + 2 * DAY, 0), CR_OK, "another version of as many credits");
	row_is(&world, CR_KIND_UNDO, 0, NOTHING, NOTHING, NO_PAIRS, "gives nothing");
	is_int(acc->facts.plan_version, 2, "but is the one in force from then on");
	replays("a reset granted anew by a version of as many credits");

	/* by another version */
	acc = fresh(0);
	world_plan(&world, "free", FEB + DAY, 60, CR_CALENDAR, 0);
	world_deduct(&world, T0 + 1, 30);
	world_fold(&world, FEB);
	world_deduct(&world, FEB + 1, 90);
	undo_and_regrant(FEB + 2 * DAY, 0);
	row_is(&world, CR_KIND_UNDO, -40, B(-10, 0, 0), NOTHING, NO_PAIRS,
		   "by a smaller version: the difference goes");
	ok(acc->owed_monthly == 30 && acc->facts.period_granted == 60 &&
		   acc->facts.plan_version == 2,
	   "or is remembered");
	ok(!last_row()->facts.last_undone, "what was left at the boundary stays expired");
	replays("a reset granted anew");
	row = *last_row();
	row.plan_version = row.facts.plan_version = 1;
	complains(&row, "the operation could not have been done in this state",
			  "the version that granted before");
	world.versions[2].effective_from = last_row()->effective_at + 1;
	complains(last_row(), "the operation could not have been done in this state",
			  "a version that is not in force yet");
	world.versions[2].effective_from = last_row()->effective_at;
	replays("one in force from that moment");
	row = *last_row();
	row.plan_version = row.facts.plan_version = 3;
	complains(&row, "the operation could not have been done in this state",
			  "a version that does not exist");

	/* reset of 30, upgraded to 1000 and spent: the plan of now counts, once */
	acc = fresh(0);
	world_plan(&world, "free", FEB, 30, CR_CALENDAR, 0);
	world_plan(&world, "max", T0, 1000, CR_CALENDAR, 0);
	world_fold(&world, FEB);
	world_set_plan(&world, FEB + 1, "max");
	world_deduct(&world, FEB + 2, 1000);
	is_int(undo_and_regrant(FEB + 3, 0), CR_UNCHANGED,
		   "upgraded and spent since: no second allowance");

	/* a part of a period, and another cycle */
	acc = fresh(0);
	world_set_cycle(&world, T0 + 1, T0, "Asia/Tokyo");
	world_fold(&world, FEB);
	world_plan(&world, "free", FEB + DAY, 200, CR_ANNIVERSARY, 0);
	undo_and_regrant(FEB + 2 * DAY, 0);
	row_is(&world, CR_KIND_UNDO, 99, B(99, 0, 0), NOTHING, NO_PAIRS, "197 of 200 in 98.6607 %");
	ok(acc->facts.cycle == CR_ANNIVERSARY && acc->end_from.differs &&
		   acc->next_reset_at == MAR - 9 * HOUR,
	   "by a version with another cycle of that length");
	replays("a part granted anew");
	acc = fresh(0);
	world_fold(&world, FEB);
	world_plan(&world, "free", FEB + DAY, 7, CR_DAILY, 0);
	is_int(undo_and_regrant(FEB + 2 * DAY, 0), CR_NOT_UNDOABLE,
		   "a cycle of another length waits for its boundary");

	/* the cap */
	acc = fresh(0);
	world_fold(&world, FEB);
	world_plan(&world, "free", FEB + DAY, 101, CR_CALENDAR, 0);
	world_purchase(&world, FEB + 1, CR_MAX_CREDITS - 100);
	is_int(undo_and_regrant(FEB + 2 * DAY, 0), CR_OVER_CAP, "past the cap");
	world_deduct(&world, FEB + 2 * DAY, 1);
	is_int(undo_and_regrant(FEB + 2 * DAY, 0), CR_OK, "up to it");
}

static void
adjust(CrTime at, int64_t delta)
{
	world_run(&world,
			  &(Command){.op = OP_ADJUST, .at = at, .amount = delta, .bucket = CR_MONTHLY});
}

/*
 * In a later period, what rolled over goes with the import and its plan, but not what
 * adjustments brought.
 */
static void
test_import_rolled_over(void)
{
	CrAccount  *acc;

	/* nothing happened but boundaries: nothing stays, and it can be imported again */
	for (int months = 1; months <= 3; months++)
	{
		acc = nothing_yet(50);
		import(T0, "free", months % 2 ? 40 : 0, 30);
		world_fold(&world, FEB + (months - 1) * 30 * DAY);
		undo(FEB + 90 * DAY, 0);
		ok(cr_available(acc) == 0 && acc->owed_monthly == 0 && acc->owed_purchased == 0 &&
			   cr_can_import(acc),
		   "what rolled over goes with the import, after %d boundaries", months);
		is_int(import(FEB + 91 * DAY, "free", 1, 1), CR_OK, "which can come again");
		replays("an import undone that rolled over");
	}
	acc = nothing_yet(50);
	import(T0, "free", 40, 30);
	world_deduct(&world, FEB, 150);
	undo(FEB + 1, 0);
	row_is(&world, CR_KIND_UNDO, -170, B(0, 0, -20), NOTHING, NO_PAIRS, "what was spent of it");
	ok(acc->owed_monthly == 140 && acc->owed_purchased == 10, "is owed");

	/* what came in the period is not touched, and does not count */
	acc = nothing_yet(50);
	import(T0, "free", 40, 0);
	world_fold(&world, FEB);
	adjust(FEB + 1, 10);
	undo(FEB + 2, 0);
	row_is(&world, CR_KIND_UNDO, -140, B(-140, 0, 0), NOTHING, NO_PAIRS, "40 rolled over");
	balance_is(&world, 10, 0, 0, "what was added since stays");
	replays("an import undone after an adjustment");

	/* what came before and rolled over, too */
	for (int limit = 5; limit <= 50; limit += 45)
	{
		acc = nothing_yet(limit);
		import(T0, "free", 40, 0);
		adjust(T0 + 1, -4);
		adjust(T0 + 2, 14);
		world_fold(&world, FEB);
		undo(FEB + 2, 0);
		balance_is(&world, limit == 5 ? 5 : 14, 0, 0, "what was added before stays, as far as it rolled over");
		replays("an import undone after an earlier adjustment");
	}
	acc = nothing_yet(50);
	import(T0, "free", 40, 0);
	world_set_plan(&world, T0 + 1, NULL);
	world_set_plan(&world, T0 + 1, "free");
	world_deduct(&world, T0 + 2, 30);
	world_set_plan(&world, T0 + 3, NULL);
	is_int(acc->owed_monthly, 90, "an adjustment that pays a debt");
	adjust(T0 + 4, 20);
	world_set_plan(&world, T0 + 5, "free");
	world_fold(&world, FEB);
	undo(FEB + 2, 0);
	balance_is(&world, 20, 0, 0, "counts, too");
	replays("an import undone after an adjustment that paid a debt");

	/* late returns, before the undo or after it: the same */
	for (int adjusted = 0; adjusted <= 10; adjusted += 10)
	{
		for (int late = 0; late <= 1; late++)
		{
			acc = nothing_yet(50);
			import(T0, "free", 40, 0);
			if (adjusted)
				adjust(T0 + 1, adjusted);
			world_deduct(&world, T0 + 2, 35 + adjusted);
			world_fold(&world, FEB);
			if (!late)
				world_refund(&world, FEB + 1, 0, 0);
			undo(FEB + 2, 0);
			if (late)
				world_refund(&world, FEB + 3, 0, 0);
			ok(cr_available(acc) == adjusted && acc->owed_monthly == 0,
			   "what was spent comes back %s the undo: %d stay", late ? "after" : "before",
			   adjusted);
			replays("an import undone and a late return");
		}
	}

	/* a boundary that was undone */
	acc = nothing_yet(0);
	import(T0, "free", 40, 0);
	adjust(T0 + 1, 10);
	world_fold(&world, FEB);
	undo(FEB + 1, 1);
	is_int(acc->balance.monthly, 50, "a boundary undone");
	undo(FEB + 2, 0);
	balance_is(&world, 10, 0, 0, "and then the import: what it brought goes");
	ok(!acc->facts.last_undone && acc->facts.last_limit == 10, "so much can still come back late");
	replays("a boundary and an import undone");
}

/* A row that stands for several boundaries is undone as one of its own would be. */
static void
test_undo_merged(void)
{
	CrAccount	one_by_one;
	CrAccount  *acc = NULL;
	CrRow		row;

	for (int spent = 0; spent <= 1; spent++)
	{
		for (int anew = 0; anew <= 1; anew++)
		{
			for (int asleep = 0; asleep <= 1; asleep++)
			{
				acc = fresh(0);
				world_deduct(&world, T0 + 1, 80);
				if (!asleep)
				{
					world_fold(&world, FEB);
					world_fold(&world, MAR);
				}
				world_fold(&world, APR);
				if (spent)
					world_deduct(&world, APR + 1, 70);
				world_run(&world, &(Command){.op = OP_UNDO,
											 .at = APR + 2,
											 .target = asleep ? 0 : 2,
											 .regrant = anew});
				if (anew)
					is_int(acc->facts.last_undone, false, "one was granted, and it is the right one");
				else
					row_is(&world, CR_KIND_UNDO, 0, NOTHING, NOTHING, NO_PAIRS,
						   "an allowance expired at the last boundary, and one was granted");
				if (!asleep)
					one_by_one = *acc;
			}
			replays("several boundaries undone");
			ok(same_account(acc, &one_by_one), "swept or asleep, it is the same");
		}
	}

	/* Plans a (100) and b (40), one user asleep */
	for (int asleep = 0; asleep <= 1; asleep++)
	{
		acc = fresh(0);
		world_plan(&world, "b", T0, 40, CR_CALENDAR, 0);
		world_set_plan(&world, T0 + 1, "b");
		if (!asleep)
			world_fold(&world, FEB);
		world_set_plan(&world, MAR + 4 * DAY, "free");
		is_int(undo(MAR + 5 * DAY, asleep ? 1 : 2), CR_NOT_UNDOABLE,
			   "a change of plan since: skipped");
		is_int(acc->balance.monthly, 100, "and both users have the same");
	}

	fresh(0);
	world_fold(&world, FEB);
	undo(FEB + 1, 0);
	row = *last_row();
	row.ref_seq = row.seq;
	complains(&row, "ref_seq names nothing that can be undone", "a row that is not there");
	row = *last_row();
	row.ref_seq = 1;
	complains(&row, "the operation could not have been done in this state",
			  "an opening undone");
	row = *last_row();
	row.amount = row.delta.monthly = 40;
	row.balance.monthly = 140;
	complains(&row, "monthly_delta does not follow from the operation",
			  "what its row does not say");
	row = *last_row();
	row.facts.last_undone = false;
	complains(&row, "the operation could not have been done in this state",
			  "an undo that says it was a regrant");
	row = *last_row();
	row.seq = world.n_rows + 1;
	replay_rows(&world.acc, world.n_rows);
	is_text(world_replay(&world, &world.acc, &row, world.n_rows),
			"the operation could not have been done in this state", "undone twice");
}

static void
test_undo_others(void)
{
	CrAccount  *acc = fresh(0);
	CrRow		row;

	/* a plan */
	world_set_plan(&world, T0 + 1, "pro");
	world_deduct(&world, T0 + 2, 200);
	undo(T0 + 3, 0);
	row_is(&world, CR_KIND_UNDO, -150, B(-50, 0, 0), NOTHING, NO_PAIRS,
		   "a plan's raise is taken back");
	is_about(2, "its row names it");
	ok(acc->owed_monthly == 100 && acc->facts.period_granted == 100 &&
		   same_text(acc->facts.plan, "pro"),
	   "what was spent is owed; the plan stays");
	is_int(undo(T0 + 4, 0), CR_NOT_UNDOABLE, "once");
	replays("a plan's raise undone");
	acc = fresh(0);
	world_set_plan(&world, T0 + 1, "pro");
	world_set_plan(&world, T0 + 2, "free");
	undo(T0 + 3, 1);
	row_is(&world, CR_KIND_UNDO, 150, B(150, 0, 0), NOTHING, NO_PAIRS,
		   "a lower plan's credits come back");
	is_int(acc->facts.period_granted, 250, "and count as granted");
	world_fold(&world, FEB);
	is_int(undo(FEB, 0), CR_NOT_UNDOABLE, "in the next period it is too late");
	acc = fresh(0);
	world_plan(&world, "ten", T0, 10, CR_CALENDAR, 0);
	world_set_plan(&world, T0 + 1, "ten");
	world_purchase(&world, T0 + 2, CR_MAX_CREDITS - 99);
	is_int(undo(T0 + 3, 0), CR_OVER_CAP, "over the cap they do not");

	/* what happened since */
	acc = fresh(0);
	world_plan(&world, "thirty", T0, 30, CR_CALENDAR, 0);
	world_plan(&world, "max", T0, 1000, CR_CALENDAR, 0);
	world_set_plan(&world, T0 + 1, "thirty");
	world_set_plan(&world, T0 + 2, "max");
	is_int(undo(T0 + 3, 0), CR_NOT_UNDOABLE, "applied as 30, upgraded to 1000 since");
	is_int(acc->balance.monthly, 1000, "1000, not 1070");
	acc = fresh(0);
	world_plan(&world, "thirty", T0, 30, CR_CALENDAR, 0);
	world_set_plan(&world, T0 + 1, "thirty");
	world_set_plan(&world, T0 + 2, NULL);
	is_int(undo(T0 + 3, 0), CR_NOT_UNDOABLE, "cancelled since");
	is_int(acc->balance.monthly, 0, "nothing without a plan");
	acc = fresh(0);
	world_plan(&world, "fifty", T0, 50, CR_CALENDAR, 0);
	world_set_plan(&world, T0 + 1, "pro");
	world_set_plan(&world, T0 + 2, "fifty");
	is_int(undo(T0 + 3, 0), CR_NOT_UNDOABLE, "applied as 250, downgraded to 50 since");
	ok(acc->balance.monthly == 50 && acc->owed_monthly == 0, "50 are left, and nothing is owed");
	acc = fresh(0);
	world_set_plan(&world, T0 + 1, "pro");
	world_restart(&world, T0 + 2, "pro", false);
	is_int(undo(T0 + 3, 0), CR_NOT_UNDOABLE, "restarted since");
	replays("plans not undone");

	/* a grant: row 2 of 10, row 3 of 20 that ends sooner */
	acc = fresh(0);
	world_grant(&world, T0 + 1, 10, APR);
	world_grant(&world, T0 + 2, 20, FEB - DAY);
	world_deduct(&world, T0 + 3, 105);
	world_hold(&world, T0 + 4, 8, T0 + DAY);
	acc->lots->grants[0].changed = false;
	undo(T0 + 5, 1);
	row_is(&world, CR_KIND_UNDO, -7, B(0, -7, 0), B(0, 8, 0), NO_PAIRS,
		   "what is left of a grant goes, without what is held");
	is_about(3, "its row names the grant");
	ok(acc->lots->grants[0].closed && acc->lots->grants[0].changed &&
		   acc->lots->grants[0].left == 0 && !acc->lots->grants[1].closed,
	   "that grant is closed");
	is_int(undo(T0 + 6, 1), CR_NOT_UNDOABLE, "once");
	world_release(&world, T0 + 7, 0);
	row_is(&world, CR_KIND_RELEASE, 8, NOTHING, NOTHING, NO_PAIRS,
		   "it takes nothing back");
	is_int(last_row()->expired, 8, "that expires");
	balance_is(&world, 0, 10, 0, "the other one stays");
	replays("a grant undone");
	row = *last_row();
	row.kind = CR_KIND_UNDO;
	row.ref_seq = 3;
	complains(&row, "the operation could not have been done in this state",
			  "a grant undone twice");
	fresh(0);
	world_grant(&world, T0 + 1, 10, FEB - DAY);
	world_deduct(&world, T0 + 2, 110);
	is_int(undo(FEB - DAY, 0), CR_NOT_UNDOABLE, "a grant that ends now");
	is_int(undo(FEB - DAY + 1, 0), CR_NOT_UNDOABLE, "or has ended");
	fresh(0);
	world_grant(&world, T0 + 1, 10, FEB - DAY);
	world_deduct(&world, T0 + 2, 110);
	undo(FEB - DAY - 1, 0);
	row_is(&world, CR_KIND_UNDO, 0, NOTHING, NOTHING, NO_PAIRS,
		   "an empty one can be closed to its last moment");
	world_refund(&world, FEB - DAY - 1, 0, 10);
	is_int(last_row()->forfeited, 10, "it takes nothing back");
	replays("an empty grant undone");

	/* nothing else */
	for (int i = 0; i < world.n_rows; i++)
	{
		CrKind		kind = world.rows[i].kind;

		if (kind != CR_KIND_GRANT)
			is_int(cr_undo(&world.acc, FEB, &world.rows[i], false, NULL, 0, &row),
				   CR_NOT_UNDOABLE, cr_kind_name(kind));
	}
}

static void
test_import(void)
{
	CrAccount  *acc = nothing_yet(0);
	CrAccount	blank = *acc;
	CrRow		row;
	CrImport	in = {.zone = "UTC", .period_start = T0, .next_reset_at = CR_NEVER};

	is_int(run(OP_IMPORTED, T0, 7), CR_OK, "a row of another system's history");
	row_is(&world, CR_KIND_IMPORTED, 7, NOTHING, NOTHING, NO_PAIRS, "moves nothing here");
	ok(acc->facts.period_start == T0 && acc->next_reset_at == CR_NEVER && acc->period == 1,
	   "the first one begins the period");
	run(OP_IMPORTED, T0 + 1, -3);
	ok(acc->facts.period_start == T0 && last_row()->amount == -3 && !last_row()->has_facts,
	   "the next one does not");
	import(T0 + 2, "free", 40, 30);
	row_is(&world, CR_KIND_IMPORT, 70, B(40, 0, 30), NOTHING, NO_PAIRS,
		   "what the account had there");
	ok(last_row()->has_facts && same_text(acc->facts.plan, "free") &&
		   acc->facts.plan_version == 1 && acc->facts.period_granted == 100 &&
		   acc->facts.cycle_anchor == T0 - DAY &&
		   same_text(acc->facts.time_zone, "Asia/Tokyo") &&
		   acc->facts.status == CR_ACTIVE,
	   "its plan has granted the allowance");
	ok(acc->facts.period_start == T0 + 2 - DAY && acc->next_reset_at == FEB - 9 * HOUR &&
		   acc->period == 1 && acc->facts.period_share == CR_FULL_SHARE &&
		   acc->facts.cycle == CR_CALENDAR,
	   "it is in the midst of its period, which counts as a whole one");
	is_int(import(T0 + 3, "free", 1, 1), CR_NOT_UNDOABLE, "it is in use then");
	is_int(run(OP_IMPORTED, T0 + 3, 1), CR_NOT_UNDOABLE, "for old rows too");
	world_set_plan(&world, T0 + 4, "free");
	balance_is(&world, 40, 0, 30, "the same plan again grants nothing");
	replays("an import after a history");
	world_fold(&world, FEB);
	balance_is(&world, 100, 0, 30, "the next boundary comes");

	nothing_yet(0);
	import(T0, NULL, 4, 0);
	ok(world.acc.facts.period_granted == 0 && world.acc.facts.plan == NULL &&
		   world.acc.facts.plan_version == 0 && world.acc.next_reset_at == CR_NEVER,
	   "without a plan nothing was granted");
	replays("an import as the first row");
	ok(cr_import(&(CrAccount){.facts.time_zone = "UTC", .facts.cycle = CR_NO_CYCLE}, T0, &in,
				 &row) == CR_OK &&
		   row.has_facts,
	   "the row has the facts, even those of a blank account");
	nothing_yet(0);
	is_int(import(T0, NULL, CR_MAX_CREDITS - 5, 6), CR_OVER_CAP, "over the cap");
	is_int(import(T0, NULL, CR_MAX_CREDITS - 5, 5), CR_OK, "up to the cap");

	/* what can be imported to */
	ok(cr_can_import(&blank), "a blank account");
#define IN_USE(field, value)                        \
	do                                              \
	{                                               \
		CrAccount	used = blank;                   \
		used.field = value;                         \
		ok(!cr_can_import(&used), "not if " #field); \
	} while (0)
	IN_USE(facts.cycle, CR_CALENDAR);
	IN_USE(facts.status, CR_CLOSED);
	IN_USE(balance.monthly, 1);
	IN_USE(balance.granted, 1);
	IN_USE(balance.purchased, 1);
	IN_USE(held.monthly, 1);
	IN_USE(held.granted, 1);
	IN_USE(held.purchased, 1);
#undef IN_USE
	blank.facts.status = CR_FROZEN;
	blank.owed_monthly = blank.owed_purchased = 5;
	ok(cr_can_import(&blank), "a frozen one can be, and one that owes");

	/* undone: with the plan, and all that it brought */
	acc = nothing_yet(0);
	import(T0, "free", 40, 30);
	world_deduct(&world, T0 + 1, 50);
	world_schedule(&world, T0 + 2, "pro");
	undo(T0 + 3, 0);
	row_is(&world, CR_KIND_UNDO, -70, B(0, 0, -20), NOTHING, NO_PAIRS,
		   "an import undone: what is left goes");
	is_about(1, "its row names the import");
	ok(acc->owed_monthly == 40 && acc->owed_purchased == 10, "what was spent is owed");
	ok(acc->facts.plan == NULL && acc->facts.plan_version == 0 &&
		   acc->facts.scheduled_plan == NULL && acc->facts.period_granted == 0 &&
		   acc->next_reset_at == CR_NEVER && acc->facts.cycle == CR_NO_CYCLE,
	   "the plan goes, as if there never was one");
	world_refund(&world, T0 + 4, 0, 0);
	ok(cr_available(acc) == 0 && acc->owed_monthly == 0 && acc->owed_purchased == 0,
	   "what comes back pays that");
	is_int(undo(T0 + 4, 0), CR_NOT_UNDOABLE, "once");
	is_int(import(T0 + 5, "pro", 10, 1), CR_OK, "then it can be imported anew");
	world_purchase(&world, T0 + 6, 100);
	undo(T0 + 7, 1);
	row_is(&world, CR_KIND_UNDO, -11, B(-10, 0, -1), NOTHING, NO_PAIRS,
		   "what was bought since stays");
	balance_is(&world, 0, 0, 100, "here");
	replays("imports undone");
	acc = nothing_yet(0);
	import(T0, "free", 40, 30);
	world_hold(&world, T0 + 1, 60, T0 + DAY);
	undo(T0 + 2, 0);
	world_fold(&world, T0 + DAY);
	ok(cr_available(acc) == 0 && acc->owed_monthly == 0 && acc->owed_purchased == 0,
	   "what was held pays it, too");
	replays("an import undone that was held");

	/* what it owes is paid by the next import */
	acc = nothing_yet(0);
	import(T0, "free", 40, 30);
	world_deduct(&world, T0 + 1, 50);
	undo(T0 + 2, 0);
	is_int(import(T0 + 3, "free", 45, 15), CR_OK, "imported again with a debt");
	row_is(&world, CR_KIND_IMPORT, 60, B(5, 0, 5), NOTHING, PAIRS(0, 45, -1, 15),
		   "which is paid first; the row says what was brought");
	ok(cr_brought(last_row(), CR_FROM_MONTHLY) == 45 &&
		   cr_brought(last_row(), CR_FROM_PURCHASED) == 15 && cr_undone_fits(last_row()),
	   "so that it can be undone");
	undo(T0 + 4, 1);
	row_is(&world, CR_KIND_UNDO, -60, B(-5, 0, -5), NOTHING, NO_PAIRS, "as it is");
	ok(acc->owed_monthly == 40 && acc->owed_purchased == 10, "the debt is there again");
	replays("an import with a debt undone");

	/* what the plan granted since goes with it */
	acc = nothing_yet(0);
	import(T0, "free", 40, 30);
	world_set_plan(&world, T0 + 1, "pro");
	world_deduct(&world, T0 + 2, 180);
	undo(T0 + 3, 0);
	row_is(&world, CR_KIND_UNDO, -220, B(-10, 0, -30), NOTHING, NO_PAIRS,
		   "40 brought, 150 granted since");
	is_int(acc->owed_monthly, 180, "180 of that were spent");
	acc = nothing_yet(0);
	import(T0, "pro", 200, 0);
	world_set_plan(&world, T0 + 1, "free");
	is_int(acc->balance.monthly, 50, "a downgrade took 150");
	undo(T0 + 2, 0);
	row_is(&world, CR_KIND_UNDO, -50, B(-50, 0, 0), NOTHING, NO_PAIRS, "the rest goes");
	acc = nothing_yet(0);
	import(T0, "pro", 20, 0);
	world_set_plan(&world, T0 + 1, "free");
	is_int(acc->owed_monthly, 130, "a downgrade took more than was brought");
	undo(T0 + 2, 0);
	row_is(&world, CR_KIND_UNDO, 130, NOTHING, NOTHING, NO_PAIRS, "all of that goes");
	is_int(acc->owed_monthly, 0, "nothing is owed");
	replays("an import undone after a downgrade");
	acc = nothing_yet(0);
	import(T0, "free", 40, 30);
	world_deduct(&world, FEB, 20);
	undo(FEB + 1, 0);
	row_is(&world, CR_KIND_UNDO, -130, B(-80, 0, -30), NOTHING, NO_PAIRS,
		   "in a later period: what was granted in it");
	is_int(acc->owed_monthly, 20, "spent or not");
	replays("an import undone in a later period");

	/* the plan again, in the same period: what was before the undo is of another life */
	for (int regrant = 0; regrant <= 1; regrant++)
	{
		acc = nothing_yet(0);
		import(T0, "free", 60, 0);
		world_fold(&world, utc(2026, 1, 31, 15, 0, 0));
		undo(acc->effective_at + 1, 0);
		world_set_plan(&world, acc->effective_at + 1, "free");
		ok(acc->period == world.rows[1].period && acc->facts.period_granted == world.rows[1].amount,
		   "the plan again, with what the boundary before had granted");
		is_int(world_run(&world, &(Command){.op = OP_UNDO, .at = acc->effective_at + 1,
											.last_of = CR_KIND_RESET, .regrant = regrant}),
			   CR_NOT_UNDOABLE, "a boundary from before the undo of an import is not undone");
		replays("an import undone, and its plan again");
	}

	/* nothing from before can be undone then */
	acc = nothing_yet(0);
	import(T0, "free", 73, 0);
	world_schedule(&world, T0 + 1, NULL);
	world_fold(&world, FEB);
	is_int(last_row()->expired, 73, "without a plan, what was brought expires");
	undo(FEB + 1, 0);
	is_int(undo(FEB + 2, 1), CR_NOT_UNDOABLE, "the import undone: its boundary cannot be");
	is_int(acc->balance.monthly, 0, "so nothing of it comes back");

	acc = nothing_yet(0);
	import(T0, "free", 73, 0);
	world_deduct(&world, T0 + 1, 73);
	world_fold(&world, FEB);
	undo(FEB + 1, 1);
	undo(FEB + 2, 0);
	world_refund(&world, FEB + 3, 0, 73);
	is_int(acc->balance.monthly, 0, "an undone boundary ends with the import");

	/* in a part of a period */
	acc = nothing_yet(0);
	import(T0, "free", 40, 30);
	world_set_cycle(&world, T0 + 1, T0, "UTC");
	world_fold(&world, FEB - 9 * HOUR);
	ok(acc->facts.period_share < CR_FULL_SHARE, "a part of a period");
	undo(FEB - 1, 0);
	import(FEB - 1, "free", 1, 1);
	ok(acc->facts.period_share == CR_FULL_SHARE && acc->facts.period_granted == 100,
	   "an imported period counts as a whole one");
	replays("an import in the place of a part");

	/* not after closing */
	acc = nothing_yet(0);
	import(T0, "free", 40, 30);
	run(OP_CLOSE, T0 + 1, 0);
	is_int(undo(T0 + 2, 0), CR_NOT_UNDOABLE, "closed since");
	run(OP_UNFREEZE, T0 + 3, 0);
	is_int(undo(T0 + 4, 0), CR_NOT_UNDOABLE, "and opened again");

	/* what replay believes */
	nothing_yet(0);
	import(T0, "free", 40, 30);
	row = *last_row();
	row.facts.period_start = T0 + 1;
	complains(&row, "period_start is after the import", "a period of the future");
	row.facts.period_start = T0;
	row.next_reset_at = T0 + 48 * DAY + DAY / 2 + 1;
	complains(&row, "next_reset_at is too far away", "a period too long");
	row.next_reset_at = T0;
	complains(&row, "next_reset_at is no end of the period", "a period that is over");
	row = *last_row();
	row.facts.period_start = T0;
	ok(replay_rows(acc, 0) == NULL && world_replay(&world, acc, &row, 0) == NULL,
	   "a period that begins now");
	row = *last_row();
	row.delta.monthly = row.balance.monthly = -1;
	row.amount = 29;
	complains(&row, "amount is out of range", "less than nothing");
	row = *last_row();
	row.delta.purchased = row.balance.purchased = -1;
	row.amount = 39;
	complains(&row, "amount is out of range", "less than nothing bought");
	row = *last_row();
	row.delta.monthly = CR_MAX_CREDITS + 1;
	complains(&row, "amount is out of range", "more than the cap");
	row = *last_row();
	row.delta.purchased = CR_MAX_CREDITS + 1;
	complains(&row, "amount is out of range", "more bought than the cap");
	row = *last_row();
	row.delta.purchased = CR_MAX_CREDITS;
	complains(&row, "the operation could not have been done in this state",
			  "more than the cap together");
	world.versions[0].effective_from = T0 + 1;
	complains(last_row(), "plan_version was not in force", "a plan to come");
	world_deduct(&world, T0 + 2, 1);
	world.versions[0].effective_from = T0;
	row = world.rows[0];
	row.seq = 2;
	complains(&row, "the account was in use already", "a second import");
	row.kind = CR_KIND_IMPORTED;
	complains(&row, "the account was in use already", "an old row after it");
	(void) cr_import(&blank, T0, &in, &row);
	row.seq = 1;
	row.kind = CR_KIND_TRANSFER_IN;
	row.amount = 1;
	cr_account_init(acc, "other");
	is_text(cr_replay(acc, &world.env, &row, &(CrReplayed){0}),
			"the first row does not open the account", "a transfer opens no account");
}

static void
test_transfer(void)
{
	CrAccount  *acc = fresh(0);
	CrRow		row;

	world_grant(&world, T0 + 1, 10, APR);
	world_purchase(&world, T0 + 2, 50);
	is_int(run(OP_TRANSFER_OUT, T0 + 3, 51), CR_INSUFFICIENT, "only purchased credits");
	run(OP_TRANSFER_OUT, T0 + 3, 50);
	row_is(&world, CR_KIND_TRANSFER_OUT, 50, B(0, 0, -50), NOTHING, NO_PAIRS,
		   "to another user");
	ok(!last_row()->has_ref_seq && !last_row()->has_facts, "nothing else changes");
	run(OP_TRANSFER_IN, T0 + 4, 20);
	row_is(&world, CR_KIND_TRANSFER_IN, 20, B(0, 0, 20), NOTHING, NO_PAIRS,
		   "from another");
	world_run(&world, &(Command){.op = OP_TRANSFER_OUT, .at = T0 + 4, .amount = 7, .total = 5});
	row_is(&world, CR_KIND_TRANSFER_OUT, 7, B(0, 0, -7), NOTHING, PAIRS(-8, 5),
		   "the row says how many were bought lately");
	row = *last_row();
	row.allocations = &(CrPart){-8, 8};
	complains(&row, "allocations are out of range", "not more than were moved");
	run(OP_TRANSFER_IN, T0 + 4, 7);
	world_revoke(&world, T0 + 5, 0, 50);
	is_int(acc->owed_purchased, 30, "a debt");
	run(OP_TRANSFER_IN, T0 + 6, 40);
	row_is(&world, CR_KIND_TRANSFER_IN, 40, B(0, 0, 10), NOTHING, NO_PAIRS,
		   "is paid first");
	is_int(acc->owed_purchased, 0, "in full");
	run(OP_SET_OVERDRAFT, T0 + 7, 500);
	is_int(run(OP_TRANSFER_OUT, T0 + 7, 11), CR_INSUFFICIENT, "never with a debt");
	run(OP_FREEZE, T0 + 8, 0);
	is_int(run(OP_TRANSFER_OUT, T0 + 9, 1), CR_IS_FROZEN, "not from a frozen account");
	is_int(run(OP_TRANSFER_IN, T0 + 9, 1), CR_OK, "but to one");
	is_int(run(OP_TRANSFER_IN, T0 + 9, CR_MAX_CREDITS - 120), CR_OVER_CAP,
		   "not over the cap");
	is_int(run(OP_TRANSFER_IN, T0 + 9, CR_MAX_CREDITS - 121), CR_OK, "but up to it");
	replays("transfers");
	row = *last_row();
	row.amount = 0;
	complains(&row, "amount is out of range", "a transfer of nothing");
	row.kind = CR_KIND_TRANSFER_OUT;
	complains(&row, "amount is out of range", "in either direction");
}

static void
test_close(void)
{
	CrAccount  *acc = fresh(0);
	CrTime		end = utc(2026, 1, 20, 0, 0, 0);

	world_grant(&world, T0 + 1, 10, APR);
	world_grant(&world, T0 + 2, 20, end);
	world_grant(&world, T0 + 3, 5, T0 + DAY);
	world_purchase(&world, T0 + 4, 50);
	world_deduct(&world, T0 + 5, 105);
	run(OP_ADJUST, T0 + 6, 70);
	world_schedule(&world, T0 + 7, "pro");
	world_hold(&world, T0 + 8, 1, T0 + HOUR);
	is_int(run(OP_CLOSE, T0 + 9, 0), CR_HAS_HOLDS, "not with an open hold");
	world_release(&world, T0 + 10, 0);
	for (int i = 0; i < acc->lots->n_grants; i++)
		acc->lots->grants[i].changed = false;
	is_int(run(OP_CLOSE, T0 + 2 * DAY, 0), CR_OK, "an account is closed");
	row_is(&world, CR_KIND_CLOSE, 150, B(-70, -30, -50), NOTHING, PAIRS(3, 20, 2, 10),
		   "all that is left goes, the grants in their order");
	ok(last_row()->expired == 100 && last_row()->forfeited == 50 &&
		   !last_row()->has_ref_seq,
	   "monthly and granted credits expire, what was bought is forfeited");
	ok(acc->facts.status == CR_CLOSED && acc->facts.plan == NULL &&
		   acc->facts.plan_version == 0 && acc->facts.scheduled_plan == NULL &&
		   acc->next_reset_at == FEB && acc->facts.period_start == T0,
	   "without a plan; the period goes on");
	ok(acc->facts.period_granted == 0 && acc->owed_monthly == 30 && acc->closed_seq == 11,
	   "what was spent of the allowance is remembered");
	is_int(acc->forfeited, 50, "and what was bought, for a chargeback");
	ok(!acc->lots->grants[0].closed && !acc->lots->grants[0].changed &&
		   acc->lots->grants[1].closed && acc->lots->grants[1].changed &&
		   acc->lots->grants[2].closed && acc->lots->grants[2].changed,
	   "grants are closed that had not ended");
	replays("closing");
	acc = fresh(0);

	/* what is refused, and what is not */
	world_grant(&world, T0 + 1, 10, APR);
	world_deduct(&world, T0 + 2, 110);
	world_hold(&world, T0 + 2, 1, T0 + 4);
	world_purchase(&world, T0 + 2, 30);
	world_hold(&world, T0 + 3, 1, T0 + 4);
	world_fold(&world, T0 + 5);
	acc->lots->grants[0].changed = false;
	run(OP_CLOSE, T0 + 5, 0);
	ok(last_row()->kind == CR_KIND_CLOSE && last_row()->amount == 30 &&
		   last_row()->forfeited == 30 && last_row()->expired == 0,
	   "closed when its hold has ended");
	ok(acc->facts.period_granted == 0 && acc->owed_monthly == 100, "all of the allowance was spent");
	ok(acc->lots->grants[0].closed && acc->lots->grants[0].changed,
	   "an empty grant is closed too");
	is_int(run(OP_CLOSE, T0 + 6, 0), CR_IS_CLOSED, "closed already");
	is_int(world_capture(&world, T0 + 6, 0, 1, false), CR_IS_CLOSED, "no late capture");
	run(OP_SET_OVERDRAFT, T0 + 6, 500);
	world_purchase(&world, T0 + 6, 20);
	balance_is(&world, 0, 0, 20, "a purchase is still credited");
	is_int(world_deduct(&world, T0 + 7, 1), CR_IS_CLOSED, "but not spent");
	is_int(world_hold(&world, T0 + 7, 1, APR), CR_IS_CLOSED, "nor held");
	is_int(world_grant(&world, T0 + 7, 1, APR), CR_IS_CLOSED, "no grant");
	is_int(world_set_plan(&world, T0 + 7, "pro"), CR_IS_CLOSED, "no plan");
	is_int(world_schedule(&world, T0 + 7, "pro"), CR_IS_CLOSED, "nor later");
	is_int(run(OP_FREEZE, T0 + 7, 0), CR_IS_CLOSED, "not frozen");
	is_int(run(OP_TRANSFER_IN, T0 + 7, 1), CR_IS_CLOSED, "nothing from others");
	is_int(run(OP_TRANSFER_OUT, T0 + 7, 5), CR_OK, "what was bought can be moved");
	is_int(world_revoke(&world, T0 + 7, 1, 5), CR_OK, "or taken back");
	is_int(run(OP_ADJUST, T0 + 7, 5), CR_IS_CLOSED, "no adjustment");
	world_refund(&world, T0 + 8, 0, 10);
	is_int(last_row()->forfeited, 10, "its grant takes nothing back");
	replays("a closed account");
	run(OP_UNFREEZE, T0 + 9, 0);
	ok(acc->facts.status == CR_ACTIVE && acc->facts.plan == NULL, "open again, no plan");
	world_set_plan(&world, T0 + 10, "free");
	balance_is(&world, 0, 0, 10, "the plan does not grant again what was spent");
	ok(acc->next_reset_at == FEB, "nor sooner");
	replays("an account that came back");

	/* more monthly credits than were granted, and debts */
	acc = fresh(0);
	run(OP_ADJUST, T0 + 1, 50);
	world_purchase(&world, T0 + 1, 30);
	run(OP_FREEZE, T0 + 2, 0);
	run(OP_CLOSE, T0 + 3, 0);
	ok(acc->facts.period_granted == 0 && acc->owed_monthly == 0 && last_row()->expired == 150,
	   "a frozen account is closed; nothing of the allowance was spent");
	world_revoke(&world, T0 + 4, 0, 30);
	row_is(&world, CR_KIND_REVOKE, 30, NOTHING, NOTHING, PAIRS(-6, 30),
		   "what closing forfeited covers the chargeback");
	world_fold(&world, FEB);
	ok(acc->next_reset_at == MAR && acc->balance.monthly == 0 &&
		   acc->facts.status == CR_CLOSED,
	   "its periods go on, with nothing");
	is_int(acc->owed_purchased, 0, "nothing is owed");
	is_int(import(FEB + 1, "free", 1, 0), CR_NOT_UNDOABLE, "no import");
	is_int(world_open(&world, FEB + 1, "free", T0, "UTC"), CR_IS_CLOSED,
		   "and it is not opened as if it were new");
	replays("a closed account's end");
}

/* What comes back after a closing, from before it. */
static void
test_after_closing(void)
{
	CrAccount  *acc = fresh(0);

	/* closed twice, it has lost more than an account can have */
	world_purchase(&world, T0 + 1, CR_MAX_CREDITS - 100);
	run(OP_CLOSE, T0 + 2, 0);
	run(OP_UNFREEZE, T0 + 3, 0);
	world_purchase(&world, T0 + 4, 200);
	run(OP_CLOSE, T0 + 5, 0);
	is_int(acc->forfeited, CR_MAX_CREDITS + 100, "closed twice: all of it is known");
	replays("a second closing");

	/* buy 100, close, chargeback, reopen, buy 30: 30 */
	acc = fresh(0);
	world_purchase(&world, T0 + 1, 100);
	run(OP_CLOSE, T0 + 2, 0);
	world_revoke(&world, T0 + 3, 0, 0);
	ok(acc->owed_purchased == 0 && acc->forfeited == 0, "the chargeback costs nothing");
	run(OP_UNFREEZE, T0 + 4, 0);
	world_purchase(&world, T0 + 5, 30);
	balance_is(&world, 0, 0, 30, "buy, close, chargeback, reopen, buy 30: 30");
	replays("a chargeback after a closing");
	world_run(&world, &(Command){.op = OP_REINSTATE, .at = T0 + 6, .amount = 40});
	row_is(&world, CR_KIND_REINSTATE, 40, NOTHING, NOTHING, PAIRS(-1, 40),
		   "won back: it is forfeited again");
	ok(acc->forfeited == 40 && last_row()->forfeited == 40, "as the row says");
	replays("a reinstatement after a closing");

	/* the same, but opened again before the chargeback */
	acc = fresh(0);
	world_purchase(&world, T0 + 1, 100);
	run(OP_CLOSE, T0 + 2, 0);
	run(OP_UNFREEZE, T0 + 3, 0);
	world_purchase(&world, T0 + 4, 30);
	world_revoke(&world, T0 + 5, 0, 0);
	row_is(&world, CR_KIND_REVOKE, 100, NOTHING, NOTHING, PAIRS(-6, 100),
		   "what was lost by closing is taken first");
	balance_is(&world, 0, 0, 30, "in any order: 30");

	/* taken from both: last taken first */
	acc = fresh(0);
	world_purchase(&world, T0 + 1, 100);
	world_deduct(&world, T0 + 2, 170);
	run(OP_CLOSE, T0 + 3, 0);
	run(OP_UNFREEZE, T0 + 4, 0);
	world_purchase(&world, T0 + 5, 80);
	world_revoke(&world, T0 + 6, 0, 0);
	row_is(&world, CR_KIND_REVOKE, 100, B(0, 0, -70), NOTHING, PAIRS(-6, 30, -1, 70),
		   "what was lost does not cover all of it");
	world_run(&world, &(Command){.op = OP_REINSTATE, .at = T0 + 7, .amount = 40});
	row_is(&world, CR_KIND_REINSTATE, 40, B(0, 0, 40), NOTHING, PAIRS(-1, 40),
		   "won back: first what the balance gave");
	world_run(&world, &(Command){.op = OP_REINSTATE, .at = T0 + 8});
	row_is(&world, CR_KIND_REINSTATE, 60, B(0, 0, 30), NOTHING, PAIRS(-1, 60),
		   "then what was lost");
	ok(acc->forfeited == 30 && last_row()->forfeited == 30, "which is lost again");

	/* spent before: only what was unspent covers it */
	acc = fresh(0);
	world_purchase(&world, T0 + 1, 100);
	world_deduct(&world, T0 + 2, 170);
	run(OP_CLOSE, T0 + 3, 0);
	ok(acc->owed_monthly == 100 && acc->forfeited == 30, "70 of what was bought were spent");
	world_refund(&world, T0 + 4, 0, 80);
	row_is(&world, CR_KIND_REFUND, 80, NOTHING, NOTHING, NO_PAIRS, "a refund");
	ok(acc->forfeited == 100 && acc->owed_monthly == 90 && last_row()->forfeited == 70,
	   "purchased credits are forfeited, monthly ones pay what is remembered");
	world_refund(&world, T0 + 5, 0, 0);
	ok(acc->owed_monthly == 0 && acc->balance.monthly == 0 && last_row()->forfeited == 0,
	   "all of it");
	world_revoke(&world, T0 + 6, 0, 0);
	row_is(&world, CR_KIND_REVOKE, 100, NOTHING, NOTHING, PAIRS(-6, 100),
		   "all of the chargeback is covered");
	replays("refunds after a closing");

	/* monthly credits beyond the debt are forfeited */
	acc = fresh(0);
	run(OP_ADJUST, T0 + 1, 50);
	world_deduct(&world, T0 + 2, 150);
	run(OP_CLOSE, T0 + 3, 0);
	world_refund(&world, T0 + 4, 0, 0);
	ok(acc->owed_monthly == 0 && acc->balance.monthly == 0 && last_row()->forfeited == 50,
	   "of 150 spent, 100 pay the allowance, 50 are forfeited");
	run(OP_UNFREEZE, T0 + 5, 0);
	world_set_plan(&world, T0 + 6, "free");
	is_int(acc->balance.monthly, 100, "opened again: the allowance, once");
	replays("an adjustment, closed");

	/* with an overdraft: what comes back pays it */
	acc = fresh(0);
	run(OP_SET_OVERDRAFT, T0 + 1, 50);
	world_deduct(&world, T0 + 2, 130);
	run(OP_CLOSE, T0 + 3, 0);
	world_refund(&world, T0 + 4, 0, 20);
	ok(acc->owed_purchased == 10 && acc->forfeited == 0 && last_row()->forfeited == 0,
	   "a debt is paid after closing");

	/* what is bought after a closing is not forfeited by it */
	acc = fresh(0);
	world_purchase(&world, T0 + 1, 100);
	run(OP_CLOSE, T0 + 2, 0);
	world_purchase(&world, T0 + 3, 60);
	world_revoke(&world, T0 + 4, 1, 0);
	row_is(&world, CR_KIND_REVOKE, 60, B(0, 0, -60), NOTHING, PAIRS(-1, 60),
		   "a later payment's chargeback takes what it brought");
	is_int(acc->forfeited, 100, "the older one's is still covered");
	run(OP_UNFREEZE, T0 + 5, 0);
	world_purchase(&world, T0 + 6, 10);
	world_deduct(&world, T0 + 7, 10);
	world_refund(&world, T0 + 8, 0, 10);
	balance_is(&world, 0, 0, 10, "and what was spent since comes back");
	replays("payments around a closing");

	/* the boundary of a closed account */
	acc = fresh(0);
	world_deduct(&world, T0 + 1, 100);
	run(OP_ADJUST, T0 + 2, 50);
	run(OP_CLOSE, T0 + 3, 0);
	world_fold(&world, FEB);
	ok(last_row()->kind == CR_KIND_RESET && acc->facts.last_left == -50, "a boundary in debt");
	world_refund(&world, FEB + 1, 0, 100);
	is_int(undo(FEB + 2, 0), CR_NOT_UNDOABLE, "granted nothing, and is not undone");

	/* an undone boundary, closed: what comes back is not more than before it */
	for (int first = 0; first <= 1; first++)
	{
		acc = fresh(0);
		world_deduct(&world, T0 + 1, 47);
		world_fold(&world, FEB);
		world_deduct(&world, FEB + 1, 19);
		undo(FEB + 2, 0);
		if (first)
			world_refund(&world, FEB + 3, 0, 47);
		run(OP_CLOSE, FEB + 4, 0);
		if (!first)
			world_refund(&world, FEB + 5, 0, 47);
		is_int(acc->owed_monthly, 19, "19 were spent in the period, and are remembered");
	}
	replays("a late return after an undone boundary and a closing");

	/* in the next period, and a paid grant */
	acc = fresh(40);
	world_run(&world, &(Command){.op = OP_GRANT,
								 .at = T0 + 1,
								 .amount = 30,
								 .ends_at = MAR,
								 .paid = true});
	world_deduct(&world, T0 + 2, 120);
	run(OP_CLOSE, T0 + 3, 0);
	is_int(acc->lots->grants[0].expired, 10, "a paid grant ends with the account");
	world_refund(&world, FEB + 1, 0, 0);
	ok(last_row()->forfeited == 120 && acc->balance.monthly == 0 &&
		   acc->lots->grants[0].expired == 30,
	   "in the next period nothing is left to pay, and nothing rolls over");
	world_revoke(&world, FEB + 2, 0, 0);
	row_is(&world, CR_KIND_REVOKE, 30, NOTHING, NOTHING, PAIRS(-7, 30), "its chargeback is covered");
	is_int(world_run(&world, &(Command){.op = OP_GRANT,
										.at = FEB + 3,
										.amount = 5,
										.ends_at = MAR,
										.paid = true}),
		   CR_OK, "money does not bounce: a paid grant to a closed account");
	balance_is(&world, 0, 5, 0, "is there");
	replays("a paid grant and a closing");
}

/* An account without a plan, and one purchase, or one paid grant. */
static CrAccount *
with_payment(int64_t amount, bool granted)
{
	CrAccount  *acc = nothing_yet(0);

	world_open(&world, T0, NULL, T0, "UTC");
	if (granted)
		world_run(&world, &(Command){.op = OP_GRANT, .at = T0 + 1, .amount = amount,
									 .ends_at = MAR, .paid = true});
	else
		world_purchase(&world, T0 + 1, amount);
	return acc;
}

/* The first payment is revoked or reinstated, or the first spending refunded: all of it. */
static void
come_back(const Op *ops, int n)
{
	for (int i = 0; i < n; i++)
		world_run(&world, &(Command){.op = ops[i], .at = T0 + 10 + i});
}

#define COME_BACK(...) \
	come_back((Op[]){__VA_ARGS__}, (int) (sizeof((Op[]){__VA_ARGS__}) / sizeof(Op)))

/*
 * What an account is charged after a closing, for the time before, comes back, in whatever
 * order; and no more than that.
 */
static void
test_charged(void)
{
	CrAccount  *acc = with_payment(100, false);

	world_revoke(&world, T0 + 2, 0, 99);
	run(OP_CLOSE, T0 + 3, 0);
	run(OP_UNFREEZE, T0 + 4, 0);
	world_revoke(&world, T0 + 5, 0, 1);
	COME_BACK(OP_REINSTATE);
	balance_is(&world, 0, 0, 0, "what a chargeback took before a closing was lost by it");
	is_int(acc->forfeited, 100, "and is lost when it is won back");
	replays("a chargeback before a closing, and one after");

	acc = with_payment(100, false);
	world_deduct(&world, T0 + 2, 100);
	world_revoke(&world, T0 + 3, 0, 99);
	run(OP_CLOSE, T0 + 4, 0);
	is_int(acc->charged_purchased, 99, "a debt from before a closing is charged after it");
	run(OP_UNFREEZE, T0 + 5, 0);
	world_purchase(&world, T0 + 6, 200);
	balance_is(&world, 0, 0, 101, "the next purchase pays it");
	COME_BACK(OP_REINSTATE);
	balance_is(&world, 0, 0, 200, "and a dispute that is won gives that back");
	is_int(acc->charged_purchased, 0, "once");
	replays("a debt that a closing leaves");

	for (int granted = 0; granted <= 1; granted++)
	{
		static const Op orders[][3] = {{OP_REVOKE, OP_REFUND, OP_REINSTATE},
									   {OP_REVOKE, OP_REINSTATE, OP_REFUND},
									   {OP_REFUND, OP_REVOKE, OP_REINSTATE}};

		for (int i = 0; i < lengthof(orders); i++)
		{
			acc = with_payment(100, granted);
			world_deduct(&world, T0 + 2, 60);
			run(OP_CLOSE, T0 + 3, 0);
			run(OP_UNFREEZE, T0 + 4, 0);
			world_purchase(&world, T0 + 5, 70);
			come_back(orders[i], 3);
			balance_is(&world, 0, 0, 70, "chargeback, refund and won dispute: as before");
			ok(acc->owed_purchased == 0 && acc->charged_purchased == 0, "nothing is owed");
			is_int(acc->forfeited, granted ? 0 : 100, "all that was paid for is lost once");
			replays("chargeback, refund and won dispute in some order");
		}
	}

	for (int first = 0; first <= 1; first++)
	{
		acc = fresh(0);
		world_deduct(&world, T0 + 1, 60);
		run(OP_CLOSE, T0 + 2, 0);
		is_int(acc->charged_monthly, 60, "what was spent of the allowance is charged");
		run(OP_UNFREEZE, T0 + 3, 0);
		if (first)
			world_refund(&world, T0 + 4, 0, 0);
		world_set_plan(&world, T0 + 5, "free");
		if (!first)
			world_refund(&world, T0 + 6, 0, 0);
		balance_is(&world, 100, 0, 0, "a refund before or after the account has a plan again");
		replays("a refund of monthly credits after a closing");
	}

	acc = fresh(0);
	world_deduct(&world, T0 + 1, 60);
	run(OP_CLOSE, T0 + 2, 0);
	world_fold(&world, FEB);
	is_int(acc->charged_monthly, 0, "the boundary clears it");
	run(OP_UNFREEZE, FEB + 1, 0);
	world_set_plan(&world, FEB + 2, "free");
	world_deduct(&world, FEB + 3, 30);
	world_refund(&world, FEB + 4, 0, 0);
	balance_is(&world, 70, 0, 0, "so that nothing comes back from the period before");
	replays("a refund in the period after a closing");

	acc = fresh(0);
	world_deduct(&world, T0 + 1, 60);
	run(OP_CLOSE, T0 + 2, 0);
	run(OP_UNFREEZE, T0 + 3, 0);
	run(OP_ADJUST, T0 + 4, 60);
	ok(acc->owed_monthly == 0 && acc->charged_monthly == 60, "a correction pays what is owed");
	world_purchase(&world, FEB + 1, 10);
	ok(last_row()->kind == CR_KIND_PURCHASE && acc->charged_monthly == 0,
	   "a boundary without a row clears what was charged, too");
	replays("a silent boundary after a closing");

	/* a debt that arose after the closing is not paid by what was before it */
	acc = with_payment(100, false);
	run(OP_CLOSE, T0 + 2, 0);
	run(OP_UNFREEZE, T0 + 3, 0);
	world_purchase(&world, T0 + 4, 50);
	world_deduct(&world, T0 + 5, 50);
	world_revoke(&world, T0 + 6, 1, 0);
	COME_BACK(OP_REVOKE, OP_REINSTATE);
	ok(acc->owed_purchased == 50 && acc->forfeited == 100,
	   "a chargeback and a won dispute from before pay no debt of later");
	replays("a debt after a closing");

	/* a refund before or after the boundary that ends the period of the closing */
	for (int i = 0; i < 4; i++)
	{
		bool		first = i % 2;

		acc = fresh(40);
		world_deduct(&world, T0 + 1, 100);
		run(OP_CLOSE, T0 + 2, 0);
		run(OP_UNFREEZE, T0 + 3, 0);
		world_set_plan(&world, T0 + 4, "free");
		if (first)
			world_refund(&world, T0 + 5, 0, 50);
		if (i < 2)
			world_fold(&world, FEB);
		else
			world_restart(&world, T0 + 6, "free", false);
		if (!first)
			world_refund(&world, FEB + 1, 0, 50);
		balance_is(&world, 140, 0, 0, "the boundary carries 40 of a refund from before a closing");
		world_refund(&world, FEB + 2, 0, 0);
		balance_is(&world, 140, 0, 0, "and not more than its limit");
		replays("a refund over a closing and a boundary");
	}

	/* only what the closing charged can roll over: 50 of the 150 were adjusted */
	acc = fresh(300);
	run(OP_ADJUST, T0 + 1, 50);
	world_deduct(&world, T0 + 2, 150);
	run(OP_CLOSE, T0 + 3, 0);
	run(OP_UNFREEZE, T0 + 4, 0);
	world_set_plan(&world, T0 + 5, "free");
	world_fold(&world, FEB);
	is_int(acc->last_charged, 100, "the boundary keeps what the closing charged");
	world_refund(&world, FEB + 1, 0, 0);
	balance_is(&world, 200, 0, 0, "of 150 that were spent before the closing, 100 roll over");
	is_int(last_row()->forfeited, 50, "and 50 are lost, as before the boundary");
	replays("a refund of adjusted credits over a closing and a boundary");

	/* closed in both periods: what it carries pays the second closing's debt */
	acc = fresh(40);
	world_deduct(&world, T0 + 1, 100);
	run(OP_CLOSE, T0 + 2, 0);
	run(OP_UNFREEZE, T0 + 3, 0);
	world_set_plan(&world, T0 + 4, "free");
	world_fold(&world, FEB);
	world_deduct(&world, FEB + 1, 30);
	run(OP_CLOSE, FEB + 2, 0);
	is_int(acc->owed_monthly, 30, "closed again, with 30 spent");
	world_refund(&world, FEB + 3, 0, 50);
	ok(acc->owed_monthly == 0 && acc->balance.monthly == 0 && last_row()->forfeited == 20,
	   "30 of the 40 that are carried pay it, the rest is lost");
	replays("a refund over two closings and a boundary");

	/* asleep over more than one boundary */
	acc = fresh(0);
	world_deduct(&world, T0 + 1, 100);
	run(OP_CLOSE, T0 + 2, 0);
	run(OP_UNFREEZE, T0 + 3, 0);
	world_set_plan(&world, T0 + 4, "free");
	world_fold(&world, utc(2026, 4, 1, 0, 0, 0));
	ok(last_row()->skipped > 0 && acc->last_charged == 0, "boundaries that were skipped clear it");
	replays("skipped boundaries after a closing");
}

/* A row that gives a closed account a plan is complained about. */
static void
test_closed_replay(void)
{
	CrAccount  *acc = fresh(0);
	CrRow		row;

	run(OP_CLOSE, T0 + 1, 0);
	acc->facts.status = CR_ACTIVE;
	world.rows[1].facts.status = CR_CLOSED;
	world_set_plan(&world, T0 + 2, "free");
	row = *last_row();
	row.facts.status = CR_CLOSED;
	complains(&row, "the operation could not have been done in this state",
			  "a plan of a closed account");
	acc->facts.status = CR_CLOSED;
	acc->facts.plan = NULL;
	is_int(cr_open(acc, &world.env, T0 + 3, &world.versions[0], T0, "UTC", &row),
		   CR_IS_CLOSED, "nor is it opened");
}

void
test_undo_import_close(void)
{
	test_undo_reset();
	test_undo_in_debt();
	test_undo_not_as_left();
	test_regrant();
	test_import_rolled_over();
	test_undo_merged();
	test_undo_others();
	test_import();
	test_transfer();
	test_close();
	test_after_closing();
	test_charged();
	test_closed_replay();
}
