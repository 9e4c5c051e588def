/*
 * lots_test.c
 *		Grants, holds, captures and releases, one by one: what each takes and gives
 *		back, in which order, and what its row says.
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

static CrHold *
nth_hold(int n)
{
	return &world.acc.lots->holds[n];
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
test_grant(void)
{
	CrAccount  *acc = fresh(0);
	CrTime		end = utc(2026, 1, 20, 0, 0, 0);

	is_int(world_grant(&world, T0 + 1, 10, end), CR_OK, "a grant");
	row_is(&world, CR_KIND_GRANT, 10, B(0, 10, 0), NOTHING, NO_PAIRS, "its row");
	ok(last_row()->has_ends_at && last_row()->ends_at == end &&
		   !last_row()->has_ref_seq && !last_row()->has_facts,
	   "with its end and nothing else");
	is_time(acc->next_event_at, end, "is the next event");
	world_grant(&world, T0 + 2, 5, APR);
	is_time(acc->next_event_at, end, "a later one is not");
	is_int(world_grant(&world, T0 + 3, 5, T0 + 3), CR_ENDS_TOO_SOON,
		   "an end now is too soon");
	is_int(world_grant(&world, T0 + 3, 5, T0 + 2), CR_ENDS_TOO_SOON, "so is one before");
	is_int(world_grant(&world, T0 + 3, 5, T0 + 4), CR_OK, "a microsecond is enough");
	is_int(world_grant(&world, T0 + 3, CR_MAX_CREDITS - 119, APR), CR_OVER_CAP,
		   "one over the cap");
	is_int(world_grant(&world, T0 + 3, CR_MAX_CREDITS - 120, APR), CR_OK,
		   "up to the cap");
	world_run(&world, &(Command){.op = OP_FREEZE, .at = T0 + 4});
	is_int(world_deduct(&world, T0 + 5, 3), CR_IS_FROZEN, "frozen");
	ok(world.rows[world.n_rows - 1].kind == CR_KIND_FREEZE &&
		   world.rows[world.n_rows - 2].kind == CR_KIND_GRANT_END,
	   "a refused command leaves no row but its events'");

	fresh(0);
	world_run(&world, &(Command){.op = OP_FREEZE, .at = T0 + 1});
	is_int(world_grant(&world, T0 + 2, 5, APR), CR_OK,
		   "a frozen account can be given credits");

	/* granted credits owe nothing and pay nothing */
	acc = fresh(0);
	acc->owed_monthly = 7;
	acc->owed_purchased = 9;
	acc->balance = NOTHING;
	world_grant(&world, T0 + 1, 10, APR);
	ok(acc->balance.granted == 10 && acc->owed_monthly == 7 && acc->owed_purchased == 9,
	   "a grant pays no other bucket's debt");
}

static void
test_burning(void)
{
	three_grants();
	world_deduct(&world, T0 + 4, 99);
	row_is(&world, CR_KIND_DEDUCT, 99, B(-99, 0, 0), NOTHING, NO_PAIRS,
		   "monthly credits go first");
	world_deduct(&world, T0 + 5, 6);
	row_is(&world, CR_KIND_DEDUCT, 6, B(-1, -5, 0), NOTHING, PAIRS(3, 5),
		   "then the grant that ends first");
	world_deduct(&world, T0 + 6, 30);
	row_is(&world, CR_KIND_DEDUCT, 30, B(0, -30, 0), NOTHING, PAIRS(3, 15, 2, 10, 4, 5),
		   "then, of two with one end, the older");
	world_purchase(&world, T0 + 7, 50);
	world_deduct(&world, T0 + 8, 35);
	row_is(&world, CR_KIND_DEDUCT, 35, B(0, -25, -10), NOTHING, PAIRS(4, 25),
		   "purchased ones are the last");
	is_int(world_deduct(&world, T0 + 9, 41), CR_INSUFFICIENT, "not more than there is");

	three_grants();
	world_run(
		&world,
		&(Command){.op = OP_ADJUST, .at = T0 + 4, .bucket = CR_GRANTED, .amount = -25});
	row_is(&world, CR_KIND_ADJUST, -25, B(0, -25, 0), NOTHING, PAIRS(3, 20, 2, 5),
		   "a correction of granted credits takes in the same order");
	is_int(world_run(&world, &(Command){.op = OP_ADJUST,
										.at = T0 + 5,
										.bucket = CR_GRANTED,
										.amount = -36}),
		   CR_INSUFFICIENT, "not more than there is");
	is_int(
		world_run(
			&world,
			&(Command){.op = OP_ADJUST, .at = T0 + 5, .bucket = CR_GRANTED, .amount = 1}),
		CR_GRANT_UPWARDS, "and never upwards");
	balance_is(&world, 100, 35, 0, "which leaves everything else");

	/* grants come in any order, and many of them */
	fresh(0);
	for (int i = 0; i < 12; i++)
		world_grant(&world, T0 + i, 1, MAR + (i * 7 % 12) * DAY);
	world_deduct(&world, T0 + 20, 112);
	row_is(
		&world, CR_KIND_DEDUCT, 112, B(-100, -12, 0), NOTHING,
		PAIRS(2, 1, 9, 1, 4, 1, 11, 1, 6, 1, 13, 1, 8, 1, 3, 1, 10, 1, 5, 1, 12, 1, 7, 1),
		"twelve grants burn by their ends");
}

static void
test_grant_end(void)
{
	CrAccount  *acc = three_grants();
	CrTime		jan15 = utc(2026, 1, 15, 0, 0, 0);
	CrTime		jan20 = utc(2026, 1, 20, 0, 0, 0);
	int			n = world.n_rows;

	world_deduct(&world, T0 + 4, 105);
	is_int(world_fold(&world, jan15 - 1), 0, "a grant is there to the last microsecond");
	is_int(world_fold(&world, jan15), 1, "and gone at its end");
	row_is(&world, CR_KIND_GRANT_END, 15, B(0, -15, 0), NOTHING, NO_PAIRS,
		   "what was left of it");
	ok(last_row()->has_ref_seq && last_row()->ref_seq == 3 && last_row()->expired == 15 &&
		   last_row()->effective_at == jan15 && !last_row()->has_ends_at,
	   "its row names it");
	is_time(acc->next_event_at, jan20, "the next two are next");
	is_int(world_fold(&world, FEB), 3, "they end, then the period");
	n = world.n_rows;
	ok(world.rows[n - 3].kind == CR_KIND_GRANT_END && world.rows[n - 3].ref_seq == 2 &&
		   world.rows[n - 2].kind == CR_KIND_GRANT_END &&
		   world.rows[n - 2].ref_seq == 4 && world.rows[n - 1].kind == CR_KIND_RESET,
	   "the older of the two first");
	balance_is(&world, 100, 0, 0, "nothing is left of them");

	three_grants();
	world_deduct(&world, T0 + 4, 120);
	is_int(world_fold(&world, jan15), 0,
		   "a grant of which nothing is left ends without a row");
	is_int(world_refund(&world, jan15, 0, 0), CR_OK, "and then takes nothing back");
	row_is(&world, CR_KIND_REFUND, 120, B(100, 0, 0), NOTHING, NO_PAIRS,
		   "which is forfeited");
	is_int(last_row()->forfeited, 20, "all of it");

	/* what is held does not end with the grant */
	three_grants();
	world_deduct(&world, T0 + 4, 100);
	world_hold(&world, T0 + 5, 12, jan20);
	is_int(world_fold(&world, jan15), 1, "a grant of which a part is held");
	row_is(&world, CR_KIND_GRANT_END, 8, B(0, -8, 0), B(0, 12, 0), NO_PAIRS,
		   "the rest of it goes");
	world_release(&world, jan15 + 1, 0);
	row_is(&world, CR_KIND_RELEASE, 12, NOTHING, NOTHING, NO_PAIRS,
		   "what was held goes when it returns");
	is_int(last_row()->expired, 12, "as expired");
}

static void
test_ties(void)
{
	CrAccount  *acc = fresh(50);
	int			first;

	/* two holds, two grants, a plan change and a boundary, all at one instant */
	world_plan(&world, "pro", utc(2020, 1, 1, 0, 0, 0), 300, CR_CALENDAR, 10);
	world_grant(&world, T0 + 1, 40, FEB);
	world_hold(&world, T0 + 2, 60, FEB);
	world_hold(&world, T0 + 3, 70, FEB);
	world_grant(&world, T0 + 4, 9, FEB);
	world_schedule(&world, T0 + 5, "pro");
	first = world.n_rows;
	is_int(world_fold(&world, FEB - 1), 0, "nothing before");
	is_int(world_fold(&world, FEB), 6, "six events at one instant");
	ok(world.rows[first].kind == CR_KIND_HOLD_END && world.rows[first].ref_seq == 3 &&
		   world.rows[first + 1].kind == CR_KIND_HOLD_END &&
		   world.rows[first + 1].ref_seq == 4 &&
		   world.rows[first + 2].kind == CR_KIND_GRANT_END &&
		   world.rows[first + 2].ref_seq == 2 &&
		   world.rows[first + 3].kind == CR_KIND_GRANT_END &&
		   world.rows[first + 3].ref_seq == 5 &&
		   world.rows[first + 4].kind == CR_KIND_PLAN_CHANGE &&
		   world.rows[first + 5].kind == CR_KIND_RESET,
	   "holds, grants, the plan, the period; each in the order opened");
	ok(world.rows[first].expired == 0 && world.rows[first + 1].expired == 0 &&
		   world.rows[first + 2].expired == 40 && world.rows[first + 3].expired == 9,
	   "what the holds give back reaches its grant and period");
	balance_is(&world, 310, 0, 0, "of the leftover the new plan's 10 stay");
	ok(acc->effective_at == FEB && world.rows[first].effective_at == FEB,
	   "all at that instant");

	/* the later hold can end first */
	fresh(0);
	world_hold(&world, T0 + 1, 10, T0 + HOUR);
	world_hold(&world, T0 + 2, 20, T0 + MINUTE);
	is_time(world.acc.next_event_at, T0 + MINUTE, "the hold that ends first is next");
	first = world.n_rows;
	world_fold(&world, T0 + DAY);
	ok(world.n_rows == first + 2 && world.rows[first].ref_seq == 3 &&
		   world.rows[first + 1].ref_seq == 2,
	   "holds end in the order of their ends");

	/* a grant that ends before a hold does */
	fresh(0);
	world_grant(&world, T0 + 1, 10, T0 + MINUTE);
	world_hold(&world, T0 + 2, 5, T0 + HOUR);
	first = world.n_rows;
	world_fold(&world, T0 + DAY);
	ok(world.n_rows == first + 2 && world.rows[first].kind == CR_KIND_GRANT_END,
	   "a grant's end before a hold's");
}

static void
test_boundaries_between(void)
{
	CrTime		mid_march = utc(2026, 3, 15, 0, 0, 0);
	int			first;

	/* three boundaries: all in one row, but not across an event */
	fresh(0);
	world_grant(&world, T0 + 1, 10, mid_march);
	first = world.n_rows;
	world_fold(&world, utc(2026, 6, 15, 0, 0, 0));
	ok(world.n_rows == first + 3 && world.rows[first].kind == CR_KIND_RESET &&
		   world.rows[first].effective_at == MAR && world.rows[first].skipped == 1 &&
		   world.rows[first + 1].kind == CR_KIND_GRANT_END &&
		   world.rows[first + 2].kind == CR_KIND_RESET &&
		   world.rows[first + 2].skipped == 2,
	   "boundaries before and after a grant's end are two rows");

	fresh(0);
	world_grant(&world, T0 + 1, 10, MAR);
	first = world.n_rows;
	world_fold(&world, APR);
	ok(world.n_rows == first + 3 && world.rows[first].effective_at == FEB &&
		   world.rows[first].skipped == 0 &&
		   world.rows[first + 1].kind == CR_KIND_GRANT_END &&
		   world.rows[first + 2].effective_at == APR &&
		   world.rows[first + 2].skipped == 1,
	   "a grant that ends at a boundary ends before it");

	fresh(0);
	world_hold(&world, T0 + 1, 30, utc(2026, 2, 5, 0, 0, 0));
	first = world.n_rows;
	world_fold(&world, APR);
	ok(world.n_rows == first + 3 && world.rows[first].effective_at == FEB &&
		   world.rows[first].skipped == 0 &&
		   world.rows[first + 1].kind == CR_KIND_HOLD_END &&
		   world.rows[first + 1].expired == 30 && world.rows[first + 2].skipped == 1,
	   "so with a hold");
	balance_is(&world, 100, 0, 0, "what it held of a closed period is gone");

	/* without a period */
	world_init(&world);
	world.strict = true;
	world_open(&world, T0, NULL, T0, "UTC");
	world_grant(&world, T0 + 1, 10, MAR);
	is_time(world.acc.next_event_at, MAR, "without a plan grants end too");
	is_int(world_fold(&world, APR), 1, "by themselves");
	ok(world.acc.next_event_at == CR_NEVER, "and nothing comes after");
}

static void
test_hold(void)
{
	CrAccount  *acc = three_grants();

	world_purchase(&world, T0 + 4, 50);
	is_int(world_hold(&world, T0 + 5, 30, T0 + HOUR), CR_OK, "a hold");
	row_is(&world, CR_KIND_HOLD, 30, B(-30, 0, 0), B(30, 0, 0), NO_PAIRS,
		   "of monthly credits first");
	ok(last_row()->has_ends_at && last_row()->ends_at == T0 + HOUR &&
		   !last_row()->has_ref_seq,
	   "with its end");
	is_time(acc->next_event_at, T0 + HOUR, "which is the next event");
	is_int(world_hold(&world, T0 + 6, 140, T0 + 2 * HOUR), CR_OK, "another");
	row_is(&world, CR_KIND_HOLD, 140, B(-70, -60, -10), B(100, 60, 10),
		   PAIRS(3, 20, 2, 10, 4, 30), "takes in the order of spending");
	is_time(acc->next_event_at, T0 + HOUR, "the first still ends first");
	ok(nth_hold(1)->monthly == 70 && nth_hold(1)->purchased == 10 &&
		   nth_hold(1)->n_parts == 3 && nth_hold(1)->period == 1 &&
		   nth_hold(1)->amount == 140,
	   "and remembers the parts");
	is_int(world_hold(&world, T0 + 7, 41, T0 + HOUR), CR_INSUFFICIENT,
		   "not more than there is");
	is_int(world_deduct(&world, T0 + 7, 41), CR_INSUFFICIENT,
		   "what is held cannot be spent");
	is_int(world_hold(&world, T0 + 7, 1, T0 + 7), CR_ENDS_TOO_SOON,
		   "an end now is too soon");
	world_run(&world, &(Command){.op = OP_SET_OVERDRAFT, .at = T0 + 8, .amount = 1000});
	is_int(world_hold(&world, T0 + 9, 41, T0 + HOUR), CR_INSUFFICIENT,
		   "an overdraft does not count");
	is_int(world_hold(&world, T0 + 9, 40, T0 + HOUR), CR_OK, "all there is");
	world_run(&world, &(Command){.op = OP_FREEZE, .at = T0 + 10});
	is_int(world_hold(&world, T0 + 11, 1, T0 + HOUR), CR_IS_FROZEN, "frozen");
	is_int(world_purchase(&world, T0 + 12, CR_MAX_CREDITS - 210), CR_OK, "held credits");
	is_int(world_purchase(&world, T0 + 12, 1), CR_OVER_CAP, "count for the cap");
}

static void
test_release(void)
{
	CrAccount  *acc = three_grants();

	world_purchase(&world, T0 + 4, 50);
	world_hold(&world, T0 + 5, 170, T0 + HOUR);
	is_int(world_release(&world, T0 + 6, 0), CR_OK, "a release");
	row_is(&world, CR_KIND_RELEASE, 170, B(100, 60, 10), NOTHING, NO_PAIRS,
		   "gives back all");
	ok(last_row()->has_ref_seq && last_row()->ref_seq == 6 && last_row()->expired == 0 &&
		   !last_row()->has_ends_at,
	   "its row names the hold");
	ok(grant_of(2)->left == 10 && grant_of(3)->left == 20 && grant_of(4)->left == 30,
	   "to each grant what was its");
	is_int(world_release(&world, T0 + 7, 0), CR_HOLD_CLOSED, "once");
	is_int(world_capture(&world, T0 + 7, 0, 1, false), CR_HOLD_CLOSED,
		   "nothing is left to capture");
	is_int(world_fold(&world, T0 + DAY), 0, "and it ends no more");

	/* the table of the contract: hold 100 on 31 Jan, reset, release: 100, not 200 */
	acc = fresh(0);
	world_hold(&world, utc(2026, 1, 31, 0, 0, 0), 100, utc(2026, 2, 20, 0, 0, 0));
	world_fold(&world, FEB);
	row_is(&world, CR_KIND_RESET, 100, B(100, 0, 0), B(100, 0, 0), NO_PAIRS,
		   "held monthly credits are neither leftover nor allowance");
	is_int(last_row()->expired, 0, "nothing expires at the reset");
	world_release(&world, FEB + DAY, 0);
	row_is(&world, CR_KIND_RELEASE, 100, NOTHING, NOTHING, NO_PAIRS,
		   "back in the next period: gone");
	is_int(last_row()->expired, 100, "as expired");

	/* the same with rollover 100: 200 */
	acc = fresh(100);
	world_hold(&world, utc(2026, 1, 31, 0, 0, 0), 100, utc(2026, 2, 20, 0, 0, 0));
	world_release(&world, FEB + DAY, 0);
	row_is(&world, CR_KIND_RELEASE, 100, B(100, 0, 0), NOTHING, NO_PAIRS,
		   "with rollover 100 they are carried over");
	ok(last_row()->expired == 0 && acc->facts.last_left == 100 && last_row()->has_facts,
	   "all of them");

	/* the limit counts all that was left and came back */
	acc = fresh(60);
	world_hold(&world, T0 + 1, 50, FEB + 3 * DAY);
	world_hold(&world, T0 + 2, 40, FEB + 4 * DAY);
	world_fold(&world, FEB);
	balance_is(&world, 110, 0, 0, "10 of 100 were free: they roll over");
	world_fold(&world, FEB + 3 * DAY);
	row_is(&world, CR_KIND_HOLD_END, 50, B(50, 0, 0), B(40, 0, 0), NO_PAIRS,
		   "a hold that ends in the next period: 60 in all");
	world_fold(&world, FEB + 4 * DAY);
	row_is(&world, CR_KIND_HOLD_END, 40, NOTHING, NOTHING, NO_PAIRS, "the next one is too much");
	ok(last_row()->expired == 40 && last_row()->ref_seq == 3 && acc->facts.last_left == 100,
	   "and expires");
	acc = fresh(60);
	world_hold(&world, T0 + 1, 50, FEB + 3 * DAY);
	world_fold(&world, FEB);
	balance_is(&world, 150, 0, 0, "50 of 100 were free");
	world_release(&world, FEB + DAY, 0);
	row_is(&world, CR_KIND_RELEASE, 50, B(10, 0, 0), NOTHING, NO_PAIRS, "10 more, and no more");
	is_int(last_row()->expired, 40, "the rest expires");

	/* of the period before the last one: gone */
	acc = fresh(1000);
	world_hold(&world, utc(2026, 1, 31, 0, 0, 0), 30, utc(2026, 3, 2, 0, 0, 0));
	world_release(&world, MAR, 0);
	row_is(&world, CR_KIND_RELEASE, 30, NOTHING, NOTHING, NO_PAIRS, "two boundaries later");
	ok(last_row()->expired == 30 && acc->facts.last_left == 170, "nothing is carried");

	/* what was less than nothing at the boundary is made good first */
	acc = fresh(1000);
	world_plan(&world, "none", T0, 0, CR_CALENDAR, 1000);
	world_hold(&world, T0 + 1, 70, FEB + DAY);
	world_deduct(&world, T0 + 2, 20);
	world_set_plan(&world, T0 + 3, "none");
	is_int(acc->owed_monthly, 90, "a plan of nothing: 90 are remembered");
	world_fold(&world, FEB);
	world_release(&world, FEB + 1, 0);
	row_is(&world, CR_KIND_RELEASE, 70, NOTHING, NOTHING, NO_PAIRS, "what pays that is not carried");
	ok(last_row()->expired == 70 && acc->facts.last_left == -20, "and expires");

	/* debts are paid first */
	acc = fresh(0);
	world_purchase(&world, T0 + 1, 50);
	world_hold(&world, T0 + 2, 150, T0 + HOUR);
	world_revoke(&world, T0 + 3, 0, 30);
	acc->owed_monthly = 25;
	world_release(&world, T0 + 4, 0);
	row_is(&world, CR_KIND_RELEASE, 150, B(75, 0, 20), NOTHING, NO_PAIRS,
		   "what returns pays what is owed");
	ok(acc->owed_monthly == 0 && acc->owed_purchased == 0 && last_row()->expired == 0,
	   "in full");
	acc = fresh(0);
	acc->balance = B(60, 0, 0);
	world_hold(&world, T0 + 2, 60, T0 + HOUR);
	acc->owed_monthly = 100;
	world_fold(&world, T0 + HOUR);
	ok(acc->owed_monthly == 40 && acc->balance.monthly == 0,
	   "or in part, when it ends by itself");

	/* a debt of monthly credits lapses with the period, and a hold of it pays nothing later */
	acc = fresh(0);
	world_hold(&world, T0 + 1, 60, utc(2026, 2, 5, 0, 0, 0));
	world_fold(&world, FEB);
	acc->owed_monthly = 10;
	acc->balance.monthly = 0;
	world_release(&world, FEB + 1, 0);
	ok(acc->owed_monthly == 10 && last_row()->expired == 60,
	   "of a closed period: pays nothing");

	fresh(0);
	world_hold(&world, T0 + 1, 60, T0 + HOUR);
	world_run(&world, &(Command){.op = OP_FREEZE, .at = T0 + 2});
	is_int(world_release(&world, T0 + 3, 0), CR_OK,
		   "a frozen account's hold can be released");

	/* an end exactly at the hold's own moment */
	three_grants();
	world_deduct(&world, T0 + 4, 100);
	world_hold(&world, T0 + 5, 60, utc(2026, 1, 15, 0, 0, 0));
	is_int(world_fold(&world, utc(2026, 1, 15, 0, 0, 0)), 2,
		   "a hold and its grant at one instant");
	ok(last_row()->kind == CR_KIND_GRANT_END && last_row()->expired == 20 &&
		   world.rows[world.n_rows - 2].expired == 0,
	   "the grant has not ended for the hold, but takes the credits along");
	balance_is(&world, 0, 40, 0, "the others have theirs back");
	three_grants();
	world_deduct(&world, T0 + 4, 100);
	world_hold(&world, T0 + 5, 60, utc(2026, 1, 19, 0, 0, 0));
	world_release(&world, utc(2026, 1, 15, 0, 0, 0), 0);
	row_is(&world, CR_KIND_RELEASE, 60, B(0, 40, 0), NOTHING, NO_PAIRS,
		   "a release at a grant's end: that has ended");
	is_int(last_row()->expired, 20, "its part is gone");
}

/* If credits come back to a grant, its end is an event again. */
static void
test_back_to_a_grant(void)
{
	CrTime		end = utc(2026, 1, 20, 0, 0, 0);
	CrAccount  *acc = fresh(0);

	world_deduct(&world, T0 + 1, 100);
	world_grant(&world, T0 + 2, 40, end);
	world_hold(&world, T0 + 3, 40, utc(2026, 1, 25, 0, 0, 0));
	world_fold(&world, T0 + DAY);
	world_release(&world, T0 + 2 * DAY, 0);
	ok(acc->next_event_at <= end && cr_is_due(acc, end) && world.broken == NULL,
	   "released to a grant: its end is not later than was thought");
	is_int(world_deduct(&world, end, 1), CR_INSUFFICIENT, "at the end it is gone");

	acc = fresh(0);
	world_deduct(&world, T0 + 1, 100);
	world_grant(&world, T0 + 2, 40, end);
	world_deduct(&world, T0 + 3, 40);
	world_fold(&world, T0 + DAY);
	world_refund(&world, T0 + 2 * DAY, 1, 5);
	ok(acc->next_event_at <= end && world.broken == NULL,
	   "refunded to a grant: nor is it then");

	acc = fresh(0);
	world_deduct(&world, T0 + 1, 100);
	world_grant(&world, T0 + 2, 40, end);
	world_hold(&world, T0 + 3, 40, utc(2026, 1, 25, 0, 0, 0));
	world_fold(&world, T0 + DAY);
	world_capture(&world, T0 + 2 * DAY, 0, 15, false);
	ok(acc->next_event_at <= end && world.broken == NULL,
	   "nor after a capture of a part");

	acc = fresh(0);
	world_deduct(&world, T0 + 1, 100);
	world_grant(&world, T0 + 2, 40, end);
	world_hold(&world, T0 + 3, 40, T0 + 2 * DAY);
	world_fold(&world, T0 + DAY);
	world_fold(&world, T0 + 2 * DAY);
	is_time(acc->next_event_at, end, "nor after the hold ended by itself");
}

static void
test_capture(void)
{
	CrAccount  *acc = three_grants();

	world_purchase(&world, T0 + 4, 50);
	world_hold(&world, T0 + 5, 170, T0 + HOUR);
	is_int(world_capture(&world, T0 + 6, 0, 125, true), CR_OK,
		   "a capture that keeps the hold open");
	row_is(&world, CR_KIND_CAPTURE, 125, NOTHING, B(0, 35, 10),
		   PAIRS(0, 100, 3, 20, 2, 5), "spends in the order of spending");
	ok(last_row()->has_ends_at && last_row()->ends_at == T0 + HOUR &&
		   last_row()->ref_seq == 6 && last_row()->has_ref_seq &&
		   last_row()->expired == 0,
	   "its row has the hold's end");
	world_capture(&world, T0 + 7, 0, 15, false);
	row_is(&world, CR_KIND_CAPTURE, 15, B(0, 20, 10), NOTHING, PAIRS(2, 5, 4, 10),
		   "the next goes on, and closing gives back the rest");
	ok(!last_row()->has_ends_at && grant_of(4)->left == 20 && grant_of(2)->left == 0,
	   "to its grant");
	is_int(world_capture(&world, T0 + 8, 0, 1, false), CR_HOLD_CLOSED,
		   "then it is closed");
	is_int(world_release(&world, T0 + 8, 0), CR_HOLD_CLOSED, "for a release too");

	/* exactly all, though it should stay open; and all by default */
	fresh(0);
	world_hold(&world, T0 + 1, 30, T0 + HOUR);
	world_capture(&world, T0 + 2, 0, 30, true);
	ok(!last_row()->has_ends_at && nth_hold(0)->state == CR_HOLD_CAPTURED,
	   "with nothing left it is not kept open");
	balance_is(&world, 70, 0, 0, "30 were spent");

	/* more than is held */
	acc = three_grants();
	world_purchase(&world, T0 + 4, 50);
	world_hold(&world, T0 + 5, 110, T0 + HOUR);
	is_int(world_capture(&world, T0 + 6, 0, 211, false), CR_INSUFFICIENT,
		   "more than is held and there");
	is_int(world_capture(&world, T0 + 6, 0, 185, true), CR_OK, "more than is held");
	row_is(&world, CR_KIND_CAPTURE, 185, B(0, -50, -25), NOTHING,
		   PAIRS(0, 100, 3, 10, 3, 10, 2, 10, 4, 30, -1, 25),
		   "takes the rest like any deduction, in the same row");
	ok(nth_hold(0)->state == CR_HOLD_CAPTURED && !last_row()->has_ends_at,
	   "and closes the hold");

	fresh(0);
	world_hold(&world, T0 + 1, 30, T0 + HOUR);
	world_run(&world, &(Command){.op = OP_FREEZE, .at = T0 + 2});
	is_int(world_capture(&world, T0 + 3, 0, 31, false), CR_IS_FROZEN,
		   "frozen: not beyond the hold");
	is_int(world_capture(&world, T0 + 3, 0, 30, false), CR_OK, "but within it");

	acc = fresh(0);
	world_hold(&world, T0 + 1, 30, T0 + HOUR);
	world_run(&world, &(Command){.op = OP_SET_OVERDRAFT, .at = T0 + 2, .amount = 5});
	is_int(world_capture(&world, T0 + 3, 0, 106, false), CR_INSUFFICIENT,
		   "beyond the overdraft");
	is_int(world_capture(&world, T0 + 3, 0, 105, false), CR_OK, "up to it");
	row_is(&world, CR_KIND_CAPTURE, 105, B(-70, 0, 0), NOTHING,
		   PAIRS(0, 30, 0, 70, -1, 5), "a shortfall is of the purchased credits");
	is_int(acc->owed_purchased, 5, "and owed");

	/* in the next period the held monthly credits are of a closed one */
	fresh(0);
	world_hold(&world, T0 + 1, 80, utc(2026, 2, 5, 0, 0, 0));
	world_capture(&world, FEB + 1, 0, 50, false);
	row_is(&world, CR_KIND_CAPTURE, 50, NOTHING, NOTHING, PAIRS(-2, 50),
		   "a capture in the next period");
	is_int(last_row()->expired, 30, "what returns to the closed period is gone");
	fresh(0);
	world_hold(&world, T0 + 1, 80, utc(2026, 2, 5, 0, 0, 0));
	world_capture(&world, FEB + 1, 0, 90, false);
	row_is(&world, CR_KIND_CAPTURE, 90, B(-10, 0, 0), NOTHING, PAIRS(-2, 80, 0, 10),
		   "and one of more: the rest is of the new period");
}

static void
test_late_capture(void)
{
	CrAccount  *acc = three_grants();

	world_purchase(&world, T0 + 4, 50);
	world_hold(&world, T0 + 5, 170, T0 + HOUR);
	world_fold(&world, T0 + 2 * HOUR);
	row_is(&world, CR_KIND_HOLD_END, 170, B(100, 60, 10), NOTHING, NO_PAIRS,
		   "a hold ends by itself");
	ok(last_row()->effective_at == T0 + HOUR && last_row()->has_ref_seq &&
		   last_row()->ref_seq == 6 && last_row()->expired == 0 &&
		   !last_row()->has_ends_at,
	   "its row names it, at its end");
	is_int(world_release(&world, T0 + 3 * HOUR, 0), CR_HOLD_CLOSED,
		   "it cannot be released");
	ok(nth_hold(0)->given_back == 170 && nth_hold(0)->monthly == 0 &&
		   nth_hold(0)->purchased == 0,
	   "it gave everything back");
	is_int(world_capture(&world, T0 + 3 * HOUR, 0, 211, false), CR_INSUFFICIENT,
		   "then a late capture is an ordinary deduction");
	is_int(world_capture(&world, T0 + 3 * HOUR, 0, 0, true), CR_OK,
		   "by default of what it held");
	row_is(&world, CR_KIND_CAPTURE, 170, B(-100, -60, -10), NOTHING,
		   PAIRS(0, 100, 3, 20, 2, 10, 4, 30, -1, 10), "its row has every part");
	ok(!last_row()->has_ends_at && nth_hold(0)->state == CR_HOLD_SETTLED,
	   "it cannot be kept open");
	is_int(world_capture(&world, T0 + 4 * HOUR, 0, 1, false), CR_HOLD_CLOSED,
		   "and comes once");

	fresh(0);
	world_hold(&world, T0 + 1, 30, T0 + HOUR);
	world_capture(&world, T0 + HOUR, 0, 20, true);
	row_is(&world, CR_KIND_CAPTURE, 20, B(-20, 0, 0), NOTHING, PAIRS(0, 20),
		   "at the very end of the hold a capture is late");
	ok(world.rows[world.n_rows - 2].kind == CR_KIND_HOLD_END, "after the hold's end");

	acc = fresh(0);
	world_hold(&world, T0 + 1, 100, T0 + HOUR);
	world_fold(&world, T0 + HOUR);
	world_deduct(&world, T0 + 2 * HOUR, 100);
	world_run(&world,
			  &(Command){.op = OP_SET_OVERDRAFT, .at = T0 + 2 * HOUR, .amount = 40});
	is_int(world_capture(&world, T0 + 3 * HOUR, 0, 41, false), CR_INSUFFICIENT,
		   "of nothing left");
	is_int(world_capture(&world, T0 + 3 * HOUR, 0, 40, false), CR_OK,
		   "the overdraft pays it");
	row_is(&world, CR_KIND_CAPTURE, 40, NOTHING, NOTHING, PAIRS(-1, 40),
		   "as purchased credits");
	is_int(acc->owed_purchased, 40, "that are owed");

	fresh(0);
	world_hold(&world, T0 + 1, 30, T0 + HOUR);
	world_run(&world, &(Command){.op = OP_FREEZE, .at = T0 + 2});
	world_fold(&world, T0 + HOUR);
	is_int(world_capture(&world, T0 + 2 * HOUR, 0, 1, false), CR_IS_FROZEN,
		   "a frozen account's late capture is refused");

	/* what expired with the hold is used first: hold 100 at 23:50, captured at 00:06 */
	acc = fresh(0);
	world_hold(&world, FEB - 10 * MINUTE, 100, FEB + 5 * MINUTE);
	world_capture(&world, FEB + 6 * MINUTE, 0, 100, false);
	row_is(&world, CR_KIND_CAPTURE, 100, NOTHING, NOTHING, PAIRS(-4, 100),
		   "a late capture over a boundary: what expired is used");
	balance_is(&world, 100, 0, 0, "the new allowance is untouched");
	ok(last_row()->expired == 0 && nth_hold(0)->monthly == 0, "the hold has nothing more");
	world_refund(&world, FEB + HOUR, 0, 0);
	row_is(&world, CR_KIND_REFUND, 100, NOTHING, NOTHING, NO_PAIRS, "and a refund of it");
	is_int(last_row()->forfeited, 100, "is forfeited");
	fresh(0);
	world_hold(&world, FEB - 10 * MINUTE, 100, FEB + 5 * MINUTE);
	world_capture(&world, FEB + 6 * MINUTE, 0, 130, false);
	row_is(&world, CR_KIND_CAPTURE, 130, B(-30, 0, 0), NOTHING, PAIRS(-4, 100, 0, 30),
		   "more than expired: the rest is an ordinary deduction");
	fresh(0);
	world_hold(&world, FEB - 10 * MINUTE, 100, FEB + 5 * MINUTE);
	world_capture(&world, FEB + 6 * MINUTE, 0, 40, false);
	row_is(&world, CR_KIND_CAPTURE, 40, NOTHING, NOTHING, PAIRS(-4, 40), "less than expired");

	/* what rolled over did not expire */
	fresh(30);
	world_hold(&world, FEB - 10 * MINUTE, 100, FEB + 5 * MINUTE);
	world_capture(&world, FEB + 6 * MINUTE, 0, 100, false);
	row_is(&world, CR_KIND_CAPTURE, 100, B(-30, 0, 0), NOTHING, PAIRS(-4, 70, 0, 30),
		   "30 rolled over, 70 expired");
	balance_is(&world, 100, 0, 0, "the new allowance is untouched here, too");

	/* what paid a debt did not expire */
	acc = fresh(0);
	world_plan(&world, "ten", utc(2020, 1, 1, 0, 0, 0), 10, CR_CALENDAR, 0);
	world_hold(&world, T0 + 1, 100, T0 + HOUR);
	world_set_plan(&world, T0 + 2, "ten");
	world_fold(&world, T0 + HOUR);
	ok(acc->owed_monthly == 0 && acc->balance.monthly == 10 && nth_hold(0)->given_back == 100,
	   "of 100, 90 paid the downgrade");
	is_int(world_capture(&world, T0 + 2 * HOUR, 0, 100, false), CR_INSUFFICIENT,
		   "a late capture does not find them");
	is_int(world_capture(&world, T0 + 2 * HOUR, 0, 10, false), CR_OK, "but the 10 that are left");

	/* a mixed hold: its grant has ended, the purchased credits came back */
	acc = fresh(0);
	world_deduct(&world, T0 + 1, 100);
	world_grant(&world, T0 + 2, 40, T0 + DAY);
	world_purchase(&world, T0 + 3, 60);
	world_hold(&world, T0 + 4, 90, T0 + 2 * DAY);
	world_fold(&world, T0 + 2 * DAY);
	row_is(&world, CR_KIND_HOLD_END, 90, B(0, 0, 50), NOTHING, NO_PAIRS, "a mixed hold ends");
	ok(last_row()->expired == 40 && nth_hold(0)->parts[0].credits == 40 &&
		   nth_hold(0)->given_back == 50 && nth_hold(0)->purchased == 0,
	   "the grant's part expires");
	world_capture(&world, T0 + 3 * DAY, 0, 0, false);
	row_is(&world, CR_KIND_CAPTURE, 90, B(0, 0, -50), NOTHING, PAIRS(-4, 40, -1, 50),
		   "captured late, by default all of it");
	ok(acc->balance.purchased == 10 && world.broken == NULL, "once");
}

/* A capture of nothing settles a hold.  over => 'owe' books what is not there. */
static void
test_settling(void)
{
	CrAccount  *acc = fresh(0);
	Command		cmd = {.op = OP_CAPTURE, .at = T0 + 2, .exact = true};

	world_hold(&world, T0 + 1, 30, T0 + HOUR);
	is_int(world_run(&world, &cmd), CR_OK, "a capture of 0");
	row_is(&world, CR_KIND_CAPTURE, 0, B(30, 0, 0), NOTHING, NO_PAIRS, "gives back all");
	is_int(nth_hold(0)->state, CR_HOLD_CAPTURED, "and closes the hold");
	is_int(world_run(&world, &cmd), CR_HOLD_CLOSED, "once");
	ok(cr_spent_fits(last_row()), "its row fits");
	is_int(world_refund(&world, T0 + 3, 0, 1), CR_MORE_THAN_SPENT,
		   "there is nothing to refund");
	fresh(0);
	world_hold(&world, T0 + 1, 30, T0 + HOUR);
	world_fold(&world, T0 + DAY);
	cmd.at = T0 + DAY;
	is_int(world_run(&world, &cmd), CR_OK, "a late capture of 0");
	row_is(&world, CR_KIND_CAPTURE, 0, NOTHING, NOTHING, NO_PAIRS, "spends nothing");
	is_int(world_capture(&world, T0 + DAY, 0, 5, false), CR_HOLD_CLOSED, "and settles the hold");

	cmd = (Command){.op = OP_CAPTURE, .at = T0 + 5, .amount = 130, .owes = true};
	acc = fresh(0);
	world_purchase(&world, T0 + 1, 10);
	world_hold(&world, T0 + 2, 30, T0 + HOUR);
	is_int(world_capture(&world, T0 + 3, 0, 130, false), CR_INSUFFICIENT,
		   "more than there is, without over");
	is_int(world_run(&world, &cmd), CR_OK, "with it");
	row_is(&world, CR_KIND_CAPTURE, 130, B(-70, 0, -10), NOTHING, PAIRS(0, 30, 0, 70, -1, 30),
		   "takes all there is");
	is_int(acc->owed_purchased, 20, "and the rest is owed");
	acc = fresh(0);
	world_hold(&world, T0 + 1, 30, T0 + HOUR);
	world_fold(&world, T0 + DAY);
	cmd.at = T0 + DAY;
	is_int(world_run(&world, &cmd), CR_OK, "a late one, too");
	is_int(acc->owed_purchased, 30, "owes");
	cmd.amount = CR_MAX_CREDITS;
	fresh(0);
	world_hold(&world, T0 + 1, 30, T0 + 2 * DAY);
	world.acc.owed_purchased = 100;
	is_int(world_run(&world, &cmd), CR_OK, "up to the cap of what can be owed");
	fresh(0);
	world_hold(&world, T0 + 1, 30, T0 + 2 * DAY);
	world.acc.owed_purchased = 101;
	is_int(world_run(&world, &cmd), CR_OVER_CAP, "not beyond");
	cmd.amount = 101;
	for (int i = 0; i < 2; i++)
	{
		fresh(0);
		world_hold(&world, T0 + 1, 30, T0 + 2 * DAY);
		world_run(&world, &(Command){.op = OP_FREEZE, .at = T0 + 2});
		cmd.amount = i ? 30 : 31;
		is_int(world_run(&world, &cmd), i ? CR_OK : CR_IS_FROZEN,
			   i ? "but what is held can be captured" : "a frozen account owes no more");
	}
}

void
test_lists(void)
{
	test_grant();
	test_burning();
	test_grant_end();
	test_ties();
	test_boundaries_between();
	test_hold();
	test_release();
	test_back_to_a_grant();
	test_capture();
	test_late_capture();
	test_settling();
}
