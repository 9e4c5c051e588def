/*
 * levels_test.c
 *		When a row says that an account became low or empty, or has recovered.
 */
#include "unit.h"

#define T0	 utc(2026, 1, 10, 12, 0, 0)
#define FEB	 utc(2026, 2, 1, 0, 0, 0)

static World world;

/* Runs a command, and compares what its row crossed, and the account's level after it. */
static void
crosses(Command cmd, CrCrossing crossed, CrLevel level, const char *test)
{
	CrVerdict	verdict = world_run(&world, &cmd);
	const CrRow *row = &world.rows[world.n_rows - 1];

	ok(verdict == CR_OK && row->crossed == crossed && world.acc.level == level, "%s", test);
	if (verdict != CR_OK || row->crossed != crossed || world.acc.level != level)
		note("verdict %d, crossed %s, level %s", (int) verdict, cr_crossing_name(row->crossed),
			 cr_level_name(world.acc.level));
}

static void
begin(int64_t threshold)
{
	world_init(&world);
	world.strict = true;
	world_plan(&world, "free", utc(2020, 1, 1, 0, 0, 0), 100, CR_CALENDAR, 0);
	world.versions[0].low_balance_threshold = threshold;
	world_plan(&world, "pro", utc(2020, 1, 1, 0, 0, 0), 250, CR_CALENDAR, 0);
	world.versions[1].low_balance_threshold = 240;
}

static void
replays(const char *test)
{
	static World replayed;
	CrAccount	acc;

	cr_account_init(&acc, world.acc.user_id);
	acc.lots = world_lists(&replayed);
	for (int i = 0; i < world.n_rows; i++)
	{
		const char *complaint = world_replay(&world, &acc, &world.rows[i], i);

		if (complaint)
		{
			note("row %d: %s", i + 1, complaint);
			ok(false, "%s: its rows replay", test);
			return;
		}
	}
	ok(world_head_differs(&world, &acc) == NULL, "%s: its rows replay", test);
}

void
test_levels(void)
{
	begin(30);
	world_open(&world, T0, "free", T0, "UTC");
	ok(world.rows[0].crossed == CR_CROSSED_NOTHING && world.acc.level == CR_LEVEL_OK,
	   "the opening row crosses nothing");
	crosses((Command){.op = OP_DEDUCT, .at = T0 + 1, .amount = 70}, CR_CROSSED_NOTHING, CR_LEVEL_OK,
			"30 are not fewer than 30");
	crosses((Command){.op = OP_DEDUCT, .at = T0 + 2, .amount = 1}, CR_CROSSED_LOW, CR_LEVEL_LOW,
			"29 are: low");
	crosses((Command){.op = OP_DEDUCT, .at = T0 + 3, .amount = 1}, CR_CROSSED_NOTHING, CR_LEVEL_LOW,
			"low once");
	crosses((Command){.op = OP_PURCHASE, .at = T0 + 4, .amount = 1}, CR_CROSSED_NOTHING, CR_LEVEL_LOW,
			"a purchase that is not enough");
	crosses((Command){.op = OP_PURCHASE, .at = T0 + 5, .amount = 1}, CR_CROSSED_RECOVERED, CR_LEVEL_OK,
			"one that is: recovered");

	/* around the threshold */
	for (int i = 0; i < 3; i++)
	{
		crosses((Command){.op = OP_HOLD, .at = T0 + 10 + 2 * i, .amount = 5, .ends_at = T0 + HOUR},
				i == 0 ? CR_CROSSED_LOW : CR_CROSSED_NOTHING, CR_LEVEL_LOW, "a hold is low once");
		crosses((Command){.op = OP_RELEASE, .at = T0 + 11 + 2 * i, .target = i}, CR_CROSSED_NOTHING,
				CR_LEVEL_LOW, "a release does not let it recover");
	}
	crosses((Command){.op = OP_HOLD, .at = T0 + 20, .amount = 30, .ends_at = T0 + HOUR}, CR_CROSSED_EMPTY,
			CR_LEVEL_EMPTY, "nothing left: empty");
	crosses((Command){.op = OP_CAPTURE, .at = T0 + 21, .amount = 10, .target = 3}, CR_CROSSED_NOTHING,
			CR_LEVEL_EMPTY, "what a capture gives back neither");
	crosses((Command){.op = OP_DEDUCT, .at = T0 + 22, .amount = 20}, CR_CROSSED_NOTHING, CR_LEVEL_EMPTY,
			"empty once");
	crosses((Command){.op = OP_REFUND, .at = T0 + 23, .target = 0, .amount = 10}, CR_CROSSED_NOTHING,
			CR_LEVEL_LOW, "a refund that is not enough arms empty again");
	crosses((Command){.op = OP_DEDUCT, .at = T0 + 24, .amount = 10}, CR_CROSSED_EMPTY, CR_LEVEL_EMPTY,
			"empty again");
	world_fold(&world, FEB);
	ok(world.rows[world.n_rows - 1].crossed == CR_CROSSED_RECOVERED && world.acc.level == CR_LEVEL_OK,
	   "a reset lets it recover");

	/* a correction, of an account that a hold took below the threshold */
	crosses((Command){.op = OP_HOLD, .at = FEB, .amount = 80, .ends_at = FEB + HOUR}, CR_CROSSED_LOW,
			CR_LEVEL_LOW, "a hold, and its release");
	crosses((Command){.op = OP_RELEASE, .at = FEB, .target = 4}, CR_CROSSED_NOTHING, CR_LEVEL_LOW,
			"leave it low");
	crosses((Command){.op = OP_ADJUST, .at = FEB, .bucket = CR_MONTHLY, .amount = -1},
			CR_CROSSED_NOTHING, CR_LEVEL_LOW, "a correction that takes does not let it recover");
	crosses((Command){.op = OP_ADJUST, .at = FEB, .bucket = CR_MONTHLY, .amount = 1},
			CR_CROSSED_RECOVERED, CR_LEVEL_OK, "one that adds does");

	/* the threshold changes */
	crosses((Command){.op = OP_SET_PLAN, .at = FEB + 1, .plan = "pro"}, CR_CROSSED_NOTHING, CR_LEVEL_OK,
			"another plan, another threshold");
	crosses((Command){.op = OP_DEDUCT, .at = FEB + 2, .amount = 11}, CR_CROSSED_LOW, CR_LEVEL_LOW,
			"which holds");
	crosses((Command){.op = OP_SET_LOW_THRESHOLD, .at = FEB + 3, .amount = 5}, CR_CROSSED_RECOVERED,
			CR_LEVEL_OK, "a threshold of its own");
	crosses((Command){.op = OP_SET_PLAN, .at = FEB + 4, .plan = "free"}, CR_CROSSED_NOTHING, CR_LEVEL_OK,
			"which no plan changes");
	crosses((Command){.op = OP_SET_LOW_THRESHOLD, .at = FEB + 5, .amount = 1000}, CR_CROSSED_LOW,
			CR_LEVEL_LOW, "a higher one");
	crosses((Command){.op = OP_SET_LOW_THRESHOLD, .at = FEB + 6, .amount = CR_NO_THRESHOLD},
			CR_CROSSED_RECOVERED, CR_LEVEL_OK, "the plan's again");
	replays("around the threshold");

	/* without a plan */
	begin(0);
	world_open(&world, T0, NULL, T0, "UTC");
	ok(world.acc.level == CR_LEVEL_EMPTY, "an account begins empty, which crosses nothing");
	crosses((Command){.op = OP_PURCHASE, .at = T0 + 1, .amount = 10}, CR_CROSSED_RECOVERED, CR_LEVEL_OK,
			"its first credits");
	crosses((Command){.op = OP_DEDUCT, .at = T0 + 2, .amount = 10}, CR_CROSSED_EMPTY, CR_LEVEL_EMPTY,
			"it is never low, but empty");
	replays("without a plan");
}
