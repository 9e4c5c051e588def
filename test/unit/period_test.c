/*
 * period_test.c
 *		When a period ends, and its share: edge cases one by one, and random anchors,
 *		zones and times compared with the plainest definition of a boundary.
 */
#include "unit.h"

#include "core/private.h"

#define YEAR (366 * DAY)

static int	conversions = 0;

static CrTime
local_to_utc(void *ctx, const char *zone, CrLocal local)
{
	(void) ctx;
	conversions++;
	return zone_to_utc(zone, local);
}

static CrLocal
utc_to_local(void *ctx, const char *zone, CrTime at)
{
	(void) ctx;
	conversions++;
	return zone_to_local(zone, at);
}

static const CrEnv env = {.local_to_utc = local_to_utc,.utc_to_local = utc_to_local};

static CrTime
next(CrCycle cycle, const char *zone, CrLocal anchor, CrTime after)
{
	return cr_next_boundary(&env, cycle, zone, anchor, after);
}

static CrTime
last(CrCycle cycle, const char *zone, CrLocal anchor, CrTime at)
{
	return cr_boundary_at(&env, cycle, zone, anchor, at);
}

/*
 * Tests that these boundaries follow a time.  Each must be found from the boundary
 * before it, from halfway, and from a microsecond before; and it must be the last one
 * at its own time and a microsecond later.
 */
static void
boundaries_are(const char *name, CrCycle cycle, const char *zone, CrLocal anchor, CrTime after,
			   const CrTime *want, int n)
{
	for (int i = 0; i < n; i++)
	{
		CrTime		got = next(cycle, zone, anchor, after);
		CrTime		just_before = next(cycle, zone, anchor, want[i] - 1);
		CrTime		halfway = next(cycle, zone, anchor, after + (want[i] - after) / 2);

		if (got != want[i] || just_before != want[i] || halfway != want[i])
		{
			ok(false, "%s", name);
			note("after %s: got %s, from halfway %s, from just before %s; expected %s",
				 show_time(after), show_time(got), show_time(halfway), show_time(just_before),
				 show_time(want[i]));
			return;
		}
		after = want[i];
		if (last(cycle, zone, anchor, after) != after ||
			last(cycle, zone, anchor, after + 1) != after ||
			(i > 0 && last(cycle, zone, anchor, after - 1) != want[i - 1]))
		{
			ok(false, "%s", name);
			note("at %s the last one is %s, before it %s", show_time(after),
				 show_time(last(cycle, zone, anchor, after)),
				 show_time(last(cycle, zone, anchor, after - 1)));
			return;
		}
	}
	ok(true, "%s", name);
}

#define BOUNDARIES(name, cycle, zone, anchor, after, ...)                                      \
	do                                                                                         \
	{                                                                                          \
		const CrTime want_[] = {__VA_ARGS__};                                                  \
		boundaries_are(name, cycle, zone, anchor, after, want_, lengthof(want_));              \
	} while (0)

static void
test_month_ends(void)
{
	CrLocal		leap = utc(2024, 2, 29, 0, 0, 0);
	CrTime		at = leap;
	CrTime		februaries[4];

	BOUNDARIES("anchor 31 Jan 2026: 28 Feb, 31 Mar, 30 Apr, 31 May", CR_ANNIVERSARY, "UTC",
			   utc(2026, 1, 31, 0, 0, 0), utc(2026, 1, 31, 0, 0, 0), utc(2026, 2, 28, 0, 0, 0),
			   utc(2026, 3, 31, 0, 0, 0), utc(2026, 4, 30, 0, 0, 0), utc(2026, 5, 31, 0, 0, 0));
	BOUNDARIES("anchor 30 Nov 2023: 30 Dec, 30 Jan, 29 Feb, 30 Mar", CR_ANNIVERSARY, "UTC",
			   utc(2023, 11, 30, 6, 0, 0), utc(2023, 11, 30, 6, 0, 0),
			   utc(2023, 12, 30, 6, 0, 0), utc(2024, 1, 30, 6, 0, 0),
			   utc(2024, 2, 29, 6, 0, 0), utc(2024, 3, 30, 6, 0, 0));
	for (int i = 1; i <= 48; i++)
	{
		at = next(CR_ANNIVERSARY, "UTC", leap, at);
		if (i % 12 == 0)
			februaries[i / 12 - 1] = at;
		if (i == 1)
			is_time(at, utc(2024, 3, 29, 0, 0, 0), "anchor 29 Feb 2024: 29 Mar 2024");
	}
	is_time(februaries[0], utc(2025, 2, 28, 0, 0, 0), "anchor 29 Feb 2024: 28 Feb 2025");
	is_time(februaries[1], utc(2026, 2, 28, 0, 0, 0), "anchor 29 Feb 2024: 28 Feb 2026");
	is_time(februaries[2], utc(2027, 2, 28, 0, 0, 0), "anchor 29 Feb 2024: 28 Feb 2027");
	is_time(februaries[3], utc(2028, 2, 29, 0, 0, 0), "anchor 29 Feb 2024: 29 Feb 2028");
	BOUNDARIES("an anchor keeps its time of day to the microsecond, also before 2000",
			   CR_ANNIVERSARY, "UTC", utc(1998, 12, 31, 13, 45, 10) + 500001,
			   utc(1999, 1, 31, 13, 45, 10) + 500001, utc(1999, 2, 28, 13, 45, 10) + 500001,
			   utc(1999, 3, 31, 13, 45, 10) + 500001);
	is_time(next(CR_ANNIVERSARY, "UTC", utc(1998, 12, 31, 0, 0, 0), utc(2100, 2, 1, 0, 0, 0)),
			utc(2100, 2, 28, 0, 0, 0), "2100 is no leap year");
	BOUNDARIES("yearly, anchor 29 Feb 2024: 28 Feb in 2025 to 2027, 29 Feb in 2028", CR_YEARLY,
			   "UTC", leap, leap, utc(2025, 2, 28, 0, 0, 0), utc(2026, 2, 28, 0, 0, 0),
			   utc(2027, 2, 28, 0, 0, 0), utc(2028, 2, 29, 0, 0, 0), utc(2029, 2, 28, 0, 0, 0));
	BOUNDARIES("yearly, before the anchor too: 29 Feb 2020, 28 Feb 2021", CR_YEARLY, "UTC", leap,
			   utc(2019, 3, 1, 0, 0, 0), utc(2020, 2, 29, 0, 0, 0), utc(2021, 2, 28, 0, 0, 0));
	BOUNDARIES("yearly: 2096 has a leap day, 2100 has none", CR_YEARLY, "UTC", leap,
			   utc(2095, 3, 1, 0, 0, 0), utc(2096, 2, 29, 0, 0, 0), utc(2097, 2, 28, 0, 0, 0),
			   utc(2098, 2, 28, 0, 0, 0), utc(2099, 2, 28, 0, 0, 0), utc(2100, 2, 28, 0, 0, 0));
	BOUNDARIES("yearly, any day: the same day, also after a leap day", CR_YEARLY, "UTC",
			   utc(2026, 8, 17, 9, 30, 0), utc(2026, 8, 17, 9, 30, 0),
			   utc(2027, 8, 17, 9, 30, 0), utc(2028, 8, 17, 9, 30, 0),
			   utc(2029, 8, 17, 9, 30, 0));
	BOUNDARIES("weekly over a leap day", CR_WEEKLY, "UTC", utc(2026, 1, 6, 18, 0, 0),
			   utc(2028, 2, 22, 17, 59, 59), utc(2028, 2, 22, 18, 0, 0),
			   utc(2028, 2, 29, 18, 0, 0), utc(2028, 3, 7, 18, 0, 0));
	BOUNDARIES("weekly over a year's end, and before its anchor", CR_WEEKLY, "UTC",
			   utc(2026, 1, 6, 18, 0, 0), utc(2025, 12, 23, 17, 0, 0),
			   utc(2025, 12, 23, 18, 0, 0), utc(2025, 12, 30, 18, 0, 0),
			   utc(2026, 1, 6, 18, 0, 0), utc(2026, 1, 13, 18, 0, 0));
	BOUNDARIES("daily over a leap day, whatever the anchor", CR_DAILY, "UTC",
			   utc(2026, 1, 6, 18, 0, 0), utc(2028, 2, 28, 0, 0, 0),
			   utc(2028, 2, 29, 0, 0, 0), utc(2028, 3, 1, 0, 0, 0));
	BOUNDARIES("a year's end", CR_ANNIVERSARY, "UTC", utc(2025, 10, 15, 12, 0, 0),
			   utc(2025, 11, 15, 12, 0, 0), utc(2025, 12, 15, 12, 0, 0),
			   utc(2026, 1, 15, 12, 0, 0), utc(2026, 2, 15, 12, 0, 0));
}

static void
test_zones(void)
{
	CrLocal		anchor = utc(2026, 9, 25, 2, 30, 0);

	BOUNDARIES("Berlin 02:30 on 29 Mar 2026, no such time: 01:30Z", CR_ANNIVERSARY,
			   "Europe/Berlin", utc(2026, 1, 29, 2, 30, 0), utc(2026, 1, 29, 1, 30, 0),
			   utc(2026, 2, 28, 1, 30, 0), utc(2026, 3, 29, 1, 30, 0),
			   utc(2026, 4, 29, 0, 30, 0));
	BOUNDARIES("Berlin 02:30 on 25 Oct 2026, twice: 01:30Z, once", CR_ANNIVERSARY,
			   "Europe/Berlin", anchor, utc(2026, 9, 25, 0, 30, 0), utc(2026, 10, 25, 1, 30, 0),
			   utc(2026, 11, 25, 1, 30, 0));
	is_time(next(CR_ANNIVERSARY, "Europe/Berlin", anchor, utc(2026, 10, 25, 0, 30, 0)),
			utc(2026, 10, 25, 1, 30, 0), "at the first 02:30 the boundary is still to come");
	BOUNDARIES("Santiago 00:00 on 6 Sep 2026, no such time: 04:00Z", CR_ANNIVERSARY,
			   "America/Santiago", utc(2026, 8, 6, 0, 0, 0), utc(2026, 8, 6, 4, 0, 0),
			   utc(2026, 9, 6, 4, 0, 0), utc(2026, 10, 6, 3, 0, 0));
	BOUNDARIES("Apia, 30 Dec 2011, no such day: one boundary", CR_ANNIVERSARY, "Pacific/Apia",
			   utc(2011, 10, 30, 0, 0, 0), utc(2011, 10, 30, 10, 0, 0),
			   utc(2011, 11, 30, 10, 0, 0), utc(2011, 12, 30, 10, 0, 0),
			   utc(2012, 1, 29, 10, 0, 0));
	BOUNDARIES("Apia, anchor on the 31st: one boundary", CR_ANNIVERSARY, "Pacific/Apia",
			   utc(2011, 10, 31, 0, 0, 0), utc(2011, 10, 31, 10, 0, 0),
			   utc(2011, 11, 30, 10, 0, 0), utc(2011, 12, 30, 10, 0, 0),
			   utc(2012, 1, 30, 10, 0, 0));
	BOUNDARIES("Apia, noon of the day that was skipped: 22:00Z", CR_ANNIVERSARY,
			   "Pacific/Apia", utc(2011, 11, 30, 12, 0, 0), utc(2011, 11, 30, 22, 0, 0),
			   utc(2011, 12, 30, 22, 0, 0), utc(2012, 1, 29, 22, 0, 0));
	BOUNDARIES("Kiritimati, noon of 31 Dec 1994, no such day: on 1 Jan there", CR_ANNIVERSARY,
			   "Pacific/Kiritimati", utc(1994, 10, 31, 12, 0, 0), utc(1994, 11, 30, 22, 40, 0),
			   utc(1994, 12, 31, 22, 40, 0), utc(1995, 1, 30, 22, 0, 0));
	is_time(next(CR_ANNIVERSARY, "Pacific/Kiritimati", utc(1994, 10, 31, 12, 0, 0),
				 utc(1994, 12, 31, 12, 0, 0)),
			utc(1994, 12, 31, 22, 40, 0), "it is still to come when January has begun there");
	BOUNDARIES("calendar in UTC", CR_CALENDAR, "UTC", anchor, utc(2026, 1, 15, 0, 0, 0),
			   utc(2026, 2, 1, 0, 0, 0), utc(2026, 3, 1, 0, 0, 0), utc(2026, 4, 1, 0, 0, 0));
	BOUNDARIES("calendar in Berlin, winter and summer", CR_CALENDAR, "Europe/Berlin", anchor,
			   utc(2026, 2, 10, 0, 0, 0), utc(2026, 2, 28, 23, 0, 0),
			   utc(2026, 3, 31, 22, 0, 0), utc(2026, 4, 30, 22, 0, 0));
	BOUNDARIES("calendar in Tokyo, over the year's end", CR_CALENDAR, "Asia/Tokyo", anchor,
			   utc(2025, 12, 1, 0, 0, 0), utc(2025, 12, 31, 15, 0, 0),
			   utc(2026, 1, 31, 15, 0, 0));
	BOUNDARIES("calendar in Kolkata, half an hour off", CR_CALENDAR, "Asia/Kolkata", anchor,
			   utc(2026, 2, 1, 0, 0, 0), utc(2026, 2, 28, 18, 30, 0));
	BOUNDARIES("calendar in Asuncion, 1 Oct 2023 has no midnight: 04:00Z", CR_CALENDAR,
			   "America/Asuncion", anchor, utc(2023, 9, 2, 0, 0, 0), utc(2023, 10, 1, 4, 0, 0),
			   utc(2023, 11, 1, 3, 0, 0));
	BOUNDARIES("calendar in Havana, 1 Nov 2026 has two midnights: 05:00Z, once", CR_CALENDAR,
			   "America/Havana", anchor, utc(2026, 10, 2, 0, 0, 0), utc(2026, 11, 1, 5, 0, 0),
			   utc(2026, 12, 1, 5, 0, 0));
}

static void
test_days_over_changes(void)
{
	CrLocal		any = utc(2026, 9, 25, 2, 30, 0);

	BOUNDARIES("daily in Berlin: 29 Mar 2026 has 23 hours", CR_DAILY, "Europe/Berlin", any,
			   utc(2026, 3, 28, 0, 0, 0), utc(2026, 3, 28, 23, 0, 0),
			   utc(2026, 3, 29, 22, 0, 0), utc(2026, 3, 30, 22, 0, 0));
	BOUNDARIES("daily in Berlin: 25 Oct 2026 has 25 hours", CR_DAILY, "Europe/Berlin", any,
			   utc(2026, 10, 24, 0, 0, 0), utc(2026, 10, 24, 22, 0, 0),
			   utc(2026, 10, 25, 23, 0, 0), utc(2026, 10, 26, 23, 0, 0));
	BOUNDARIES("daily in Santiago: 6 Sep 2026 has no midnight: 04:00Z", CR_DAILY,
			   "America/Santiago", any, utc(2026, 9, 5, 0, 0, 0), utc(2026, 9, 5, 4, 0, 0),
			   utc(2026, 9, 6, 4, 0, 0), utc(2026, 9, 7, 3, 0, 0));
	BOUNDARIES("daily in Havana: 1 Nov 2026 has two midnights: 05:00Z, once", CR_DAILY,
			   "America/Havana", any, utc(2026, 10, 31, 0, 0, 0), utc(2026, 10, 31, 4, 0, 0),
			   utc(2026, 11, 1, 5, 0, 0), utc(2026, 11, 2, 5, 0, 0));
	BOUNDARIES("daily in Apia, 30 Dec 2011, no such day: one boundary, not two", CR_DAILY,
			   "Pacific/Apia", any, utc(2011, 12, 29, 0, 0, 0), utc(2011, 12, 29, 10, 0, 0),
			   utc(2011, 12, 30, 10, 0, 0), utc(2011, 12, 31, 10, 0, 0),
			   utc(2012, 1, 1, 10, 0, 0));
	BOUNDARIES("daily in Kiritimati, 2 Jan 1995 comes before 1 Jan in UTC: skipped", CR_DAILY,
			   "Pacific/Kiritimati", any, utc(1994, 12, 30, 0, 0, 0),
			   utc(1994, 12, 30, 10, 40, 0), utc(1994, 12, 31, 10, 40, 0),
			   utc(1995, 1, 1, 10, 40, 0), utc(1995, 1, 2, 10, 0, 0));
	BOUNDARIES("daily in Kolkata and in Tokyo have no changes", CR_DAILY, "Asia/Kolkata", any,
			   utc(2026, 3, 28, 0, 0, 0), utc(2026, 3, 28, 18, 30, 0),
			   utc(2026, 3, 29, 18, 30, 0));
	BOUNDARIES("weekly in Berlin, 02:30 on 29 Mar 2026, no such time: 01:30Z", CR_WEEKLY,
			   "Europe/Berlin", utc(2026, 3, 22, 2, 30, 0), utc(2026, 3, 22, 1, 29, 59),
			   utc(2026, 3, 22, 1, 30, 0), utc(2026, 3, 29, 1, 30, 0),
			   utc(2026, 4, 5, 0, 30, 0));
	BOUNDARIES("weekly in Berlin, 02:30 on 25 Oct 2026, twice: 01:30Z, once", CR_WEEKLY,
			   "Europe/Berlin", utc(2026, 3, 22, 2, 30, 0), utc(2026, 10, 18, 0, 0, 0),
			   utc(2026, 10, 18, 0, 30, 0), utc(2026, 10, 25, 1, 30, 0),
			   utc(2026, 11, 1, 1, 30, 0));
	BOUNDARIES("weekly in Santiago, Sundays 00:00, over 6 Sep 2026", CR_WEEKLY,
			   "America/Santiago", utc(2026, 8, 30, 0, 0, 0), utc(2026, 8, 29, 0, 0, 0),
			   utc(2026, 8, 30, 4, 0, 0), utc(2026, 9, 6, 4, 0, 0),
			   utc(2026, 9, 13, 3, 0, 0));
	BOUNDARIES("weekly in Apia, Fridays, over the Friday that was skipped", CR_WEEKLY,
			   "Pacific/Apia", utc(2011, 12, 23, 0, 0, 0), utc(2011, 12, 23, 0, 0, 0),
			   utc(2011, 12, 23, 10, 0, 0), utc(2011, 12, 30, 10, 0, 0),
			   utc(2012, 1, 5, 10, 0, 0));
	BOUNDARIES("yearly in Berlin, 02:30 on 29 Mar: before, in and after the gap", CR_YEARLY,
			   "Europe/Berlin", utc(2025, 3, 29, 2, 30, 0), utc(2025, 3, 29, 0, 0, 0),
			   utc(2025, 3, 29, 1, 30, 0), utc(2026, 3, 29, 1, 30, 0),
			   utc(2027, 3, 29, 0, 30, 0));
	BOUNDARIES("yearly in Berlin, 02:30 on 25 Oct: before, in and after the overlap", CR_YEARLY,
			   "Europe/Berlin", utc(2025, 10, 25, 2, 30, 0), utc(2025, 10, 25, 0, 0, 0),
			   utc(2025, 10, 25, 0, 30, 0), utc(2026, 10, 25, 1, 30, 0),
			   utc(2027, 10, 25, 0, 30, 0));
	BOUNDARIES("yearly in Santiago, 00:00 on 6 Sep 2026: 04:00Z", CR_YEARLY,
			   "America/Santiago", utc(2025, 9, 6, 0, 0, 0), utc(2025, 9, 5, 0, 0, 0),
			   utc(2025, 9, 6, 4, 0, 0), utc(2026, 9, 6, 4, 0, 0),
			   utc(2027, 9, 6, 3, 0, 0));
	BOUNDARIES("yearly in Apia, 30 Dec, over the day that was skipped", CR_YEARLY,
			   "Pacific/Apia", utc(2010, 12, 30, 0, 0, 0), utc(2010, 12, 30, 0, 0, 0),
			   utc(2010, 12, 30, 10, 0, 0), utc(2011, 12, 30, 10, 0, 0),
			   utc(2012, 12, 29, 11, 0, 0));
}

static void
test_anchors(void)
{
	CrLocal		anchor = utc(2026, 3, 31, 9, 0, 0);
	CrTime		at = utc(2026, 3, 5, 0, 0, 0);

	is_time(next(CR_ANNIVERSARY, "UTC", anchor, at), anchor,
			"an anchor still to come, within a month, is the first boundary");
	is_time(next(CR_ANNIVERSARY, "UTC", anchor, anchor), utc(2026, 4, 30, 9, 0, 0),
			"and the next one is a month later");
	is_time(next(CR_ANNIVERSARY, "UTC", anchor, utc(2025, 1, 1, 0, 0, 0)),
			utc(2025, 1, 31, 9, 0, 0), "boundaries go back before the anchor, too");
	for (int c = 0; c < CR_CYCLE_COUNT; c++)
	{
		CrCycle		cycle = (CrCycle) c;
		CrLocal		other = anchor + 3 * DAY + 5 * HOUR;
		bool		same = next(cycle, "UTC", anchor, at) == next(cycle, "UTC", other, at) &&
			last(cycle, "UTC", anchor, at) == last(cycle, "UTC", other, at);

		ok(same == (cycle == CR_CALENDAR || cycle == CR_DAILY) &&
		   same == !cr_cycle_has_anchor(cycle),
		   "%s: does the account's anchor matter?", cr_cycle_name(cycle));
		for (int o = 0; o < CR_CYCLE_COUNT; o++)
		{
			if (cr_same_length(cycle, (CrCycle) o) !=
				(c == o || (c <= CR_ANNIVERSARY && o <= CR_ANNIVERSARY)))
				ok(false, "%s and %s: the same length?", cr_cycle_name(cycle),
				   cr_cycle_name((CrCycle) o));
		}
	}
	ok(true, "calendar and anniversary are the only ones of one length");
}

/* A boundary that does not come after the one before it is skipped. */
static void
test_backwards(void)
{
	for (int c = 0; c < CR_CYCLE_COUNT; c++)
	{
		CrCycle		cycle = (CrCycle) c;
		CrLocal		anchor = utc(2026, 1, 1, 0, 0, 0);
		CrTime		at = anchor;
		bool		good = true;

		for (int i = 0; i < 400; i++)
		{
			CrTime		got = next(cycle, "Test/Forward", anchor, at);

			good = good && got > at && got <= at + cr_longest_period(cycle) + 40 * DAY &&
				last(cycle, "Test/Forward", anchor, got - 1) == at &&
				last(cycle, "Test/Forward", anchor, got) == got;
			at = got;
		}
		ok(good, "%s: boundaries increase even where clocks jump more than a month",
		   cr_cycle_name(cycle));
	}
}

static void
test_last_year(void)
{
	CrLocal		eve = utc(294270, 12, 31, 0, 0, 0);
	CrLocal		old = utc(1, 12, 31, 23, 59, 59);
	const CrTime last_ones[CR_CYCLE_COUNT] = {utc(294270, 12, 1, 0, 0, 0), eve, eve, eve, eve};

	for (int c = 0; c < CR_CYCLE_COUNT; c++)
	{
		CrCycle		cycle = (CrCycle) c;
		const char *name = cr_cycle_name(cycle);
		CrTime		end = last_ones[c];
		CrPeriod	period;

		ok(next(cycle, "UTC", eve, end - 1) == end, "%s has a boundary in 294270", name);
		ok(next(cycle, "UTC", eve, end) == CR_NEVER && next(cycle, "UTC", eve, eve) == CR_NEVER &&
		   next(cycle, "UTC", eve, utc(294276, 1, 1, 0, 0, 0)) == CR_NEVER &&
		   next(cycle, "UTC", eve, CR_NEVER) == CR_NEVER, "%s has none after it", name);
		ok(last(cycle, "UTC", eve, CR_NEVER) == end && last(cycle, "UTC", eve, end) == end &&
		   last(cycle, "UTC", eve, end - 1) < end, "%s: it is the last one for ever", name);
		ok(next(cycle, "America/New_York", eve, end) == end + 5 * HOUR &&
		   next(cycle, "America/New_York", eve, end + 5 * HOUR) == CR_NEVER &&
		   next(cycle, "Asia/Tokyo", eve, end - 10 * HOUR) == end - 9 * HOUR &&
		   next(cycle, "Asia/Tokyo", eve, end - 9 * HOUR) == CR_NEVER,
		   "%s: the last year is the zone's", name);
		period = cr_next_period(&env, cycle, "UTC", eve, end);
		ok(period.end == CR_NEVER && period.share == CR_FULL_SHARE,
		   "%s: the period after it has no end", name);
		period = cr_changed_period(&env, cycle, "UTC", eve, eve + HOUR);
		ok(period.end == CR_NEVER && period.share == CR_FULL_SHARE,
		   "%s: and is full, wherever it starts", name);
		ok(cr_restart_end(&env, cycle, "UTC", eve, &(CrLocal) {0}) == CR_NEVER,
		   "%s: a restart there has no end", name);
		ok(last(cycle, "UTC", old, eve + HOUR) > eve - YEAR && next(cycle, "UTC", eve, old) > old &&
		   next(cycle, "UTC", eve, old) <= old + YEAR, "%s: from the year 1 to 294270", name);
	}
}

/* In a stored row, a longer period is wrong. */
static void
test_longest(void)
{
	const CrTime longest[CR_CYCLE_COUNT] = {46 * DAY + 12 * HOUR, 46 * DAY + 12 * HOUR,
		36 * HOUR, 10 * DAY + 12 * HOUR, 549 * DAY};

	for (int c = 0; c < CR_CYCLE_COUNT; c++)
		ok(cr_longest_period((CrCycle) c) == longest[c] + 2 * DAY,
		   "%s: the longest period is one and a half, and two days", cr_cycle_name((CrCycle) c));
}

static void
next_period_is(CrCycle cycle, const char *zone, CrLocal anchor, CrTime start, CrTime end,
			   const char *name)
{
	CrPeriod	got = cr_next_period(&env, cycle, zone, anchor, start);

	if (!ok(got.end == end && got.share == CR_FULL_SHARE, "%s", name))
		note("got %s, share %d", show_time(got.end), (int) got.share);
}

static void
changed_period_is(CrCycle cycle, const char *zone, CrLocal anchor, CrTime start, CrTime end,
				  int share, const char *name)
{
	CrPeriod	got = cr_changed_period(&env, cycle, zone, anchor, start);

	if (!ok(got.end == end && got.share == share, "%s", name))
		note("got %s, share %d", show_time(got.end), (int) got.share);
}

/* Only time-zone data moved: the period is full, and neither much too short nor too long. */
static void
test_next_period(void)
{
	CrLocal		anchor = utc(2026, 1, 15, 12, 0, 0);
	CrTime		feb = utc(2026, 2, 1, 0, 0, 0);
	CrTime		mar = utc(2026, 3, 1, 0, 0, 0);

	next_period_is(CR_CALENDAR, "UTC", anchor, feb, mar, "calendar: to the next 1st");
	next_period_is(CR_ANNIVERSARY, "UTC", anchor, utc(2026, 2, 15, 12, 0, 0),
				   utc(2026, 3, 15, 12, 0, 0), "anniversary: to the next 15th");
	next_period_is(CR_DAILY, "UTC", anchor, feb, feb + DAY, "daily: to the next midnight");
	next_period_is(CR_WEEKLY, "UTC", anchor, utc(2026, 2, 5, 12, 0, 0),
				   utc(2026, 2, 12, 12, 0, 0), "weekly: to the next Thursday");
	next_period_is(CR_YEARLY, "UTC", anchor, utc(2027, 1, 15, 12, 0, 0),
				   utc(2028, 1, 15, 12, 0, 0), "yearly: to the next 15 January");
	next_period_is(CR_CALENDAR, "UTC", anchor, feb - 3 * HOUR, mar,
				   "the start has moved to 3 hours later: not a period of 3 hours");
	next_period_is(CR_CALENDAR, "UTC", anchor, feb + 3 * HOUR, mar,
				   "it has moved to 3 hours earlier: 3 hours less");
	next_period_is(CR_DAILY, "UTC", anchor, feb - 3 * HOUR, feb + DAY, "daily, 3 hours later");
	next_period_is(CR_DAILY, "UTC", anchor, feb + 3 * HOUR, feb + DAY, "daily, 3 hours earlier");
	next_period_is(CR_DAILY, "UTC", anchor, feb + 12 * HOUR, feb + DAY,
				   "half a full period is enough");
	next_period_is(CR_DAILY, "UTC", anchor, feb + 12 * HOUR + 1, feb + 2 * DAY,
				   "a microsecond less is not");
	next_period_is(CR_CALENDAR, "UTC", anchor, feb + 14 * DAY, mar,
				   "half of February are 14 days");
	next_period_is(CR_CALENDAR, "UTC", anchor, feb + 14 * DAY + 1, utc(2026, 4, 1, 0, 0, 0),
				   "a microsecond later the period lasts to April");
	next_period_is(CR_DAILY, "Pacific/Apia", anchor, utc(2011, 12, 30, 10, 0, 0),
				   utc(2011, 12, 31, 10, 0, 0), "Apia's skipped day has no period");
}

/* Another anchor, zone or cycle: to the first boundary, and the share of a full period. */
static void
test_changed_period(void)
{
	CrLocal		anchor = utc(2026, 1, 15, 0, 0, 0);
	CrTime		feb = utc(2026, 2, 1, 0, 0, 0);
	CrTime		mar = utc(2026, 3, 1, 0, 0, 0);

	changed_period_is(CR_CALENDAR, "Asia/Tokyo", 0, feb, utc(2026, 2, 28, 15, 0, 0), 986607,
					  "zone UTC to Tokyo: until 28 Feb 15:00Z, 986607 parts per million");
	is_int(cr_share_of(100, 986607), 98, "98 of 100");
	changed_period_is(CR_CALENDAR, "UTC", anchor, feb, mar, CR_FULL_SHARE,
					  "a start that is a boundary: a full period");
	changed_period_is(CR_CALENDAR, "Europe/Berlin", anchor, utc(2026, 2, 28, 23, 0, 0),
					  utc(2026, 3, 31, 22, 0, 0), CR_FULL_SHARE, "also one of 31 days less an hour");
	changed_period_is(CR_ANNIVERSARY, "UTC", anchor, feb, utc(2026, 2, 15, 0, 0, 0), 451612,
					  "calendar to anniversary: 14 of 31 days");
	changed_period_is(CR_CALENDAR, "UTC", anchor, utc(2026, 2, 15, 0, 0, 0), mar, 500000,
					  "anniversary to calendar: 14 of 28 days");
	changed_period_is(CR_DAILY, "UTC", anchor, feb + 18 * HOUR, feb + DAY, 250000,
					  "to daily: 6 of 24 hours");
	changed_period_is(CR_WEEKLY, "UTC", anchor, feb, utc(2026, 2, 5, 0, 0, 0), 571428,
					  "to weekly: 4 of 7 days");
	changed_period_is(CR_YEARLY, "UTC", anchor, feb, utc(2027, 1, 15, 0, 0, 0), 953424,
					  "to yearly: 348 of 365 days");
	changed_period_is(CR_DAILY, "Europe/Berlin", anchor, utc(2026, 3, 29, 10, 30, 0),
					  utc(2026, 3, 29, 22, 0, 0), 500000, "11.5 hours of a day of 23");
	changed_period_is(CR_CALENDAR, "UTC", anchor, mar - 1, mar, 0,
					  "a microsecond of a month: a share of 0");
	changed_period_is(CR_CALENDAR, "UTC", anchor, feb + 1, mar, 999999,
					  "a microsecond less than a month is not full");
	changed_period_is(CR_YEARLY, "UTC", anchor, utc(2027, 1, 14, 23, 59, 29),
					  utc(2027, 1, 15, 0, 0, 0), 0, "31 seconds of a year: 0");
	changed_period_is(CR_YEARLY, "UTC", anchor, utc(2027, 1, 14, 23, 59, 28),
					  utc(2027, 1, 15, 0, 0, 0), 1, "32 seconds of a year: 1");
	changed_period_is(CR_YEARLY, "UTC", anchor, utc(2027, 1, 14, 23, 58, 56),
					  utc(2027, 1, 15, 0, 0, 0), 2, "64 seconds of a year: 2");
	changed_period_is(CR_YEARLY, "UTC", anchor, utc(2026, 1, 15, 0, 0, 0) + 1,
					  utc(2027, 1, 15, 0, 0, 0), 999999, "a year less a microsecond");
	changed_period_is(CR_DAILY, "Pacific/Apia", anchor, utc(2011, 12, 30, 10, 0, 0),
					  utc(2011, 12, 31, 10, 0, 0), CR_FULL_SHARE, "Apia: a full day");
}

static void
test_share_of(void)
{
	bool		good = true;

	is_int(cr_share_of(0, CR_FULL_SHARE), 0, "nothing of nothing");
	is_int(cr_share_of(1, CR_FULL_SHARE), 1, "a full share is everything");
	is_int(cr_share_of(1, 999999), 0, "a share of one credit is nothing");
	is_int(cr_share_of(999999, 1), 0, "the smallest share of 999999 credits is nothing");
	is_int(cr_share_of(1000000, 1), 1, "of a million it is one");
	is_int(cr_share_of(CR_MAX_CREDITS, 0), 0, "a share of 0 is nothing");
	is_int(cr_share_of(CR_MAX_CREDITS, CR_FULL_SHARE), CR_MAX_CREDITS, "2^53 - 1, all of it");
	is_int(cr_share_of(CR_MAX_CREDITS, 1), INT64_C(9007199254), "2^53 - 1, a millionth");
	is_int(cr_share_of(CR_MAX_CREDITS, 999999), INT64_C(9007190247541736),
		   "2^53 - 1, all but a millionth");
	for (int i = 0; i < 20000 && good; i++)
	{
		int64_t		credits = random_between(0, one_in(2) ? 3000000 : CR_MAX_CREDITS);
		int32_t		share = (int32_t) random_between(0, CR_FULL_SHARE);

		good = cr_share_of(credits, share) ==
			(int64_t) ((__int128) credits * share / CR_FULL_SHARE);
		if (!good)
			note("%" PRId64 " credits, share %d", credits, (int) share);
	}
	ok(good, "random shares are those of 128 bits");
}

static void
restart_is(CrCycle cycle, const char *zone, CrTime at, CrLocal anchor, CrTime end,
		   const char *name)
{
	CrLocal		got_anchor = 0;
	CrTime		got = cr_restart_end(&env, cycle, zone, at, &got_anchor);

	if (!ok(got == end && got_anchor == anchor, "%s", name))
		note("got %s, anchor %s", show_time(got), show_time(got_anchor));
}

/* No zone does this. */
static CrTime
two_days_early(void *ctx, const char *zone, CrLocal local)
{
	(void) ctx;
	(void) zone;
	return local - 2 * DAY;
}

static void
test_restart(void)
{
	const CrEnv odd = {.local_to_utc = two_days_early,.utc_to_local = utc_to_local};
	CrTime		at = utc(2026, 1, 31, 10, 0, 0);
	CrLocal		anchor;

	restart_is(CR_CALENDAR, "UTC", at, at, utc(2026, 2, 28, 10, 0, 0),
			   "restart, calendar: a month from now, clamped, not the 1st");
	restart_is(CR_ANNIVERSARY, "UTC", at, at, utc(2026, 2, 28, 10, 0, 0),
			   "restart, anniversary: a month from now, clamped");
	restart_is(CR_DAILY, "UTC", at, at, utc(2026, 2, 1, 10, 0, 0), "restart, daily: a day");
	restart_is(CR_WEEKLY, "UTC", at, at, utc(2026, 2, 7, 10, 0, 0), "restart, weekly: a week");
	restart_is(CR_YEARLY, "UTC", utc(2024, 2, 29, 10, 0, 0), utc(2024, 2, 29, 10, 0, 0),
			   utc(2025, 2, 28, 10, 0, 0), "restart, yearly: a year, clamped");
	restart_is(CR_DAILY, "Europe/Berlin", utc(2026, 3, 28, 12, 0, 0),
			   utc(2026, 3, 28, 13, 0, 0), utc(2026, 3, 29, 11, 0, 0),
			   "restart in Berlin: the same time on the clock, an hour less");
	restart_is(CR_DAILY, "Europe/Berlin", utc(2026, 3, 28, 1, 30, 0),
			   utc(2026, 3, 28, 2, 30, 0), utc(2026, 3, 29, 1, 30, 0),
			   "restart in Berlin, to a time in the gap");
	restart_is(CR_DAILY, "Europe/Berlin", utc(2026, 10, 25, 0, 30, 0),
			   utc(2026, 10, 25, 2, 30, 0), utc(2026, 10, 26, 1, 30, 0),
			   "restart in Berlin, at the first of two 02:30: a day, not an hour");
	restart_is(CR_DAILY, "Pacific/Apia", utc(2011, 12, 30, 9, 0, 0),
			   utc(2011, 12, 29, 23, 0, 0), utc(2011, 12, 31, 9, 0, 0),
			   "restart in Apia, to a time of the day that was skipped");
	is_time(cr_restart_end(&odd, CR_DAILY, "", at, &anchor), at + DAY,
			"restart where a day later on the clock is not later: after three days on it");
}

static CrLocal
random_anchor(void)
{
	int			day = one_in(3) ? (int) random_between(28, 31) : (int) random_between(1, 31);
	CrLocal		anchor = add_months(utc((int) random_between(1975, 2040), 1, day, 0, 0, 0),
									random_between(0, 11));

	switch (random_between(1, 4))
	{
		case 1:
			return anchor;
		case 2:
			return anchor + random_between(0, 23) * HOUR;
		case 3:
			return anchor + 2 * HOUR + 30 * MINUTE;
		default:
			return anchor + random_between(0, DAY - 1);
	}
}

/* Boundaries one after another, made as a boundary is defined. */
#define N_STEPS 40

typedef struct Model
{
	CrCycle		cycle;
	const char *zone;
	CrLocal		anchor;
	int			n;
	CrTime		boundaries[N_STEPS];
} Model;

/* Fills the model with the boundaries before and after a time. */
static void
model_around(Model *model, CrCycle cycle, const char *zone, CrLocal anchor, CrTime at)
{
	/* microseconds of a step on average: 400 years have 146097 days */
	static const int64_t average[CR_CYCLE_COUNT] = {146097 * DAY / 4800, 146097 * DAY / 4800,
		DAY, 7 * DAY, 146097 * DAY / 400};
	int64_t		first = (at - anchor) / average[cycle] - N_STEPS / 2;

	model->cycle = cycle;
	model->zone = zone;
	model->anchor = anchor;
	model->n = 0;
	for (int i = 0; i < N_STEPS; i++)
	{
		CrTime		boundary = nth_boundary(cycle, zone, anchor, first + i);

		if (model->n == 0 || boundary > model->boundaries[model->n - 1])
			model->boundaries[model->n++] = boundary;
	}
}

/* The place of the last boundary at or before a time. */
static int
model_last(const Model *model, CrTime at)
{
	int			i = 0;

	while (model->boundaries[i + 1] <= at)
		i++;
	return i;
}

/* What is wrong with what the core says about this time; NULL: nothing. */
static const char *
time_breaks(const Model *m, CrTime at)
{
	int			i = model_last(m, at);
	CrTime		before = m->boundaries[i];
	CrTime		after = m->boundaries[i + 1];
	CrTime		full = after - before;
	CrTime		longest = cr_longest_period(m->cycle);
	CrLocal		local = zone_to_local(m->zone, at);
	CrLocal		restarted = 0;
	CrTime		end;
	CrPeriod	period;

	conversions = 0;
	if (next(m->cycle, m->zone, m->anchor, at) != after)
		return "not the next boundary";
	if (conversions > 6)
		return "too many conversions for the next boundary";
	if (last(m->cycle, m->zone, m->anchor, at) != before)
		return "not the last boundary";

	period = cr_changed_period(&env, m->cycle, m->zone, m->anchor, at);
	if (period.end != after)
		return "a changed period does not end at the next boundary";
	if (period.share < 0 || period.share > CR_FULL_SHARE)
		return "a share out of range";
	if ((period.share == CR_FULL_SHARE) != (at == before))
		return "a full share of a part, or a part of a full period";
	if ((__int128) (period.share + 1) * full <= (__int128) (after - at) * CR_FULL_SHARE ||
		(__int128) period.share * full > (__int128) (after - at) * CR_FULL_SHARE)
		return "not the share, rounded down";

	for (i++; (m->boundaries[i] - at) < full - (m->boundaries[i] - at); i++)
		continue;
	period = cr_next_period(&env, m->cycle, m->zone, m->anchor, at);
	if (period.share != CR_FULL_SHARE)
		return "the next period is not full";
	if (period.end != m->boundaries[i])
		return "the next period does not end at the first boundary half a period later";
	if (period.end - at > longest)
		return "a period longer than the longest";

	end = nth_boundary(m->cycle == CR_CALENDAR ? CR_ANNIVERSARY : m->cycle, m->zone, local, 1);
	if (m->cycle == CR_DAILY)
		end = zone_to_utc(m->zone, local + DAY);
	if (cr_restart_end(&env, m->cycle, m->zone, at, &restarted) != end || restarted != local)
		return "not restarted for one period from now";
	if (end <= at || end - at > longest)
		return "a restarted period of the wrong length";
	if (cr_cycle_has_anchor(m->cycle) && last(m->cycle, m->zone, local, end) != end)
		return "the end of a restarted period is no boundary of the new anchor";
	return NULL;
}

static void
test_random(void)
{
	/* about the days that zones skipped, and the nights of changes */
	const CrTime changes[] = {utc(2011, 12, 30, 10, 0, 0), utc(1994, 12, 31, 10, 40, 0),
		utc(2026, 3, 29, 1, 0, 0), utc(2026, 10, 25, 1, 0, 0), utc(2026, 9, 6, 4, 0, 0),
		utc(2028, 2, 29, 0, 0, 0)};
	const char *wrong = NULL;
	Model		m;
	CrTime		at = 0;

	for (int i = 0; i < 20000 && wrong == NULL; i++)
	{
		CrTime		about = utc(1992, 1, 1, 0, 0, 0) + random_between(0, 60 * YEAR);

		if (one_in(3))
			about = changes[random_between(0, lengthof(changes) - 1)] +
				random_between(-3 * DAY, 3 * DAY);
		model_around(&m, (CrCycle) random_between(0, CR_CYCLE_COUNT - 1), random_zone(),
					 random_anchor(), about);
		for (int k = 0; k < 6 && wrong == NULL; k++)
		{
			int			place = model_last(&m, about) + (int) random_between(-2, 2);

			at = m.boundaries[place];
			if (k == 0)
				at = about;
			else if (one_in(2))
				at += random_between(-1, 1);
			else if (one_in(2))
				at = random_between(at, m.boundaries[place + 1] - 1);
			else
				at += random_between(-26, 26) * HOUR;	/* a zone that has moved */
			wrong = time_breaks(&m, at);
		}
	}
	if (!ok(wrong == NULL, "random anchors, zones and times: as defined, for every cycle"))
		note("%s: %s in %s, anchor %s, at %s", wrong, cr_cycle_name(m.cycle), m.zone,
			 show_time(m.anchor), show_time(at));
}

/* A stored end in one zone, and the zone's data says something else when it comes. */
static void
test_zone_moved(void)
{
	const char *wrong = NULL;

	for (int i = 0; i < 20000 && wrong == NULL; i++)
	{
		CrCycle		cycle = (CrCycle) random_between(0, CR_CYCLE_COUNT - 1);
		const char *old = random_zone();
		const char *new = random_zone();
		CrLocal		anchor = random_anchor();
		CrTime		start = next(cycle, old, anchor, utc(2012, 6, 1, 0, 0, 0) +
								 random_between(0, 30 * YEAR));
		CrTime		full = next(cycle, new, anchor, start) - last(cycle, new, anchor, start);
		CrPeriod	period = cr_next_period(&env, cycle, new, anchor, start);

		if (period.share != CR_FULL_SHARE)
			wrong = "not full";
		else if (last(cycle, new, anchor, period.end) != period.end)
			wrong = "its end is no boundary";
		else if (period.end - start < full / 2)
			wrong = "shorter than half a period";
		else if (period.end - start > cr_longest_period(cycle))
			wrong = "longer than the longest";
		else if (last(cycle, new, anchor, period.end - 1) - start >= full - full / 2)
			wrong = "not the first such boundary";
		else if (old == new && period.end != next(cycle, new, anchor, start))
			wrong = "not the next boundary, although nothing has moved";
		if (wrong != NULL)
			note("%s: %s, %s to %s, anchor %s, start %s, end %s", wrong, cr_cycle_name(cycle),
				 old, new, show_time(anchor), show_time(start), show_time(period.end));
	}
	ok(wrong == NULL, "a zone that has moved by hours: full periods of at least half a step");
}

/* A daily account that nobody used for twenty years has 7305 boundaries to go through. */
static void
test_asleep(void)
{
	CrTime		at = utc(2020, 1, 1, 0, 0, 0) - 14 * HOUR;
	int			n = 0;

	conversions = 0;
	for (; at < utc(2040, 1, 1, 0, 0, 0) - 14 * HOUR && n < 8000; n++)
		at = cr_next_period(&env, CR_DAILY, "Pacific/Kiritimati", 0, at).end;
	is_int(n, 7305, "twenty years of days, one by one");
	if (!ok(conversions <= 5 * n, "at most 5 conversions for each"))
		note("%d conversions for %d boundaries", conversions, n);
}

void
test_period(void)
{
	test_month_ends();
	test_zones();
	test_days_over_changes();
	test_anchors();
	test_backwards();
	test_last_year();
	test_longest();
	test_next_period();
	test_changed_period();
	test_share_of();
	test_restart();
	test_random();
	test_zone_moved();
	test_asleep();
}
