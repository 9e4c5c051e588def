/*
 * misplaced_rows_test.c
 *		Replay refuses rows about grants and holds that are right in themselves, but
 *		come at the wrong time, in the wrong order or period, or say that nothing was done.
 */
#include "unit.h"

#define T0 utc(2026, 1, 10, 12, 0, 0)
#define END utc(2026, 1, 20, 0, 0, 0)
#define FEB utc(2026, 2, 1, 0, 0, 0)
#define MAR utc(2026, 3, 1, 0, 0, 0)

static World world;
static World replayed;
static CrAccount acc;

/* Replays the world's rows.  A row that is made from acc after that is a forged one. */
static void
replay_world(void)
{
	const char *complaint = NULL;

	cr_account_init(&acc, world.acc.user_id);
	acc.lots = world_lists(&replayed);
	for (int i = 0; i < world.n_rows && complaint == NULL; i++)
		complaint = world_replay(&world, &acc, &world.rows[i], i);
	if (complaint)
		ok(false, "the history itself: %s", complaint);
}

static void
fresh(void)
{
	world_init(&world);
	world_plan(&world, "free", utc(2020, 1, 1, 0, 0, 0), 100, CR_CALENDAR, 50);
	world_open(&world, T0, "free", T0, "UTC");
}

static void
judge(CrRow *row, bool good, const char *name)
{
	const char *complaint;

	replay_world();
	row->seq = world.n_rows + 1;
	complaint = cr_replay(&acc, &world.env, row, &(CrReplayed) {0});
	if (!ok((complaint == NULL) == good, "%s", name))
		note("%s", complaint ? complaint : "not complained about");
}

static CrRow
hold_end(int n)
{
	CrRow		row;

	replay_world();
	cr_apply_hold_end(&acc, &acc.lots->holds[n], &row);
	return row;
}

static CrRow
grant_end(int n)
{
	CrRow		row;

	replay_world();
	cr_apply_grant_end(&acc, &acc.lots->grants[n], &row);
	return row;
}

static CrRow
reset(CrTime at)
{
	CrRow		row;

	replay_world();
	cr_apply_boundary(&acc, at, &world.versions[0], (CrPeriod) {MAR, CR_FULL_SHARE}, 0, &row);
	return row;
}

static CrRow
deduction(CrTime at)
{
	CrRow		row = {0};

	replay_world();
	cr_deduct(&acc, at, 5, &row);
	return row;
}

static void
test_turns(void)
{
	CrRow		row;

	/* two holds and two grants that end together */
	fresh();
	world_grant(&world, T0 + 1, 10, END);
	world_grant(&world, T0 + 2, 20, END);
	world_hold(&world, T0 + 3, 30, END);
	world_hold(&world, T0 + 4, 40, END);
	row = hold_end(0);
	judge(&row, true, "the older hold ends first");
	row = hold_end(1);
	judge(&row, false, "the younger one does not");
	row = hold_end(0);
	row.effective_at = END - 1;
	judge(&row, false, "nor any before its end");
	row.effective_at = END + 1;
	judge(&row, false, "or after it");
	row = grant_end(0);
	judge(&row, false, "no grant ends before the holds of that instant");
	row = deduction(END);
	judge(&row, false, "nothing is spent before the holds have ended");
	row = deduction(END - 1);
	judge(&row, true, "the moment before it is");
	row = hold_end(0);
	row.ref_seq = 5;
	judge(&row, false, "an end of one hold in the name of another");

	fresh();
	world_grant(&world, T0 + 1, 10, END);
	world_grant(&world, T0 + 2, 20, END);
	row = grant_end(0);
	judge(&row, true, "the older grant ends first");
	row = grant_end(1);
	judge(&row, false, "the younger one does not");
	row = deduction(END);
	judge(&row, false, "nothing is spent before the grants have ended");
	row = deduction(END - 1);
	judge(&row, true, "the moment before it is");

	/* a grant that ends before a hold, and a hold that ends before a grant */
	fresh();
	world_grant(&world, T0 + 1, 10, END);
	world_hold(&world, T0 + 2, 30, END + 1);
	row = hold_end(0);
	judge(&row, false, "a hold does not end before a grant that ended earlier");
	row = grant_end(0);
	judge(&row, true, "the grant does");
	fresh();
	world_grant(&world, T0 + 1, 10, END + 1);
	world_hold(&world, T0 + 2, 30, END);
	row = grant_end(0);
	judge(&row, false, "nor a grant before a hold that ended earlier");

	/* with the end of the period */
	fresh();
	world_grant(&world, T0 + 1, 10, FEB);
	row = reset(FEB);
	judge(&row, false, "a period does not end before the grants of that instant");
	row = grant_end(0);
	judge(&row, true, "they end first");
	fresh();
	world_hold(&world, T0 + 1, 10, FEB);
	row = reset(FEB);
	judge(&row, false, "nor before the holds of that instant");
	row = hold_end(0);
	judge(&row, true, "they end first");
	fresh();
	world_grant(&world, T0 + 1, 10, FEB + 1);
	row = grant_end(0);
	judge(&row, false, "a grant does not end before a period that ended earlier");
	row = reset(FEB);
	judge(&row, true, "the period does");
	fresh();
	world_hold(&world, T0 + 1, 10, FEB + 1);
	row = hold_end(0);
	judge(&row, false, "nor does a hold");

	/* the account must know what comes next */
	fresh();
	world_grant(&world, T0 + 1, 10, END);
	replay_world();
	{
		CrAccount	stored = acc;

		stored.next_event_at = END;
		ok(cr_compare_head(&stored, &acc) == NULL, "a grant's end is the next event");
		stored.next_event_at = END + 1;
		ok(cr_compare_head(&stored, &acc) != NULL, "not later");
	}

	/* what does not exist has no end */
	fresh();
	world_grant(&world, T0 + 1, 10, END);
	row = grant_end(0);
	world_deduct(&world, T0 + 2, 110);
	row.amount = row.expired = row.delta.granted = row.balance.monthly = row.balance.granted = 0;
	judge(&row, false, "a grant of which nothing is left has no end");
	fresh();
	world_hold(&world, T0 + 1, 10, END);
	row = hold_end(0);
	world_release(&world, T0 + 2, 0);
	judge(&row, false, "nor has a hold that was released");
}

/* Rows that do nothing.  No call writes one. */
static void
test_nothing(void)
{
	static const CrKind kinds[] = {CR_KIND_DEDUCT, CR_KIND_PURCHASE, CR_KIND_GRANT,
		CR_KIND_HOLD, CR_KIND_REFUND, CR_KIND_REVOKE, CR_KIND_REINSTATE, CR_KIND_TRANSFER_IN,
		CR_KIND_TRANSFER_OUT};
	CrRow		row;

	for (int i = 0; i < lengthof(kinds); i++)
	{
		fresh();
		world_purchase(&world, T0 + 1, 5);
		world_hold(&world, T0 + 2, 10, END);
		world_deduct(&world, T0 + 3, 1);
		row = *(&world.rows[world.n_rows - 1]);
		row.kind = kinds[i];
		row.amount = 0;
		row.delta = (CrBuckets) {0, 0, 0};
		row.has_ref_seq = i >= 4 && i <= 6;
		row.ref_seq = i == 4 ? 4 : i >= 5 && i <= 6 ? 2 : 0;
		row.has_ends_at = i >= 2 && i <= 3;
		row.ends_at = END;
		if (row.has_ref_seq)
		{
			row.seq = world.n_rows + 1;
			replay_world();
			is_text(world_replay(&world, &acc, &row, world.n_rows), "amount is out of range",
					cr_kind_name(kinds[i]));
			continue;
		}
		judge(&row, false, cr_kind_name(kinds[i]));
	}
}

/* A change of cycle does not move the end of the period. */
static void
test_cycle(void)
{
	CrRow		row;

	fresh();
	world_set_cycle(&world, T0 + 1, T0, "UTC");
	row = world.rows[world.n_rows - 1];
	world.n_rows--;
	judge(&row, true, "the same cycle again");
	row.next_reset_at = MAR;
	judge(&row, false, "with a longer period");
	row.next_reset_at = FEB - 1;
	judge(&row, false, "with a shorter one");
	fresh();
	world_set_cycle(&world, T0 + 1, T0, "Asia/Tokyo");
	row = world.rows[world.n_rows - 1];
	world.n_rows--;
	judge(&row, true, "another zone");
	row.next_reset_at = FEB - 9 * HOUR;
	judge(&row, false, "with the zone's own end");
	row.next_reset_at = FEB;
	row.facts.period_share--;
	judge(&row, false, "with another share");
}

/* Rows in periods that they cannot be in. */
static void
test_periods(void)
{
	CrRow		row;

	/* shares */
	fresh();
	world_fold(&world, FEB);
	row = world.rows[world.n_rows - 1];
	world.n_rows--;
	judge(&row, true, "a whole period");
	row.facts.period_share = 500000;
	row.amount = row.facts.period_granted = 50;
	row.delta.monthly -= 50;
	row.balance.monthly -= 50;
	judge(&row, false, "a part of one where nothing was changed");
	fresh();
	world_set_cycle(&world, T0 + 1, T0, "Asia/Tokyo");
	world_fold(&world, FEB);
	row = world.rows[world.n_rows - 1];
	world.n_rows--;
	judge(&row, true, "a part where the zone was changed");
	for (int i = 0; i < 4; i++)
	{
		static const int32_t shares[] = {500000, 0, -1, CR_FULL_SHARE + 1};
		bool		good = i < 2;

		row.facts.period_share = shares[i];
		row.amount = row.facts.period_granted = shares[i] > 0 ? 100 * shares[i] / 1000000 : 0;
		row.delta.monthly = row.amount - 50;
		row.balance.monthly = row.amount + 50;
		judge(&row, good, good ? "another share is believed" : "one out of range is not");
	}

	/* a number that does not follow */
	fresh();
	world_deduct(&world, T0 + 1, 5);
	row = world.rows[world.n_rows - 1];
	world.n_rows--;
	for (int64_t period = 0; period <= 3; period++)
	{
		row.period = period;
		judge(&row, period == 1, "a deduction in a period with this number");
	}

	/* after silent boundaries */
	fresh();
	world_set_plan(&world, T0 + 1, NULL);
	world_purchase(&world, MAR + DAY, 5);
	row = world.rows[world.n_rows - 1];
	world.n_rows--;
	judge(&row, true, "a purchase after silent boundaries");
	row.period = 2;
	judge(&row, false, "after one of them");
	row.period = 1;
	judge(&row, false, "in the old period");
	row.period = 4;
	judge(&row, true, "how many is not known without time zones");
	row.period = 3;
	row.facts.period_start = MAR + DAY + 1;
	judge(&row, false, "in a period that starts later");
	row.facts.period_start = FEB - 1;
	judge(&row, false, "in one that started before the last ended");
	row.facts.period_start = MAR;
	row.next_reset_at = MAR + DAY;
	judge(&row, false, "in one that is over");
	row.next_reset_at = MAR + 49 * DAY;
	judge(&row, false, "in one that is too long");
	row.next_reset_at = CR_NEVER;
	judge(&row, false, "in one without an end");
	row.next_reset_at = MAR + 31 * DAY;
	row.facts.period_share = 700000;
	judge(&row, false, "in a part of one, though nothing was changed");
	row.facts.period_share = CR_FULL_SHARE;
	row.facts.last_left = 7;
	judge(&row, false, "with something left");
	row.facts.last_left = 0;
	row.has_facts = false;
	judge(&row, false, "without facts");
	fresh();
	world_set_plan(&world, T0 + 1, NULL);
	world_purchase(&world, FEB + DAY, 5);
	row = world.rows[world.n_rows - 1];
	world.n_rows--;
	judge(&row, true, "after one silent boundary");
	row.facts.period_start = FEB + 1;
	judge(&row, false, "that was not at the end of the period");
	fresh();
	world_deduct(&world, T0 + 1, 5);
	world_set_plan(&world, T0 + 2, NULL);
	world_purchase(&world, MAR + 2, 5);
	row = world.rows[4];
	world.n_rows = 3;
	judge(&row, false, "a debt makes the boundary a row");
}

void
test_misplaced_rows(void)
{
	test_turns();
	test_nothing();
	test_cycle();
	test_periods();
}
