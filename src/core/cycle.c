/*
 * cycle.c
 *		When a period ends.  All calendar arithmetic is in this file.
 *
 * A cycle is one entry of the table "cycles" below, with the function that finds
 * its boundaries.  To add a cycle, add its value to CrCycle, its entry and its
 * function here, and its name to the CHECK constraint of the table credit_plan.
 *
 * The boundaries of an anniversary cycle are at the anchor's wall-clock time, a
 * whole number of months after the anchor.  Each is counted from the anchor, so a
 * short month does not move those after it: if the month has no such day, its last
 * day is taken.  The account's time zone converts the result to UTC (local_to_utc:
 * in a gap with the offset before it, in an overlap with the offset after it).  A
 * calendar cycle is an anniversary cycle whose anchor is 00:00 on the 1st.
 *
 * Days and civil dates are converted with the algorithms of Howard Hinnant,
 * "chrono-Compatible Low-Level Date Algorithms".
 */
#include <string.h>

#include "core/private.h"

#define DAYS_TO_2000 10957 /* from 1970-01-01 */

/* PostgreSQL's timestamps end with this year, so no boundary is later. */
#define LAST_YEAR	 294270

/*
 * New time-zone data may move a boundary that is already stored by at most this.
 * The boundaries of every cycle are further apart than twice this.
 */
#define ZONE_SHIFT	 (2 * CR_DAY)

/* Days since 2000-01-01 of a proleptic Gregorian date. */
static int64_t
days_from_civil(int64_t year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return era * 146097 + doe - 719468 - DAYS_TO_2000;
}

static void
civil_from_days(int64_t days, int64_t *year, int *month, int *day)
{
	int64_t z = days + 719468 + DAYS_TO_2000;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;

	*day = (int) (doy - (153 * mp + 2) / 5 + 1);
	*month = (int) (mp < 10 ? mp + 3 : mp - 9);
	*year = yoe + era * 400 + (*month <= 2 ? 1 : 0);
}

static int64_t
floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0 ? 1 : 0);
}

static int
days_in_month(int64_t year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
		return 29;
	return days[month - 1];
}

/* Months since year 0 of a wall-clock time. */
static int64_t
month_number(CrLocal local)
{
	int64_t year;
	int month, day;

	civil_from_days(floor_div(local, CR_DAY), &year, &month, &day);
	return year * 12 + month - 1;
}

/* The anchor moved to another month, clamped to that month's last day. */
static CrLocal
move_to_month(CrLocal anchor, int64_t target)
{
	int64_t anchor_days = floor_div(anchor, CR_DAY);
	int64_t year;
	int month, day, last;

	civil_from_days(anchor_days, &year, &month, &day);
	year = floor_div(target, 12);
	month = (int) (target - year * 12) + 1;
	last = days_in_month(year, month);
	if (day > last)
		day = last;
	return days_from_civil(year, month, day) * CR_DAY + (anchor - anchor_days * CR_DAY);
}

/* The first boundary strictly after a time, of the anniversary cycle. */
static CrTime
next_anniversary(const CrEnv *env, const char *zone, CrLocal anchor, CrTime after)
{
	/*
	 * A boundary can lie in another month than its UTC time, and zones have moved
	 * by a whole day, so the search starts a month early.
	 */
	int64_t target = month_number(env->utc_to_local(env->ctx, zone, after)) - 1;

	for (; target <= (int64_t) LAST_YEAR * 12; target++)
	{
		CrTime boundary = env->local_to_utc(env->ctx, zone, move_to_month(anchor, target));

		if (boundary > after)
			return boundary;
	}
	return CR_NEVER;
}

/* The same of the calendar cycle, for which the account's anchor does not matter. */
static CrTime
next_calendar(const CrEnv *env, const char *zone, CrLocal anchor, CrTime after)
{
	(void) anchor;
	return next_anniversary(env, zone, 0, after); /* 0: 2000-01-01 00:00 */
}

typedef struct CycleRule
{
	const char *name; /* stored and hashed: it never changes */
	CrTime (*next_boundary)(const CrEnv *env, const char *zone, CrLocal anchor, CrTime after);
	CrTime longest; /* time between two boundaries, zones aside */
} CycleRule;

static const CycleRule cycles[CR_CYCLE_COUNT] = {
	[CR_CALENDAR] = {"calendar", next_calendar, 31 * CR_DAY},
	[CR_ANNIVERSARY] = {"anniversary", next_anniversary, 31 * CR_DAY},
};

/* All names, for an error message. */
const char *const cr_cycle_choices = "calendar or anniversary";

const char *
cr_cycle_name(CrCycle cycle)
{
	return cycles[cycle].name;
}

bool
cr_cycle_parse(const char *name, CrCycle *cycle)
{
	for (int i = 0; i < CR_CYCLE_COUNT; i++)
	{
		if (strcmp(cycles[i].name, name) == 0)
		{
			*cycle = (CrCycle) i;
			return true;
		}
	}
	return false;
}

bool
cr_knows_zone(const CrEnv *env, const char *zone)
{
	return env->knows_zone == NULL || env->knows_zone(env->ctx, zone);
}

/* The first boundary of the cycle strictly after a time. */
CrTime
cr_next_boundary(const CrEnv *env, CrCycle cycle, const char *zone, CrLocal anchor,
				 CrTime after)
{
	return after == CR_NEVER ? CR_NEVER
							 : cycles[cycle].next_boundary(env, zone, anchor, after);
}

/* The last boundary of the cycle strictly before a time. */
CrTime
cr_boundary_before(const CrEnv *env, CrCycle cycle, const char *zone, CrLocal anchor,
				   CrTime at)
{
	CrTime before = at - 2 * cycles[cycle].longest;

	for (CrTime next = before; next < at;
		 next = cr_next_boundary(env, cycle, zone, anchor, next))
		before = next;
	return before;
}

/* The first boundary of the cycle at or after the end that a period had. */
CrTime
cr_stretch(const CrEnv *env, CrCycle cycle, const char *zone, CrLocal anchor, CrTime end)
{
	return end == CR_NEVER ? CR_NEVER : cr_next_boundary(env, cycle, zone, anchor, end - 1);
}

/*
 * The end, in the new cycle, of the period that starts at a boundary of the old
 * cycle.  In the old cycle the period would have ended at the next boundary.  If
 * the cycle changes, the period is stretched from there to the new cycle's first
 * boundary, so that a change of cycle never gives two allowances.
 *
 * A stored boundary is final, but time-zone data may have moved it by hours since
 * it was stored.  So the search for the next boundary starts well after the start.
 */
CrTime
cr_period_end(const CrEnv *env, CrCycle old_cycle, CrCycle new_cycle, const char *zone,
			  CrLocal anchor, CrTime start)
{
	CrTime end = cr_next_boundary(env, old_cycle, zone, anchor, start + ZONE_SHIFT);

	return old_cycle == new_cycle ? end : cr_stretch(env, new_cycle, zone, anchor, end);
}

/*
 * The same if it is not known of which cycle the start is a boundary.  It is taken
 * for a boundary of another cycle; if there are several others, of the one whose next
 * boundary is the latest.  So the period is never too short.  If the start is in fact
 * a boundary of this cycle, and no other cycle is longer, the result is just the next
 * boundary, because each period of this cycle has a boundary of every other in it.
 */
CrTime
cr_first_period_end(const CrEnv *env, CrCycle cycle, const char *zone, CrLocal anchor,
					CrTime start)
{
	CrTime end = start;

	for (int other = 0; other < CR_CYCLE_COUNT; other++)
	{
		CrTime other_end;

		if (other == (int) cycle)
			continue;
		other_end = cr_next_boundary(env, (CrCycle) other, zone, anchor, start);
		if (other_end > end)
			end = other_end;
	}
	return cr_stretch(env, cycle, zone, anchor, end);
}

/*
 * The longest that a period can be: a whole period of one cycle, stretched by
 * almost one of another, and what zones can shift its end.
 */
CrTime
cr_longest_period(void)
{
	CrTime longest = 0;

	for (int i = 0; i < CR_CYCLE_COUNT; i++)
	{
		if (cycles[i].longest > longest)
			longest = cycles[i].longest;
	}
	return 2 * longest + ZONE_SHIFT;
}
