/*
 * clock.c
 *		The time that the ledger reads, and the setting credits.clock that replaces it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/utc.h"

static char *clock_text = NULL;
static CrTime fixed_clock = CR_NEVER; /* CR_NEVER: use the real clock */

/*
 * Parses a timestamptz.  It must not raise an error, because it is called by a check
 * hook.  Only times in the years that every client can show are valid.
 */
static bool
parse_clock(const char *text, CrTime *result)
{
	char work[MAXDATELEN + MAXDATEFIELDS];
	char *fields[MAXDATEFIELDS];
	int types[MAXDATEFIELDS];
	int count, dtype, tz;
	struct pg_tm tm;
	fsec_t fraction;
	TimestampTz at;

	if (strlen(text) >= MAXDATELEN ||
		ParseDateTime(text, work, sizeof(work), fields, types, MAXDATEFIELDS, &count) != 0)
		return false;
	if (compat_decode_datetime(fields, types, count, &dtype, &tm, &fraction, &tz) != 0)
		return false;
	if (dtype != DTK_DATE || tm2timestamp(&tm, fraction, &tz, &at) != 0)
		return false;
	if (tm.tm_year < 1970 || tm.tm_year > 9999)
		return false;
	*result = at;
	return true;
}

/*
 * Stores the setting in a form that has no words and depends on no other setting.  A
 * parallel worker restores this setting before TimeZone and before the abbreviations of
 * time zones.  Without those it could not look up a word.
 */
static bool
make_portable(char **newval, CrTime at)
{
	char text[UTC_TEXT_SIZE + 3];
	char *copy;

	utc_text(at, text);
	text[strlen("2026-01-31")] = ' ';
	strcpy(text + strlen(text) - strlen("Z"), "+00");
	copy = compat_guc_malloc(strlen(text) + 1);
	if (copy == NULL)
		return false;
	strcpy(copy, text);
	compat_guc_free(*newval);
	*newval = copy;
	return true;
}

static bool
check_clock(char **newval, void **extra, GucSource source)
{
	CrTime parsed = CR_NEVER;

	(void) source;
	if (*newval != NULL && (*newval)[0] != '\0')
	{
		if (!parse_clock(*newval, &parsed))
		{
			GUC_check_errdetail(
				"It must be empty, or a timestamp with a time zone in the years 1970 to 9999.");
			return false;
		}
		if (!make_portable(newval, parsed))
			return false;
	}
	*extra = compat_guc_malloc(sizeof(parsed));
	if (*extra == NULL)
		return false;
	*(CrTime *) *extra = parsed;
	return true;
}

static void
assign_clock(const char *newval, void *extra)
{
	(void) newval;
	fixed_clock = extra ? *(CrTime *) extra : CR_NEVER;
}

void
clock_define(void)
{
	DefineCustomStringVariable(
		"credits.clock", "Fixes the time that the ledger reads; empty: the real clock.",
		"For tests and for replaying the past. A timestamp with a time zone.", &clock_text, "",
		PGC_SUSET, GUC_NOT_IN_SAMPLE, check_clock, assign_clock, NULL);
}

/* Now.  This is called after the lock is held, never before. */
CrTime
clock_now(void)
{
	return fixed_clock != CR_NEVER ? fixed_clock : GetCurrentTimestamp();
}

/*
 * The time of the statement.  Calls that read use it, so that one statement sees one
 * time.
 */
CrTime
clock_statement(void)
{
	return fixed_clock != CR_NEVER ? fixed_clock : GetCurrentStatementStartTimestamp();
}
