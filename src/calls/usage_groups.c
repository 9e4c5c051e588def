/*
 * usage_groups.c
 *		Usage, grouped by day, hour, kind, reason, spender or user.
 *
 * Days and hours are those of a time zone.  A day starts at the first instant of its
 * local date, and ends where the next one starts.  So every instant belongs to one day,
 * also where a clock is changed at midnight.  The same is true for hours.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/sums.h"
#include "base/zone.h"
#include "calls/usage_groups.h"
#include "ledger/request.h"

#define ONE_HOUR	 (CR_DAY / 24)
#define MAX_TIMES	 10000
#define DEFAULT_DAYS 30

static const char *const by_names[] = {
	[USAGE_DAY] = "day",	   [USAGE_HOUR] = "hour",		[USAGE_KIND] = "kind",
	[USAGE_REASON] = "reason", [USAGE_SPENDER] = "spender", [USAGE_ALL] = "all",
	[USAGE_USER] = "user",
};

typedef struct NamedUsage
{
	const char *name; /* the key; NULL: rows that have no name */
	Usage usage;
} NamedUsage;

UsageBy
usage_by(FunctionCallInfo fcinfo, int arg, bool of_all_users)
{
	char *name = arg_optional_name(fcinfo, arg, "by");

	for (int by = USAGE_DAY; by <= USAGE_USER; by++)
	{
		if (name && strcmp(name, by_names[by]) == 0 && (by != USAGE_USER || of_all_users))
			return (UsageBy) by;
	}
	if (name)
		error_bad_value("by", name,
						of_all_users ? "day, hour, kind, reason, spender, user or all"
									 : "day, hour, kind, reason, spender or all");
	return USAGE_DAY;
}

/* Reads the arguments by (before), from_time, to_time and time_zone. */
void
usage_window(UsageGroups *groups, FunctionCallInfo fcinfo, int first_arg)
{
	char *zone = arg_optional_name(fcinfo, first_arg + 2, "time_zone");

	groups->now = clock_statement();
	groups->from = PG_ARGISNULL(first_arg) ? CR_NEVER
										   : arg_time(fcinfo, first_arg, "from_time");
	groups->to = PG_ARGISNULL(first_arg + 1) ? CR_NEVER
											 : arg_time(fcinfo, first_arg + 1, "to_time");
	groups->zone = NULL;
	if (zone && (groups->zone = zone_canonical(zone)) == NULL)
		error_bad_value("time_zone", zone, "a name in pg_timezone_names");
}

static CrLocal
local_floor(CrLocal local, int64 unit)
{
	int64 rest = local % unit;

	return local - (rest < 0 ? rest + unit : rest);
}

/*
 * The first instant of a local date.  If the clock is put back over midnight, there are
 * two midnights, and zone_local_to_utc gives the second one.
 */
static CrTime
day_start(const char *zone, CrLocal midnight)
{
	CrTime start = zone_local_to_utc(NULL, zone, midnight);
	CrLocal before = zone_utc_to_local(NULL, zone, start - 1);

	return before >= midnight ? start - (before + 1 - midnight) : start;
}

/* The start of an hour, or the instant itself if the clock is changed within the hour. */
static CrTime
hour_start(const char *zone, CrTime at)
{
	CrLocal local = zone_utc_to_local(NULL, zone, at);
	CrTime start = at - (local - local_floor(local, ONE_HOUR));

	local = zone_utc_to_local(NULL, zone, start);
	return local == local_floor(local, ONE_HOUR) ? start : at;
}

static CrTime
first_start(const UsageGroups *groups, CrTime from)
{
	if (groups->by == USAGE_HOUR)
		return hour_start(groups->zone, from);
	return day_start(groups->zone,
					 local_floor(zone_utc_to_local(NULL, groups->zone, from), CR_DAY));
}

static CrTime
next_start(const UsageGroups *groups, CrTime start)
{
	CrLocal midnight;

	if (groups->by == USAGE_HOUR)
	{
		CrTime next = hour_start(groups->zone, start + ONE_HOUR);

		return next > start ? next : start + ONE_HOUR;
	}
	midnight = local_floor(zone_utc_to_local(NULL, groups->zone, start), CR_DAY);
	return day_start(groups->zone, midnight + CR_DAY);
}

/* All days or hours from the first to the last instant that is wanted. */
static void
make_times(UsageGroups *groups, CrTime last)
{
	int room = 64;
	CrTime start = first_start(groups, groups->from);

	groups->starts = palloc(sizeof(CrTime) * room);
	for (groups->count = 0; start <= last && groups->from <= last;
		 start = next_start(groups, start))
	{
		CHECK_FOR_INTERRUPTS();
		if (groups->count == MAX_TIMES)
			error_bad_value("from_time", "too early",
							psprintf("at most %d days or hours", MAX_TIMES));
		if (groups->count == room)
			groups->starts = repalloc(groups->starts, sizeof(CrTime) * (room *= 2));
		groups->starts[groups->count++] = start;
	}
	groups->of_times = palloc0(sizeof(Usage) * Max(groups->count, 1));
}

static const char *
key_name(const void *key)
{
	return *(const char *const *) key;
}

static uint32
hash_name(const void *key, Size size)
{
	const char *name = key_name(key);

	(void) size;
	return name ? hash_bytes((const unsigned char *) name, (int) strlen(name)) : 0;
}

static int
compare_keys(const void *a, const void *b, Size size)
{
	const char *name = key_name(a);
	const char *other = key_name(b);

	(void) size;
	return name == NULL || other == NULL ? name != other : strcmp(name, other);
}

/*
 * Begins with no usage.  Days and hours are there from the beginning, so they are shown
 * even if nothing happened.  default_zone: NULL is UTC.
 */
void
usage_start(UsageGroups *groups, const char *default_zone)
{
	bool is_hours = groups->by == USAGE_HOUR;
	CrTime last = groups->to == CR_NEVER ? groups->now : groups->to - 1;

	if (groups->zone == NULL)
	{
		bool is_known = default_zone && zone_is_known(NULL, default_zone);

		groups->zone = is_known ? default_zone : "UTC";
	}
	if (groups->from == CR_NEVER)
	{
		CrTime from = last - (is_hours ? 23 * ONE_HOUR : (DEFAULT_DAYS - 1) * CR_DAY);
		UsageGroups days = *groups;

		days.by = is_hours ? USAGE_HOUR : USAGE_DAY;
		groups->from = first_start(&days, from);
	}
	if (groups->by == USAGE_DAY || is_hours)
		make_times(groups, last);
	else
	{
		HASHCTL info = {.keysize = sizeof(char *),
						.entrysize = sizeof(NamedUsage),
						.hash = hash_name,
						.match = compare_keys,
						.hcxt = CurrentMemoryContext};

		groups->of_names = hash_create("credits usage", 64, &info,
									   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE |
										   HASH_CONTEXT);
	}
}

/* The last group that starts at a time or before it. */
static Usage *
usage_at(UsageGroups *groups, CrTime at)
{
	int low = 0;
	int high = groups->count;

	while (high - low > 1)
	{
		int middle = low + (high - low) / 2;

		if (groups->starts[middle] <= at)
			low = middle;
		else
			high = middle;
	}
	Assert(groups->count > 0 && groups->starts[low] <= at);
	return &groups->of_times[low];
}

static Usage *
usage_of(UsageGroups *groups, const char *name)
{
	bool found;
	NamedUsage *entry = hash_search(groups->of_names, &name, HASH_ENTER, &found);

	if (!found)
	{
		if (name)
			entry->name = MemoryContextStrdup(GetMemoryChunkContext(groups->of_names), name);
		memset(&entry->usage, 0, sizeof(Usage));
	}
	return &entry->usage;
}

/* Adds usage to its group.  name: for groups that are no times; may be NULL. */
void
usage_add(UsageGroups *groups, CrTime at, const char *name, const Usage *usage)
{
	Usage *sum = groups->of_names ? usage_of(groups, name) : usage_at(groups, at);

	sum_add(&sum->rows, usage->rows);
	sum_add(&sum->operations, usage->operations);
	sum_add(&sum->spent, usage->spent);
	sum_add(&sum->monthly_spent, usage->monthly_spent);
	sum_add(&sum->granted_spent, usage->granted_spent);
	sum_add(&sum->refunded, usage->refunded);
	sum_add(&sum->purchased, usage->purchased);
	sum_add(&sum->granted, usage->granted);
	sum_add(&sum->delta, usage->delta);
}

static void
put(ReturnSetInfo *rsinfo, const CrTime *start, const char *name, const Usage *usage)
{
	Datum values[12];
	bool nulls[12] = {start == NULL, name == NULL};
	int64 purchased_spent = usage->spent;

	sum_subtract(&purchased_spent, usage->monthly_spent);
	sum_subtract(&purchased_spent, usage->granted_spent);

	if (start)
		values[0] = TimestampTzGetDatum(*start);
	if (name)
		values[1] = CStringGetTextDatum(name);
	values[2] = Int64GetDatum(usage->rows);
	values[3] = Int64GetDatum(usage->operations);
	values[4] = Int64GetDatum(usage->spent);
	values[5] = Int64GetDatum(usage->monthly_spent);
	values[6] = Int64GetDatum(usage->granted_spent);
	values[7] = Int64GetDatum(purchased_spent);
	values[8] = Int64GetDatum(usage->refunded);
	values[9] = Int64GetDatum(usage->purchased);
	values[10] = Int64GetDatum(usage->granted);
	values[11] = Int64GetDatum(usage->delta);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* The local date, or the local date and hour. */
static const char *
time_name(const UsageGroups *groups, CrTime start)
{
	CrLocal local = zone_utc_to_local(NULL, groups->zone, start);
	struct pg_tm tm;
	fsec_t fraction;

	if (timestamp2tm(local, NULL, &tm, &fraction, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");
	if (groups->by == USAGE_HOUR)
		return psprintf("%04d-%02d-%02d %02d:00", tm.tm_year, tm.tm_mon, tm.tm_mday,
						tm.tm_hour);
	return psprintf("%04d-%02d-%02d", tm.tm_year, tm.tm_mon, tm.tm_mday);
}

/* Who spent most first; then by name, and what has no name last. */
static int
compare_usage(const void *a, const void *b)
{
	const NamedUsage *one = *(const NamedUsage *const *) a;
	const NamedUsage *other = *(const NamedUsage *const *) b;

	if (one->usage.spent != other->usage.spent)
		return one->usage.spent > other->usage.spent ? -1 : 1;
	if (one->name == NULL || other->name == NULL)
		return (one->name == NULL) - (other->name == NULL);
	return strcmp(one->name, other->name);
}

/* Returns the groups: times in their order, others by what was spent. */
void
usage_put(UsageGroups *groups, FunctionCallInfo fcinfo)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	HASH_SEQ_STATUS all;
	NamedUsage *entry;
	NamedUsage **sorted;
	long count = 0;

	if (groups->of_names == NULL)
	{
		for (int i = 0; i < groups->count; i++)
			put(rsinfo, &groups->starts[i], time_name(groups, groups->starts[i]),
				&groups->of_times[i]);
		return;
	}
	if (groups->by == USAGE_ALL)
		(void) usage_of(groups, NULL);
	sorted = palloc_extended(sizeof(NamedUsage *) *
								 Max(hash_get_num_entries(groups->of_names), 1),
							 MCXT_ALLOC_HUGE);
	hash_seq_init(&all, groups->of_names);
	while ((entry = hash_seq_search(&all)) != NULL)
		sorted[count++] = entry;
	qsort(sorted, count, sizeof(NamedUsage *), compare_usage);
	for (long i = 0; i < count; i++)
		put(rsinfo, NULL, sorted[i]->name, &sorted[i]->usage);
}
