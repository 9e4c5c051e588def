/*
 * fuzz_period.c
 *		Boundaries: the core's are those of the plainest definition, strictly after
 *		the time they are asked for, and a change of cycle or zone never ends a
 *		period sooner than it would have ended.
 */
#include "fuzz.h"

static CrTime
local_to_utc(void *ctx, const char *zone, CrLocal local)
{
	(void) ctx;
	return zone_to_utc(zone, local);
}

static CrLocal
utc_to_local(void *ctx, const char *zone, CrTime at)
{
	(void) ctx;
	return zone_to_local(zone, at);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CrEnv		env = {.local_to_utc = local_to_utc,.utc_to_local = utc_to_local};
	CrCycle		cycle;
	CrCycle		other;
	CrLocal		anchor;
	CrTime		after;
	const char *zone;

	input_begin(data, size);
	cycle = one_in(2) ? CR_CALENDAR : CR_ANNIVERSARY;
	other = one_in(2) ? CR_CALENDAR : CR_ANNIVERSARY;
	zone = random_zone();
	anchor = utc(2026, 1, 1, 0, 0, 0) + random_between(-40000, 40000) * DAY +
		(one_in(3) ? 0 : random_between(0, DAY - 1));
	after = anchor + random_between(-30 * 366, 30 * 366) * DAY + (one_in(3) ? 0 :
															 random_between(0, DAY - 1));

	for (int i = 0; i < 8; i++)
	{
		CrTime		next = cr_next_boundary(&env, cycle, zone, anchor, after);
		CrTime		end;

		REQUIRE(next > after, "%s: the boundary after %s is %s", zone, show_time(after),
				show_time(next));
		REQUIRE(next == boundary_from(cycle, zone, anchor, after + 1),
				"%s: after %s comes %s, not %s", zone, show_time(after),
				show_time(boundary_from(cycle, zone, anchor, after + 1)), show_time(next));
		end = cr_period_end(&env, cycle, other, zone, anchor, next);
		REQUIRE(end > next, "%s: a period from %s ends at %s", zone, show_time(next),
				show_time(end));
		REQUIRE(end >= cr_next_boundary(&env, cycle, zone, anchor, next) ||
				end - next >= 26 * DAY,
				"%s: a change of cycle shortens the period from %s to %s", zone,
				show_time(next), show_time(end));
		end = cr_stretch(&env, other, zone, anchor, next);
		REQUIRE(end >= next && end - next <= 32 * DAY + DAY, "%s: %s is stretched to %s",
				zone, show_time(next), show_time(end));
		after = one_in(4) ? next - 1 : next;
	}
	return 0;
}
