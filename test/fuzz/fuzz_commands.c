/*
 * fuzz_commands.c
 *		Any commands at any times: nothing negative, nothing lost between the sums,
 *		the lists and the rows, what is refused changes nothing, and the replay
 *		accepts every row and comes to the same account.
 */
#include "fuzz.h"

#define START utc(2026, 1, 1, 0, 0, 0)
#define CALLS 48

static World world;
static World replayed;

/* Up to four plans, each with a version from the start and a few later. */
static int
any_plans(void)
{
	static const char *const names[] = {"free", "pro", "team", "max"};
	int			n_plans = (int) random_between(1, lengthof(names));

	for (int p = 0; p < n_plans; p++)
	{
		CrTime		at = START;

		for (int n = (int) random_between(1, 5); n > 0; n--)
		{
			(void) world_plan(&world, names[p], at,
							  one_in(8) ? input_amount() : random_between(0, 20) * 10,
							  one_in(3) ? CR_CALENDAR
								  : (CrCycle) random_between(0, CR_CYCLE_COUNT - 1),
							  one_in(2) ? 0 : one_in(4) ? input_amount() : random_between(1, 150));
			at += random_between(1, 100 * DAY);
			if (one_in(2))
				at = boundary_from(CR_CALENDAR, random_zone(), 0, at);
		}
	}
	return n_plans;
}

static Command
any_command(CrTime at, int n_plans)
{
	static const Op others[] = {OP_IMPORTED, OP_IMPORT, OP_TRANSFER_OUT, OP_TRANSFER_IN,
		OP_CLOSE, OP_UNDO, OP_REPAIR_CLOCK, OP_UNFREEZE, OP_OPEN, OP_REINSTATE};
	Command		cmd = world_random_open_command(&world, at, n_plans);

	if (one_in(4))
	{
		cmd.op = others[random_between(0, lengthof(others) - 1)];
		cmd.amount = random_between(1, 90);
		cmd.purchased = random_between(0, 90);
		cmd.target = (int) random_between(0, 6);
		cmd.zone = random_zone();
		cmd.anchor = at - random_between(0, 60) * DAY;
		cmd.period_start = at - random_between(0, 20) * DAY;
		cmd.regrant = one_in(2);
		cmd.total = 0;
		if (one_in(3))
			cmd.plan = NULL;
	}
	if (cmd.amount > 0 && one_in(8))
		cmd.amount = input_amount();
	if (cmd.op == OP_TRANSFER_OUT)
		cmd.total = random_between(0, cmd.amount);
	return cmd;
}

static void
replay_all(void)
{
	CrAccount	acc;

	cr_account_init(&acc, world.acc.user_id);
	acc.lots = world_lists(&replayed);
	for (int i = 0; i < world.n_rows; i++)
	{
		const char *complaint = world_replay(&world, &acc, &world.rows[i], i);

		REQUIRE(complaint == NULL, "row %d, %s: %s", i + 1, cr_kind_name(world.rows[i].kind),
				complaint);
	}
	{
		const char *complaint = world_head_differs(&world, &acc);

		REQUIRE(complaint == NULL, "the replay comes to another account: %s", complaint);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CrTime		at = START;
	int			n_plans;

	input_begin(data, size);
	world_init(&world);
	world.strict = true;
	n_plans = any_plans();
	at += random_between(0, 60 * DAY);
	if (one_in(8))
		(void) world_run(&world, &(Command) {.op = one_in(2) ? OP_IMPORT : OP_IMPORTED,
						 .at = at,.amount = random_between(1, 90),
						 .plan = world.versions[0].plan,.zone = random_zone(),
						 .anchor = at - random_between(0, 60) * DAY,
						 .period_start = at - random_between(0, 20) * DAY});
	else
		(void) world_open(&world, at, one_in(6) ? NULL : world.versions[0].plan,
						  at - random_between(0, 40) * DAY, random_zone());
	for (int i = 0; i < CALLS && input_left(); i++)
	{
		Command		cmd;

		at += one_in(3) ? 0 : one_in(4) ? random_between(0, 100 * DAY) :
			random_between(0, 9 * DAY);
		cmd = any_command(at, n_plans);
		(void) world_run(&world, &cmd);
		REQUIRE(world.broken == NULL, "call %d, operation %d: %s\n%s", i + 1, (int) cmd.op,
				world.broken, show_account(&world.acc));
	}
	replay_all();
	return 0;
}
