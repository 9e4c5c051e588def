/*
 * plan_test.c
 *		Plan changes, now and at the next reset, restarts and changes of the cycle: which
 *		credits they move, that they never touch the running period, and that no order of
 *		them grants anything twice.
 */
#include "unit.h"

#define T0 utc(2026, 1, 10, 12, 0, 0)
#define FEB utc(2026, 2, 1, 0, 0, 0)
#define MAR utc(2026, 3, 1, 0, 0, 0)

static World world;

/* Plans of 100, 300 and 1000 a month, and one of each other cycle. */
static CrAccount *
fresh(const char *plan)
{
	CrTime		from = utc(2020, 1, 1, 0, 0, 0);

	world_init(&world);
	world.strict = true;
	world_plan(&world, "free", from, 100, CR_CALENDAR, 0);
	world_plan(&world, "pro", from, 300, CR_CALENDAR, 0);
	world_plan(&world, "max", from, 1000, CR_CALENDAR, 0);
	world_plan(&world, "monthday", from, 310, CR_ANNIVERSARY, 0);
	world_plan(&world, "day", from, 10, CR_DAILY, 0);
	world_plan(&world, "week", from, 70, CR_WEEKLY, 0);
	world_plan(&world, "year", from, 3660, CR_YEARLY, 0);
	world_open(&world, T0, plan, utc(2026, 1, 15, 0, 0, 0), "UTC");
	return &world.acc;
}

static const CrRow *
last_row(void)
{
	return &world.rows[world.n_rows - 1];
}

/*
 * Changes the plan now, and tests what that gave.  Number, start, end and share of the period
 * stay, and what was granted in it is exactly the plan's allowance.
 */
static void
change(const char *plan, int64_t monthly, int64_t owed, int64_t granted, const char *name)
{
	CrAccount	before;
	CrVerdict	verdict;
	const CrAccount *acc = &world.acc;
	const char *wrong = NULL;

	world_fold(&world, T0 + DAY);
	before = world.acc;
	verdict = world_set_plan(&world, T0 + DAY, plan);
	if (verdict != CR_OK)
		wrong = "refused";
	else if (world.broken)
		wrong = world.broken;
	else if (last_row()->kind != CR_KIND_SET_PLAN || !same_text(acc->facts.plan, plan))
		wrong = "another kind of row, or another plan";
	else if (acc->balance.monthly != monthly || acc->owed_monthly != owed)
		wrong = "other credits";
	else if (acc->facts.period_granted != granted ||
			 last_row()->amount != granted - before.facts.period_granted)
		wrong = "another allowance, or another amount in the row";
	else if (before.facts.cycle != CR_NO_CYCLE && acc->next_reset_at != before.next_reset_at)
		wrong = "another end of the period";
	else if (acc->period != before.period ||
			 acc->facts.period_start != before.facts.period_start ||
			 acc->facts.period_share != before.facts.period_share)
		wrong = "another period";
	if (!ok(wrong == NULL, "%s", name))
		note("%s: %s", wrong, show_account(acc));
}

static void
test_now(void)
{
	CrAccount  *acc = fresh("free");

	world_deduct(&world, T0 + 1, 60);
	change("pro", 240, 0, 300, "100 to 300 with 40 left: the difference is added");
	ok(buckets_are(&last_row()->delta, 200, 0, 0), "the row says +200");
	is_time(acc->next_reset_at, FEB, "the period's end stays");
	is_time(acc->facts.period_start, T0, "and its start");
	change("free", 40, 0, 100, "back to 100: the difference is taken");
	ok(buckets_are(&last_row()->delta, -200, 0, 0), "the row says -200");
	change("pro", 240, 0, 300, "and up again: as before, nothing is granted twice");
	world_deduct(&world, T0 + DAY, 190);
	change("free", 0, 150, 100, "down with 50 left: 50 are taken, 150 are remembered");
	ok(buckets_are(&last_row()->delta, -50, 0, 0) && last_row()->owed_monthly == 150,
	   "as the row says");
	is_int(cr_owed(acc), 0, "the user does not owe them");
	change("pro", 50, 0, 300, "up again: it is paid, and the 50 come back");
	change("max", 750, 0, 1000, "and the rest for a still larger plan");
	change("free", 0, 150, 100, "down from there: what is unspent is taken");
	change(NULL, 0, 250, 0, "cancelled with nothing left: all that was spent is remembered");
	is_time(acc->next_reset_at, FEB, "a cancelled plan keeps its period");
	change("pro", 50, 0, 300, "coming back in the same period: only what was not granted yet");
	change("pro", 50, 0, 300, "the same plan again changes nothing");

	acc = fresh("pro");
	change(NULL, 0, 0, 0, "cancelled with everything left: all is taken");
	ok(acc->facts.plan_version == 0 && acc->facts.cycle == CR_CALENDAR,
	   "no plan, no version, but the cycle");
	change("pro", 300, 0, 300, "and comes back");

	fresh("pro");
	world_hold(&world, T0 + 1, 200, T0 + 5 * DAY);
	change("free", 0, 100, 100, "held monthly credits are not taken, but remembered");
	ok(buckets_are(&world.acc.held, 200, 0, 0), "they stay held");
	world_release(&world, T0 + 2 * DAY, 0);
	balance_is(&world, 100, 0, 0, "and pay when they come back");
	is_int(world.acc.owed_monthly, 0, "all that was remembered");

	acc = fresh("free");
	acc->balance.monthly = 0;
	acc->owed_monthly = 150;
	change("pro", 50, 0, 300, "150 are remembered: the difference of 200 pays them first");
	acc->balance = (CrBuckets) {0, 0, 0};
	acc->owed_purchased = 10;
	change("max", 700, 0, 1000, "what is owed in purchased is not paid by a plan");
	is_int(acc->owed_purchased, 10, "it stays owed");

	acc = fresh("pro");
	world_purchase(&world, T0 + 1, 500);
	change("free", 100, 0, 100, "a smaller plan");
	is_int(acc->balance.purchased, 500, "does not touch purchased credits");

	/* the version in force when the call is made */
	acc = fresh("free");
	world_plan(&world, "pro", T0 + DAY, 400, CR_CALENDAR, 0);
	world_plan(&world, "pro", T0 + DAY + 1, 500, CR_CALENDAR, 0);
	change("pro", 400, 0, 400, "a version in force from this very moment");
	is_int(acc->facts.plan_version, 2, "is the one that the account gets");
}

static void
test_without_period(void)
{
	CrAccount  *acc = fresh(NULL);
	CrAccount	before;
	CrRow		row;
	CrRow		rubbish;

	world_purchase(&world, T0 + 1, 50);
	memset(&row, 0x5A, sizeof(row));
	rubbish = row;
	before = *acc;
	ok(cr_schedule_plan(acc, T0 + 2, "pro", &row) == CR_NO_PERIOD &&
		   memcmp(&row, &rubbish, sizeof(row)) == 0 && memcmp(acc, &before, sizeof(before)) == 0,
	   "without a period there is no next reset to schedule a change at");
	change(NULL, 0, 0, 0, "no plan for an account that has none");
	ok(acc->next_reset_at == CR_NEVER && acc->facts.cycle == CR_NO_CYCLE,
	   "leaves the period open-ended");
	world_run(&world, &(Command){.op = OP_ADJUST, .at = T0 + 3, .amount = 40});
	world_hold(&world, T0 + 4, 30, T0 + 20 * DAY);
	change("pro", 310, 0, 300, "an account without a plan gets one: its whole allowance");
	ok(acc->period == 1 && acc->facts.period_start == T0 &&
		   acc->facts.period_share == CR_FULL_SHARE,
	   "in the same period: nothing expires");
	is_int(acc->balance.purchased, 50, "next to what was bought");
	is_time(acc->next_reset_at, FEB, "which now ends at the next boundary");
	ok(acc->next_event_at <= FEB && !cr_is_due(acc, T0 + 20 * DAY - 1), "not due before it");
	world_release(&world, T0 + 2 * DAY, 0);
	is_int(acc->balance.monthly, 340, "what was held before comes back");

	acc = fresh(NULL);
	world_set_plan(&world, utc(2026, 7, 20, 0, 0, 0), "monthday");
	is_time(acc->next_reset_at, utc(2026, 8, 15, 0, 0, 0),
			"months later: the next boundary from then, none in the past");
	ok(acc->balance.monthly == 310 && acc->period == 1, "one allowance");

	/* debts from adjusting nothing: there are none */
	acc = fresh(NULL);
	world.hidden_zone = "UTC";
	is_int(world_set_plan(&world, T0 + 1, "pro"), CR_ZONE_UNKNOWN,
		   "the first plan needs to know the zone");
}

/* Opening an account again that a purchase opened. */
static void
test_open_again(void)
{
	CrAccount  *acc = fresh(NULL);
	CrAccount	before;

	world_purchase(&world, T0 + 1, 10);
	world_run(&world, &(Command){.op = OP_ADJUST, .at = T0 + 2, .amount = 50});
	world_hold(&world, T0 + 3, 20, T0 + 9 * DAY);
	before = *acc;
	is_int(world_run(&world, &(Command){.op = OP_OPEN,
										.at = T0 + DAY,
										.anchor = T0,
										.zone = "Asia/Tokyo"}),
		   CR_OK, "opened again without a plan");
	before.facts.cycle_anchor = T0;
	before.facts.time_zone = "Asia/Tokyo";
	before.effective_at = T0 + DAY;
	ok(same_account(&before, acc), "only the anchor and the zone change");
	world_release(&world, T0 + 2 * DAY, 0);
	row_is(&world, CR_KIND_RELEASE, 20, B(20, 0, 0), NOTHING, NO_PAIRS,
		   "what was held comes back");
	world_run(&world, &(Command){.op = OP_OPEN,
								 .at = T0 + 3 * DAY,
								 .plan = "pro",
								 .anchor = T0,
								 .zone = "Asia/Tokyo"});
	balance_is(&world, 350, 0, 10, "opened on a plan: its allowance comes to what there is");
	ok(acc->period == 1 && acc->next_reset_at == FEB - 9 * HOUR && acc->facts.period_start == T0,
	   "in the period that runs");
}

/* Another cycle of the same length: the running period stays, the next one is a part. */
static void
test_cycle_change(void)
{
	CrAccount  *acc = fresh("pro");

	change("monthday", 310, 0, 310, "calendar to anniversary on the 15th, on 11 Jan");
	ok(acc->end_from.differs && acc->end_from.cycle == CR_CALENDAR &&
		   acc->facts.cycle == CR_ANNIVERSARY,
	   "the end is remembered to be the calendar's");
	is_int(world_fold(&world, FEB), 1, "which comes at its time");
	is_time(acc->next_reset_at, utc(2026, 2, 15, 0, 0, 0), "the next period ends on the 15th");
	is_int(acc->facts.period_share, 451612, "14 of 31 days");
	is_int(acc->balance.monthly, 139, "and gives 139 of 310");
	ok(!acc->end_from.differs && acc->period == 2, "this end is the cycle's own");
	world_fold(&world, utc(2026, 2, 15, 0, 0, 0));
	ok(acc->next_reset_at == utc(2026, 3, 15, 0, 0, 0) && acc->balance.monthly == 310 &&
		   acc->facts.period_share == CR_FULL_SHARE,
	   "then they are whole again");
	world_set_plan(&world, utc(2026, 2, 20, 0, 0, 0), "free");
	is_time(acc->next_reset_at, utc(2026, 3, 15, 0, 0, 0), "anniversary to calendar: later");

	/* a plan change in a period that is a part */
	acc = fresh("pro");
	world_set_plan(&world, T0 + 1, "monthday");
	world_fold(&world, FEB);
	world_deduct(&world, FEB + 1, 39);
	world_set_plan(&world, FEB + 2, "max");
	ok(acc->balance.monthly == 412 && acc->facts.period_granted == 451,
	   "in a part of a period, a plan change gives a part");
	world_set_plan(&world, FEB + 3, NULL);
	ok(acc->owed_monthly == 39 && acc->facts.period_granted == 0, "cancelling takes it");
	world_set_plan(&world, FEB + 4, "free");
	ok(acc->balance.monthly == 6 && acc->owed_monthly == 0, "45 of 100, and 39 were spent");
	world_fold(&world, utc(2026, 2, 15, 0, 0, 0));
	ok(acc->next_reset_at == MAR && acc->facts.period_share == 500000 &&
		   acc->balance.monthly == 50,
	   "14 of 28 days to the calendar's next boundary");

	/* the end was stored when the zone's midnight was another one */
	acc = fresh("pro");
	acc->next_reset_at = acc->next_event_at = FEB + HOUR;
	change("max", 1000, 0, 1000, "a plan of the same cycle, after the zone's rules changed");
	acc->next_reset_at = acc->next_event_at = FEB - HOUR;
	change("pro", 300, 0, 300, "leaves the stored end alone");
	world_fold(&world, FEB - HOUR);
	ok(acc->facts.period_share == CR_FULL_SHARE && acc->next_reset_at == MAR,
	   "and the next period is whole, not an hour");

	/* where the new boundary falls on the old end, the next period is whole */
	acc = fresh("pro");
	world_set_cycle(&world, T0 + 1, utc(2025, 12, 1, 0, 0, 0), "UTC");
	change("monthday", 310, 0, 310, "calendar to anniversary on the 1st");
	world_fold(&world, FEB);
	ok(acc->facts.period_share == CR_FULL_SHARE && acc->next_reset_at == MAR,
	   "the next period is whole");
}

/* A cycle of another length: at the next reset, or with a restart. */
static void
test_other_length(void)
{
	static const char *const plans[] = {"free", "day", "week", "year"};
	CrAccount  *acc;
	int			wrong = 0;

	for (int from = 0; from < lengthof(plans); from++)
	{
		for (int to = 0; to < lengthof(plans); to++)
		{
			CrVerdict	want = from == to ? CR_OK : CR_OTHER_LENGTH;

			acc = fresh(plans[from]);
			if (world_set_plan(&world, T0 + HOUR, plans[to]) != want)
				wrong++;
			world_set_plan(&world, T0 + 2 * HOUR, NULL);
			if (world_set_plan(&world, T0 + 3 * HOUR, plans[to]) != want || world.broken)
				wrong++;
			if (world_restart(&world, T0 + 4 * HOUR, plans[to], false) != CR_OK)
				wrong++;
		}
	}
	is_int(wrong, 0, "a plan whose cycle has another length does not start now, only restarted");

	acc = fresh("free");
	world_schedule(&world, T0 + 1, "week");
	world_fold(&world, FEB);
	ok(acc->facts.cycle == CR_WEEKLY && acc->next_reset_at == utc(2026, 2, 5, 0, 0, 0) &&
		   acc->facts.period_share == 571428 && acc->balance.monthly == 39,
	   "at the next reset it does: 4 of 7 days, 39 of 70");
	world_fold(&world, utc(2026, 2, 5, 0, 0, 0));
	ok(acc->next_reset_at == utc(2026, 2, 12, 0, 0, 0) && acc->balance.monthly == 70,
	   "then whole weeks");
	world_schedule(&world, utc(2026, 2, 6, 0, 0, 0), "year");
	world_fold(&world, utc(2026, 2, 12, 0, 0, 0));
	ok(acc->facts.cycle == CR_YEARLY && acc->next_reset_at == utc(2027, 1, 15, 0, 0, 0) &&
		   acc->facts.period_share == 923287 && acc->balance.monthly == 3379,
	   "337 of 365 days of a year, 3379 of 3660");
	world_schedule(&world, utc(2026, 2, 13, 0, 0, 0), "day");
	world_fold(&world, utc(2027, 1, 15, 0, 0, 0));
	ok(acc->next_reset_at == utc(2027, 1, 16, 0, 0, 0) && acc->balance.monthly == 10 &&
		   acc->facts.period_share == CR_FULL_SHARE,
	   "and a day, which starts at midnight");

	/* the plan's own cycle changes: at the boundary */
	acc = fresh("free");
	world_plan(&world, "free", T0 + DAY, 31, CR_DAILY, 0);
	is_int(world_set_plan(&world, T0 + 2 * DAY, "free"), CR_OTHER_LENGTH,
		   "also if it is a newer version of the plan");
	world_fold(&world, FEB);
	ok(acc->facts.cycle == CR_DAILY && acc->next_reset_at == FEB + DAY &&
		   acc->balance.monthly == 31,
	   "from the boundary on, the version's cycle counts");
}

static void
test_restart(void)
{
	CrAccount  *acc = fresh("free");
	CrTime		at = utc(2026, 1, 20, 15, 0, 0);
	CrTime		end = utc(2026, 2, 20, 15, 0, 0);

	world_deduct(&world, T0 + 1, 70);
	world_schedule(&world, T0 + 2, "max");
	is_int(world_restart(&world, at, "pro", false), CR_OK, "a restart");
	row_is(&world, CR_KIND_RESTART, 300, B(270, 0, 0), NOTHING, NO_PAIRS,
		   "gives the whole allowance, and what was left expires");
	ok(last_row()->expired == 30 && last_row()->has_facts && last_row()->period == 2,
	   "in the next period");
	ok(acc->facts.period_start == at && acc->next_reset_at == end &&
		   acc->facts.period_share == CR_FULL_SHARE && acc->facts.period_granted == 300,
	   "which starts now and lasts one whole period");
	ok(acc->facts.last_left == 30 && acc->facts.last_limit == 0, "30 were left");
	ok(same_text(acc->facts.plan, "pro") && acc->facts.scheduled_plan == NULL &&
		   acc->facts.cycle_anchor == at,
	   "on that plan, nothing is scheduled, the anchor is now");
	ok(acc->end_from.differs && same_text(acc->end_from.zone, ""),
	   "a calendar plan's boundaries are not counted from now");
	world_fold(&world, end);
	ok(acc->next_reset_at == MAR && acc->facts.period_share == 299107 &&
		   acc->balance.monthly == 89,
	   "so the next period lasts to the 1st: 8 days and 9 hours of 28 days");
	world_fold(&world, MAR);
	ok(acc->facts.period_share == CR_FULL_SHARE && acc->balance.monthly == 300, "then whole ones");

	/* the anchor moves, or does not */
	acc = fresh("monthday");
	world_restart(&world, at, "monthday", false);
	ok(acc->facts.cycle_anchor == at && !acc->end_from.differs, "the anchor moves");
	world_fold(&world, end);
	ok(acc->next_reset_at == utc(2026, 3, 20, 15, 0, 0) &&
		   acc->facts.period_share == CR_FULL_SHARE,
	   "and periods are counted from it");
	acc = fresh("monthday");
	world_restart(&world, at, "monthday", true);
	ok(acc->facts.cycle_anchor == utc(2026, 1, 15, 0, 0, 0) && acc->next_reset_at == end &&
		   acc->end_from.differs,
	   "keep_anchor: the same period, and the old anchor");
	world_fold(&world, end);
	ok(acc->next_reset_at == utc(2026, 3, 15, 0, 0, 0) && acc->facts.period_share == 799107,
	   "which the next period lasts to: 22 days and 9 hours of 28 days");
	acc = fresh("monthday");
	world_restart(&world, utc(2026, 1, 31, 8, 0, 0), "monthday", false);
	is_time(acc->next_reset_at, utc(2026, 2, 28, 8, 0, 0), "from 31 Jan to 28 Feb");
	world_fold(&world, utc(2026, 2, 28, 8, 0, 0));
	is_time(acc->next_reset_at, utc(2026, 3, 31, 8, 0, 0), "and then to 31 Mar");

	/* a boundary for rollover, holds and debts */
	acc = fresh("free");
	world_plan(&world, "free", T0, 100, CR_CALENDAR, 50);
	world_hold(&world, T0 + 1, 40, FEB - DAY);
	world_restart(&world, at, "free", false);
	row_is(&world, CR_KIND_RESTART, 100, B(90, 0, 0), B(40, 0, 0), NO_PAIRS,
		   "50 of 60 roll over, what is held stays held");
	world_release(&world, at + 1, 0);
	row_is(&world, CR_KIND_RELEASE, 40, NOTHING, NOTHING, NO_PAIRS, "and the limit holds for it");
	is_int(last_row()->expired, 40, "so it expires");
	acc = fresh("max");
	world_deduct(&world, T0 + 1, 950);
	world_set_plan(&world, T0 + 2, "free");
	is_int(acc->owed_monthly, 850, "a debt");
	world_restart(&world, at, "free", false);
	ok(acc->owed_monthly == 0 && acc->balance.monthly == 100 && acc->facts.last_left == -850,
	   "lapses");
	world_refund(&world, at + 1, 0, 0);
	row_is(&world, CR_KIND_REFUND, 950, NOTHING, NOTHING, NO_PAIRS, "nothing comes of it after");

	/* with events in between, twice, and refused */
	acc = fresh("free");
	is_int(world_restart(&world, FEB + DAY, "free", false), CR_OK, "after a boundary that was due");
	ok(acc->period == 3 && acc->facts.period_start == FEB + DAY, "it comes after it");
	is_int(world_restart(&world, FEB + DAY, "free", false), CR_OK, "twice in one instant");
	ok(acc->period == 4 && acc->balance.monthly == 100 && world.broken == NULL, "is two periods");
	world_purchase(&world, FEB + DAY, CR_MAX_CREDITS - 100);
	is_int(world_restart(&world, FEB + DAY, "free", false), CR_OK, "what expires makes room");
	is_int(world_restart(&world, FEB + DAY, "pro", false), CR_OVER_CAP,
		   "past the cap it is refused, not clamped");
	world_run(&world, &(Command){.op = OP_FREEZE, .at = FEB + DAY});
	is_int(world_restart(&world, FEB + DAY, "free", false), CR_OK, "a frozen account");
	world.hidden_zone = "UTC";
	is_int(world_restart(&world, FEB + DAY, "free", false), CR_ZONE_UNKNOWN,
		   "needs to know its zone");
	world.hidden_zone = NULL;
	world_run(&world, &(Command){.op = OP_CLOSE, .at = FEB + DAY});
	is_int(world_restart(&world, FEB + DAY, "free", false), CR_IS_CLOSED, "a closed one does not");

	/* an account without a plan */
	acc = fresh(NULL);
	world_run(&world, &(Command){.op = OP_ADJUST, .at = T0, .amount = 40});
	world_restart(&world, at, "free", false);
	ok(acc->period == 2 && last_row()->expired == 40 && acc->balance.monthly == 100 &&
		   acc->next_reset_at == end,
	   "an open-ended period ends, too");
}

/* Another anchor or zone: nothing happens to the running period. */
static void
test_set_cycle(void)
{
	CrTime		mid = utc(2026, 2, 15, 0, 0, 0);
	CrAccount  *acc = fresh("free");
	CrAccount	before = *acc;

	world_set_cycle(&world, T0, T0 + DAY, "UTC");
	row_is(&world, CR_KIND_SET_CYCLE, 0, NOTHING, NOTHING, NO_PAIRS, "another anchor");
	ok(acc->next_reset_at == FEB && acc->facts.cycle_anchor == T0 + DAY, "same end");
	world_set_cycle(&world, T0, before.facts.cycle_anchor, "UTC");
	ok(same_account(&before, acc), "and back: as if nothing was");
	world_set_cycle(&world, T0, before.facts.cycle_anchor, "UTC");
	ok(!last_row()->has_facts && same_account(&before, acc), "the same again changes no fact");

	/* UTC to Tokyo on 10 Jan */
	world_set_cycle(&world, T0, T0, "Asia/Tokyo");
	is_time(acc->next_reset_at, FEB, "to Tokyo on 10 Jan: the end stays 1 Feb 00:00Z");
	world_fold(&world, FEB);
	ok(acc->next_reset_at == MAR - 9 * HOUR && acc->balance.monthly == 98 &&
		   acc->facts.period_share == 986607,
	   "then 98 of 100 until 28 Feb 15:00Z");
	world_fold(&world, MAR - 9 * HOUR);
	ok(acc->facts.period_share == CR_FULL_SHARE && acc->balance.monthly == 100, "then all of it");

	/* there, back, there */
	acc = fresh("free");
	for (int i = 0; i < 3; i++)
		world_set_cycle(&world, T0 + i, T0, i == 1 ? "UTC" : "Asia/Tokyo");
	world_fold(&world, FEB);
	ok(acc->next_reset_at == MAR - 9 * HOUR && acc->balance.monthly == 98,
	   "there, back and there: the same as once");
	acc = fresh("free");
	for (int i = 0; i < 4; i++)
		world_set_cycle(&world, T0 + i, utc(2026, 1, 15, 0, 0, 0),
						i % 2 ? "UTC" : "Europe/Berlin");
	world_fold(&world, FEB);
	ok(acc->facts.period_share == CR_FULL_SHARE && acc->next_reset_at == MAR,
	   "there and back twice: the same as never");

	/* another day of an anniversary */
	acc = fresh("monthday");
	is_time(acc->next_reset_at, utc(2026, 1, 15, 0, 0, 0), "an anniversary");
	world_fold(&world, utc(2026, 1, 15, 0, 0, 0));
	world_set_cycle(&world, utc(2026, 1, 16, 0, 0, 0), mid + 10 * DAY, "UTC");
	is_time(acc->next_reset_at, mid, "another day: this period ends as it would have");
	world_fold(&world, mid);
	ok(acc->next_reset_at == mid + 10 * DAY && acc->facts.period_share == 322580 &&
		   acc->balance.monthly == 99,
	   "the next is 10 of 31 days");

	/* of no plan, and closed */
	acc = fresh("monthday");
	world_set_plan(&world, T0 + 1, NULL);
	world_set_cycle(&world, T0 + 2, T0 + 20 * DAY, "Asia/Tokyo");
	is_time(acc->next_reset_at, utc(2026, 1, 15, 0, 0, 0), "a cancelled account's period stays");
	world_run(&world, &(Command){.op = OP_CLOSE, .at = T0 + 3});
	is_int(world_set_cycle(&world, T0 + 4, T0, "UTC"), CR_OK, "a closed account's cycle can change");
	acc = fresh(NULL);
	world_set_cycle(&world, T0 + 1, T0, "Asia/Tokyo");
	ok(acc->next_reset_at == CR_NEVER && !acc->end_from.differs && world.broken == NULL,
	   "so can that of an account that never had a plan");
	world_set_plan(&world, T0 + 2, "free");
	is_time(acc->next_reset_at, FEB - 9 * HOUR, "and its first plan uses it");
	ok(!acc->end_from.differs, "in full");
	world.hidden_zone = "Europe/Berlin";
	is_int(world_set_cycle(&world, T0 + 3, T0, "Europe/Berlin"), CR_ZONE_UNKNOWN,
		   "not to a zone that is not known");
	world.hidden_zone = "Asia/Tokyo";
	is_int(world_set_cycle(&world, T0 + 3, T0 + DAY, "Asia/Tokyo"), CR_OK,
		   "the zone that it has can stay");
}

static void
test_scheduled(void)
{
	CrAccount  *acc = fresh("free");
	CrAccount	before;
	int			first;

	world_deduct(&world, T0 + 1, 60);
	before = *acc;
	is_int(world_schedule(&world, T0 + DAY, "pro"), CR_OK, "a change at the next reset");
	ok(row_breaks(&before, acc, last_row()) == NULL && last_row()->kind == CR_KIND_SCHEDULE_PLAN &&
		   last_row()->has_facts && same_text(acc->facts.scheduled_plan, "pro") &&
		   same_text(acc->facts.plan, "free") && last_row()->amount == 0,
	   "is recorded");
	ok(buckets_are(&acc->balance, 40, 0, 0), "and moves nothing now");
	is_int(world_fold(&world, FEB - 1), 0, "nothing before the boundary");
	first = world.n_rows;
	is_int(world_fold(&world, FEB), 2, "two rows at the boundary");
	ok(world.rows[first].kind == CR_KIND_PLAN_CHANGE &&
		   world.rows[first + 1].kind == CR_KIND_RESET && world.rows[first].effective_at == FEB &&
		   world.rows[first + 1].effective_at == FEB,
	   "the plan change, then the reset, both at that instant");
	ok(buckets_are(&world.rows[first].delta, 0, 0, 0) && world.rows[first].period == 1 &&
		   world.rows[first + 1].period == 2,
	   "the change itself grants nothing and begins no period");
	ok(same_text(acc->facts.plan, "pro") && acc->facts.scheduled_plan == NULL &&
		   buckets_are(&acc->balance, 300, 0, 0) && acc->facts.period_granted == 300,
	   "the new plan's allowance");
	world_fold(&world, MAR);
	ok(same_text(acc->facts.plan, "pro") && buckets_are(&acc->balance, 300, 0, 0),
	   "and the plan stays");

	acc = fresh("pro");
	world_purchase(&world, T0 + 1, 7);
	world_schedule(&world, T0 + DAY, NULL);
	ok(same_text(acc->facts.plan, "pro") && same_text(acc->facts.scheduled_plan, ""),
	   "a cancellation at the next reset");
	world_fold(&world, FEB);
	ok(acc->facts.plan == NULL && acc->facts.plan_version == 0 &&
		   acc->facts.scheduled_plan == NULL && acc->next_reset_at == MAR &&
		   acc->facts.period_granted == 0 && acc->facts.cycle == CR_CALENDAR,
	   "ends the plan there; the periods go on");
	ok(buckets_are(&acc->balance, 0, 0, 7), "monthly credits expire, purchased ones stay");
	is_int(world_fold(&world, utc(2030, 1, 1, 0, 0, 0)), 0, "and write no row any more");

	acc = fresh("pro");
	world_schedule(&world, T0 + DAY, "max");
	world_schedule(&world, T0 + 2 * DAY, "pro");
	ok(acc->facts.scheduled_plan == NULL, "the plan that it has takes back what was scheduled");
	is_int(world_fold(&world, FEB), 1, "and only the reset comes");

	acc = fresh("pro");
	world_schedule(&world, T0 + DAY, "max");
	world_schedule(&world, T0 + 2 * DAY, "free");
	world_fold(&world, FEB);
	ok(same_text(acc->facts.plan, "free") && acc->balance.monthly == 100,
	   "the last change scheduled is the one that comes");

	/* a larger allowance does not turn into leftover first */
	acc = fresh("free");
	world.versions[2].rollover_limit = 500;
	world_deduct(&world, T0 + 1, 90);
	world_schedule(&world, T0 + DAY, "max");
	world_fold(&world, FEB);
	is_int(acc->balance.monthly, 1010, "leftover 10, to 1000 with rollover 500: 1010");

	/* the boundary uses the new plan's rollover, not the old one's */
	acc = fresh("max");
	world.versions[2].rollover_limit = 500;
	world_schedule(&world, T0 + DAY, "free");
	world_fold(&world, FEB);
	is_int(acc->balance.monthly, 100, "to a plan without rollover: the leftover expires");

	/* a plan scheduled for a cancelled account */
	acc = fresh("pro");
	world_set_plan(&world, T0 + 1, NULL);
	is_int(world_schedule(&world, T0 + 2, "free"), CR_OK, "a cancelled account has a next reset");
	world_fold(&world, FEB);
	ok(acc->balance.monthly == 100 && same_text(acc->facts.plan, "free"), "which brings it a plan");
}

/* The periods of a cancelled account go on, with no allowance and without rows. */
static void
test_cancelled(void)
{
	CrAccount  *acc = fresh("pro");
	int			first;

	world_deduct(&world, T0 + 1, 1);
	world_set_plan(&world, T0 + DAY, NULL);
	ok(acc->owed_monthly == 1 && acc->balance.monthly == 0, "one was spent, and is remembered");
	first = world.n_rows;
	world_fold(&world, FEB);
	ok(world.n_rows == first + 1 && last_row()->kind == CR_KIND_RESET && acc->owed_monthly == 0 &&
		   last_row()->amount == 0,
	   "until the reset");
	is_int(world_fold(&world, utc(2026, 4, 20, 0, 0, 0)), 0, "later boundaries write no row");
	ok(acc->period == 4 && acc->facts.period_start == utc(2026, 4, 1, 0, 0, 0) &&
		   acc->next_reset_at == utc(2026, 5, 1, 0, 0, 0) && acc->facts.last_left == 0 &&
		   acc->facts.last_limit == 0,
	   "but the account knows its period");
	ok(acc->next_event_at == CR_NEVER, "nobody has to look at it");
	world_purchase(&world, utc(2026, 4, 21, 0, 0, 0), 5);
	ok(last_row()->period == 4 && last_row()->next_reset_at == utc(2026, 5, 1, 0, 0, 0) &&
		   last_row()->has_facts &&
		   last_row()->facts.period_start == utc(2026, 4, 1, 0, 0, 0),
	   "the next row says it, whatever it is");
	world_purchase(&world, utc(2026, 4, 22, 0, 0, 0), 5);
	ok(!last_row()->has_facts, "once");
	world_set_plan(&world, utc(2026, 4, 23, 0, 0, 0), "pro");
	ok(buckets_are(&acc->balance, 300, 0, 10) && acc->period == 4, "a new plan grants in full");
	is_time(acc->next_reset_at, utc(2026, 5, 1, 0, 0, 0), "to the next boundary");
	ok(acc->next_event_at <= utc(2026, 5, 1, 0, 0, 0), "which somebody looks at");

	/* with the cycle changed meanwhile */
	acc = fresh("pro");
	world_set_plan(&world, T0 + DAY, NULL);
	world_set_cycle(&world, T0 + 2 * DAY, T0, "Asia/Tokyo");
	world_fold(&world, FEB + DAY);
	ok(acc->facts.period_share == 986607 && acc->next_reset_at == MAR - 9 * HOUR &&
		   !acc->end_from.differs,
	   "a period without a plan can be a part, too");
	world_set_plan(&world, FEB + 2 * DAY, "pro");
	is_int(acc->balance.monthly, 295, "and a plan in it gives a part");

	/* monthly credits without a plan */
	acc = fresh("pro");
	world_set_plan(&world, T0 + DAY, NULL);
	world_run(&world, &(Command){.op = OP_ADJUST, .at = T0 + 2 * DAY, .amount = 40});
	is_time(acc->next_event_at, FEB, "an adjustment wakes the account up");
	is_int(world_fold(&world, FEB), 1, "they expire at the reset");
	ok(last_row()->expired == 40 && acc->balance.monthly == 0, "as the row says");
}

/* A month for a monthly plan: two allowances a second apart */
static void
test_not_a_second_apart(void)
{
	CrAccount  *acc = fresh("monthday");
	CrTime		boundary = utc(2026, 1, 15, 0, 0, 0);
	int64_t		best = 0;

	for (int month = 0; month < 6; month++)
	{
		world_schedule(&world, boundary - DAY, NULL);
		world_set_cycle(&world, boundary, boundary + SECOND, "UTC");
		is_int(world_set_plan(&world, boundary, "monthday"), CR_OK, "subscribed again");
		world_deduct(&world, boundary, acc->balance.monthly);
		world_fold(&world, boundary + 2 * SECOND);
		if (acc->balance.monthly > best)
			best = acc->balance.monthly;
		boundary = acc->next_reset_at;
	}
	ok(best <= 310 && world.broken == NULL, "never more than the allowance after a second");
}

/* In any order of changes, a period gives no more than its best plan. */
static void
test_never_twice(void)
{
	static const char *const plans[] = {"free", "pro", "max", NULL};
	static const int64_t allowance[] = {100, 300, 1000, 0};
	const char *wrong = NULL;

	for (int i = 0; i < 3000 && wrong == NULL; i++)
	{
		int			first = (int) random_between(0, 2);
		CrAccount  *acc = fresh(plans[first]);
		int64_t		best = allowance[first];
		int64_t		now = best;
		int64_t		spent = 0;
		CrTime		at = T0;

		for (int k = 0; k < 12 && wrong == NULL; k++)
		{
			at += random_between(0, DAY);
			if (one_in(3))
			{
				int64_t		amount = random_between(1, 400);

				if (world_deduct(&world, at, amount) == CR_OK)
					spent += amount;
			}
			else
			{
				int			p = (int) random_between(0, lengthof(plans) - 1);

				now = allowance[p];
				if (now > best)
					best = now;
				if (world_set_plan(&world, at, plans[p]) != CR_OK)
					wrong = "refused";
			}
			if (wrong == NULL && spent > best)
				wrong = "more than the best plan's allowance";
			if (wrong == NULL && acc->balance.monthly - acc->owed_monthly + spent != now)
				wrong = "what is left is not the plan's allowance less what was spent";
			if (wrong == NULL && acc->facts.period_granted != now)
				wrong = "period_granted is not the plan's allowance";
			if (wrong == NULL)
				wrong = world.broken;
			if (wrong != NULL)
				note("iteration %d: %s; spent %" PRId64 ", best %" PRId64 ", %s", i, wrong, spent,
					 best, show_account(acc));
		}
	}
	ok(wrong == NULL, "random plan changes and deductions: never more than the best plan");
}

void
test_plan_change(void)
{
	test_now();
	test_without_period();
	test_open_again();
	test_cycle_change();
	test_other_length();
	test_restart();
	test_set_cycle();
	test_scheduled();
	test_cancelled();
	test_not_a_second_apart();
	test_never_twice();
}
