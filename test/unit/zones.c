/*
 * zones.c
 *		A calendar and a few time zones, written by hand, so that the tests do the
 *		same on every machine, whatever its time-zone database has.
 *
 * Zones that change twice a year follow their rule of 2026 from 1990 to 2060, also
 * where history was different.  Apia and Kiritimati have their real changes around
 * the day that they skipped.  nth_boundary() and boundary_from() define a boundary as
 * plainly as possible, to compare the core with.
 */
#include "unit.h"

#define FIRST_YEAR 1990
#define LAST_YEAR 2060
#define MAX_CHANGES (2 * (LAST_YEAR - FIRST_YEAR + 1))

typedef struct Change
{
	CrTime		at;
	int64_t		offset;			/* local - UTC from then on */
} Change;

/* This hour, in UTC, of the first Sunday on or after this day. */
typedef struct Rule
{
	int			month;
	int			day;
	int			hour;
} Rule;

typedef struct Zone
{
	const char *name;
	int64_t		standard;
	int64_t		summer;			/* equal: no summer time */
	Rule		starts;
	Rule		ends;
	int			n_changes;
	Change		changes[MAX_CHANGES];
} Zone;

static Zone zones[] = {
	{"UTC", 0, 0, {0}, {0}, 0, {{0}}},
	{"Asia/Tokyo", 9 * HOUR, 9 * HOUR, {0}, {0}, 0, {{0}}},
	{"Asia/Kolkata", 5 * HOUR + 30 * MINUTE, 5 * HOUR + 30 * MINUTE, {0}, {0}, 0, {{0}}},
	{"America/Phoenix", -7 * HOUR, -7 * HOUR, {0}, {0}, 0, {{0}}},
	{"Europe/Berlin", HOUR, 2 * HOUR, {3, 25, 1}, {10, 25, 1}, 0, {{0}}},
	{"America/New_York", -5 * HOUR, -4 * HOUR, {3, 8, 7}, {11, 1, 6}, 0, {{0}}},
	{"America/Santiago", -4 * HOUR, -3 * HOUR, {9, 2, 4}, {4, 2, 3}, 0, {{0}}},
	/* their changes can fall on midnight of the 1st */
	{"America/Asuncion", -4 * HOUR, -3 * HOUR, {10, 1, 4}, {3, 22, 3}, 0, {{0}}},
	{"America/Havana", -5 * HOUR, -4 * HOUR, {3, 8, 5}, {11, 1, 5}, 0, {{0}}},
	{"Pacific/Apia", -11 * HOUR, -11 * HOUR, {0}, {0}, 0, {{0}}},
	{"Pacific/Kiritimati", -10 * HOUR - 40 * MINUTE, -10 * HOUR - 40 * MINUTE, {0}, {0}, 0, {{0}}},
	/* nowhere on earth: its clocks once go forward by 40 days */
	{"Test/Forward", 0, 0, {0}, {0}, 0, {{0}}},
};

/* Days from 2000-01-01 to this day of the proleptic Gregorian calendar. */
static int64_t
days_from_civil(int64_t y, int m, int d)
{
	int64_t		era;
	int64_t		yoe;
	int64_t		doy;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = y - era * 400;
	doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 730425;
}

static void
civil_from_days(int64_t days, int64_t *y, int *m, int *d)
{
	int64_t		z = days + 730425;
	int64_t		era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t		doe = z - era * 146097;
	int64_t		yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t		doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t		mp = (5 * doy + 2) / 153;

	*d = (int) (doy - (153 * mp + 2) / 5 + 1);
	*m = (int) (mp < 10 ? mp + 3 : mp - 9);
	*y = yoe + era * 400 + (*m <= 2);
}

static int64_t
floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* The same number can be a time in UTC or one on a wall clock. */
int64_t
utc(int year, int month, int day, int hour, int minute, int second)
{
	return days_from_civil(year, month, day) * DAY + hour * HOUR + minute * MINUTE +
		second * SECOND;
}

/* The anchor's day and time that many months later, or the month's last day. */
CrLocal
add_months(CrLocal anchor, int64_t months)
{
	static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t		days = floor_div(anchor, DAY);
	int64_t		y;
	int64_t		count;
	int			m;
	int			d;
	int			last;

	civil_from_days(days, &y, &m, &d);
	count = y * 12 + (m - 1) + months;
	y = floor_div(count, 12);
	m = (int) (count - y * 12) + 1;
	last = month_days[m - 1];
	if (m == 2 && ((y % 4 == 0 && y % 100 != 0) || y % 400 == 0))
		last = 29;
	if (d > last)
		d = last;
	return days_from_civil(y, m, d) * DAY + (anchor - days * DAY);
}

static CrTime
rule_in(const Rule *rule, int year)
{
	int64_t		days = days_from_civil(year, rule->month, rule->day);

	while ((days % 7 + 7) % 7 != 1) /* 2000-01-01 was a Saturday */
		days++;
	return days * DAY + rule->hour * HOUR;
}

static void
add_change(Zone *z, CrTime at, int64_t offset)
{
	z->changes[z->n_changes].at = at;
	z->changes[z->n_changes].offset = offset;
	z->n_changes++;
}

static void
fill_zone(Zone *z)
{
	if (strcmp(z->name, "Pacific/Apia") == 0)
	{
		add_change(z, utc(2010, 9, 26, 11, 0, 0), -10 * HOUR);
		add_change(z, utc(2011, 4, 2, 14, 0, 0), -11 * HOUR);
		add_change(z, utc(2011, 9, 24, 14, 0, 0), -10 * HOUR);
		add_change(z, utc(2011, 12, 30, 10, 0, 0), 14 * HOUR);
		add_change(z, utc(2012, 3, 31, 14, 0, 0), 13 * HOUR);
	}
	else if (strcmp(z->name, "Pacific/Kiritimati") == 0)
		add_change(z, utc(1994, 12, 31, 10, 40, 0), 14 * HOUR);
	else if (strcmp(z->name, "Test/Forward") == 0)
		add_change(z, utc(2026, 6, 15, 0, 0, 0), 40 * DAY);
	else if (z->standard != z->summer)
	{
		bool		south = z->starts.month > z->ends.month;

		for (int year = FIRST_YEAR; year <= LAST_YEAR; year++)
		{
			if (south)
				add_change(z, rule_in(&z->ends, year), z->standard);
			add_change(z, rule_in(&z->starts, year), z->summer);
			if (!south)
				add_change(z, rule_in(&z->ends, year), z->standard);
		}
	}
}

static const Zone *
find_zone(const char *name)
{
	static bool filled = false;

	for (int i = 0; !filled && i < lengthof(zones); i++)
		fill_zone(&zones[i]);
	filled = true;
	for (int i = 0; i < lengthof(zones); i++)
	{
		if (strcmp(zones[i].name, name) == 0)
			return &zones[i];
	}
	return &zones[0];
}

/* In a gap with the offset before it, in an overlap with the offset after. */
CrTime
zone_to_utc(const char *zone, CrLocal local)
{
	const Zone *z = find_zone(zone);

	for (int i = z->n_changes - 1; i >= 0; i--)
	{
		int64_t		after = z->changes[i].offset;
		int64_t		before = i > 0 ? z->changes[i - 1].offset : z->standard;

		if (local >= z->changes[i].at + after)
			return local - after; /* no doubt, or the second of two */
		if (local >= z->changes[i].at + before)
			return local - before;	/* no such time */
	}
	return local - z->standard;
}

CrLocal
zone_to_local(const char *zone, CrTime at)
{
	const Zone *z = find_zone(zone);

	for (int i = z->n_changes - 1; i >= 0; i--)
	{
		if (at >= z->changes[i].at)
			return at + z->changes[i].offset;
	}
	return at + z->standard;
}

/*
 * The time of step n in UTC.  It is a boundary if it is later than those of all steps before
 * it.  Steps are counted from the anchor, those of a calendar or daily cycle from the 1st or
 * from midnight before the anchor.
 */
CrTime
nth_boundary(CrCycle cycle, const char *zone, CrLocal anchor, int64_t n)
{
	int64_t		day = floor_div(anchor, DAY);
	int64_t		y;
	int			m;
	int			d;

	civil_from_days(day, &y, &m, &d);
	switch (cycle)
	{
		case CR_CALENDAR:
			return zone_to_utc(zone, add_months((day - d + 1) * DAY, n));
		case CR_DAILY:
			return zone_to_utc(zone, (day + n) * DAY);
		case CR_WEEKLY:
			return zone_to_utc(zone, anchor + 7 * n * DAY);
		case CR_YEARLY:
			return zone_to_utc(zone, add_months(anchor, 12 * n));
		default:
			return zone_to_utc(zone, add_months(anchor, n));
	}
}

/* The first boundary at or after a time, by trying the steps one by one. */
CrTime
boundary_from(CrCycle cycle, const char *zone, CrLocal anchor, CrTime from)
{
	static const int64_t shortest[CR_CYCLE_COUNT] = {28, 28, 1, 7, 365};
	static const int64_t longest[CR_CYCLE_COUNT] = {31, 31, 1, 7, 366};
	int64_t		days = from < anchor ? shortest[cycle] : longest[cycle];
	int64_t		n = floor_div(from - anchor, days * DAY) - 3;
	CrTime		boundary;

	do
		boundary = nth_boundary(cycle, zone, anchor, n++);
	while (boundary < from);
	return boundary;
}

/* The last boundary at or before a time. */
CrTime
boundary_upto(CrCycle cycle, const char *zone, CrLocal anchor, CrTime at)
{
	static const int64_t days[CR_CYCLE_COUNT] = {31, 31, 1, 7, 366};
	CrTime		last;
	CrTime		next = boundary_from(cycle, zone, anchor, at - 2 * days[cycle] * DAY);

	do
	{
		last = next;
		next = boundary_from(cycle, zone, anchor, last + 1);
	} while (next <= at);
	return last;
}

const char *
random_zone(void)
{
	return zones[random_between(0, lengthof(zones) - 2)].name;
}

const char *
show_time(CrTime at)
{
	static char text[4][64];
	static int	next = 0;
	char	   *buf = text[next++ % 4];
	int64_t		days = floor_div(at, DAY);
	int64_t		us = at - days * DAY;
	int64_t		y;
	int			m;
	int			d;

	if (at == CR_NEVER)
		return "never";
	civil_from_days(days, &y, &m, &d);
	snprintf(buf, sizeof(text[0]), "%" PRId64 "-%02d-%02d %02d:%02d:%02d.%06dZ", y, m, d,
			 (int) (us / HOUR), (int) (us / MINUTE % 60), (int) (us / SECOND % 60),
			 (int) (us % SECOND));
	return buf;
}
