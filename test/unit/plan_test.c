/*
 * plan_test.c
 *		Plan changes, now and at the next reset: which credits they move, whether
 *		they stretch the period, and that they grant nothing twice in any order.
 */
#include "unit.h"

#define T0 utc(2026, 1, 10, 12, 0, 0)
#define FEB utc(2026, 2, 1, 0, 0, 0)

static World world;

/* Plans of 100, 300 and 1000 a month, and one of 300 by anniversary. */
static CrAccount *
fresh(const char *plan)
{
	CrTime		from = utc(2020, 1, 1, 0, 0, 0);

	world_init(&world);
	world_plan(&world, "free", from, 100, CR_CALENDAR, 0);
	world_plan(&world, "pro", from, 300, CR_CALENDAR, 0);
	world_plan(&world, "max", from, 1000, CR_CALENDAR, 0);
	world_plan(&world, "yearday", from, 300, CR_ANNIVERSARY, 0);
	world_open(&world, T0, plan, utc(2026, 1, 15, 0, 0, 0), "UTC");
	return &world.acc;
}

static const CrRow *
last_row(void)
{
	return &world.rows[world.n_rows - 1];
}

/* Changes the plan now, and tests what that gave. */
static void
change(const char *plan, int64_t monthly, int64_t period_granted, const char *name)
{
	CrAccount	before = world.acc;
	CrVerdict	verdict = world_set_plan(&world, T0 + DAY, plan);
	const CrAccount *acc = &world.acc;
	const char *wrong = NULL;

	if (verdict != CR_OK)
		wrong = "refused";
	else
		wrong = row_breaks(&before, acc, last_row());
	if (wrong == NULL)
		wrong = account_breaks(acc);
	if (wrong == NULL && last_row()->kind != CR_KIND_SET_PLAN)
		wrong = "another kind of row";
	if (wrong == NULL && !same_text(acc->facts.plan, plan))
		wrong = "another plan";
	if (wrong == NULL &&
		(acc->balance.monthly != monthly || acc->facts.period_granted != period_granted))
		wrong = "other credits";
	if (!ok(wrong == NULL, "%s", name))
		note("%s: %s", wrong, show_account(acc));
}

static void
test_now(void)
{
	CrAccount  *acc = fresh("free");

	world_deduct(&world, T0 + 1, 60);
	change("pro", 240, 300, "100 to 300 with 40 left: the difference is added");
	ok(buckets_are(&last_row()->delta, 200, 0, 0) && last_row()->amount == 200,
	   "the row says +200");
	is_time(acc->next_reset_at, FEB, "the period's end stays");
	is_time(acc->period_start, T0, "and its start");
	change("free", 40, 100, "back to 100: the difference is taken");
	ok(buckets_are(&last_row()->delta, -200, 0, 0) && last_row()->amount == -200,
	   "the row says -200");
	change("pro", 240, 300, "and up again: as before, nothing is granted twice");
	world_deduct(&world, T0 + DAY, 190);
	change("free", 0, 250, "down with 50 left: 50 are taken and period_granted is 250");
	change("pro", 50, 300, "up again: the 50 come back");
	change("max", 750, 1000, "and the rest for a still larger plan");
	change("free", 0, 250, "down from there: what is unspent is taken");
	change(NULL, 0, 250, "cancelled with nothing left: nothing to take");
	is_time(acc->next_reset_at, FEB, "a cancelled plan keeps its period to the end");
	change("pro", 50, 300, "coming back in the same period: only what was not granted yet");
	change("pro", 50, 300, "the same plan again changes nothing");

	acc = fresh("pro");
	change(NULL, 0, 0, "cancelled with everything left: all is taken");
	ok(acc->facts.plan_version == 0, "no plan, no version");
	change("pro", 300, 300, "and comes back");

	acc = fresh("pro");
	acc->balance.monthly = 100;
	acc->held.monthly = 200;
	change("free", 0, 200, "held monthly credits are not taken");
	ok(buckets_are(&acc->held, 200, 0, 0), "they stay held");

	acc = fresh("free");
	acc->balance.monthly = 0;
	acc->owed_monthly = 150;
	change("pro", 50, 300, "owed 150 monthly: the difference of 200 pays it first");
	is_int(acc->owed_monthly, 0, "the debt is paid");
	acc->balance = (CrBuckets) {0, 0, 0};
	acc->owed_purchased = 10;
	change("max", 700, 1000, "what is owed in purchased is not paid by a plan");
	is_int(acc->owed_purchased, 10, "it stays owed");

	acc = fresh("pro");
	world_purchase(&world, T0 + 1, 500);
	change("free", 100, 100, "a smaller plan");
	is_int(acc->balance.purchased, 500, "does not touch purchased credits");

	/* the version in force when the call is made */
	acc = fresh("free");
	world_plan(&world, "pro", T0 + DAY, 400, CR_CALENDAR, 0);
	world_plan(&world, "pro", T0 + DAY + 1, 500, CR_CALENDAR, 0);
	change("pro", 400, 400, "a version in force from this very moment");
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
	change("pro", 300, 300, "an account without a plan gets one: its whole allowance");
	is_int(acc->balance.purchased, 50, "next to what was bought");
	is_time(acc->next_reset_at, FEB, "and a period to the next boundary");
	ok(acc->next_event_at <= FEB && !cr_is_due(acc, FEB - 1), "not due before it");

	acc = fresh(NULL);
	world_set_plan(&world, utc(2026, 7, 20, 0, 0, 0), "yearday");
	is_time(acc->next_reset_at, utc(2026, 8, 15, 0, 0, 0),
			"months later: the next boundary from then, none in the past");
	is_int(acc->balance.monthly, 300, "one allowance");
}

static void
test_cycle_change(void)
{
	CrAccount  *acc = fresh("pro");

	change("yearday", 300, 300, "calendar to anniversary on the 15th, on 11 Jan");
	is_time(acc->next_reset_at, utc(2026, 2, 15, 0, 0, 0),
			"the period stretches over its old end to 15 Feb, not back to 15 Jan");
	is_int(world_fold(&world, utc(2026, 2, 15, 0, 0, 0) - 1), 0, "no reset before");
	is_int(world_fold(&world, utc(2026, 2, 15, 0, 0, 0)), 1, "one then");
	is_time(acc->next_reset_at, utc(2026, 3, 15, 0, 0, 0), "and a month later the next");
	world_set_plan(&world, utc(2026, 2, 20, 0, 0, 0), "free");
	is_time(acc->next_reset_at, utc(2026, 4, 1, 0, 0, 0),
			"anniversary to calendar: over 15 Mar to 1 Apr");

	/* the end was stored when the zone's midnight was another one */
	acc = fresh("pro");
	acc->next_reset_at = acc->next_event_at = FEB + HOUR;
	change("max", 1000, 1000, "a plan of the same cycle, after the zone's rules changed");
	is_time(acc->next_reset_at, FEB + HOUR, "leaves the stored end alone");
	acc->next_reset_at = acc->next_event_at = FEB - HOUR;
	change("pro", 300, 300, "and another");
	is_time(acc->next_reset_at, FEB - HOUR, "leaves it alone too");

	/* where the new boundary falls on the old end, that is the end */
	acc = fresh("pro");
	acc->facts.cycle_anchor = utc(2025, 12, 1, 0, 0, 0);
	change("yearday", 300, 300, "calendar to anniversary on the 1st");
	is_time(acc->next_reset_at, FEB, "the period's end stays");
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
	ok(buckets_are(&world.rows[first].delta, 0, 0, 0), "the change itself grants nothing");
	ok(same_text(acc->facts.plan, "pro") && acc->facts.scheduled_plan == NULL &&
		   buckets_are(&acc->balance, 300, 0, 0) && acc->facts.period_granted == 300,
	   "the new plan's allowance");
	world_fold(&world, utc(2026, 3, 1, 0, 0, 0));
	ok(same_text(acc->facts.plan, "pro") && buckets_are(&acc->balance, 300, 0, 0),
	   "and the plan stays");

	acc = fresh("pro");
	world_purchase(&world, T0 + 1, 7);
	world_schedule(&world, T0 + DAY, NULL);
	ok(same_text(acc->facts.plan, "pro") && same_text(acc->facts.scheduled_plan, ""),
	   "a cancellation at the next reset");
	world_fold(&world, FEB);
	ok(acc->facts.plan == NULL && acc->facts.plan_version == 0 &&
		   acc->facts.scheduled_plan == NULL && acc->next_reset_at == CR_NEVER &&
		   acc->facts.period_granted == 0,
	   "ends the plan and the period there");
	ok(buckets_are(&acc->balance, 0, 0, 7), "monthly credits expire, purchased ones stay");
	is_int(world_fold(&world, utc(2030, 1, 1, 0, 0, 0)), 0, "and nothing comes after");

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

	/* a cancelled plan's period ends with its own reset */
	acc = fresh("pro");
	world_deduct(&world, T0 + 1, 1);
	world_set_plan(&world, T0 + DAY, NULL);
	world_fold(&world, FEB);
	ok(acc->next_reset_at == CR_NEVER && buckets_are(&acc->balance, 0, 0, 0) &&
		   acc->facts.period_granted == 0,
	   "after a plan cancelled at once the period ends and none follows");
	world_set_plan(&world, FEB + DAY, "pro");
	ok(buckets_are(&acc->balance, 300, 0, 0), "and a new plan then grants in full");
	is_time(acc->next_reset_at, utc(2026, 3, 1, 0, 0, 0), "to the next boundary");
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

				if (allowance[p] > best)
					best = allowance[p];
				if (world_set_plan(&world, at, plans[p]) != CR_OK)
					wrong = "refused";
				else if (acc->balance.monthly + spent < allowance[p])
					wrong = "less than the plan's allowance";
			}
			if (wrong == NULL && acc->balance.monthly + spent > best)
				wrong = "more than the best plan's allowance";
			if (wrong == NULL && acc->balance.monthly + spent != acc->facts.period_granted)
				wrong = "period_granted is not what the period gave";
			if (wrong == NULL)
				wrong = account_breaks(acc);
			if (wrong != NULL)
				note("iteration %d: %s; spent %" PRId64 ", best %" PRId64 ", %s", i, wrong, spent,
					 best, show_account(acc));
		}
	}
	ok(wrong == NULL, "random plan changes and deductions: never more than the best plan");
}

/* Changes of cycle do not give two allowances in one month. */
static void
test_cycle_never_twice(void)
{
	static const char *const plans[] = {"pro", "yearday", NULL};
	const char *wrong = NULL;

	for (int i = 0; i < 2000 && wrong == NULL; i++)
	{
		CrAccount  *acc = fresh(plans[random_between(0, 1)]);
		CrTime		at = T0;
		CrTime		last_reset = CR_NEVER;

		for (int k = 0; k < 12 && wrong == NULL; k++)
		{
			int			first = world.n_rows;
			const char *plan = plans[random_between(0, 2)];
			CrTime		end;

			at += random_between(0, 25 * DAY);
			world_fold(&world, at);
			for (int r = first; r < world.n_rows && wrong == NULL; r++)
			{
				const CrRow *row = &world.rows[r];

				if (row->kind != CR_KIND_RESET || row->amount == 0)
					continue;
				if (last_reset != CR_NEVER && row->effective_at - last_reset < 28 * DAY)
					wrong = "two resets in less than a month";
				last_reset = row->effective_at;
			}
			end = acc->next_reset_at;
			if (end == CR_NEVER)
				last_reset = CR_NEVER;
			if (one_in(3))
				world_schedule(&world, at, plan);
			else if (one_in(2))
				world_set_plan(&world, at, plan);
			if (end != CR_NEVER && acc->next_reset_at < end)
				wrong = "a period that got shorter";
			if (wrong != NULL)
				note("iteration %d at %s: %s; %s", i, show_time(at), wrong, show_account(acc));
		}
	}
	ok(wrong == NULL, "random changes of cycle: no two allowances in a month");
}

void
test_plan_change(void)
{
	test_now();
	test_without_period();
	test_cycle_change();
	test_scheduled();
	test_never_twice();
	test_cycle_never_twice();
}
