/*
 * refund_test.c
 *		Refunds, chargebacks, what wins them back, and overdraft limits, one by one.
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

	/* over a boundary: as if it had been free there */
	acc = fresh(60);
	world_deduct(&world, T0 + 1, 90);
	world_refund(&world, FEB + 1, 0, 30);
	row_is(&world, CR_KIND_REFUND, 30, B(30, 0, 0), NOTHING, NO_PAIRS,
		   "of the last period with rollover: carried");
	ok(acc->facts.last_left == 40 && last_row()->has_facts, "10 were left before");
	world_refund(&world, FEB + 2, 0, 0);
	row_is(&world, CR_KIND_REFUND, 60, B(20, 0, 0), NOTHING, NO_PAIRS, "up to the limit");
	ok(acc->facts.last_left == 100 && last_row()->forfeited == 40, "the rest is forfeited");
	fresh(60);
	world_hold(&world, T0 + 1, 80, utc(2026, 2, 5, 0, 0, 0));
	world_capture(&world, FEB + 1, 0, 90, false);
	world_refund(&world, FEB + 2, 0, 0);
	row_is(&world, CR_KIND_REFUND, 90, B(50, 0, 0), NOTHING, NO_PAIRS,
		   "of a capture: 10 of this period, and 40 to the limit of the last one");
	is_int(last_row()->forfeited, 40, "20 had rolled over");
	fresh(60);
	world_hold(&world, T0 + 1, 80, utc(2026, 2, 5, 0, 0, 0));
	world_capture(&world, FEB + 1, 0, 80, false);
	world_refund(&world, MAR + 1, 0, 0);
	is_int(last_row()->forfeited, 80, "after the next boundary nothing is carried");
}

static void
test_revoke(void)
{
	CrAccount  *acc = fresh(0);

	world_purchase(&world, T0 + 1, 50);
	world_revoke(&world, T0 + 2, 0, 20);
	row_is(&world, CR_KIND_REVOKE, 20, B(0, 0, -20), NOTHING, PAIRS(-1, 20), "a chargeback");
	ok(last_row()->has_ref_seq && last_row()->ref_seq == 2 && !last_row()->has_ends_at,
	   "its row names the purchase");
	world_deduct(&world, T0 + 3, 115);
	world_revoke(&world, T0 + 4, 0, 0);
	row_is(&world, CR_KIND_REVOKE, 30, B(0, 0, -15), NOTHING, PAIRS(-1, 15, -5, 15),
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
	row_is(&world, CR_KIND_REVOKE, 50, B(0, 0, -10), B(100, 0, 40), PAIRS(-1, 10, -5, 40),
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
	ok(cr_revoke(acc, T0, 11, &(CrPaid){.seq = 2, .amount = 50}, 0, &(CrRow){0}) ==
			   CR_OVER_CAP &&
		   acc->owed_purchased == CR_MAX_CREDITS - 10,
	   "a debt over the cap is refused");
	ok(cr_revoke(acc, T0, 10, &(CrPaid){.seq = 2, .amount = 50}, 0, &(CrRow){0}) == CR_OK,
	   "one up to it is not");
}

/* total: what is revoked in all.  It is reported twice, late and in any order. */
static void
test_total(void)
{
	static const int64_t orders[][4] = {{20, 20, 50, 50}, {50, 50, 20, 20}, {20, 50, 20, 50},
	{50, 20, 50, 20}};
	CrAccount  *acc;
	int			wrong = 0;

	for (int i = 0; i < lengthof(orders); i++)
	{
		acc = fresh(0);
		world_purchase(&world, T0 + 1, 60);
		for (int k = 0; k < 4; k++)
			world_run(&world, &(Command){.op = OP_REVOKE, .at = T0 + 2, .total = orders[i][k]});
		if (acc->balance.purchased != 10 || world.broken)
			wrong++;
	}
	is_int(wrong, 0, "two partial refunds, reported twice and in any order: 50 are taken");

	fresh(0);
	world_purchase(&world, T0 + 1, 60);
	world_run(&world, &(Command){.op = OP_REVOKE, .at = T0 + 2, .total = 20});
	row_is(&world, CR_KIND_REVOKE, 20, B(0, 0, -20), NOTHING, PAIRS(-1, 20, -9, 20),
		   "the row notes the total");
	world_revoke(&world, T0 + 3, 0, 35);
	world_run(&world, &(Command){.op = OP_REVOKE, .at = T0 + 4, .total = 40});
	row_is(&world, CR_KIND_REVOKE, 5, B(0, 0, -5), NOTHING, PAIRS(-1, 5, -9, 40),
		   "an amount does not change the total, but nothing is revoked twice");
	world_run(&world, &(Command){.op = OP_REVOKE, .at = T0 + 5, .total = 50});
	row_is(&world, CR_KIND_REVOKE, 0, NOTHING, NOTHING, PAIRS(-9, 50),
		   "all is revoked: the total alone is noted");
	is_int(world_run(&world, &(Command){.op = OP_REINSTATE, .at = T0 + 6, .amount = 30}), CR_OK,
		   "a reinstatement");
	is_int(world_run(&world, &(Command){.op = OP_REVOKE, .at = T0 + 7, .total = 50}),
		   CR_MORE_THAN_SPENT, "does not change the total either");
	world_run(&world, &(Command){.op = OP_REVOKE, .at = T0 + 8, .total = 60});
	row_is(&world, CR_KIND_REVOKE, 10, B(0, 0, -10), NOTHING, PAIRS(-1, 10, -9, 60),
		   "10 more are 10 more");
}

/* A grant that is paid for: row 2, of 40, until FEB. */
static CrAccount *
paid_grant(void)
{
	CrAccount  *acc = fresh(0);

	world_run(&world, &(Command){.op = OP_GRANT,
								 .at = T0 + 1,
								 .amount = 40,
								 .ends_at = FEB,
								 .paid = true});
	return acc;
}

static CrVerdict
reinstate(CrTime at, int target, int64_t amount)
{
	return world_run(
		&world, &(Command){.op = OP_REINSTATE, .at = at, .target = target, .amount = amount});
}

static void
test_paid_grant(void)
{
	CrAccount  *acc = paid_grant();

	world_revoke(&world, T0 + 2, 0, 15);
	row_is(&world, CR_KIND_REVOKE, 15, B(0, -15, 0), NOTHING, PAIRS(2, 15),
		   "a paid grant is revoked: of what is left of it");
	is_int(world_revoke(&world, T0 + 2, 0, 26), CR_MORE_THAN_SPENT, "not more than was paid for");
	world_deduct(&world, T0 + 3, 110);
	world_purchase(&world, T0 + 4, 8);
	world_revoke(&world, T0 + 5, 0, 0);
	row_is(&world, CR_KIND_REVOKE, 25, B(0, -15, -8), NOTHING, PAIRS(2, 15, -1, 8, -5, 2),
		   "then purchased credits, and the rest is owed");
	ok(acc->owed_purchased == 2 && grant_of(2)->elsewhere == 10, "10 were taken elsewhere");
	world_refund(&world, T0 + 6, 0, 6);
	row_is(&world, CR_KIND_REFUND, 6, B(0, 0, 4), NOTHING, NO_PAIRS,
		   "what returns to it gives that back: owed first, then purchased");
	ok(acc->owed_purchased == 0 && grant_of(2)->elsewhere == 4 && last_row()->forfeited == 0,
	   "as far as it goes");
	world_refund(&world, T0 + 7, 0, 0);
	row_is(&world, CR_KIND_REFUND, 104, B(100, 0, 4), NOTHING, NO_PAIRS,
		   "nothing is left for the grant itself");
	balance_is(&world, 100, 0, 8, "in the end only what was paid for and revoked is gone");

	/* more returns than was taken elsewhere */
	acc = paid_grant();
	world_deduct(&world, T0 + 2, 130);
	world_revoke(&world, T0 + 3, 0, 15);
	row_is(&world, CR_KIND_REVOKE, 15, B(0, -10, 0), NOTHING, PAIRS(2, 10, -5, 5), "10 were left");
	world_refund(&world, T0 + 4, 0, 30);
	row_is(&world, CR_KIND_REFUND, 30, B(0, 25, 0), NOTHING, PAIRS(2, 25),
		   "5 pay the debt, 25 go back to the grant");
	is_int(acc->owed_purchased, 0, "which it was");

	/* what ended unused covers its chargeback */
	acc = paid_grant();
	world_purchase(&world, T0 + 2, 50);
	world_deduct(&world, T0 + 3, 110);
	world_fold(&world, FEB);
	ok(grant_of(2)->expired == 30 && acc->balance.granted == 0, "30 of 40 ended unused");
	world_revoke(&world, FEB + 1, 0, 0);
	row_is(&world, CR_KIND_REVOKE, 40, B(0, 0, -10), NOTHING, PAIRS(-7, 30, -1, 10),
		   "30 of the chargeback are covered");
	ok(grant_of(2)->expired == 0 && grant_of(2)->elsewhere == 10, "once");
	world_refund(&world, FEB + 2, 0, 10);
	row_is(&world, CR_KIND_REFUND, 10, B(0, 0, 10), NOTHING, NO_PAIRS,
		   "a refund of its part gives back what was taken elsewhere");
	paid_grant();
	world_deduct(&world, T0 + 3, 110);
	world_refund(&world, FEB + 1, 0, 10);
	is_int(grant_of(2)->expired, 40, "what comes back after its end has ended, too");
	world_revoke(&world, FEB + 2, 0, 0);
	row_is(&world, CR_KIND_REVOKE, 40, NOTHING, NOTHING, PAIRS(-7, 40), "and covers it");

	/* a late capture uses what ended */
	acc = paid_grant();
	world_deduct(&world, T0 + 2, 100);
	world_hold(&world, T0 + 3, 30, FEB + HOUR);
	world_fold(&world, FEB + HOUR);
	is_int(grant_of(2)->expired, 40, "10 were left and 30 held when it ended");
	world_capture(&world, FEB + DAY, 0, 20, false);
	row_is(&world, CR_KIND_CAPTURE, 20, NOTHING, NOTHING, PAIRS(-4, 20),
		   "captured late: of what expired");
	is_int(grant_of(2)->expired, 20, "that was used then");
	world_revoke(&world, FEB + 2 * DAY, 0, 0);
	row_is(&world, CR_KIND_REVOKE, 40, B(0, 0, 0), NOTHING, PAIRS(-7, 20, -5, 20),
		   "so a chargeback costs 20");

	/* other grants are not paid */
	fresh(0);
	world_grant(&world, T0 + 1, 40, FEB);
	world_fold(&world, FEB);
	is_int(grant_of(2)->expired, 0, "what expires of a gift covers nothing");
}

static void
test_reinstate(void)
{
	CrAccount  *acc = fresh(0);

	world_purchase(&world, T0 + 1, 50);
	is_int(reinstate(T0 + 2, 0, 1), CR_MORE_THAN_REVOKED, "nothing was revoked");
	world_deduct(&world, T0 + 3, 130);
	world_revoke(&world, T0 + 4, 0, 0);
	is_int(acc->owed_purchased, 30, "30 of the chargeback are owed");
	is_int(reinstate(T0 + 5, 0, 51), CR_MORE_THAN_REVOKED, "not more than was revoked");
	reinstate(T0 + 6, 0, 0);
	row_is(&world, CR_KIND_REINSTATE, 50, B(0, 0, 20), NOTHING, PAIRS(-1, 50),
		   "won back: the debt first");
	ok(acc->owed_purchased == 0 && last_row()->ref_seq == 2, "then what was taken");
	is_int(reinstate(T0 + 7, 0, 1), CR_MORE_THAN_REVOKED, "once");
	world_revoke(&world, T0 + 8, 0, 0);
	row_is(&world, CR_KIND_REVOKE, 50, B(0, 0, -20), NOTHING, PAIRS(-1, 20, -5, 30),
		   "and it can be revoked again");

	/* to a grant: last taken first */
	acc = paid_grant();
	world_purchase(&world, T0 + 2, 5);
	world_deduct(&world, T0 + 3, 110);
	world_revoke(&world, T0 + 4, 0, 0);
	row_is(&world, CR_KIND_REVOKE, 40, B(0, -30, -5), NOTHING, PAIRS(2, 30, -1, 5, -5, 5),
		   "a paid grant of which 10 were spent");
	reinstate(T0 + 5, 0, 8);
	row_is(&world, CR_KIND_REINSTATE, 8, B(0, 0, 3), NOTHING, PAIRS(-1, 8),
		   "what was taken elsewhere comes back first");
	reinstate(T0 + 6, 0, 0);
	row_is(&world, CR_KIND_REINSTATE, 32, B(0, 30, 2), NOTHING, PAIRS(-1, 2, 2, 30),
		   "then what the grant had");
	ok(grant_of(2)->left == 30 && grant_of(2)->elsewhere == 0, "it has it again");

	/* the grant has ended */
	acc = paid_grant();
	world_deduct(&world, T0 + 3, 110);
	world_revoke(&world, T0 + 4, 0, 0);
	reinstate(FEB + 1, 0, 0);
	row_is(&world, CR_KIND_REINSTATE, 40, NOTHING, NOTHING, PAIRS(-1, 10, 2, 30),
		   "after its end the grant's part");
	ok(last_row()->forfeited == 30 && grant_of(2)->expired == 30 && acc->owed_purchased == 0,
	   "is forfeited, and covers the next chargeback");
	world_revoke(&world, FEB + 2, 0, 0);
	row_is(&world, CR_KIND_REVOKE, 40, NOTHING, NOTHING, PAIRS(-7, 30, -5, 10), "as it was before");

	/* the cap, and a frozen account */
	fresh(0);
	world_purchase(&world, T0 + 1, 50);
	world_revoke(&world, T0 + 2, 0, 0);
	world_purchase(&world, T0 + 3, CR_MAX_CREDITS - 120);
	is_int(reinstate(T0 + 4, 0, 21), CR_OVER_CAP, "past the cap");
	world_run(&world, &(Command){.op = OP_FREEZE, .at = T0 + 5});
	is_int(reinstate(T0 + 6, 0, 20), CR_OK, "up to it, also to a frozen account");
	fresh(0);
	world_purchase(&world, T0 + 1, 50);
	world_deduct(&world, T0 + 2, 150);
	world_revoke(&world, T0 + 3, 0, 0);
	world_run(&world, &(Command){.op = OP_ADJUST,
								 .at = T0 + 4,
								 .bucket = CR_MONTHLY,
								 .amount = CR_MAX_CREDITS - 10});
	is_int(reinstate(T0 + 5, 0, 50), CR_OK, "what pays a debt needs no room");

	/* revoked after a closing: it was not lost by that, so it comes back, and needs room */
	fresh(0);
	world_purchase(&world, T0 + 1, 50);
	world_deduct(&world, T0 + 2, 150);
	world_run(&world, &(Command){.op = OP_CLOSE, .at = T0 + 3});
	world_run(&world, &(Command){.op = OP_UNFREEZE, .at = T0 + 4});
	world_purchase(&world, T0 + 5, 60);
	world_revoke(&world, T0 + 6, 0, 0);
	reinstate(T0 + 7, 0, 5);
	row_is(&world, CR_KIND_REINSTATE, 5, B(0, 0, 5), NOTHING, PAIRS(-1, 5),
		   "an older payment, revoked after a closing");
	world_purchase(&world, T0 + 8, CR_MAX_CREDITS - 15);
	is_int(reinstate(T0 + 9, 0, 0), CR_OVER_CAP, "past the cap it does not");
}

static void
test_settings(void)
{
	CrAccount  *acc = fresh(0);

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
	ok(cr_undone_fits(&row), "that took less than its amount: the rest is remembered");
	row.delta.monthly = -51;
	ok(!cr_undone_fits(&row), "that took more");
	row = (CrRow){.kind = CR_KIND_GRANT, .amount = 50};
	ok(!cr_undone_fits(&row), "a grant that gave nothing");
	row = (CrRow){.kind = CR_KIND_IMPORT, .amount = 50, .has_facts = true};
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
	test_total();
	test_paid_grant();
	test_reinstate();
	test_settings();
}
