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
#define MAY utc(2026, 5, 1, 0, 0, 0)

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
undo_last(CrTime at, int target, bool regrant)
{
	return world_run(&world, &(Command){.op = OP_UNDO,
										.at = at,
										.target = target,
										.last_boundary = true,
										.regrant = regrant});
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

	ok(complaint == NULL && same_account(&acc, &world.acc) &&
		   same_lists(acc.lots, world.acc.lots) && world.broken == NULL,
	   "%s: its rows replay", name);
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
	ok(last_row()->has_facts && acc->facts.period_granted == 0 &&
		   acc->facts.plan_version == 1,
	   "the period has granted nothing then");
	ok(acc->period_start == FEB && acc->next_reset_at == MAR, "but stays consumed");
	is_int(undo(FEB + 2, 0), CR_NOT_UNDOABLE, "only once");
	is_int(undo_and_regrant(FEB + 2, 0), CR_NOT_UNDOABLE, "for ever");
	replays("an undone reset");
	world_set_plan(&world, FEB + 3, "free");
	balance_is(&world, 180, 0, 0, "its plan, set again, grants the allowance");

	fresh(30);
	world_fold(&world, FEB);
	undo(FEB + 1, 0);
	row = *last_row();
	row.has_facts = false;
	complains(&row, "facts are stored where none changed, or missing where they did",
			  "an undo that takes nothing from what was granted");

	/* more than there is */
	acc = fresh(0);
	world_purchase(&world, T0, 5);
	world_deduct(&world, T0 + 1, 30);
	world_fold(&world, FEB);
	world_deduct(&world, FEB + 1, 90);
	undo(FEB + 2, 0);
	row_is(&world, CR_KIND_UNDO, -30, B(-10, 0, 0), NOTHING, NO_PAIRS,
		   "takes what is there, of monthly credits alone");
	ok(acc->owed_monthly == 20 && acc->owed_purchased == 0, "the rest is owed");
	world_refund(&world, FEB + 3, 1, 25);
	ok(acc->owed_monthly == 0 && acc->balance.monthly == 5, "a refund pays it");
	replays("an undo in debt");
	world_fold(&world, MAR);
	ok(acc->owed_monthly == 0 && acc->balance.monthly == 100, "the next reset is a reset");
	is_int(undo(MAR + 1, 0), CR_NOT_UNDOABLE, "the one before it stays as it is");
	is_int(undo(MAR + 1, 1), CR_OK, "and itself can be undone");

	acc = fresh(0);
	world_fold(&world, MAR);
	is_int(undo(MAR, 0), CR_OK, "in its period");
	acc = fresh(0);
	world_fold(&world, FEB);
	world_fold(&world, MAR);
	is_int(undo(MAR, 0), CR_NOT_UNDOABLE, "not in the next");
	undo(MAR, 1);
	(void) cr_undo(acc, MAR, &world.rows[2], false, 100, NULL, &row);
	row.seq = world.n_rows + 1;
	ok(replay_rows(&before, world.n_rows) == NULL, "a reset undone");
	is_text(world_replay(&world, &before, &row, world.n_rows),
			"the operation could not have been done in this state", "not again");
	acc->balance.monthly = 0;
	acc->owed_monthly = 5;
	(void) cr_undo(acc, MAR, &world.rows[2], false, 101, NULL, &row);
	ok(acc->owed_monthly == 4 && acc->balance.monthly == 0, "one credit pays a debt too");

	/* granted anew by another version */
	acc = fresh(0);
	world_plan(&world, "free", FEB + DAY, 60, CR_CALENDAR, 0);
	world_deduct(&world, T0 + 1, 30);
	world_fold(&world, FEB);
	world_deduct(&world, FEB + 1, 90);
	undo_and_regrant(FEB + 2 * DAY, 0);
	row_is(&world, CR_KIND_UNDO, 30, B(30, 0, 0), NOTHING, NO_PAIRS,
		   "granted anew: the debt is paid first");
	ok(acc->balance.monthly == 40 && acc->owed_monthly == 0 &&
		   acc->facts.period_granted == 60 && acc->facts.plan_version == 2,
	   "by the version in force now");
	replays("a reset granted anew");
	row = *last_row();
	row.plan_version = row.facts.plan_version = 1;
	complains(&row, "monthly_delta does not follow from the operation",
			  "another version than it was granted by");
	world.versions[2].effective_from = last_row()->effective_at + 1;
	complains(last_row(), "monthly_delta does not follow from the operation",
			  "a version that is not in force yet");
	world.versions[2].effective_from = last_row()->effective_at;
	replays("one in force from that moment");

	/* to a version with less: what had expired comes back */
	acc = fresh(0);
	world_plan(&world, "free", FEB, 60, CR_CALENDAR, 0);
	world_fold(&world, FEB);
	acc->owed_monthly = 0;
	run(OP_FREEZE, FEB, 0);
	world_deduct(&world, FEB + 1, 60);
	undo(FEB + 1, 0);
	row_is(&world, CR_KIND_UNDO, 40, B(40, 0, 0), NOTHING, NO_PAIRS,
		   "more expired than was granted; to a frozen account too");
	replays("an undo that gives");

	/* the cap */
	acc = fresh(0);
	world_plan(&world, "free", FEB, 60, CR_CALENDAR, 0);
	world_fold(&world, FEB);
	world_purchase(&world, FEB + 1, CR_MAX_CREDITS - 99);
	is_int(undo(FEB + 2, 0), CR_OVER_CAP, "what comes back is over the cap");
	world_deduct(&world, FEB + 2, 1);
	is_int(undo(FEB + 2, 0), CR_OK, "with one credit less it is not");
	acc = fresh(0);
	world_plan(&world, "free", FEB, 60, CR_CALENDAR, 0);
	world_fold(&world, FEB);
	world_purchase(&world, FEB + 1, CR_MAX_CREDITS - 100);
	before = *acc;
	is_int(undo_and_regrant(FEB + 2, 0), CR_OVER_CAP, "what is granted anew is");
	ok(memcmp(&before, acc, sizeof(before)) == 0, "nothing was changed");
	is_int(undo(FEB + 2, 0), CR_OK, "up to the cap it is not");
	acc = fresh(0);
	world_deduct(&world, T0 + 1, 30);
	world_fold(&world, FEB);
	world_deduct(&world, FEB + 1, 90);
	acc->owed_monthly = CR_MAX_CREDITS - 19;
	is_int(cr_undo(acc, FEB + 2, &world.rows[2], false, 70, NULL, &row), CR_OVER_CAP,
		   "a debt over the cap");
	acc->owed_monthly--;
	is_int(cr_undo(acc, FEB + 2, &world.rows[2], false, 70, NULL, &row), CR_OK,
		   "and one up to it");
	is_int(acc->owed_monthly, CR_MAX_CREDITS, "is owed");

	/* what was set in the period is not below nothing */
	acc = fresh(0);
	world_fold(&world, FEB);
	world_set_plan(&world, FEB + 1, NULL);
	is_int(acc->facts.period_granted, 0, "a cancelled plan has granted nothing");
	undo(FEB + 2, 0);
	ok(acc->facts.period_granted == 0 && acc->owed_monthly == 0, "nor after an undo");
	replays("an undo without a plan");
}

/* A row that stands for several boundaries: undone as a whole, or only the last. */
static void
test_undo_folded(void)
{
	CrAccount  *acc = fresh(0);
	CrRow		row;

	world_plan(&world, "free", APR, 60, CR_CALENDAR, 0);
	world_deduct(&world, T0 + 1, 80);
	world_fold(&world, APR);
	ok(last_row()->skipped == 2 && last_row()->expired == 20 && last_row()->amount == 60,
	   "three boundaries in one row");
	undo(APR + 1, 0);
	row_is(&world, CR_KIND_UNDO, -40, B(-40, 0, 0), NOTHING, NO_PAIRS,
		   "undone: as it was before the first");
	replays("three boundaries undone");
	row = *last_row();
	row.amount = row.delta.monthly = -10;
	row.balance.monthly = 50;
	complains(&row, "monthly_delta does not follow from the operation",
			  "what no version granted before");

	for (int anew = 0; anew <= 1; anew++)
	{
		acc = fresh(0);
		world_plan(&world, "free", APR, 60, CR_CALENDAR, 0);
		world_plan(&world, "free", MAY, 30, CR_CALENDAR, 0);
		world_deduct(&world, T0 + 1, 80);
		world_fold(&world, APR);
		undo_last(APR + 1, 0, anew);
		row_is(&world, CR_KIND_UNDO, anew ? 100 : 40, B(anew ? 100 : 40, 0, 0), NOTHING,
			   NO_PAIRS, "the last one undone: what the one before it had granted");
		is_int(acc->facts.period_granted, anew ? 60 : 0, "granted in the period");
		replays("the last boundary undone");
	}

	fresh(0);
	world_plan(&world, "free", APR, 60, CR_CALENDAR, 0);
	world_plan(&world, "free", APR + 1, 30, CR_CALENDAR, 0);
	world_deduct(&world, T0 + 1, 80);
	world_fold(&world, APR);
	undo(APR + DAY, 0);
	row = *last_row();
	row.amount = row.delta.monthly = -30;
	row.balance.monthly = 30;
	complains(&row, "monthly_delta does not follow from the operation",
			  "what a version would grant that came after the row");
	world.versions[3].effective_from = APR;
	ok(replay_rows(acc, world.n_rows - 1) == NULL &&
		   world_replay(&world, acc, &row, world.n_rows - 1) == NULL,
	   "one in force then is believed");

	fresh(0);
	world_plan(&world, "free", FEB, 60, CR_CALENDAR, 0);
	world_deduct(&world, T0 + 1, 80);
	world_fold(&world, FEB);
	undo(FEB + 1, 0);
	row = *last_row();
	row.amount = row.delta.monthly = 40;
	row.balance.monthly = 100;
	complains(&row, "monthly_delta does not follow from the operation",
			  "of one boundary: what its row does not say");
	row = *last_row();
	row.ref_seq = row.seq;
	complains(&row, "ref_seq names nothing that can be undone", "a row that is not there");
	row = *last_row();
	row.ref_seq = 2;
	complains(&row, "the operation could not have been done in this state",
			  "a deduction undone");
	undo(FEB + 2, 0);
	row.seq = world.n_rows + 1;
	row.ref_seq = 3;
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
	world_set_plan(&world, T0 + 1, NULL);
	world_purchase(&world, T0 + 2, CR_MAX_CREDITS - 99);
	is_int(undo(T0 + 3, 0), CR_OVER_CAP, "over the cap they do not");
	acc = fresh(0);
	world_set_plan(&world, T0 + 1, "pro");
	world_set_plan(&world, T0 + 2, NULL);
	undo(T0 + 3, 0);
	ok(acc->facts.period_granted == 0 && acc->owed_monthly == 150,
	   "granted less than nothing: nothing");
	replays("plans undone");

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
			is_int(cr_undo(&world.acc, FEB, &world.rows[i], false, 0, NULL, &row),
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
	ok(acc->period_start == T0 && acc->next_reset_at == CR_NEVER && !last_row()->has_facts,
	   "the first one begins the period");
	run(OP_IMPORTED, T0 + 1, -3);
	ok(acc->period_start == T0 && last_row()->amount == -3, "the next one does not");
	import(T0 + 2, "free", 40, 30);
	row_is(&world, CR_KIND_IMPORT, 70, B(40, 0, 30), NOTHING, NO_PAIRS,
		   "what the account had there");
	ok(last_row()->has_facts && same_text(acc->facts.plan, "free") &&
		   acc->facts.plan_version == 1 && acc->facts.period_granted == 100 &&
		   acc->facts.cycle_anchor == T0 - DAY &&
		   same_text(acc->facts.time_zone, "Asia/Tokyo") &&
		   acc->facts.status == CR_ACTIVE,
	   "its plan has granted the allowance");
	ok(acc->period_start == T0 + 2 - DAY && acc->next_reset_at == FEB - 9 * HOUR,
	   "it is in the midst of its period");
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
	ok(cr_import(&(CrAccount){.facts.time_zone = "UTC"}, T0, &in, &row) == CR_OK &&
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
	IN_USE(facts.plan, "free");
	IN_USE(next_reset_at, FEB);
	IN_USE(facts.status, CR_CLOSED);
	IN_USE(balance.monthly, 1);
	IN_USE(balance.granted, 1);
	IN_USE(balance.purchased, 1);
	IN_USE(held.monthly, 1);
	IN_USE(held.granted, 1);
	IN_USE(held.purchased, 1);
	IN_USE(owed_monthly, 1);
	IN_USE(owed_purchased, 1);
#undef IN_USE
	blank.facts.status = CR_FROZEN;
	ok(cr_can_import(&blank), "a frozen one can be");

	/* undone: with the plan, and what is left */
	acc = nothing_yet(0);
	import(T0, "free", 40, 30);
	world_deduct(&world, T0 + 1, 50);
	world_schedule(&world, T0 + 2, "pro");
	undo(T0 + 3, 0);
	row_is(&world, CR_KIND_UNDO, -20, B(0, 0, -20), NOTHING, NO_PAIRS,
		   "an import undone: what is left goes");
	is_about(1, "its row names the import");
	ok(acc->facts.plan == NULL && acc->facts.plan_version == 0 &&
		   acc->facts.scheduled_plan == NULL && acc->facts.period_granted == 0 &&
		   acc->next_reset_at == CR_NEVER && acc->owed_purchased == 0,
	   "and the plan");
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
	world_set_plan(&world, T0 + 1, "pro");
	world_deduct(&world, T0 + 2, 190);
	undo(T0 + 3, 1);
	is_int(acc->owed_monthly, 150, "a debt of monthly credits");
	undo(T0 + 4, 0);
	row_is(&world, CR_KIND_UNDO, -30, B(0, 0, -30), NOTHING, NO_PAIRS,
		   "goes with the import");
	is_int(acc->owed_monthly, 0, "as at a reset");
	replays("an import undone in debt");

	/* what replay believes */
	nothing_yet(0);
	import(T0, "free", 40, 30);
	row = *last_row();
	row.period_start = T0 + 1;
	complains(&row, "period_start is after the import", "a period of the future");
	row.period_start = T0;
	row.next_reset_at = T0 + 64 * DAY + 1;
	complains(&row, "next_reset_at is too far away", "a period too long");
	row.next_reset_at = T0;
	complains(&row, "next_reset_at is no end of the period", "a period that is over");
	row = *last_row();
	row.period_start = T0;
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
	is_text(cr_replay(acc, &world.env, &row, NULL, 0),
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
		   acc->next_reset_at == FEB && acc->period_start == T0,
	   "without a plan, to the period's end");
	is_int(acc->facts.period_granted, 30, "which has granted what was spent of it");
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
	is_int(acc->facts.period_granted, 100, "all of the allowance was spent");
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
	ok(acc->facts.period_granted == 0 && last_row()->expired == 150,
	   "a frozen account is closed; nothing of the allowance was spent");
	world_revoke(&world, T0 + 4, 0, 30);
	world_fold(&world, FEB);
	ok(acc->next_reset_at == CR_NEVER && acc->balance.monthly == 0 &&
		   acc->facts.status == CR_CLOSED,
	   "nothing comes after the period");
	is_int(acc->owed_purchased, 30, "debts stay");
	is_int(import(FEB + 1, "free", 1, 0), CR_NOT_UNDOABLE, "no import");
	is_int(world_open(&world, FEB + 1, "free", T0, "UTC"), CR_IS_CLOSED,
		   "and it is not opened as if it were new");
	replays("a closed account's end");
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
	test_undo_folded();
	test_undo_others();
	test_import();
	test_transfer();
	test_close();
	test_closed_replay();
}
