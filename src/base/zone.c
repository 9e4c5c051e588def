/*
 * zone.c
 *		Time zones: functions that the core calls, and which names are time zones.
 *
 * A local time in a gap is read with the offset before the gap.  A local time in an
 * overlap is read with the offset after it.  PostgreSQL has the same rule
 * (DetermineTimeZoneOffset).
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/datetime.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "base/zone.h"

/*
 * NULL if there is no such zone.  If loading the zone fails, that is an error of its own.
 */
static pg_tz *
load_zone(const char *zone)
{
	pg_tz *tz;
	bool no_room;

	errno = 0;
	tz = pg_tzset(zone);
	no_room = tz == NULL && (errno == ENOMEM || errno == ENFILE || errno == EMFILE);
	if (no_room)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not load time zone \"%s\": %m", zone)));
	return tz;
}

static pg_tz *
find_zone(const char *zone)
{
	pg_tz *tz = load_zone(zone);

	if (tz == NULL)
		error_no_zone(zone);
	return tz;
}

/*
 * Does the server still know a zone that it knew when an account got it?  Systems
 * sometimes remove zones.  If a session has read a zone, it knows the zone to its end.
 * If a session has not found it, it looks again at its next statement.  A name that is
 * itself a rule ("EST5EDT") is known without a file.
 */
bool
zone_is_known(void *ctx, const char *zone)
{
	static char unknown[TZ_STRLEN_MAX + 1] = "";
	static TimestampTz statement;
	bool known;

	(void) ctx;
	if (unknown[0] != '\0' && strcmp(zone, unknown) == 0 &&
		statement == GetCurrentStatementStartTimestamp())
		return false;
	known = load_zone(zone) != NULL;
	if (!known)
	{
		strlcpy(unknown, zone, sizeof(unknown));
		statement = GetCurrentStatementStartTimestamp();
	}
	return known;
}

static void
out_of_range(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
			 errmsg("timestamp out of range")));
}

/*
 * Keeps the last conversion, because in a sweep of calendar months all accounts of a zone
 * have the same boundary.
 */
CrTime
zone_local_to_utc(void *ctx, const char *zone, CrLocal local)
{
	static char last_zone[TZ_STRLEN_MAX + 1] = "";
	static CrLocal last_local;
	static CrTime last_utc;
	struct pg_tm tm;
	fsec_t fraction;
	TimestampTz utc;
	int offset;

	(void) ctx;
	CHECK_FOR_INTERRUPTS();
	if (local == last_local && strcmp(zone, last_zone) == 0)
		return last_utc;
	if (timestamp2tm(local, NULL, &tm, &fraction, NULL, NULL) != 0)
		out_of_range();
	offset = DetermineTimeZoneOffset(&tm, find_zone(zone));
	if (tm2timestamp(&tm, fraction, &offset, &utc) != 0)
		out_of_range();
	strlcpy(last_zone, zone, sizeof(last_zone));
	last_local = local;
	last_utc = utc;
	return utc;
}

CrLocal
zone_utc_to_local(void *ctx, const char *zone, CrTime utc)
{
	struct pg_tm tm;
	fsec_t fraction;
	Timestamp local;
	int offset;

	(void) ctx;
	if (timestamp2tm(utc, &offset, &tm, &fraction, NULL, find_zone(zone)) != 0 ||
		tm2timestamp(&tm, fraction, NULL, &local) != 0)
		out_of_range();
	return local;
}

/* Names whose meaning depends on the machine's settings.  An account cannot have them. */
static bool
is_local(const char *name)
{
	return strcmp(name, "localtime") == 0 || strcmp(name, "posixrules") == 0 ||
		strcmp(name, "Factory") == 0;
}

static bool
is_listed(const char *name)
{
	pg_tzenum *list = pg_tzenumerate_start();
	pg_tz *entry;
	bool found = false;

	while (!found && (entry = pg_tzenumerate_next(list)) != NULL)
		found = strcmp(pg_get_timezone_name(entry), name) == 0;
	pg_tzenumerate_end(list);
	return found;
}

/*
 * The name as pg_timezone_names has it, or NULL.  pg_tzset alone would also accept POSIX
 * rules ("FOO5BAR"), so the name must be in the list.  Reading the list takes
 * milliseconds, so a name that was found is remembered.
 */
const char *
zone_canonical(const char *zone)
{
	static HTAB *known = NULL;
	pg_tz *tz;
	const char *name;
	bool found;
	char key[TZ_STRLEN_MAX + 1] = {0};

	if (strlen(zone) > TZ_STRLEN_MAX || (tz = load_zone(zone)) == NULL)
		return NULL;
	name = pg_get_timezone_name(tz);
	if (name == NULL || is_local(name))
		return NULL;
	if (known == NULL)
	{
		HASHCTL info = {.keysize = sizeof(key), .entrysize = sizeof(key)};

		known = hash_create("credits time zones", 64, &info, HASH_ELEM | HASH_STRINGS);
	}
	strlcpy(key, name, sizeof(key));
	if (hash_search(known, key, HASH_FIND, NULL))
		return name;

	found = is_listed(name);
	if (!found) /* the list leaves out zones for which there was no memory */
		found = is_listed(name);
	if (!found)
		return NULL;
	(void) hash_search(known, key, HASH_ENTER, NULL);
	return name;
}
