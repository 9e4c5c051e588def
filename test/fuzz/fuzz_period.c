/*
 * fuzz_period.c
 *		Boundaries: the core's are those of the plainest definition, on both sides of
 *		the time they are asked for.  Periods end at boundaries, after their start, and
 *		their shares are in range and add up to no more than a full one.
 */
#include "fuzz.h"

#include "core/private.h"

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

static const CrEnv env = {.local_to_utc = local_to_utc,.utc_to_local = utc_to_local};

static void
check_periods(CrCycle cycle, const char *zone, CrLocal anchor, CrTime at)
{
	CrTime		before = cr_boundary_at(&env, cycle, zone, anchor, at);
	CrTime		next = cr_next_boundary(&env, cycle, zone, anchor, at);
	CrPeriod	full = cr_next_period(&env, cycle, zone, anchor, at);
	CrPeriod	changed = cr_changed_period(&env, cycle, zone, anchor, at);
	CrLocal		local;
	CrTime		end = cr_restart_end(&env, cycle, zone, at, &local);

	REQUIRE(full.share == CR_FULL_SHARE && 2 * (full.end - at) >= next - before &&
			full.end - at <= cr_longest_period(cycle) &&
			cr_boundary_at(&env, cycle, zone, anchor, full.end) == full.end,
			"%s: a full period from %s ends at %s", zone, show_time(at), show_time(full.end));
	REQUIRE(changed.end == next && changed.share >= 1 && changed.share <= CR_FULL_SHARE &&
			(changed.share == CR_FULL_SHARE) == (at == before),
			"%s: a changed period from %s ends at %s, share %d", zone, show_time(at),
			show_time(changed.end), (int) changed.share);
	REQUIRE((__int128) changed.share * (next - before) <=
			(__int128) CR_FULL_SHARE * (next - at) || changed.share == 1,
			"%s: from %s, share %d is too much", zone, show_time(at), (int) changed.share);
	REQUIRE(local == zone_to_local(zone, at) && end > at &&
			end - at <= cr_longest_period(cycle),
			"%s: restarted at %s, until %s", zone, show_time(at), show_time(end));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CrCycle		cycle;
	CrLocal		anchor;
	CrTime		after;
	const char *zone;

	input_begin(data, size);
	cycle = (CrCycle) random_between(0, CR_CYCLE_COUNT - 1);
	zone = random_zone();
	anchor = utc(2026, 1, 1, 0, 0, 0) + random_between(-40000, 40000) * DAY +
		(one_in(3) ? 0 : random_between(0, DAY - 1));
	after = anchor + random_between(-30 * 366, 30 * 366) * DAY + (one_in(3) ? 0 :
															 random_between(0, DAY - 1));

	for (int i = 0; i < 8; i++)
	{
		CrTime		next = cr_next_boundary(&env, cycle, zone, anchor, after);

		REQUIRE(next > after, "%s: the boundary after %s is %s", zone, show_time(after),
				show_time(next));
		REQUIRE(next == boundary_from(cycle, zone, anchor, after + 1),
				"%s: after %s comes %s, not %s", zone, show_time(after),
				show_time(boundary_from(cycle, zone, anchor, after + 1)), show_time(next));
		REQUIRE(cr_boundary_at(&env, cycle, zone, anchor, next) == next &&
				cr_boundary_at(&env, cycle, zone, anchor, next - 1) <= after,
				"%s: %s is not the last boundary at its time", zone, show_time(next));
		check_periods(cycle, zone, anchor, after);
		after = one_in(4) ? next - 1 : next;
	}
	return 0;
}
