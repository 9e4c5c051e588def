/*
 * rules_test.c
 *		What each command does to an account, except for plan changes.
 */
#include "unit.h"

#define T0 utc(2026, 1, 10, 12, 0, 0)

static World world;

/* An account with a plan of 100, with which most tests start. */
static CrAccount *
fresh(void)
{
	world_init(&world);
	world_plan(&world, "free", utc(2020, 1, 1, 0, 0, 0), 100, CR_CALENDAR, 0);
	world_open(&world, T0, "free", T0, "UTC");
	return &world.acc;
}

static void
set_balance(CrAccount *acc, int64_t monthly, int64_t granted, int64_t purchased)
{
	acc->balance.monthly = monthly;
	acc->balance.granted = granted;
	acc->balance.purchased = purchased;
	acc->lots = world_lists(&world);
	if (granted > 0)
		cr_lots_add_grant(acc->lots, 1, utc(2090, 1, 1, 0, 0, 0))->left = granted;
}

/* A row full of rubbish, which a refused call must not touch. */
static void
fill(CrRow *row)
{
	memset(row, 0x5A, sizeof(*row));
}

/* Tests that a call was refused and changed neither the account nor the row. */
static void
refused(CrVerdict got, CrVerdict want, const CrAccount *before, const CrRow *row,
		const char *name)
{
	CrRow		rubbish;
	const CrAccount *acc = &world.acc;

	fill(&rubbish);
	if (!ok(got == want && memcmp(acc, before, sizeof(*acc)) == 0 &&
				memcmp(row, &rubbish, sizeof(rubbish)) == 0,
			"%s", name))
	{
		note("verdict %d, expected %d; row %s", (int) got, (int) want,
			 memcmp(row, &rubbish, sizeof(rubbish)) == 0 ? "untouched" : "touched");
		note("before %s", show_account(before));
		note("after  %s", show_account(acc));
	}
}

/* Tests that a call succeeded and that its row says what it did. */
static void
done(CrVerdict verdict, const CrAccount *before, const CrRow *row, CrKind kind, int64_t amount,
	 const char *name)
{
	const CrAccount *acc = &world.acc;
	const char *wrong = verdict != CR_OK ? "refused" : row_breaks(before, acc, row);

	if (wrong == NULL)
		wrong = account_breaks(acc);
	if (wrong == NULL && row->kind != kind)
		wrong = "another kind of row";
	if (wrong == NULL && row->amount != amount)
		wrong = "another amount in the row";
	if (wrong == NULL && (row->expired != 0 || row->forfeited != 0 || row->skipped != 0))
		wrong = "a call expires, forfeits and skips nothing";
	if (!ok(wrong == NULL, "%s", name))
	{
		note("%s (verdict %d)", wrong, (int) verdict);
		note("before %s", show_account(before));
		note("after  %s", show_account(acc));
	}
}

static void
test_open(void)
{
	CrAccount  *acc = &world.acc;
	CrAccount	before;
	CrRow		row = {0};
	CrLocal		anchor = utc(2026, 1, 5, 8, 0, 0);
	CrVerdict	verdict;

	world_init(&world);
	ok(cr_available(acc) == 0 && cr_held(acc) == 0 && cr_owed(acc) == 0 &&
		   acc->history_seq == 0 && acc->facts.plan == NULL && acc->facts.plan_version == 0 &&
		   acc->facts.scheduled_plan == NULL && acc->facts.status == CR_ACTIVE &&
		   acc->next_reset_at == CR_NEVER && same_text(acc->user_id, "user_2abc"),
	   "a new account has nothing");

	world_plan(&world, "pro", utc(2020, 1, 1, 0, 0, 0), 500, CR_ANNIVERSARY, 70);
	world_plan(&world, "pro", utc(2025, 1, 1, 0, 0, 0), 600, CR_ANNIVERSARY, 70);
	before = *acc;
	verdict = cr_open(acc, &world.env, T0, world_plan_at(&world, "pro", T0), anchor,
					  "Europe/Berlin", &row);
	done(verdict, &before, &row, CR_KIND_OPEN, 600, "open on a plan");
	ok(buckets_are(&acc->balance, 600, 0, 0), "the allowance is there at once");
	is_int(acc->facts.period_granted, 600, "and counts as granted in this period");
	ok(acc->period == 1 && acc->facts.period_share == CR_FULL_SHARE &&
		   acc->facts.cycle == CR_ANNIVERSARY,
	   "the first period, and a full one");
	is_time(acc->facts.period_start, T0, "the period starts now");
	is_time(acc->next_reset_at, utc(2026, 2, 5, 7, 0, 0), "and ends at the next anniversary");
	ok(row.has_facts && same_text(row.facts.plan, "pro") && row.facts.plan_version == 2 &&
		   row.facts.cycle_anchor == anchor && same_text(row.facts.time_zone, "Europe/Berlin") &&
		   row.facts.status == CR_ACTIVE && row.facts.overdraft_limit == 0,
	   "the opening row has the facts");

	world_init(&world);
	memset(&row, 0, sizeof(row));
	before = *acc;
	verdict = cr_open(acc, &world.env, T0, NULL, anchor, "UTC", &row);
	done(verdict, &before, &row, CR_KIND_OPEN, 0, "open without a plan");
	ok(row.has_facts && row.facts.plan == NULL && row.plan_version == 0 &&
		   acc->next_reset_at == CR_NEVER && cr_available(acc) == 0,
	   "without a plan the period is open-ended");
	ok(acc->period == 1 && acc->facts.cycle == CR_NO_CYCLE && acc->facts.period_start == T0,
	   "it is the first one, without a cycle");
	ok(!cr_is_due(acc, utc(2200, 1, 1, 0, 0, 0)), "and nothing is ever due");

	/* what a purchase opened can be opened on a plan later */
	world_init(&world);
	world_open(&world, T0 + DAY, NULL, 0, "UTC");
	world_purchase(&world, T0 + DAY, 70);
	world_plan(&world, "pro", utc(2020, 1, 1, 0, 0, 0), 500, CR_CALENDAR, 0);
	before = *acc;
	memset(&row, 0, sizeof(row));
	verdict = cr_open(acc, &world.env, T0 + 2 * DAY, &world.versions[0], anchor, "Asia/Tokyo", &row);
	done(verdict, &before, &row, CR_KIND_OPEN, 500, "an account without a plan is opened on one");
	ok(buckets_are(&acc->balance, 500, 0, 70) && acc->facts.period_granted == 500,
	   "the allowance comes next to what was bought");
	ok(acc->period == 1 && acc->facts.period_start == T0 + DAY &&
		   acc->next_reset_at == utc(2026, 1, 31, 15, 0, 0),
	   "and the period goes on, to the first boundary");
	world_init(&world);
	world_plan(&world, "pro", utc(2020, 1, 1, 0, 0, 0), 500, CR_CALENDAR, 0);
	world_open(&world, T0, NULL, anchor, "UTC");
	world_purchase(&world, T0, CR_MAX_CREDITS - 499);
	before = *acc;
	fill(&row);
	refused(cr_open(acc, &world.env, T0, &world.versions[0], anchor, "UTC", &row), CR_OVER_CAP,
			&before, &row, "but not past the cap");
}

static void
test_deduct(void)
{
	CrAccount  *acc = fresh();
	CrAccount	before;
	CrRow		row = {0};
	CrVerdict	verdict;

	set_balance(acc, 10, 0, 5);
	before = *acc;
	verdict = cr_deduct(acc, T0 + 1, 12, &row);
	done(verdict, &before, &row, CR_KIND_DEDUCT, 12, "10 monthly and 5 purchased, deduct 12");
	ok(buckets_are(&acc->balance, 0, 0, 3), "monthly 0, purchased 3");
	ok(buckets_are(&row.delta, -10, 0, -2), "one row with both deltas");
	ok(!row.has_facts, "and no facts");
	is_time(row.effective_at, T0 + 1, "in effect when it was made");
	before = *acc;
	fill(&row);
	refused(cr_deduct(acc, T0 + 2, 4, &row), CR_INSUFFICIENT, &before, &row,
			"deduct 4 of 3: refused, account and row untouched");
	memset(&row, 0, sizeof(row));
	verdict = cr_deduct(acc, T0 + 2, 3, &row);
	done(verdict, &before, &row, CR_KIND_DEDUCT, 3, "deduct 3 of 3");
	is_int(cr_available(acc), 0, "and nothing is left");
	before = *acc;
	fill(&row);
	refused(cr_deduct(acc, T0 + 3, 1, &row), CR_INSUFFICIENT, &before, &row,
			"deduct 1 of 0: refused");
	refused(cr_deduct(acc, T0 + 3, CR_MAX_CREDITS, &row), CR_INSUFFICIENT, &before, &row,
			"deduct 2^53 - 1 of 0: refused");

	acc = fresh();
	set_balance(acc, 10, 20, 30);
	acc->held = (CrBuckets) {1000, 0, 2000};
	before = *acc;
	memset(&row, 0, sizeof(row));
	cr_deduct(acc, T0, 9, &row);
	ok(buckets_are(&row.delta, -9, 0, 0), "monthly is spent first");
	memset(&row, 0, sizeof(row));
	cr_deduct(acc, T0, 20, &row);
	ok(buckets_are(&acc->balance, 0, 1, 30) && row.delta.monthly == -1 && row.delta.granted == -19,
	   "granted second");
	before = *acc;
	fill(&row);
	refused(cr_deduct(acc, T0, 32, &row), CR_INSUFFICIENT, &before, &row,
			"what is held cannot be spent");
	memset(&row, 0, sizeof(row));
	cr_deduct(acc, T0, 31, &row);
	ok(buckets_are(&acc->balance, 0, 0, 0) && buckets_are(&row.delta, 0, -1, -30),
	   "purchased last");
	ok(buckets_are(&acc->held, 1000, 0, 2000) && buckets_are(&row.held, 1000, 0, 2000),
	   "held credits stay as they are");

	acc = fresh();
	set_balance(acc, CR_MAX_CREDITS - 1, 0, 1);
	memset(&row, 0, sizeof(row));
	ok(cr_deduct(acc, T0, CR_MAX_CREDITS, &row) == CR_OK && cr_available(acc) == 0,
	   "2^53 - 1 can be spent in one call");
}

static void
test_overdraft(void)
{
	CrAccount  *acc = fresh();
	CrAccount	before;
	CrRow		row = {0};
	CrVerdict	verdict;

	set_balance(acc, 10, 0, 5);
	acc->facts.overdraft_limit = 20;
	before = *acc;
	verdict = cr_deduct(acc, T0, 30, &row);
	done(verdict, &before, &row, CR_KIND_DEDUCT, 30, "overdraft 20: deduct 30 of 15");
	ok(buckets_are(&acc->balance, 0, 0, 0) && buckets_are(&row.delta, -10, 0, -5),
	   "what there is goes first");
	is_int(acc->owed_purchased, 15, "the shortfall is owed in purchased");
	is_int(acc->owed_monthly, 0, "and nothing in monthly");
	is_int(cr_owed(acc), 15, "cr_owed says so");
	before = *acc;
	fill(&row);
	refused(cr_deduct(acc, T0, 6, &row), CR_INSUFFICIENT, &before, &row,
			"only 5 of the limit are left: 6 are refused");
	memset(&row, 0, sizeof(row));
	verdict = cr_deduct(acc, T0, 5, &row);
	done(verdict, &before, &row, CR_KIND_DEDUCT, 5, "5 are not");
	is_int(acc->owed_purchased, 20, "the limit is used up");
	before = *acc;
	fill(&row);
	refused(cr_deduct(acc, T0, 1, &row), CR_INSUFFICIENT, &before, &row, "to the last credit");

	acc = fresh();
	set_balance(acc, 10, 0, 0);
	acc->facts.overdraft_limit = 20;
	acc->owed_purchased = 50;
	before = *acc;
	fill(&row);
	refused(cr_deduct(acc, T0, 11, &row), CR_INSUFFICIENT, &before, &row,
			"owing more than the limit leaves no overdraft");
	memset(&row, 0, sizeof(row));
	verdict = cr_deduct(acc, T0, 10, &row);
	done(verdict, &before, &row, CR_KIND_DEDUCT, 10, "but monthly credits can be spent");
	is_int(acc->owed_purchased, 50, "and the debt stays");

	acc = fresh();
	set_balance(acc, 3, 0, 5);
	acc->facts.overdraft_limit = 20;
	before = *acc;
	fill(&row);
	refused(cr_adjust(acc, T0, CR_PURCHASED, -6, &row), CR_INSUFFICIENT, &before, &row,
			"the overdraft is for deductions, not for adjustments");
}

static void
test_purchase(void)
{
	CrAccount  *acc = fresh();
	CrAccount	before;
	CrRow		row = {0};
	CrVerdict	verdict;

	before = *acc;
	verdict = cr_purchase(acc, T0, 250, &row);
	done(verdict, &before, &row, CR_KIND_PURCHASE, 250, "purchase 250");
	ok(buckets_are(&acc->balance, 100, 0, 250), "into purchased");
	ok(!row.has_facts, "without facts");

	acc->balance.purchased = 0;
	acc->owed_purchased = 30;
	before = *acc;
	memset(&row, 0, sizeof(row));
	verdict = cr_purchase(acc, T0, 20, &row);
	done(verdict, &before, &row, CR_KIND_PURCHASE, 20, "owed 30, purchase 20");
	ok(buckets_are(&acc->balance, 100, 0, 0) && acc->owed_purchased == 10,
	   "all of it pays the debt");
	before = *acc;
	memset(&row, 0, sizeof(row));
	verdict = cr_purchase(acc, T0, 10, &row);
	done(verdict, &before, &row, CR_KIND_PURCHASE, 10, "owed 10, purchase 10");
	ok(buckets_are(&acc->balance, 100, 0, 0) && acc->owed_purchased == 0, "the debt is gone");
	acc->owed_purchased = 10;
	before = *acc;
	memset(&row, 0, sizeof(row));
	verdict = cr_purchase(acc, T0, 25, &row);
	done(verdict, &before, &row, CR_KIND_PURCHASE, 25, "owed 10, purchase 25");
	ok(buckets_are(&acc->balance, 100, 0, 15) && acc->owed_purchased == 0,
	   "the debt first, the rest is credited");

	acc->owed_monthly = 40;
	acc->balance.monthly = 0;
	memset(&row, 0, sizeof(row));
	verdict = cr_purchase(acc, T0, 5, &row);
	ok(verdict == CR_OK && acc->owed_monthly == 40 && acc->balance.purchased == 20,
	   "a purchase does not pay what is owed in monthly");
}

static void
test_adjust(void)
{
	CrAccount  *acc = fresh();
	CrAccount	before = *acc;
	CrRow		row = {0};
	CrVerdict	verdict;

	verdict = cr_adjust(acc, T0, CR_MONTHLY, 40, &row);
	done(verdict, &before, &row, CR_KIND_ADJUST, 40, "adjust monthly by +40");
	ok(buckets_are(&acc->balance, 140, 0, 0), "140 monthly");
	is_int(acc->facts.period_granted, 100, "a correction is not the plan's");
	before = *acc;
	memset(&row, 0, sizeof(row));
	verdict = cr_adjust(acc, T0, CR_MONTHLY, -140, &row);
	done(verdict, &before, &row, CR_KIND_ADJUST, -140, "adjust monthly by -140");
	ok(buckets_are(&acc->balance, 0, 0, 0) && buckets_are(&row.delta, -140, 0, 0), "to 0");
	before = *acc;
	fill(&row);
	refused(cr_adjust(acc, T0, CR_MONTHLY, -1, &row), CR_INSUFFICIENT, &before, &row,
			"below 0 is refused");

	set_balance(acc, 10, 20, 30);
	before = *acc;
	fill(&row);
	refused(cr_adjust(acc, T0, CR_MONTHLY, -11, &row), CR_INSUFFICIENT, &before, &row,
			"a correction takes from its bucket only: monthly");
	refused(cr_adjust(acc, T0, CR_GRANTED, -21, &row), CR_INSUFFICIENT, &before, &row, "granted");
	refused(cr_adjust(acc, T0, CR_PURCHASED, -31, &row), CR_INSUFFICIENT, &before, &row,
			"purchased");
	memset(&row, 0, sizeof(row));
	verdict = cr_adjust(acc, T0, CR_GRANTED, -5, &row);
	done(verdict, &before, &row, CR_KIND_ADJUST, -5, "adjust granted by -5");
	ok(buckets_are(&acc->balance, 10, 15, 30), "15 granted");
	before = *acc;
	memset(&row, 0, sizeof(row));
	verdict = cr_adjust(acc, T0, CR_PURCHASED, -30, &row);
	done(verdict, &before, &row, CR_KIND_ADJUST, -30, "adjust purchased by -30");
	ok(buckets_are(&acc->balance, 10, 15, 0), "0 purchased");

	before = *acc;
	fill(&row);
	refused(cr_adjust(acc, T0, CR_GRANTED, 1, &row), CR_GRANT_UPWARDS, &before, &row,
			"granted is adjusted downwards only");

	acc->owed_purchased = 12;
	before = *acc;
	memset(&row, 0, sizeof(row));
	verdict = cr_adjust(acc, T0, CR_PURCHASED, 20, &row);
	done(verdict, &before, &row, CR_KIND_ADJUST, 20, "owed 12 purchased, adjust by +20");
	ok(buckets_are(&acc->balance, 10, 15, 8) && acc->owed_purchased == 0, "pays the debt first");

	set_balance(acc, 0, 0, 8);
	acc->owed_monthly = 12;
	before = *acc;
	memset(&row, 0, sizeof(row));
	verdict = cr_adjust(acc, T0, CR_MONTHLY, 5, &row);
	done(verdict, &before, &row, CR_KIND_ADJUST, 5, "owed 12 monthly, adjust by +5");
	ok(buckets_are(&acc->balance, 0, 0, 8) && acc->owed_monthly == 7, "pays the debt first");
	is_int(cr_owed(acc), 0, "what is owed in monthly is remembered, not owed by the user");

	acc->facts.status = CR_FROZEN;
	ok(cr_adjust(acc, T0, CR_PURCHASED, 1, &row) == CR_OK, "a frozen account is corrected");
	acc->facts.status = CR_CLOSED;
	before = *acc;
	fill(&row);
	for (int i = 0; i < 3; i++)
	{
		refused(cr_adjust(acc, T0, (CrBucket) i, -1, &row), CR_IS_CLOSED, &before, &row,
				"a closed one is not");
		refused(cr_adjust(acc, T0, (CrBucket) i, 1, &row), CR_IS_CLOSED, &before, &row,
				"in any bucket, up or down");
	}
}

static void
test_cap(void)
{
	CrAccount  *acc = fresh();
	CrAccount	before;
	CrRow		row = {0};

	set_balance(acc, 100, 50, CR_MAX_CREDITS - 1000);
	acc->held = (CrBuckets) {200, 300, 340};
	before = *acc;
	fill(&row);
	refused(cr_purchase(acc, T0, 11, &row), CR_OVER_CAP, &before, &row,
			"a purchase past the cap, holds included, is refused");
	refused(cr_purchase(acc, T0, CR_MAX_CREDITS, &row), CR_OVER_CAP, &before, &row,
			"however large");
	refused(cr_adjust(acc, T0, CR_MONTHLY, 11, &row), CR_OVER_CAP, &before, &row,
			"and an adjustment of monthly");
	refused(cr_adjust(acc, T0, CR_PURCHASED, CR_MAX_CREDITS, &row), CR_OVER_CAP, &before, &row,
			"and of purchased");
	memset(&row, 0, sizeof(row));
	ok(cr_purchase(acc, T0, 10, &row) == CR_OK && account_breaks(acc) == NULL,
	   "a purchase up to the cap is not");
	before = *acc;
	fill(&row);
	refused(cr_adjust(acc, T0, CR_MONTHLY, 1, &row), CR_OVER_CAP, &before, &row,
			"then there is room for nothing");

	acc = fresh();
	set_balance(acc, CR_MAX_CREDITS - 5, 0, 0);
	acc->owed_purchased = 100;
	memset(&row, 0, sizeof(row));
	ok(cr_purchase(acc, T0, 105, &row) == CR_OK && acc->balance.purchased == 5 &&
		   acc->owed_purchased == 0,
	   "what pays a debt needs no room under the cap");

	acc = fresh();
	world_plan(&world, "max", utc(2020, 1, 1, 0, 0, 0), 111, CR_CALENDAR, 0);
	set_balance(acc, 100, 0, CR_MAX_CREDITS - 110);
	before = *acc;
	fill(&row);
	refused(cr_set_plan(acc, &world.env, T0, world_plan_at(&world, "max", T0), &row),
			CR_OVER_CAP, &before, &row, "a larger plan past the cap is refused");
	world_plan(&world, "pro", utc(2020, 1, 1, 0, 0, 0), 110, CR_CALENDAR, 0);
	memset(&row, 0, sizeof(row));
	ok(cr_set_plan(acc, &world.env, T0, world_plan_at(&world, "pro", T0), &row) == CR_OK &&
		   acc->balance.monthly == 110,
	   "a larger plan up to the cap is not");
}

static void
test_frozen(void)
{
	CrAccount  *acc = fresh();
	CrAccount	before = *acc;
	CrRow		row = {0};
	CrVerdict	verdict;

	verdict = cr_set_status(acc, T0 + 1, CR_FROZEN, &row);
	done(verdict, &before, &row, CR_KIND_FREEZE, 0, "freeze");
	ok(row.has_facts && row.facts.status == CR_FROZEN && acc->facts.status == CR_FROZEN,
	   "the row's facts say so");
	before = *acc;
	fill(&row);
	refused(cr_deduct(acc, T0 + 2, 1, &row), CR_IS_FROZEN, &before, &row,
			"a frozen account refuses a deduction");
	memset(&row, 0, sizeof(row));
	done(cr_purchase(acc, T0 + 2, 7, &row), &before, &row, CR_KIND_PURCHASE, 7,
		 "but takes a purchase");
	before = *acc;
	memset(&row, 0, sizeof(row));
	done(cr_adjust(acc, T0 + 2, CR_MONTHLY, 7, &row), &before, &row, CR_KIND_ADJUST, 7,
		 "and a correction upwards");
	world_fold(&world, utc(2026, 2, 1, 0, 0, 0));
	ok(buckets_are(&acc->balance, 100, 0, 7) && acc->facts.status == CR_FROZEN,
	   "and a reset, which leaves it frozen");
	before = *acc;
	memset(&row, 0, sizeof(row));
	verdict = cr_set_status(acc, utc(2026, 2, 2, 0, 0, 0), CR_ACTIVE, &row);
	done(verdict, &before, &row, CR_KIND_UNFREEZE, 0, "unfreeze");
	ok(row.has_facts && row.facts.status == CR_ACTIVE, "the row's facts say so");
	memset(&row, 0, sizeof(row));
	is_int(cr_deduct(acc, utc(2026, 2, 2, 0, 0, 0), 1, &row), CR_OK, "and it can spend again");
}

static void
test_clock_repair(void)
{
	CrTime		feb = utc(2026, 2, 1, 0, 0, 0);
	CrAccount  *acc = fresh();
	CrAccount	before;
	CrRow		row = {0};
	CrVerdict	verdict;

	world_deduct(&world, T0, 60);
	world_fold(&world, feb + HOUR);
	is_int(acc->balance.monthly, 100, "a clock that ran ahead brought a reset");
	is_int(world_fold(&world, feb - 7 * HOUR), 0, "the clock 8 h back: no second reset");
	world_deduct(&world, feb - 7 * HOUR, 30);
	is_int(acc->balance.monthly, 70, "a deduction with the clock back works on the new period");
	is_time(world.rows[world.n_rows - 1].effective_at, feb, "and counts from the reset");

	before = *acc;
	fill(&row);
	refused(cr_repair_clock(acc, acc->effective_at, &row), CR_NOT_AHEAD, &before, &row,
			"a clock that is not ahead needs no repair");
	refused(cr_repair_clock(acc, acc->effective_at + 1, &row), CR_NOT_AHEAD, &before, &row,
			"nor one behind");
	memset(&row, 0, sizeof(row));
	verdict = cr_repair_clock(acc, feb - 6 * HOUR, &row);
	done(verdict, &before, &row, CR_KIND_CLOCK_REPAIR, 0, "repair a clock that was ahead");
	is_time(acc->effective_at, feb - 6 * HOUR, "the account's time goes back");
	is_time(acc->next_reset_at, utc(2026, 3, 1, 0, 0, 0), "the period's end stays");
	ok(buckets_are(&acc->balance, 70, 0, 0), "no balance changes");
	is_int(world_fold(&world, feb + DAY), 0, "and the boundary passes without a second grant");
	is_int(world_fold(&world, utc(2026, 3, 1, 0, 0, 0)), 1, "the next one is the next");
}

/* Each command fills all of its fields of the row, whatever was in them. */
static void
test_rows_are_filled(void)
{
	int			differ = 0;
	CrRow		rubbish;
	CrRow		clean;
	CrAccount	acc;

	for (int i = 0; i < 7; i++)
	{
		for (int pass = 0; pass < 2; pass++)
		{
			CrRow	   *row = pass ? &rubbish : &clean;

			memset(row, 0, sizeof(*row));
			if (pass)
			{
				row->delta = row->balance = row->held = (CrBuckets) {-7, -8, -9};
				row->amount = row->expired = row->forfeited = row->ref_seq = 77;
				row->owed_monthly = row->owed_purchased = 78;
				row->skipped = row->plan_version = row->n_allocations = 79;
				row->has_ref_seq = row->has_ends_at = row->has_facts = true;
				row->effective_at = row->period = row->next_reset_at = 80;
			}
			acc = *fresh();
			if (i == 0)
				cr_deduct(&acc, T0, 5, row);
			else if (i == 1)
				cr_purchase(&acc, T0, 5, row);
			else if (i == 2)
				cr_adjust(&acc, T0, CR_MONTHLY, -5, row);
			else if (i == 3)
				cr_set_status(&acc, T0, CR_FROZEN, row);
			else if (i == 4)
				cr_schedule_plan(&acc, T0, NULL, row);
			else if (i == 5)
				cr_set_plan(&acc, &world.env, T0, NULL, row);
			else
				cr_repair_clock(&acc, T0 - 1, row);
		}
		if (rubbish.kind != clean.kind || rubbish.amount != clean.amount ||
			rubbish.effective_at != clean.effective_at ||
			rubbish.period != clean.period ||
			rubbish.next_reset_at != clean.next_reset_at ||
			memcmp(&rubbish.delta, &clean.delta, sizeof(CrBuckets)) != 0 ||
			memcmp(&rubbish.balance, &clean.balance, sizeof(CrBuckets)) != 0 ||
			memcmp(&rubbish.held, &clean.held, sizeof(CrBuckets)) != 0 ||
			rubbish.owed_monthly != clean.owed_monthly ||
			rubbish.owed_purchased != clean.owed_purchased ||
			rubbish.expired != clean.expired || rubbish.forfeited != clean.forfeited ||
			rubbish.skipped != clean.skipped || rubbish.plan_version != clean.plan_version ||
			rubbish.has_ref_seq != clean.has_ref_seq ||
			rubbish.has_ends_at != clean.has_ends_at ||
			rubbish.n_allocations != clean.n_allocations ||
			rubbish.has_facts != clean.has_facts)
		{
			note("command %d leaves something of what was in the row", i);
			differ++;
		}
	}
	is_int(differ, 0, "every command fills its part of the row");
}

static void
test_low(void)
{
	CrAccount  *acc = fresh();

	acc->plan_threshold = 30;
	set_balance(acc, 10, 10, 9);
	acc->held.purchased = 50;
	ok(cr_is_low(acc), "low: 29 available, below a threshold of 30");
	acc->balance.purchased = 10;
	ok(!cr_is_low(acc), "30 are not below it");
	acc->facts.low_threshold = 31;
	ok(cr_is_low(acc), "the account's own threshold holds instead");
	acc->facts.low_threshold = 0;
	set_balance(acc, 0, 0, 0);
	ok(!cr_is_low(acc), "a threshold of 0 is never reached");
}

/* What is missing is what a purchase must add, and no credit less. */
static void
test_missing(void)
{
	static const struct
	{
		int64_t		available;
		int64_t		owed;
		int64_t		limit;
		int64_t		amount;
		int64_t		missing;
	}			cases[] = {
		{10, 0, 0, 10, 0}, {10, 0, 0, 11, 1}, {10, 0, 5, 15, 0}, {10, 0, 5, 16, 1},
		{10, 3, 5, 12, 0}, {10, 3, 5, 13, 1}, {0, 5, 5, 1, 1}, {0, 9, 5, 1, 5}, {10, 9, 5, 10, 0},
		{0, 0, 0, CR_MAX_CREDITS, CR_MAX_CREDITS}, {0, CR_MAX_CREDITS, 0, CR_MAX_CREDITS, 2 * CR_MAX_CREDITS}};

	for (int i = 0; i < lengthof(cases); i++)
	{
		CrAccount  *acc = fresh();
		CrAccount	bought;
		CrRow		row = {0};

		set_balance(acc, cases[i].available, 0, 0);
		acc->owed_purchased = cases[i].owed;
		acc->facts.overdraft_limit = cases[i].limit;
		is_int(cr_missing(acc, cases[i].amount), cases[i].missing, "what is missing");
		if (cases[i].missing == 0 || cases[i].missing > CR_MAX_CREDITS)
			continue;
		bought = *acc;
		ok(cr_purchase(&bought, T0, cases[i].missing, &row) == CR_OK &&
			   cr_deduct(&bought, T0, cases[i].amount, &row) == CR_OK, "bought, it goes through");
		bought = *acc;
		ok((cases[i].missing == 1 || cr_purchase(&bought, T0, cases[i].missing - 1, &row) == CR_OK) &&
			   cr_deduct(&bought, T0, cases[i].amount, &row) == CR_INSUFFICIENT, "with one less it does not");
	}
}

static void
test_valid_until(void)
{
	CrTime		end = utc(2026, 2, 1, 0, 0, 0);
	CrTime		soon = utc(2026, 1, 20, 0, 0, 0);
	CrAccount  *acc = fresh();

	is_time(cr_valid_until(acc), end, "a balance holds to the end of its period");
	ok(world_grant(&world, T0, 5, soon) == CR_OK, "a grant that ends before");
	is_time(cr_valid_until(acc), soon, "then to the end of the grant");
	ok(world_deduct(&world, T0, 105) == CR_OK && acc->next_event_at == soon, "the grant is spent");
	is_time(cr_valid_until(acc), end, "a grant without credits changes nothing when it ends");
	ok(world_purchase(&world, T0, 5) == CR_OK && world_hold(&world, T0, 5, soon) == CR_OK, "a hold");
	is_time(cr_valid_until(acc), soon, "to the end of the hold");

	acc = fresh();
	ok(world_deduct(&world, T0, 100) == CR_OK && world_set_plan(&world, T0, NULL) == CR_OK &&
		   world_grant(&world, T0, 5, utc(2026, 3, 10, 0, 0, 0)) == CR_OK, "periods that end silently, before a grant");
	is_time(cr_valid_until(acc), end, "asked before the first of them: it may be early");
	world_fold(&world, end);
	is_time(cr_valid_until(acc), utc(2026, 3, 10, 0, 0, 0), "the silent end of a period changes no credits, that of the grant does");
	world_fold(&world, utc(2026, 3, 10, 0, 0, 0));
	is_time(cr_valid_until(acc), CR_NEVER, "then nothing does");

	world_init(&world);
	ok(world_open(&world, T0, NULL, T0, "UTC") == CR_OK, "an account without a plan");
	is_time(cr_valid_until(&world.acc), CR_NEVER, "its balance holds for ever");
}

static void
test_facts_equal(void)
{
	CrFacts		a = {"free", 1, NULL, 5, "UTC", CR_ACTIVE, 6, 7, 8, 9, CR_WEEKLY, 10, 11, false, 12};
	char		plan[] = "free";
	char		zone[] = "UTC";
	CrFacts		changed[16];
	int			equal = 0;

	for (int i = 0; i < lengthof(changed); i++)
		changed[i] = a;
	changed[0].plan = "pro";
	changed[1].plan = NULL;
	changed[2].plan_version = 2;
	changed[3].scheduled_plan = "";
	changed[4].cycle_anchor = 6;
	changed[5].time_zone = "UTC0";
	changed[6].status = CR_FROZEN;
	changed[7].overdraft_limit = 0;
	changed[8].period_granted = 8;
	changed[9].period_start = 9;
	changed[10].period_share = 10;
	changed[11].cycle = CR_DAILY;
	changed[12].last_left = -10;
	changed[13].last_limit = 12;
	changed[14].last_undone = true;
	changed[15].low_threshold = CR_NO_THRESHOLD;
	for (int i = 0; i < lengthof(changed); i++)
	{
		if (cr_facts_equal(&a, &changed[i]) || cr_facts_equal(&changed[i], &a))
		{
			note("difference %d goes unnoticed", i);
			equal++;
		}
	}
	is_int(equal, 0, "cr_facts_equal notices every difference");
	changed[0] = a;
	changed[0].plan = plan;
	changed[0].time_zone = zone;
	ok(cr_facts_equal(&a, &changed[0]), "and compares texts, not pointers");
}

/* Near the cap, an account stays sound whether a command is refused or not. */
static void
test_random_amounts(void)
{
	const char *wrong = NULL;
	int			i;

	for (i = 0; i < 20000 && wrong == NULL; i++)
	{
		CrAccount  *acc = fresh();
		CrAccount	before;
		CrRow		row;
		CrVerdict	verdict;
		int64_t		room = CR_MAX_CREDITS;
		int64_t		part[4];

		for (int k = 0; k < 4; k++)
		{
			part[k] = one_in(3) ? random_between(0, 3) : random_between(0, room);
			room -= part[k];
		}
		set_balance(acc, part[0], part[1], part[2]);
		acc->held.purchased = part[3];
		if (one_in(3))
		{
			acc->balance.purchased = 0;
			acc->owed_purchased = random_between(0, one_in(2) ? 10 : CR_MAX_CREDITS);
		}
		acc->facts.overdraft_limit = one_in(2) ? 0 : random_between(0, CR_MAX_CREDITS);
		before = *acc;
		for (int k = 0; k < 3 && wrong == NULL; k++)
		{
			int64_t		amount = one_in(2) ? random_between(1, 10)
										   : random_between(1, CR_MAX_CREDITS);
			CrBucket	bucket = one_in(2) ? CR_MONTHLY : CR_PURCHASED;

			fill(&row);
			if (k == 0)
				verdict = cr_deduct(acc, T0, amount, &row);
			else if (k == 1)
				verdict = cr_purchase(acc, T0, amount, &row);
			else
				verdict = cr_adjust(acc, T0, bucket, one_in(2) ? amount : -amount, &row);
			wrong = account_breaks(acc);
			if (wrong == NULL && verdict == CR_OK)
				wrong = row_breaks(&before, acc, &row);
			if (wrong == NULL && verdict != CR_OK && memcmp(acc, &before, sizeof(*acc)) != 0)
				wrong = "a refusal changed the account";
			if (wrong == NULL && k == 0 &&
				(verdict == CR_OK) !=
					(amount <= cr_available(&before) +
						 (before.facts.overdraft_limit > before.owed_purchased
							  ? before.facts.overdraft_limit - before.owed_purchased
							  : 0)))
				wrong = "a deduction is refused if and only if there is too little";
			if (wrong != NULL)
				note("iteration %d, command %d, amount %" PRId64 ": %s", i, k, amount,
					 show_account(&before));
			before = *acc;
		}
	}
	ok(wrong == NULL, "random amounts up to the cap%s%s", wrong ? ": " : "", wrong ? wrong : "");
}

void
test_rules(void)
{
	test_open();
	test_deduct();
	test_overdraft();
	test_purchase();
	test_adjust();
	test_cap();
	test_frozen();
	test_clock_repair();
	test_rows_are_filled();
	test_low();
	test_missing();
	test_valid_until();
	test_facts_equal();
	test_random_amounts();
}
