/*
 * cycle.c
 *		When a period ends, and which share of a full period it is.  All calendar
 *		arithmetic is in this file.
 *
 * A cycle is a step: a number of months, or a number of days.  Its boundaries are the
 * local times
 *
 *		anchor + n steps		for every whole number n, also below 0
 *
 * converted to UTC in the account's time zone.  Every boundary is counted from the anchor
 * itself, not from the boundary before it.  If a month has no such day, its last day is
 * taken; so a short month does not move the boundaries after it.  The calendar and the
 * daily cycle have a fixed anchor.  The others have the account's anchor.
 *
 * local_to_utc converts a local time in a gap with the offset before the gap, and one in
 * an overlap with the offset after it.  Therefore the boundary of a later step can be at
 * the same time as that of an earlier step, or before it, if a zone skips a day.  Such a
 * boundary does not exist: boundary n counts only if it is later than all boundaries
 * before n.  So the first boundary after a time is that of the first step, in the order of
 * n, whose time in UTC is later.
 *
 * A full period is from one boundary to the next.  The end of a period is stored and does
 * not move.  If the next period is counted in another way than the period before it, it
 * can be shorter than a full period, and gives only its share of the allowance.  A share
 * is in parts per million.
 *
 * To add a cycle, add its value to CrCycle, an entry to the table "cycles", and its name to
 * cr_cycle_choices and to the CHECK constraint of the table credit_plan.
 *
 * Days and dates are converted with the algorithms of Howard Hinnant, "chrono-Compatible
 * Low-Level Date Algorithms".
 */
#include <string.h>

#include "core/private.h"

#define DAYS_TO_2000   10957 /* from 1970-01-01 */

/*
 * The last day that can have a boundary: 294270-12-31.  PostgreSQL's timestamps end six
 * years later, so every conversion of a boundary stays within their range.
 */
#define LAST_DAY	   INT64_C(106749790)

/* No clock on earth is further from UTC than this. */
#define LARGEST_OFFSET CR_DAY

/*
 * The end of a stored period was computed with the time-zone data of its day.  So a period
 * can be longer than the cycle's longest by what a zone has moved, in its clock or in its
 * data.  No zone has moved further than this.
 */
#define ZONE_SHIFT	   (2 * CR_DAY)

typedef struct CycleRule
{
	const char *name; /* stored and hashed: it never changes */
	/* a step is this many months, or else this many days */
	int months;
	int days;
	bool has_anchor; /* false: it is counted from FIXED_ANCHOR */
	int longest;	 /* days between two boundaries at most, if clocks do not change */
} CycleRule;

#define FIXED_ANCHOR 0 /* 2000-01-01 00:00 */

static const CycleRule cycles[CR_CYCLE_COUNT] = {
	[CR_CALENDAR] = {"calendar", 1, 0, false, 31},
	[CR_ANNIVERSARY] = {"anniversary", 1, 0, true, 31},
	[CR_DAILY] = {"daily", 0, 1, false, 1},
	[CR_WEEKLY] = {"weekly", 0, 7, true, 7},
	[CR_YEARLY] = {"yearly", 12, 0, true, 366},
};

const char *const cr_cycle_choices = "calendar, anniversary, daily, weekly or yearly";

/* The local times anchor + n steps. */
typedef struct Steps
{
	int months;
	int days;
	/* the anchor, taken apart; days are counted from 2000, months from the year 0 */
	int64_t day;
	int64_t month;
	int day_of_month;
	CrTime time_of_day;
} Steps;

/* The boundaries on both sides of a time. */
typedef struct Around
{
	CrTime before; /* the last one at or before the time */
	CrTime next;   /* the first one after the time; CR_NEVER: there is none */
} Around;

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
cr_cycle_has_anchor(CrCycle cycle)
{
	return cycles[cycle].has_anchor;
}

bool
cr_same_length(CrCycle a, CrCycle b)
{
	return cycles[a].months == cycles[b].months && cycles[a].days == cycles[b].days;
}

bool
cr_knows_zone(const CrEnv *env, const char *zone)
{
	return env->knows_zone == NULL || env->knows_zone(env->ctx, zone);
}

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

/* The month of a day, counted from the year 0, and the day of that month. */
static int64_t
month_from_days(int64_t days, int *day)
{
	int64_t z = days + 719468 + DAYS_TO_2000;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153; /* 0: March */

	*day = (int) (doy - (153 * mp + 2) / 5 + 1);
	return (yoe + era * 400) * 12 + mp + 2;
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

static Steps
steps_from(CrCycle cycle, CrLocal anchor)
{
	Steps steps = {.months = cycles[cycle].months, .days = cycles[cycle].days};

	steps.day = floor_div(anchor, CR_DAY);
	steps.month = month_from_days(steps.day, &steps.day_of_month);
	steps.time_of_day = anchor - steps.day * CR_DAY;
	return steps;
}

/* The local day of step n. */
static int64_t
day_of_step(const Steps *steps, int64_t n)
{
	int64_t target = steps->month + n * steps->months;
	int64_t year = floor_div(target, 12);
	int month = (int) (target - year * 12) + 1;
	int last = days_in_month(year, month);
	int day = steps->day_of_month;

	if (steps->months == 0)
		return steps->day + n * steps->days;
	return days_from_civil(year, month, day < last ? day : last);
}

/* The last step whose local time is at or before this one. */
static int64_t
last_step(const Steps *steps, CrLocal local)
{
	int64_t day = floor_div(local, CR_DAY);
	int unused;
	int64_t n;

	if (local - day * CR_DAY < steps->time_of_day)
		day--;
	if (steps->months == 0)
		return floor_div(day - steps->day, steps->days);
	n = floor_div(month_from_days(day, &unused) - steps->month, steps->months);
	return day_of_step(steps, n) > day ? n - 1 : n;
}

/* Step n in UTC.  It is a boundary only if it is later than those of all steps before. */
static CrTime
step_in_utc(const CrEnv *env, const char *zone, const Steps *steps, int64_t n)
{
	int64_t day = day_of_step(steps, n);

	if (day > LAST_DAY)
		return CR_NEVER;
	return env->local_to_utc(env->ctx, zone, day * CR_DAY + steps->time_of_day);
}

/*
 * Callers look for boundary after boundary, thousands of them if a daily account was not
 * used for years.  So the place is found by arithmetic, and only a few steps around it are
 * converted.  A step that is LARGEST_OFFSET before "at" on the clock is not later than "at"
 * in UTC.  The search starts there.
 */
static Around
boundaries_around(const CrEnv *env, CrCycle cycle, const char *zone, CrLocal anchor, CrTime at)
{
	Steps steps = steps_from(cycle, cycles[cycle].has_anchor ? anchor : FIXED_ANCHOR);
	CrTime latest = cr_min(at, (LAST_DAY + 2) * CR_DAY - 1); /* no boundary is later */
	int64_t n = last_step(&steps, latest - LARGEST_OFFSET);
	Around around;

	around.before = step_in_utc(env, zone, &steps, n);
	while ((around.next = step_in_utc(env, zone, &steps, ++n)) <= latest)
	{
		if (around.next > around.before)
			around.before = around.next;
	}
	return around;
}

CrTime
cr_next_boundary(const CrEnv *env, CrCycle cycle, const char *zone, CrLocal anchor,
				 CrTime after)
{
	return boundaries_around(env, cycle, zone, anchor, after).next;
}

CrTime
cr_boundary_at(const CrEnv *env, CrCycle cycle, const char *zone, CrLocal anchor, CrTime at)
{
	return boundaries_around(env, cycle, zone, anchor, at).before;
}

/*
 * The end of the period before was made from the same cycle, zone and anchor.  So the start
 * was a boundary when it was stored, but newer time-zone data may have moved the
 * boundaries by hours.  The period is full all the same: it does not end at the boundary
 * that has moved to just after its start, but at the one after that.
 */
CrPeriod
cr_next_period(const CrEnv *env, CrCycle cycle, const char *zone, CrLocal anchor, CrTime start)
{
	Around around = boundaries_around(env, cycle, zone, anchor, start);
	CrTime full = around.next - around.before;
	CrPeriod period = {.end = around.next, .share = CR_FULL_SHARE};

	if (around.next != CR_NEVER && 2 * (around.next - start) < full)
		period.end = cr_next_boundary(env, cycle, zone, anchor, start + (full - 1) / 2);
	return period;
}

/*
 * Which share a part of a full period is, rounded down.  It can be 0.  This is a long
 * division in two steps, so that no product is too large for 64 bits.
 */
static int32_t
share_of_period(CrTime part, CrTime full)
{
	int64_t thousandths = part * 1000 / full;
	int64_t rest = part * 1000 % full;

	return (int32_t) (thousandths * 1000 + rest * 1000 / full);
}

/*
 * The period before was counted in another way.  The period ends at the first new boundary.
 * If it has no end, it is full.
 */
CrPeriod
cr_changed_period(const CrEnv *env, CrCycle cycle, const char *zone, CrLocal anchor,
				  CrTime start)
{
	Around around = boundaries_around(env, cycle, zone, anchor, start);
	CrPeriod period = {.end = around.next, .share = CR_FULL_SHARE};

	if (around.before < start && around.next != CR_NEVER)
		period.share = share_of_period(around.next - start, around.next - around.before);
	return period;
}

/*
 * The restarted period ends one step after the local time of the restart, whatever the
 * cycle's anchor is.  If that is not later in UTC, it ends after more steps.
 */
CrTime
cr_restart_end(const CrEnv *env, CrCycle cycle, const char *zone, CrTime at, CrLocal *anchor)
{
	Steps steps;
	CrTime end;
	int64_t n = 0;

	*anchor = env->utc_to_local(env->ctx, zone, at);
	steps = steps_from(cycle, *anchor);
	do
		end = step_in_utc(env, zone, &steps, ++n);
	while (end <= at);
	return end;
}

/* The millions and the rest apart, so that no product is too large for 64 bits. */
int64_t
cr_share_of(int64_t credits, int32_t share)
{
	return credits / CR_FULL_SHARE * share + credits % CR_FULL_SHARE * share / CR_FULL_SHARE;
}

/* A period ends at the latest at the end of a full period that begins half of one later. */
CrTime
cr_longest_period(CrCycle cycle)
{
	return cycles[cycle].longest * CR_DAY * 3 / 2 + ZONE_SHIFT;
}
