/*
 * names_test.c
 *		The names under which values are stored.  They are hashed, so none may
 *		ever change; this test says what each one is.
 */
#include "unit.h"

void
test_names(void)
{
	static const char *const kinds[CR_KIND_COUNT] = {
		[CR_KIND_OPEN] = "open",
		[CR_KIND_DEDUCT] = "deduct",
		[CR_KIND_PURCHASE] = "purchase",
		[CR_KIND_ADJUST] = "adjust",
		[CR_KIND_SET_PLAN] = "set_plan",
		[CR_KIND_SCHEDULE_PLAN] = "schedule_plan",
		[CR_KIND_PLAN_CHANGE] = "plan_change",
		[CR_KIND_RESET] = "reset",
		[CR_KIND_FREEZE] = "freeze",
		[CR_KIND_UNFREEZE] = "unfreeze",
		[CR_KIND_CLOCK_REPAIR] = "clock_repair",
		[CR_KIND_GRANT] = "grant",
		[CR_KIND_GRANT_END] = "grant_end",
		[CR_KIND_HOLD] = "hold",
		[CR_KIND_HOLD_END] = "hold_end",
		[CR_KIND_CAPTURE] = "capture",
		[CR_KIND_RELEASE] = "release",
		[CR_KIND_REFUND] = "refund",
		[CR_KIND_REVOKE] = "revoke",
		[CR_KIND_UNDO] = "undo",
		[CR_KIND_IMPORTED] = "imported",
		[CR_KIND_IMPORT] = "import",
		[CR_KIND_TRANSFER_OUT] = "transfer_out",
		[CR_KIND_TRANSFER_IN] = "transfer_in",
		[CR_KIND_CLOSE] = "close",
		[CR_KIND_ARCHIVE] = "archive",
		[CR_KIND_SET_OVERDRAFT] = "set_overdraft",
		[CR_KIND_SET_CYCLE] = "set_cycle",
		[CR_KIND_SET_LOW_THRESHOLD] = "set_low_threshold",
		[CR_KIND_RESTART] = "restart",
		[CR_KIND_REINSTATE] = "reinstate",
	};
	static const char *const cycles[CR_CYCLE_COUNT] = {
		[CR_CALENDAR] = "calendar",
		[CR_ANNIVERSARY] = "anniversary",
		[CR_DAILY] = "daily",
		[CR_WEEKLY] = "weekly",
		[CR_YEARLY] = "yearly",
	};
	static const char *const none[] = {"", " ", "DEDUCT", "deduct ", "deduc", "Monthly",
		"monthlyx", "active ", "ANNIVERSARY", "calendars", "nothing", "day", "monthly "};
	CrKind		kind;
	CrStatus	status;
	CrCycle		cycle;
	CrBucket	bucket;
	int			taken = 0;

	for (int i = 0; i < CR_KIND_COUNT; i++)
	{
		ok(same_text(cr_kind_name((CrKind) i), kinds[i]) && cr_kind_parse(kinds[i], &kind) &&
			   kind == (CrKind) i,
		   "kind %s, there and back", kinds[i]);
	}
	is_text(cr_kind_name(CR_KIND_COUNT), "unknown", "a kind that does not exist is unknown");
	ok(same_text(cr_status_name(CR_ACTIVE), "active") && cr_status_parse("active", &status) &&
		   status == CR_ACTIVE,
	   "status active, there and back");
	ok(same_text(cr_status_name(CR_FROZEN), "frozen") && cr_status_parse("frozen", &status) &&
		   status == CR_FROZEN,
	   "status frozen, there and back");
	for (int i = 0; i < CR_CYCLE_COUNT; i++)
	{
		ok(same_text(cr_cycle_name((CrCycle) i), cycles[i]) &&
			   cr_cycle_parse(cycles[i], &cycle) && cycle == (CrCycle) i &&
			   strstr(cr_cycle_choices, cycles[i]) != NULL,
		   "cycle %s, there and back, and an error message names it", cycles[i]);
	}
	is_text(cr_cycle_choices, "calendar, anniversary, daily, weekly or yearly",
			"the cycles, as an error message lists them");
	ok(cr_bucket_parse("monthly", &bucket) && bucket == CR_MONTHLY, "bucket monthly");
	ok(cr_bucket_parse("granted", &bucket) && bucket == CR_GRANTED, "bucket granted");
	ok(cr_bucket_parse("purchased", &bucket) && bucket == CR_PURCHASED, "bucket purchased");
	for (int i = 0; i < lengthof(none); i++)
	{
		taken += cr_kind_parse(none[i], &kind) + cr_status_parse(none[i], &status) +
			cr_cycle_parse(none[i], &cycle) + cr_bucket_parse(none[i], &bucket);
	}
	is_int(taken, 0, "what is no name is refused");
}
