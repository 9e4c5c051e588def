/*
 * refund_test.c
 *		Refunds, chargebacks, overdraft limits and changes of cycle, one by one.
 */
#include "unit.h"

#define T0	utc(2026, 1, 10, 12, 0, 0)
#define FEB utc(2026, 2, 1, 0, 0, 0)
#define MAR utc(2026, 3, 1, 0, 0, 0)
#define APR utc(2026, 4, 1, 0, 0, 0)

static World world;

/* An account with a plan of 100 a month.  Every step is checked. */
static CrAccount *
fresh(int64_t rollover)
{
	world_init(&world);
	world.strict = true;
	world_plan(&world, "free", utc(2020, 1, 1, 0, 0, 0), 100, CR_CALENDAR, rollover);
	world_open(&world, T0, "free", T0, "UTC");
	return &world.acc;
}

static const CrRow *
last_row(void)
{
	return &world.rows[world.n_rows - 1];
}

static CrGrant *
grant_of(int64_t seq)
{
	for (int i = 0; i < world.acc.lots->n_grants; i++)
	{
		if (world.acc.lots->grants[i].seq == seq)
			return &world.acc.lots->grants[i];
	}
	return NULL;
}

/* Rows 2 to 4 are grants: of 10 until 20 Jan, of 20 until 15 Jan, of 30 until 20 Jan. */
static CrAccount *
three_grants(void)
{
	CrAccount  *acc = fresh(0);

	world_grant(&world, T0 + 1, 10, utc(2026, 1, 20, 0, 0, 0));
	world_grant(&world, T0 + 2, 20, utc(2026, 1, 15, 0, 0, 0));
	world_grant(&world, T0 + 3, 30, utc(2026, 1, 20, 0, 0, 0));
	return acc;
}

static void
test_refund(void)
{
	CrAccount  *acc = three_grants();
	CrSpent		spent;

	world_purchase(&world, T0 + 4, 50);
	world_deduct(&world, T0 + 5, 170);
	is_int(world_refund(&world, T0 + 6, 0, 25), CR_OK, "a refund");
	row_is(&world, CR_KIND_REFUND, 25, B(0, 15, 10), NOTHING, PAIRS(4, 15),
		   "gives back the last spent first");
	ok(last_row()->has_ref_seq && last_row()->ref_seq == 6 &&
		   last_row()->forfeited == 0 && !last_row()->has_ends_at,
	   "its row names what it refunds");
	world_refund(&world, T0 + 7, 0, 30);
	row_is(&world, CR_KIND_REFUND, 30, B(0, 30, 0), NOTHING, PAIRS(4, 15, 2, 10, 3, 5),
		   "another goes on where it stopped");
	is_int(world_refund(&world, T0 + 8, 0, 116), CR_MORE_THAN_SPENT,
		   "not more than was spent");
	world_refund(&world, T0 + 9, 0, 0);
	row_is(&world, CR_KIND_REFUND, 115, B(100, 15, 0), NOTHING, PAIRS(3, 15),
		   "all that is left");
	is_int(world_refund(&world, T0 + 10, 0, 0), CR_MORE_THAN_SPENT, "then nothing is");
	balance_is(&world, 100, 60, 50, "everything is as it was");
	ok(grant_of(2)->left == 10 && grant_of(3)->left == 20 && grant_of(4)->left == 30,
	   "in each grant");

	/* in the next period, after the grants have ended */
	three_grants();
	world_purchase(&world, T0 + 4, 50);
	world_deduct(&world, T0 + 5, 170);
	world_refund(&world, FEB, 0, 0);
	row_is(&world, CR_KIND_REFUND, 170, B(0, 0, 10), NOTHING, NO_PAIRS,
		   "of an ended period and grants nothing comes back");
	is_int(last_row()->forfeited, 160, "it is forfeited");
	is_int(world_refund(&world, FEB + 1, 0, 1), CR_MORE_THAN_SPENT,
		   "and counts as refunded");
	three_grants();
	world_deduct(&world, T0 + 5, 160);
	world_refund(&world, FEB - 1, 0, 0);
	row_is(&world, CR_KIND_REFUND, 160, B(100, 0, 0), NOTHING, NO_PAIRS,
		   "in the period's last moment it does");

	/* one grant ended, another not */
	three_grants();
	world_deduct(&world, T0 + 4, 160);
	world_refund(&world, utc(2026, 1, 15, 0, 0, 0), 0, 50);
	row_is(&world, CR_KIND_REFUND, 50, B(0, 40, 0), NOTHING, PAIRS(4, 30, 2, 10),
		   "to the grants that are left");
	is_int(last_row()->forfeited, 10, "the part of the one that ended is forfeited");

	/* debts first */
	acc = fresh(0);
	world_run(&world, &(Command){.op = OP_SET_OVERDRAFT, .at = T0 + 1, .amount = 50});
	world_deduct(&world, T0 + 2, 130);
	is_int(acc->owed_purchased, 30, "30 are owed");
	world_refund(&world, T0 + 3, 0, 20);
	row_is(&world, CR_KIND_REFUND, 20, NOTHING, NOTHING, NO_PAIRS,
		   "a refund pays what is owed");
	is_int(acc->owed_purchased, 10, "which the shortfall was");
	acc->owed_monthly = 15;
	world_refund(&world, T0 + 4, 0, 0);
	row_is(&world, CR_KIND_REFUND, 110, B(85, 0, 0), NOTHING, NO_PAIRS,
		   "of monthly credits too");
	ok(acc->owed_monthly == 0 && acc->owed_purchased == 0, "all is paid");

	/* the cap, by any part */
	acc = fresh(0);
	world_deduct(&world, T0 + 1, 60);
	world_purchase(&world, T0 + 2, CR_MAX_CREDITS - 90);
	is_int(world_refund(&world, T0 + 3, 0, 51), CR_OVER_CAP, "a refund over the cap");
	is_int(world_refund(&world, T0 + 3, 0, 50), CR_OK, "and one up to it");
	three_grants();
	world_deduct(&world, T0 + 4, 160);
	world_purchase(&world, T0 + 5, CR_MAX_CREDITS - 10);
	is_int(world_refund(&world, T0 + 6, 0, 11), CR_OVER_CAP, "of a grant");
	ok(grant_of(4)->left == 0, "leaves the grant alone");
	fresh(0);
	world_purchase(&world, T0 + 1, 50);
	world_deduct(&world, T0 + 2, 150);
	world_purchase(&world, T0 + 3, CR_MAX_CREDITS - 10);
	is_int(world_refund(&world, T0 + 4, 0, 11), CR_OVER_CAP, "of purchased credits");

	/* an end that a clock ahead of time has brought is an end */
	three_grants();
	world_deduct(&world, T0 + 4, 105);
	world_fold(&world, utc(2026, 1, 15, 0, 0, 0));
	world_run(&world, &(Command){.op = OP_REPAIR_CLOCK, .at = T0 + DAY});
	world_refund(&world, T0 + DAY, 0, 0);
	row_is(&world, CR_KIND_REFUND, 105, B(100, 0, 0), NOTHING, NO_PAIRS,
		   "to a grant that had ended before the clock went back: nothing");
	is_int(last_row()->forfeited, 5, "that is forfeited");

	fresh(0);
	world_deduct(&world, T0 + 1, 60);
	world_run(&world, &(Command){.op = OP_FREEZE, .at = T0 + 2});
	is_int(world_refund(&world, T0 + 3, 0, 50), CR_OK, "to a frozen account");

	/* a capture: its parts, as they were spent */
	three_grants();
	world_purchase(&world, T0 + 4, 50);
	world_hold(&world, T0 + 5, 110, T0 + HOUR);
	world_capture(&world, T0 + 6, 0, 185, false);
	world_refund(&world, T0 + 7, 0, 80);
	row_is(&world, CR_KIND_REFUND, 80, B(0, 55, 25), NOTHING,
		   PAIRS(4, 30, 2, 10, 3, 10, 3, 5), "a capture is refunded backwards too");
	world_refund(&world, T0 + 8, 0, 0);
	row_is(&world, CR_KIND_REFUND, 105, B(100, 5, 0), NOTHING, PAIRS(3, 5),
		   "to the period");

	fresh(0);
	world_hold(&world, T0 + 1, 80, utc(2026, 2, 5, 0, 0, 0));
	world_capture(&world, FEB + 1, 0, 90, false);
	world_refund(&world, FEB + 2, 0, 30);
	row_is(&world, CR_KIND_REFUND, 30, B(10, 0, 0), NOTHING, NO_PAIRS,
		   "of a capture: what came from the closed period");
	is_int(last_row()->forfeited, 20, "is forfeited");

	memset(&spent, 0x5A, sizeof(spent));
	ok(cr_spent(&spent, last_row() - 1) && spent.refunded == 0 && spent.amount == 90,
	   "what a row spent says nothing of its refunds");
	ok(!world_spent(&world, 1, 0, &(CrSpent){0}) &&
		   !world_spent(&world, 2, 0, &(CrSpent){0}),
	   "an opening row or a hold spent nothing");
}

static void
test_revoke(void)
{
	CrAccount  *acc = fresh(0);

	world_purchase(&world, T0 + 1, 50);
	world_revoke(&world, T0 + 2, 0, 20);
	row_is(&world, CR_KIND_REVOKE, 20, B(0, 0, -20), NOTHING, NO_PAIRS, "a chargeback");
	ok(last_row()->has_ref_seq && last_row()->ref_seq == 2 && !last_row()->has_ends_at,
	   "its row names the purchase");
	world_deduct(&world, T0 + 3, 115);
	world_revoke(&world, T0 + 4, 0, 0);
	row_is(&world, CR_KIND_REVOKE, 30, B(0, 0, -15), NOTHING, NO_PAIRS,
		   "takes what is there");
	is_int(acc->owed_purchased, 15, "and the rest is owed");
	world_purchase(&world, T0 + 5, 10);
	ok(acc->owed_purchased == 5 && acc->balance.purchased == 0, "a purchase pays it");
	world_refund(&world, T0 + 6, 0, 8);
	ok(acc->owed_purchased == 0 && acc->balance.purchased == 3, "and a refund");

	acc = fresh(0);
	world_purchase(&world, T0 + 1, 50);
	world_hold(&world, T0 + 2, 140, T0 + HOUR);
	world_revoke(&world, T0 + 3, 0, 0);
	row_is(&world, CR_KIND_REVOKE, 50, B(0, 0, -10), B(100, 0, 40), NO_PAIRS,
		   "held credits are left alone");
	is_int(acc->owed_purchased, 40, "they are owed");
	world_fold(&world, T0 + HOUR);
	row_is(&world, CR_KIND_HOLD_END, 140, B(100, 0, 0), NOTHING, NO_PAIRS,
		   "and pay it when they return");
	ok(acc->owed_purchased == 0 && last_row()->expired == 0, "in full");

	fresh(0);
	world_purchase(&world, T0 + 1, 50);
	world_grant(&world, T0 + 2, 5, APR);
	world_run(&world, &(Command){.op = OP_FREEZE, .at = T0 + 2});
	world_revoke(&world, T0 + 3, 0, 0);
	balance_is(&world, 100, 5, 0, "a frozen account's purchase too; other buckets never");

	acc = fresh(0);
	acc->owed_purchased = CR_MAX_CREDITS - 10;
	ok(cr_revoke(acc, T0, 11, 2, &(CrRow){0}) == CR_OVER_CAP &&
		   acc->owed_purchased == CR_MAX_CREDITS - 10,
	   "a debt over the cap is refused");
	ok(cr_revoke(acc, T0, 10, 2, &(CrRow){0}) == CR_OK, "one up to it is not");
}

static void
test_settings(void)
{
	CrAccount  *acc = fresh(0);
	CrTime		mid = utc(2026, 2, 15, 0, 0, 0);

	world_run(&world, &(Command){.op = OP_SET_OVERDRAFT, .at = T0 + 1, .amount = 30});
	row_is(&world, CR_KIND_SET_OVERDRAFT, 0, NOTHING, NOTHING, NO_PAIRS,
		   "an overdraft limit");
	ok(last_row()->has_facts && last_row()->facts.overdraft_limit == 30,
	   "is among the facts");
	world_deduct(&world, T0 + 2, 120);
	row_is(&world, CR_KIND_DEDUCT, 120, B(-100, 0, 0), NOTHING, NO_PAIRS,
		   "a deduction may owe");
	is_int(world_deduct(&world, T0 + 3, 11), CR_INSUFFICIENT, "up to the limit");
	world_run(&world, &(Command){.op = OP_SET_OVERDRAFT, .at = T0 + 4, .amount = 10});
	ok(acc->owed_purchased == 20 && world.broken == NULL,
	   "a lower limit asks nothing back");
	is_int(world_deduct(&world, T0 + 5, 1), CR_INSUFFICIENT, "but allows no more");
	world_run(&world, &(Command){.op = OP_SET_OVERDRAFT, .at = T0 + 5, .amount = 10});
	ok(!last_row()->has_facts, "the same limit again changes no fact");
	world_grant(&world, T0 + 6, 5, APR);
	is_int(world_deduct(&world, T0 + 7, 5), CR_OK, "what is there can be spent in debt");

	/* another anchor or zone: never two allowances */
	acc = fresh(0);
	world_run(
		&world,
		&(Command){.op = OP_SET_CYCLE, .at = T0 + 1, .anchor = T0 + DAY, .zone = "UTC"});
	row_is(&world, CR_KIND_SET_CYCLE, 0, NOTHING, NOTHING, NO_PAIRS, "another anchor");
	ok(acc->next_reset_at == FEB && acc->facts.cycle_anchor == T0 + DAY,
	   "of a calendar plan: same end");
	world_run(&world, &(Command){.op = OP_SET_CYCLE,
								 .at = T0 + 2,
								 .anchor = T0 + DAY,
								 .zone = "Europe/Berlin"});
	is_time(acc->next_reset_at, MAR - HOUR,
			"an earlier midnight: the one after the old end");
	ok(same_text(acc->facts.time_zone, "Europe/Berlin") && acc->period_start == T0,
	   "in the same period");

	acc = fresh(0);
	world_plan(&world, "yearday", utc(2020, 1, 1, 0, 0, 0), 100, CR_ANNIVERSARY, 0);
	world_set_plan(&world, T0 + 1, "yearday");
	is_time(acc->next_reset_at, utc(2026, 2, 10, 12, 0, 0), "an anniversary");
	world_run(&world,
			  &(Command){.op = OP_SET_CYCLE, .at = T0 + 2, .anchor = mid, .zone = "UTC"});
	is_time(acc->next_reset_at, mid, "another day: the period is stretched");
	world_run(&world,
			  &(Command){.op = OP_SET_CYCLE, .at = T0 + 3, .anchor = mid, .zone = "UTC"});
	ok(acc->next_reset_at == mid && !last_row()->has_facts,
	   "the same again: nothing changes");
	world_run(&world,
			  &(Command){.op = OP_SET_CYCLE, .at = T0 + 3, .anchor = T0, .zone = "UTC"});
	is_time(acc->next_reset_at, utc(2026, 3, 10, 12, 0, 0),
			"an earlier day: the next month's");

	fresh(0);
	world_set_plan(&world, T0 + 1, NULL);
	world_run(&world,
			  &(Command){
				  .op = OP_SET_CYCLE, .at = T0 + 2, .anchor = mid, .zone = "Asia/Tokyo"});
	is_time(world.acc.next_reset_at, utc(2026, 2, 14, 15, 0, 0),
			"the period of a cancelled plan is stretched to the anchor's day");
	ok(world.broken == NULL, "none of this breaks anything");
}

static bool
spent_fits(int seq, void (*damage) (CrRow *row))
{
	CrRow		row = world.rows[seq - 1];

	damage(&row);
	return cr_spent_fits(&row);
}

static void as_it_is(CrRow *row) { (void) row; }
static void more(CrRow *row) { row->amount++; }
static void less(CrRow *row) { row->amount--; }
static void nothing(CrRow *row) { row->amount = 0; }
static void negative(CrRow *row) { row->amount = -5; }
static void too_much(CrRow *row) { row->amount = INT64_MAX; }
static void gave(CrRow *row) { row->delta.monthly = 7; row->delta.purchased -= 107; }
static void granted(CrRow *row) { row->delta.granted--; row->amount++; }
static void least(CrRow *row) { row->delta.purchased = INT64_MIN; }

static void
odd_parts(CrRow *row)
{
	static const CrPart parts[] = {{2, 20}, {3, -10}};

	row->allocations = parts;
	row->n_allocations = 2;
}

/* Rows that nobody could have written are none to give back by. */
static void
test_damaged(void)
{
	void		(*const damages[]) (CrRow *row) = {more, less, nothing, negative, too_much, odd_parts};
	CrHold		hold = {.amount = 10,.monthly = 4,.purchased = 6};
	CrPart		parts[] = {{2, 1}, {3, -1}};
	CrRow		row;

	fresh(0);
	world_grant(&world, T0 + 1, 10, utc(2026, 1, 20, 0, 0, 0));
	world_purchase(&world, T0 + 2, 50);
	world_deduct(&world, T0 + 3, 115);
	world_hold(&world, T0 + 4, 20, utc(2026, 1, 15, 0, 0, 0));
	world_capture(&world, T0 + 5, 0, 30, false);
	ok(spent_fits(4, as_it_is) && spent_fits(6, as_it_is), "rows as they were written fit");
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++)
	{
		ok(!spent_fits(4, damages[i]), "a deduction damaged in way %zu", i);
		ok(!spent_fits(6, damages[i]), "a capture damaged in way %zu", i);
	}
	ok(!spent_fits(4, gave) && !spent_fits(4, granted) && !spent_fits(4, least),
	   "a deduction with other deltas");

	ok(cr_hold_fits(&hold), "a hold with all that was set aside");
	hold.monthly = 5;
	ok(!cr_hold_fits(&hold), "with more");
	hold.monthly = -1;
	ok(!cr_hold_fits(&hold), "with less than nothing");
	hold.monthly = 3;
	hold.parts = parts;
	hold.n_parts = 1;
	ok(cr_hold_fits(&hold), "with a grant's part");
	hold.n_parts = 2;
	ok(!cr_hold_fits(&hold), "with a part of less than nothing");
	hold = (CrHold){.amount = INT64_MAX,.monthly = 5,.purchased = INT64_MAX - 4};
	ok(!cr_hold_fits(&hold), "with a sum that there is no room for");

	fresh(0);
	world_fold(&world, FEB);
	row = *last_row();
	ok(cr_undone_fits(&row), "a reset as it was written fits");
	row.amount++;
	ok(!cr_undone_fits(&row), "one that gave more does not");
	row.amount = INT64_MIN;
	row.expired = INT64_MAX;
	ok(!cr_undone_fits(&row), "nor one with numbers out of range");
	row = (CrRow){.kind = CR_KIND_SET_PLAN, .amount = 50};
	row.delta.monthly = 30;
	ok(cr_undone_fits(&row), "a change of plan that paid what was owed");
	row.delta.monthly = 51;
	ok(!cr_undone_fits(&row), "that gave more than its amount");
	row = (CrRow){.kind = CR_KIND_SET_PLAN, .amount = -50};
	row.delta.monthly = -40;
	ok(!cr_undone_fits(&row), "that took less than its amount");
	row = (CrRow){.kind = CR_KIND_GRANT, .amount = 50};
	ok(!cr_undone_fits(&row), "a grant that gave nothing");
	row = (CrRow){.kind = CR_KIND_IMPORT, .amount = 50};
	row.delta.monthly = 20;
	row.delta.purchased = 30;
	ok(cr_undone_fits(&row), "an import");
	row.delta.purchased = 31;
	ok(!cr_undone_fits(&row), "that brought more than its amount");
}

void
test_refunds(void)
{
	test_refund();
	test_damaged();
	test_revoke();
	test_settings();
}
