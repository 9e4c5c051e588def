/*
 * period_test.c
 *		When a period ends: edge cases one by one, and random anchors compared
 *		with the definition of a boundary.
 */
#include "unit.h"

static World world;

static CrTime
next(CrCycle cycle, const char *zone, CrLocal anchor, CrTime after)
{
	return cr_next_boundary(&world.env, cycle, zone, anchor, after);
}

static CrTime
before(CrCycle cycle, const char *zone, CrLocal anchor, CrTime at)
{
	return cr_boundary_before(&world.env, cycle, zone, anchor, at);
}

/*
 * Tests that these boundaries follow a time.  Each must be found from the boundary
 * before it, from halfway, and from a microsecond before.
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

static void
test_any_anchor(void)
{
	const char *wrong = NULL;
	const char *zone = "";
	CrLocal		anchor = 0;
	CrCycle		cycle = CR_CALENDAR;
	CrTime		at = 0;

	for (int i = 0; i < 4000 && wrong == NULL; i++)
	{
		zone = random_zone();
		anchor = random_anchor();
		cycle = one_in(3) ? CR_CALENDAR : CR_ANNIVERSARY;
		at = anchor + random_between(2 * DAY, 40 * 365 * DAY);
		for (int k = 0; k < 14 && wrong == NULL; k++)
		{
			CrTime		got = next(cycle, zone, anchor, at);

			if (got <= at)
				wrong = "not after the one before";
			else if (got != boundary_from(cycle, zone, anchor, at + 1))
				wrong = "not anchor + n months in the zone";
			else if (next(cycle, zone, anchor, got - 1) != got)
				wrong = "another one from a microsecond before";
			else if (next(cycle, zone, anchor, random_between(at, got - 1)) != got)
				wrong = "another one from between";
			else if (before(cycle, zone, anchor, got + 1) != got)
				wrong = "not the last one before a microsecond later";
			else if (k > 0 && before(cycle, zone, anchor, got) != at)
				wrong = "not the last one before the next";
			else if (k > 0 && before(cycle, zone, anchor, random_between(at + 1, got)) != at)
				wrong = "not the last one before a time between";
			else if (k > 0 && (got - at < 27 * DAY || got - at > 33 * DAY))
				wrong = "not about a month later";
			else
				at = got;
		}
	}
	if (!ok(wrong == NULL, "random anchors: boundaries strictly increase, as defined"))
		note("%s: %s in %s, anchor %s, after %s", wrong, cr_cycle_name(cycle), zone,
			 show_time(anchor), show_time(at));
}

/* A boundary that does not come after the one before it is skipped. */
static void
test_backwards(void)
{
	CrLocal		anchor = utc(2026, 1, 1, 0, 0, 0);
	CrTime		at = anchor;
	bool		good = true;

	for (int i = 0; i < 24; i++)
	{
		CrTime		got = next(CR_ANNIVERSARY, "Test/Forward", anchor, at);

		good = good && got > at && got < at + 62 * DAY;
		at = got;
	}
	ok(good, "boundaries increase even where clocks jump more than a month");
}

static void
test_future_anchor(void)
{
	CrLocal		anchor = utc(2026, 3, 31, 9, 0, 0);
	CrTime		at = utc(2026, 3, 5, 0, 0, 0);

	is_time(next(CR_ANNIVERSARY, "UTC", anchor, at), anchor,
			"an anchor still to come, within a month, is the first boundary");
	is_time(next(CR_ANNIVERSARY, "UTC", anchor, anchor), utc(2026, 4, 30, 9, 0, 0),
			"and the next one is a month later");
}

static CrTime
period_end(CrCycle old_cycle, CrCycle new_cycle, const char *zone, CrLocal anchor, CrTime start)
{
	return cr_period_end(&world.env, old_cycle, new_cycle, zone, anchor, start);
}

static void
test_period_end(void)
{
	CrLocal		mid = utc(2026, 1, 15, 0, 0, 0);
	CrTime		feb = utc(2026, 2, 1, 0, 0, 0);
	const char *wrong = NULL;

	is_time(period_end(CR_CALENDAR, CR_CALENDAR, "UTC", mid, feb), utc(2026, 3, 1, 0, 0, 0),
			"calendar as before: the next 1st");
	is_time(period_end(CR_ANNIVERSARY, CR_ANNIVERSARY, "UTC", mid, utc(2026, 2, 15, 0, 0, 0)),
			utc(2026, 3, 15, 0, 0, 0), "anniversary as before: the next 15th");
	is_time(period_end(CR_CALENDAR, CR_ANNIVERSARY, "UTC", mid, feb),
			utc(2026, 3, 15, 0, 0, 0), "calendar to anniversary: stretched to the 15th");
	is_time(period_end(CR_ANNIVERSARY, CR_CALENDAR, "UTC", mid, utc(2026, 2, 15, 0, 0, 0)),
			utc(2026, 4, 1, 0, 0, 0), "anniversary to calendar: stretched to the 1st");
	is_time(period_end(CR_CALENDAR, CR_ANNIVERSARY, "UTC", utc(2026, 1, 1, 0, 0, 0), feb),
			utc(2026, 3, 1, 0, 0, 0), "a new boundary at the very old end is the end");
	is_time(period_end(CR_ANNIVERSARY, CR_CALENDAR, "UTC", utc(2026, 1, 1, 0, 0, 0), feb),
			utc(2026, 3, 1, 0, 0, 0), "and the other way round");
	is_time(cr_stretch(&world.env, CR_ANNIVERSARY, "UTC", mid, feb), utc(2026, 2, 15, 0, 0, 0),
			"a period that ends on the 1st stretches to the 15th");
	is_time(cr_stretch(&world.env, CR_ANNIVERSARY, "UTC", mid, utc(2026, 2, 15, 0, 0, 0)),
			utc(2026, 2, 15, 0, 0, 0), "one that ends on the 15th need not");
	is_time(cr_stretch(&world.env, CR_ANNIVERSARY, "UTC", mid, utc(2026, 2, 15, 0, 0, 0) + 1),
			utc(2026, 3, 15, 0, 0, 0), "one that ends just after it must");
	for (int i = 0; i < 2000 && wrong == NULL; i++)
	{
		const char *zone = random_zone();
		CrLocal		anchor = random_anchor();
		CrCycle		from = one_in(2) ? CR_CALENDAR : CR_ANNIVERSARY;
		CrCycle		to = one_in(2) ? CR_CALENDAR : CR_ANNIVERSARY;
		CrTime		start = boundary_from(from, zone, anchor,
										  anchor + random_between(2 * DAY, 20 * 365 * DAY));
		CrTime		old_end = boundary_from(from, zone, anchor, start + 1);
		CrTime		got = period_end(from, to, zone, anchor, start);

		if (got < old_end)
			wrong = "before the old end";
		else if (got != boundary_from(to, zone, anchor, old_end))
			wrong = "not the first new boundary";
		if (wrong != NULL)
			note("%s: %s to %s in %s, anchor %s, start %s, got %s", wrong, cr_cycle_name(from),
				 cr_cycle_name(to), zone, show_time(anchor), show_time(start), show_time(got));
	}
	ok(wrong == NULL,
	   "random changes of cycle: the first new boundary at or after the old end");
}

void
test_period(void)
{
	world_init(&world);
	test_month_ends();
	test_zones();
	test_any_anchor();
	test_backwards();
	test_future_anchor();
	test_period_end();
}
