/*
 * cycle.c
 *		When a period ends: the only place with calendar arithmetic.
 *
 * boundary(n) is the anchor's wall-clock time n months on, always counted from
 * the anchor and clamped to the month's last day, then converted to UTC by the
 * account's zone (in a gap with the offset before it, in an overlap with the
 * offset after it: what local_to_utc does).  A calendar cycle is an
 * anniversary anchored at 00:00 on the 1st of a month.
 *
 * Days and civil dates are converted with the algorithms of Howard Hinnant,
 * "chrono-Compatible Low-Level Date Algorithms".
 */
#include "core/core.h"

#define DAYS_TO_2000	10957			/* from 1970-01-01 */

/* Beyond the last year that PostgreSQL's timestamps have there is no boundary. */
#define LAST_YEAR		294270

/* Days since 2000-01-01 of a proleptic Gregorian date. */
static int64_t
days_from_civil(int64_t year, int month, int day)
{
	int64_t		y = month <= 2 ? year - 1 : year;
	int64_t		era = (y >= 0 ? y : y - 399) / 400;
	int64_t		yoe = y - era * 400;
	int64_t		doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t		doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return era * 146097 + doe - 719468 - DAYS_TO_2000;
}

static void
civil_from_days(int64_t days, int64_t *year, int *month, int *day)
{
	int64_t		z = days + 719468 + DAYS_TO_2000;
	int64_t		era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t		doe = z - era * 146097;
	int64_t		yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t		doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t		mp = (5 * doy + 2) / 153;

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
	int64_t		year;
	int			month,
				day;

	civil_from_days(floor_div(local, CR_DAY), &year, &month, &day);
	return year * 12 + month - 1;
}

/* The anchor moved to another month, clamped to that month's last day. */
static CrLocal
move_to_month(CrLocal anchor, int64_t target)
{
	int64_t		anchor_days = floor_div(anchor, CR_DAY);
	int64_t		year;
	int			month,
				day,
				last;

	civil_from_days(anchor_days, &year, &month, &day);
	year = floor_div(target, 12);
	month = (int) (target - year * 12) + 1;
	last = days_in_month(year, month);
	if (day > last)
		day = last;
	return days_from_civil(year, month, day) * CR_DAY +
		(anchor - anchor_days * CR_DAY);
}

bool
cr_knows_zone(const CrEnv *env, const char *zone)
{
	return env->knows_zone == NULL || env->knows_zone(env->ctx, zone);
}

/* The first boundary of the cycle strictly after a time. */
CrTime
cr_next_boundary(const CrEnv *env, CrCycle cycle, const char *zone,
				 CrLocal anchor, CrTime after)
{
	int64_t		target;

	if (after == CR_NEVER)
		return CR_NEVER;
	if (cycle == CR_CALENDAR)
		anchor = 0;				/* 2000-01-01 00:00 */

	/*
	 * A boundary can lie in another month than its UTC time, and zones have
	 * moved by a whole day: start a month early.
	 */
	target = month_number(env->utc_to_local(env->ctx, zone, after)) - 1;
	for (;; target++)
	{
		CrTime		boundary;

		if (target > (int64_t) LAST_YEAR * 12)
			return CR_NEVER;
		boundary = env->local_to_utc(env->ctx, zone, move_to_month(anchor, target));
		if (boundary > after)
			return boundary;
	}
}

/*
 * The end of the period that starts at a boundary of the old cycle, in the new
 * one: what would have been its end, stretched to the new cycle's first
 * boundary at or after that, so that a change of cycle never gives two
 * allowances.
 *
 * A stored boundary is final, but time-zone data may have moved it by hours
 * since; boundaries of one cycle are 28 days apart, so the next one is looked
 * for well after the start.
 */
CrTime
cr_period_end(const CrEnv *env, CrCycle old_cycle, CrCycle new_cycle,
			  const char *zone, CrLocal anchor, CrTime start)
{
	CrTime		end = cr_next_boundary(env, old_cycle, zone, anchor,
									   start + 2 * CR_DAY);

	return old_cycle == new_cycle ? end : cr_stretch(env, new_cycle, zone, anchor, end);
}

/*
 * The same where nothing is known of the cycle that the boundary belongs to.
 * Each period of one cycle has one boundary of the other in it, so taking the
 * start for a boundary of the other cycle gives the plain next boundary if it
 * is one of this cycle, and stretches the period if it is not.
 */
CrTime
cr_first_period_end(const CrEnv *env, CrCycle cycle, const char *zone,
					CrLocal anchor, CrTime start)
{
	CrCycle		other = cycle == CR_CALENDAR ? CR_ANNIVERSARY : CR_CALENDAR;

	return cr_stretch(env, cycle, zone, anchor,
					  cr_next_boundary(env, other, zone, anchor, start));
}

/* The first boundary of the cycle at or after the end a period had. */
CrTime
cr_stretch(const CrEnv *env, CrCycle cycle, const char *zone, CrLocal anchor,
		   CrTime end)
{
	return end == CR_NEVER ? CR_NEVER :
		cr_next_boundary(env, cycle, zone, anchor, end - 1);
}
