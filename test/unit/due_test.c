/*
 * due_test.c
 *		What time does to an account: the edge cases of boundaries.
 */
#include "unit.h"

#define JAN utc(2026, 1, 1, 0, 0, 0)
#define FEB utc(2026, 2, 1, 0, 0, 0)
#define MAR utc(2026, 3, 1, 0, 0, 0)
#define APR utc(2026, 4, 1, 0, 0, 0)
#define MAY utc(2026, 5, 1, 0, 0, 0)

static World world;

static CrAccount *
fresh(int64_t monthly, int64_t rollover)
{
	world_init(&world);
	world_plan(&world, "free", utc(2020, 1, 1, 0, 0, 0), monthly, CR_CALENDAR, rollover);
	world_open(&world, JAN + 9 * DAY, "free", JAN, "UTC");
	return &world.acc;
}

static const CrRow *
last_row(void)
{
	return &world.rows[world.n_rows - 1];
}

/* The rows from one on must be sound, and lead from a state to the account's. */
static const char *
rows_break(const CrAccount *before, int first)
{
	CrAccount	at = *before;
	const char *wrong = NULL;

	for (int i = first; i < world.n_rows && wrong == NULL; i++)
	{
		const CrRow *row = &world.rows[i];
		CrAccount	next = at;

		next.balance = row->balance;
		next.held = row->held;
		next.owed_monthly = row->owed_monthly;
		next.owed_purchased = row->owed_purchased;
		next.period = row->period;
		next.next_reset_at = row->next_reset_at;
		next.effective_at = row->effective_at;
		if (row->has_facts)
			next.facts = row->facts;
		if (row->kind == CR_KIND_RESET)
			next.end_from = (CrEndFrom) {0};
		wrong = row_breaks(&at, &next, row);
		if (wrong == NULL && row->effective_at < at.effective_at)
			wrong = "effective_at goes back";
		if (wrong == NULL && row->kind == CR_KIND_RESET &&
			(row->effective_at != next.facts.period_start ||
			 next.facts.period_start < at.next_reset_at))
			wrong = "a reset that is not at its boundary";
		if (wrong == NULL && row->kind == CR_KIND_RESET &&
			row->period != at.period + 1 + row->skipped)
			wrong = "a reset that does not count its periods";
		at = next;
	}
	if (wrong == NULL && !same_account(&at, &world.acc))
		wrong = "the rows do not lead to the account's state";
	return wrong;
}

static void
test_half_open(void)
{
	CrAccount  *acc = fresh(100, 0);
	CrAccount	before;

	world_deduct(&world, JAN + 10 * DAY, 60);
	ok(!cr_is_due(acc, FEB - 1), "nothing is due a microsecond before the boundary");
	is_int(world_fold(&world, FEB - 1), 0, "and nothing is done");
	ok(buckets_are(&acc->balance, 40, 0, 0), "the old period's credits are there");
	ok(cr_is_due(acc, FEB), "at the boundary it is");
	before = *acc;
	is_int(world_fold(&world, FEB), 1, "one row");
	ok(rows_break(&before, world.n_rows - 1) == NULL && last_row()->kind == CR_KIND_RESET,
	   "a reset");
	ok(buckets_are(&acc->balance, 100, 0, 0), "replaced, not added to");
	is_int(last_row()->amount, 100, "it granted 100");
	is_int(last_row()->expired, 40, "40 expired");
	ok(buckets_are(&last_row()->delta, 60, 0, 0), "a change of 60");
	is_int(last_row()->skipped, 0, "none was skipped");
	is_int(last_row()->forfeited, 0, "nothing was forfeited");
	is_int(acc->period, 2, "the second period");
	is_time(acc->facts.period_start, FEB, "starts at the boundary");
	is_time(acc->next_reset_at, MAR, "and ends at the next");
	is_time(last_row()->effective_at, FEB, "the row counts from the boundary");
	ok(!cr_is_due(acc, FEB) && world_fold(&world, FEB) == 0, "a second time does nothing");
	ok(acc->next_event_at <= MAR && acc->next_event_at > FEB, "next_event_at moves on");

	/* opened 23:59, deduct at 00:01 */
	world_init(&world);
	world_plan(&world, "free", utc(2020, 1, 1, 0, 0, 0), 100, CR_CALENDAR, 0);
	world_open(&world, FEB - MINUTE, "free", JAN, "UTC");
	is_int(world_deduct(&world, FEB + MINUTE, 100), CR_OK, "opened 23:59, deduct at 00:01");
	ok(world.n_rows == 3 && world.rows[1].kind == CR_KIND_RESET && world.rows[1].expired == 100 &&
		   world.rows[1].amount == 100 && world.rows[2].kind == CR_KIND_DEDUCT,
	   "the old leftover expires, the new period's allowance is spent");
	is_time(world.rows[2].effective_at, FEB + MINUTE, "each at its time");
}

static void
test_asleep(void)
{
	CrAccount  *acc = fresh(100, 0);
	CrAccount	before;
	int64_t		total;
	CrVerdict	verdict;

	world_deduct(&world, JAN + 10 * DAY, 90);
	world_purchase(&world, JAN + 11 * DAY, 33);
	before = *acc;
	is_int(world_fold(&world, APR + DAY), 1, "asleep over 3 boundaries: one row");
	ok(rows_break(&before, world.n_rows - 1) == NULL && last_row()->kind == CR_KIND_RESET,
	   "a reset");
	is_int(last_row()->skipped, 2, "skipped 2");
	is_int(last_row()->amount, 100, "one grant");
	is_int(last_row()->expired, 10, "10 expired");
	ok(buckets_are(&acc->balance, 100, 0, 33), "100 monthly, purchased untouched");
	is_time(last_row()->effective_at, APR, "in effect from the latest boundary");
	ok(acc->facts.period_start == APR && acc->next_reset_at == MAY, "the period that contains now");

	acc = fresh(100, 0);
	world_fold(&world, APR);
	ok(world.n_rows == 2 && last_row()->skipped == 2 && acc->facts.period_start == APR,
	   "also when it wakes at the very last of them");

	acc = fresh(100, 50);
	world_deduct(&world, JAN + 10 * DAY, 90);
	before = *acc;
	total = acc->balance.monthly;
	world_fold(&world, APR);
	is_int(acc->balance.monthly, 150, "rollover 50, leftover 10, allowance 100, 3 boundaries: 150");
	ok(rows_break(&before, 2) == NULL, "the rows lead there");
	for (int i = 2, boundaries = 0; i < world.n_rows; i++)
	{
		boundaries += 1 + world.rows[i].skipped;
		total += world.rows[i].amount - world.rows[i].expired;
		if (i == world.n_rows - 1)
		{
			is_int(boundaries, 3, "and count 3 boundaries");
			is_int(total, 150, "and grants less what expired are the change");
		}
	}
	fresh(100, 50);
	world_deduct(&world, JAN + 10 * DAY, 90);
	world_fold(&world, FEB);
	is_int(acc->balance.monthly, 110, "swept: 110 after the first");
	world_fold(&world, MAR);
	is_int(acc->balance.monthly, 150, "150 after the second");
	world_fold(&world, APR);
	is_int(acc->balance.monthly, 150, "150 after the third");
	is_int(last_row()->expired, 100, "of which 100 expired");

	acc = fresh(100, 1000);
	world_deduct(&world, JAN + 10 * DAY, 90);
	world_fold(&world, APR);
	is_int(acc->balance.monthly, 310, "a rollover above all of it: 10 + 3 * 100");
	acc = fresh(0, 50);
	acc->balance.monthly = 80;
	acc->facts.period_granted = 80;
	world_fold(&world, APR);
	is_int(acc->balance.monthly, 50, "no allowance, rollover 50: the leftover stays 50");

	acc = fresh(100, 0);
	world_fold(&world, utc(2326, 1, 15, 0, 0, 0));
	ok(acc->next_reset_at == utc(2326, 2, 1, 0, 0, 0) && last_row()->skipped == 3599 &&
		   world.n_rows == 2,
	   "asleep for 300 years: one row");

	/* nobody has to listen */
	acc = fresh(100, 50);
	before = *acc;
	world.env.emit = NULL;
	cr_fold_due(acc, &world.env, APR);
	ok(acc->balance.monthly == 150 && acc->facts.period_start == APR && world.n_rows == 1,
	   "without emit the state is the same");

	/* refused calls come after what was due */
	acc = fresh(100, 0);
	verdict = world_deduct(&world, FEB, 101);
	ok(verdict == CR_INSUFFICIENT && acc->facts.period_start == FEB && acc->balance.monthly == 100,
	   "a refused deduction has seen the new period");
}

static void
test_versions(void)
{
	CrAccount  *acc = fresh(100, 0);

	world_plan(&world, "free", FEB + 19 * DAY, 900, CR_CALENDAR, 0);
	world_fold(&world, FEB + 24 * DAY);
	is_int(acc->balance.monthly, 100,
		   "plan raised on the 20th, boundary of the 1st applied on the 25th: the old allowance");
	is_int(acc->facts.plan_version, 1, "by the old version");
	world_fold(&world, MAR);
	is_int(acc->balance.monthly, 900, "the next boundary uses the new one");
	is_int(acc->facts.plan_version, 2, "and says so");
	ok(last_row()->plan_version == 2 && last_row()->has_facts &&
		   last_row()->facts.period_granted == 900,
	   "with the facts that changed");

	acc = fresh(100, 0);
	world_plan(&world, "free", FEB, 200, CR_CALENDAR, 0);
	world_plan(&world, "free", MAR + 1, 300, CR_CALENDAR, 0);
	world_fold(&world, FEB);
	is_int(acc->balance.monthly, 200, "a version in force from the very boundary counts");
	world_fold(&world, MAR + DAY);
	is_int(acc->balance.monthly, 200, "one from a microsecond after it does not");

	/* asleep over versions with and without rollover: as if one by one */
	acc = fresh(100, 0);
	world_plan(&world, "free", FEB + DAY, 100, CR_CALENDAR, 1000);
	world_plan(&world, "free", MAR + DAY, 50, CR_CALENDAR, 120);
	world_fold(&world, APR);
	is_int(acc->balance.monthly, 170, "100, then 100 + 100, then 120 + 50");
	acc = fresh(100, 1000);
	world_plan(&world, "free", FEB + DAY, 100, CR_CALENDAR, 0);
	world_plan(&world, "free", MAR + DAY, 100, CR_CALENDAR, 1000);
	world_fold(&world, APR);
	is_int(acc->balance.monthly, 200, "200, then 100 without rollover, then 100 + 100");

	/* the scheduled plan's version is the boundary's too */
	acc = fresh(100, 0);
	world_plan(&world, "pro", utc(2020, 1, 1, 0, 0, 0), 500, CR_CALENDAR, 0);
	world_plan(&world, "pro", FEB, 600, CR_CALENDAR, 0);
	world_plan(&world, "pro", FEB + DAY, 700, CR_CALENDAR, 0);
	world_schedule(&world, JAN + 10 * DAY, "pro");
	world_fold(&world, FEB + 20 * DAY);
	ok(acc->balance.monthly == 600 && acc->facts.plan_version == 2,
	   "a scheduled plan comes in the version in force at the boundary");
	acc = fresh(100, 0);
	world_plan(&world, "pro", utc(2020, 1, 1, 0, 0, 0), 500, CR_CALENDAR, 0);
	world_schedule(&world, JAN + 10 * DAY, "pro");
	world_fold(&world, APR + DAY);
	ok(acc->balance.monthly == 500 && same_text(acc->facts.plan, "pro") &&
		   acc->facts.scheduled_plan == NULL && acc->facts.period_start == APR,
	   "asleep over a scheduled change and two boundaries more");
}

static void
test_clamp(void)
{
	CrAccount  *acc = fresh(100, 0);

	acc->balance.purchased = CR_MAX_CREDITS - 150;
	acc->held.purchased = 80;
	acc->balance.monthly = 20;
	world_fold(&world, FEB);
	is_int(acc->balance.monthly, 70, "a reset past the cap gives what there is room for");
	is_int(last_row()->forfeited, 30, "and records the rest");
	is_int(last_row()->expired, 20, "next to what expired");
	ok(account_breaks(acc) == NULL && last_row()->delta.monthly == 50, "the total is the cap");

	acc = fresh(100, 1000);
	acc->balance.purchased = CR_MAX_CREDITS - 100;
	world_fold(&world, FEB);
	is_int(acc->balance.monthly, 100, "leftover 100 at the cap, rollover: no room for more");
	is_int(last_row()->forfeited, 100, "the whole allowance is forfeited");
	is_int(last_row()->expired, 0, "and nothing of the leftover expires");

	acc = fresh(CR_MAX_CREDITS, CR_MAX_CREDITS);
	world_fold(&world, APR);
	is_int(acc->balance.monthly, CR_MAX_CREDITS, "the largest allowance with the largest rollover");
	ok(account_breaks(acc) == NULL, "stays at the cap");

	acc = fresh(100, 0);
	acc->balance.purchased = CR_MAX_CREDITS - 150;
	acc->balance.monthly = 150;
	acc->facts.period_granted = 150;
	world_fold(&world, FEB);
	ok(acc->balance.monthly == 100 && last_row()->forfeited == 0 && last_row()->expired == 150,
	   "what expires makes room first");
}

static void
test_owed_and_held(void)
{
	CrAccount  *acc = fresh(100, 50);

	acc->balance.monthly = 0;
	acc->owed_monthly = 30;
	acc->owed_purchased = 12;
	world_fold(&world, FEB);
	ok(buckets_are(&acc->balance, 100, 0, 0), "a reset pays no debt");
	is_int(acc->owed_monthly, 0, "what is owed in monthly lapses");
	is_int(last_row()->owed_monthly, 0, "also in the row");
	is_int(acc->owed_purchased, 12, "what is owed in purchased stays");

	acc = fresh(100, 0);
	acc->balance = (CrBuckets) {10, 5, 6};
	acc->held = (CrBuckets) {90, 7, 8};
	world_fold(&world, FEB);
	ok(buckets_are(&acc->balance, 100, 5, 6) && buckets_are(&acc->held, 90, 7, 8),
	   "held credits are neither leftover nor allowance");
	is_int(last_row()->expired, 10, "and do not expire with the leftover");

	acc = fresh(100, 50);
	acc->balance = (CrBuckets) {10, 0, 0};
	acc->held = (CrBuckets) {90, 0, 0};
	world_fold(&world, APR);
	ok(buckets_are(&acc->balance, 150, 0, 0) && buckets_are(&acc->held, 90, 0, 0),
	   "nor do they roll over");
}

/* The account's zone counts, and no other. */
static void
test_zones(void)
{
	world_init(&world);
	world_plan(&world, "free", utc(2020, 1, 1, 0, 0, 0), 100, CR_CALENDAR, 0);
	world_open(&world, JAN + 9 * DAY, "free", JAN, "Europe/Berlin");
	is_time(world.acc.next_reset_at, FEB - HOUR, "in Berlin January ends at 23:00Z");
	world_fold(&world, APR);
	ok(world.acc.facts.period_start == APR - 2 * HOUR && last_row()->skipped == 2,
	   "and March, in summer time, at 22:00Z");

	world_init(&world);
	world_plan(&world, "yearday", utc(2000, 1, 1, 0, 0, 0), 100, CR_ANNIVERSARY, 0);
	world_open(&world, utc(2011, 11, 30, 10, 0, 0), "yearday", utc(2011, 11, 30, 0, 0, 0),
			   "Pacific/Apia");
	world_fold(&world, utc(2012, 1, 15, 0, 0, 0));
	ok(world.n_rows == 2 && last_row()->skipped == 0 &&
		   last_row()->effective_at == utc(2011, 12, 30, 10, 0, 0),
	   "Apia, a December without its 30th: one reset");

	/* a stored end is final; the zone's midnight may have moved since */
	fresh(100, 0);
	world.acc.next_reset_at = world.acc.next_event_at = FEB - HOUR;
	is_int(world_fold(&world, FEB - HOUR), 1, "midnight moved an hour later: the stored end counts");
	is_time(world.acc.next_reset_at, MAR, "and the next is a month later, not in an hour");
	fresh(100, 0);
	world.acc.next_reset_at = world.acc.next_event_at = FEB + HOUR;
	is_int(world_fold(&world, FEB), 0, "midnight moved an hour earlier: the stored end counts");
	is_int(world_fold(&world, FEB + HOUR), 1, "when it comes");
	is_time(world.acc.next_reset_at, MAR, "and the next is the next month's");
	is_int(world.acc.facts.period_share, CR_FULL_SHARE, "a whole period");
}

/* If the zone is not known, the boundary waits, and everything that is due after it. */
static void
test_unknown_zone(void)
{
	const CrTime end = FEB - HOUR;	/* in Berlin */
	CrAccount  *acc = &world.acc;
	CrAccount	before;
	CrRow		row;
	CrFold		fold;

	world_init(&world);
	world_plan(&world, "free", utc(2020, 1, 1, 0, 0, 0), 100, CR_CALENDAR, 0);
	world_plan(&world, "max", utc(2020, 1, 1, 0, 0, 0), 300, CR_CALENDAR, 0);
	world_plan(&world, "monthday", utc(2020, 1, 1, 0, 0, 0), 300, CR_ANNIVERSARY, 0);
	world_open(&world, JAN + 9 * DAY, "free", JAN, "Europe/Berlin");
	world_grant(&world, JAN + 9 * DAY, 1, JAN + 20 * DAY);
	world_grant(&world, JAN + 9 * DAY, 2, end);
	world_grant(&world, JAN + 9 * DAY, 4, FEB);
	world_hold(&world, JAN + 9 * DAY, 10, end);
	world_hold(&world, JAN + 9 * DAY, 20, FEB);
	world.hidden_zone = "Europe/Berlin";
	world.zone_calls = 0;
	before = *acc;

	ok(cr_fold_due(acc, &world.env, end - 1) == CR_FOLDED && world.n_rows == 7,
	   "until the end of the period nothing waits");
	fold = cr_fold_due(acc, &world.env, APR);
	ok(fold == CR_WAITS_FOR_ZONE && world.n_rows == 7 && world.zone_calls == 0,
	   "then the boundary waits, and what is due at its instant or after");
	ok(acc->facts.period_start == before.facts.period_start && acc->next_reset_at == end &&
		   acc->balance.granted == 6 && acc->held.monthly == 30,
	   "the state is the one before it");
	ok(cr_waits_for_zone(acc, &world.env, end) && !cr_waits_for_zone(acc, &world.env, end - 1),
	   "it waits from its instant on");
	is_time(cr_waiting_time(acc), end - 1, "the account's time stands just before it");
	ok(acc->next_event_at == end, "and is looked at again whenever it is due");
	ok(cr_purchase(acc, cr_waiting_time(acc), 5, &row) == CR_OK, "what credits it goes on");
	row.seq = ++acc->history_seq;
	world.rows[world.n_rows++] = row;

	world.hidden_zone = NULL;
	ok(cr_fold_due(acc, &world.env, FEB) == CR_FOLDED && world.n_rows == 13,
	   "the zone is back: all of it comes");
	ok(world.rows[8].kind == CR_KIND_HOLD_END && world.rows[8].effective_at == end &&
		   world.rows[9].kind == CR_KIND_GRANT_END && world.rows[10].kind == CR_KIND_RESET &&
		   world.rows[10].effective_at == end && world.rows[11].effective_at == FEB,
	   "in the order of time");
	is_int(acc->balance.monthly, 100, "with the allowance");

	/* what needs no zone does not wait for it */
	world.hidden_zone = "Europe/Berlin";
	before = *acc;
	before.facts.scheduled_plan = "";
	ok(cr_waits_for_zone(&before, &world.env, APR), "a plan that ends waits: its periods go on");
	before.facts.plan = before.facts.scheduled_plan = NULL;
	ok(cr_waits_for_zone(&before, &world.env, APR), "so does a cancelled plan");
	before = *acc;
	before.next_reset_at = CR_NEVER;
	ok(!cr_waits_for_zone(&before, &world.env, CR_NEVER), "an open-ended period does not");
	world.zone_calls = 0;
	ok(cr_set_plan(&before, &world.env, FEB, NULL, &row) == CR_OK, "cancelling");
	before = *acc;
	ok(cr_set_plan(&before, &world.env, FEB, world_plan_at(&world, "max", FEB), &row) == CR_OK,
	   "a plan of the same cycle");
	before = *acc;
	ok(cr_set_plan(&before, &world.env, FEB, world_plan_at(&world, "monthday", FEB), &row) ==
		   CR_OK,
	   "and one of another cycle of that length");
	before = *acc;
	ok(cr_set_cycle(&before, &world.env, FEB, JAN + DAY, "Europe/Berlin", &row) == CR_OK,
	   "another anchor");
	ok(cr_set_cycle(&before, &world.env, FEB, JAN + DAY, "Asia/Tokyo", &row) == CR_OK &&
		   before.next_reset_at == acc->next_reset_at,
	   "another zone, which is known");
	is_int(world.zone_calls, 0, "no zone was asked");
	ok(!cr_waits_for_zone(&before, &world.env, APR), "and with it nothing waits any more");
	before = *acc;
	ok(cr_restart(&before, &world.env, FEB, world_plan_at(&world, "max", FEB), false, &row) ==
		   CR_ZONE_UNKNOWN && same_account(&before, acc),
	   "a restart waits");
}

/* How boundaries are put into one row, and when they are not. */
static void
test_merging(void)
{
	CrAccount  *acc = fresh(100, 0);

	/* what was left at the last boundary is what the one before it granted */
	world_deduct(&world, JAN + 10 * DAY, 30);
	world_fold(&world, MAR);
	ok(last_row()->skipped == 1 && acc->facts.last_left == 100 && acc->facts.last_limit == 0 &&
		   last_row()->expired == 70 && acc->period == 3,
	   "two in one: the first lets 70 expire, at the last 100 were left");

	/* a part of a period is a row of its own */
	acc = fresh(100, 0);
	world_set_cycle(&world, JAN + 10 * DAY, JAN, "Asia/Tokyo");
	world_fold(&world, MAY);
	ok(world.n_rows == 4 && world.rows[2].skipped == 0 && world.rows[2].effective_at == FEB &&
		   world.rows[2].facts.period_share == 986607 && world.rows[2].amount == 98 &&
		   world.rows[3].skipped == 2 && world.rows[3].facts.last_left == 100,
	   "a part of a period, then two whole ones in one row");

	/* a period that another version began */
	acc = fresh(100, 0);
	world_plan(&world, "free", MAR, 60, CR_CALENDAR, 0);
	world_fold(&world, MAY);
	ok(world.n_rows == 3 && world.rows[1].skipped == 0 && world.rows[1].amount == 100 &&
		   world.rows[2].skipped == 2 && world.rows[2].expired == 100,
	   "another version is another row");

	/* the plan changes its cycle */
	acc = fresh(100, 0);
	world_plan(&world, "free", MAR, 70, CR_WEEKLY, 0);
	world_fold(&world, APR);
	ok(world.n_rows == 4 && world.rows[1].skipped == 0 && world.rows[2].skipped == 0 &&
		   world.rows[2].effective_at == MAR && world.rows[2].facts.period_share < CR_FULL_SHARE &&
		   world.rows[3].skipped > 1,
	   "so is another cycle, and the part with which it begins");
	ok(acc->facts.cycle == CR_WEEKLY, "which the account then has");

	/* held monthly credits */
	acc = fresh(100, 0);
	world_hold(&world, FEB - DAY, 10, FEB + 20 * DAY);
	world_hold(&world, FEB - DAY, 20, MAR - DAY);
	world_capture(&world, FEB - DAY, 1, 5, true);
	world_fold(&world, MAY);
	ok(world.rows[4].kind == CR_KIND_RESET && world.rows[4].skipped == 0, "of an open hold, too");
	acc = fresh(100, 0);
	world_hold(&world, FEB - DAY, 10, MAR + DAY);
	world_fold(&world, MAR);
	ok(world.n_rows == 4 && world.rows[2].skipped == 0 && world.rows[3].skipped == 0,
	   "also if the hold ends later than both boundaries");

	/* asleep for years, every day */
	world_init(&world);
	world_plan(&world, "day", utc(2020, 1, 1, 0, 0, 0), 10, CR_DAILY, 0);
	world_open(&world, JAN + HOUR, "day", JAN, "UTC");
	world_fold(&world, utc(2029, 1, 1, 12, 0, 0));
	ok(world.n_rows == 2 && last_row()->skipped == 1095 && world.acc.period == 1097,
	   "three years of days: one row");
}

/*
 * The anchor is moved by a microsecond before each boundary, forward so that a period of a
 * microsecond comes, and backward so that one is a microsecond short.
 */
static void
test_moved_anchor(void)
{
	const int64_t allowance = 1000000000;
	CrAccount  *acc = &world.acc;
	CrTime		anchor = JAN;
	int64_t		granted = allowance;

	world_init(&world);
	world_plan(&world, "big", JAN - DAY, allowance, CR_WEEKLY, 0);
	world_open(&world, JAN + HOUR, "big", anchor, "UTC");
	for (int week = 1; week <= 20; week++)
	{
		CrTime		end = acc->next_reset_at;

		anchor += week % 5 == 0 ? -4 : 1;
		world_set_cycle(&world, end - 1, anchor, "UTC");
		world_fold(&world, end);
		granted += acc->facts.period_granted;
		if (week % 5 == 0)
			ok(acc->facts.period_granted == allowance - 1000,
			   "a microsecond less than a week gives a millionth less");
		else if (week == 1)
			ok(acc->facts.period_granted == 0 && acc->facts.period_share == 0,
			   "a microsecond of a week gives nothing");
		if (week % 5 == 0)
			continue;
		world_fold(&world, end + 1);
		granted += acc->facts.period_granted;
	}
	ok(granted <= 21 * allowance, "twenty weeks give no more than twenty allowances");
}

/* More periods than anybody sleeps over are not applied, if each needs a row. */
static void
test_too_many_periods(void)
{
	CrEnv		env;
	CrAccount	acc;

	for (int rollover = 0; rollover <= 5; rollover += 5)
	{
		world_init(&world);
		world_plan(&world, "day", JAN - DAY, 10, CR_DAILY, rollover);
		world_open(&world, JAN, "day", JAN, "UTC");
		env = world.env;
		env.emit = NULL;
		acc = world.acc;
		ok(cr_fold_due(&acc, &env, JAN + 100000 * DAY) == CR_FOLDED && acc.period == 100001,
		   "a hundred thousand days with a rollover of %d", rollover);
		acc = world.acc;
		is_int(cr_fold_due(&acc, &env, JAN + 100001 * DAY),
			   rollover ? CR_TOO_MANY_PERIODS : CR_FOLDED, "and one more");
	}
	world_set_plan(&world, JAN + 1, NULL);
	world_deduct(&world, JAN + 2, world.acc.balance.monthly);
	acc = world.acc;
	is_int(cr_fold_due(&acc, &env, JAN + 100001 * DAY), CR_FOLDED, "without a plan they are silent");
	is_int(acc.period, 100002, "and all pass");
}

/* Debts, and what was left: at a boundary. */
static void
test_left(void)
{
	CrAccount  *acc = fresh(100, 30);

	world_deduct(&world, JAN + 10 * DAY, 20);
	world_fold(&world, FEB);
	ok(acc->facts.last_left == 80 && acc->facts.last_limit == 30 && acc->balance.monthly == 130 &&
		   last_row()->expired == 50,
	   "80 left, limit 30: 30 roll over, 50 expire");
	acc = fresh(100, 30);
	world_plan(&world, "none", JAN, 0, CR_CALENDAR, 30);
	world_deduct(&world, JAN + 10 * DAY, 20);
	world_set_plan(&world, JAN + 11 * DAY, "none");
	world_fold(&world, FEB);
	ok(acc->facts.last_left == -20 && acc->facts.last_limit == 30 && acc->balance.monthly == 0 &&
		   acc->owed_monthly == 0,
	   "a debt of 20 is 20 less than nothing, and lapses");
}

void
test_due(void)
{
	test_half_open();
	test_asleep();
	test_versions();
	test_clamp();
	test_owed_and_held();
	test_zones();
	test_unknown_zone();
	test_merging();
	test_moved_anchor();
	test_too_many_periods();
	test_left();
}
