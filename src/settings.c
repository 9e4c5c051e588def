/*
 * settings.c
 *		The extension's settings, and the clock.
 *
 * Who could move the clock could have the next month's credits today, so that
 * and the plan are for superusers.  So is allowing the ledger to be dropped:
 * nobody else may change a row of it, and yet the owner of the schema that it is
 * in, on most servers the database's owner, could destroy all of them.  And so is
 * what is kept out of the server's log, which is the superusers' to read.  Early
 * lock release shows others no more than synchronous_commit = off does, which
 * anybody may set.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "settings.h"
#include "utc.h"

static char *clock_text = NULL;
static char *default_plan = NULL;
static bool early_lock_release = false;
static bool allow_drop = false;
static bool log_refusals = true;
static int	key_retention = 90 * 24 * 60;	/* minutes */
static CrTime fixed_clock = CR_NEVER;	/* CR_NEVER: the real one */

/*
 * Parses a timestamptz without raising, as a check hook must; only years that
 * any client can show are taken.
 */
static bool
parse_clock(const char *text, CrTime *result)
{
	char		work[MAXDATELEN + MAXDATEFIELDS];
	char	   *fields[MAXDATEFIELDS];
	int			types[MAXDATEFIELDS];
	int			count,
				dtype,
				tz;
	struct pg_tm tm;
	fsec_t		fraction;
	TimestampTz at;

	if (strlen(text) >= MAXDATELEN ||
		ParseDateTime(text, work, sizeof(work), fields, types, MAXDATEFIELDS, &count) != 0)
		return false;
	if (cr_decode_datetime(fields, types, count, &dtype, &tm, &fraction, &tz) != 0)
		return false;
	if (dtype != DTK_DATE || tm2timestamp(&tm, fraction, &tz, &at) != 0)
		return false;
	if (tm.tm_year < 1970 || tm.tm_year > 9999)
		return false;
	*result = at;
	return true;
}

/*
 * The setting is kept in a form that depends on no other setting and has no
 * word in it: a parallel worker restores it before TimeZone and before the
 * abbreviations of time zones, without which it could not even look one up.
 */
static bool
make_portable(char **newval, CrTime at)
{
	char		text[UTC_TEXT_SIZE + 3];
	char	   *copy;

	utc_text(at, text);
	text[strlen("2026-01-31")] = ' ';
	strcpy(text + strlen(text) - strlen("Z"), "+00");
	copy = cr_guc_malloc(strlen(text) + 1);
	if (copy == NULL)
		return false;
	strcpy(copy, text);
	cr_guc_free(*newval);
	*newval = copy;
	return true;
}

static bool
check_clock(char **newval, void **extra, GucSource source)
{
	CrTime		parsed = CR_NEVER;

	(void) source;
	if (*newval != NULL && (*newval)[0] != '\0')
	{
		if (!parse_clock(*newval, &parsed))
		{
			GUC_check_errdetail("It must be empty, or a timestamp with a time zone in the years 1970 to 9999.");
			return false;
		}
		if (!make_portable(newval, parsed))
			return false;
	}
	*extra = cr_guc_malloc(sizeof(parsed));
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

static void
define_clock(void)
{
	DefineCustomStringVariable("credits.clock",
							   "Fixes the time that the ledger reads; empty: the real clock.",
							   "For tests and for replaying the past. A timestamp with a time zone.",
							   &clock_text, "", PGC_SUSET, GUC_NOT_IN_SAMPLE,
							   check_clock, assign_clock, NULL);
}

static void
define_default_plan(void)
{
	DefineCustomStringVariable("credits.default_plan",
							   "Plan that an unknown user's account is opened with by the first call; empty: none.",
							   "While empty, a call for an unknown user is UC002.",
							   &default_plan, "", PGC_SUSET, 0,
							   NULL, NULL, NULL);
}

static void
define_early_lock_release(void)
{
	DefineCustomBoolVariable("credits.early_lock_release",
							 "Lets go of an account's lock when the commit is written, and answers when it is durable.",
							 "Others may see what a crash then forgets, as with synchronous_commit = off.",
							 &early_lock_release, false, PGC_USERSET, 0,
							 NULL, NULL, NULL);
}

static void
define_allow_drop(void)
{
	DefineCustomBoolVariable("credits.allow_drop",
							 "Lets DROP EXTENSION, DROP SCHEMA and DROP OWNED destroy a ledger with accounts.",
							 "While off, such a statement is refused and says what it would destroy.",
							 &allow_drop, false, PGC_SUSET, GUC_NOT_IN_SAMPLE,
							 NULL, NULL, NULL);
}

static void
define_log_refusals(void)
{
	DefineCustomBoolVariable("credits.log_refusals",
							 "Writes refusals to the server's log, as PostgreSQL does with any error.",
							 "While off, UC001 to UC006, UC010 and UC011 are told to the client alone.",
							 &log_refusals, true, PGC_SUSET, 0,
							 NULL, NULL, NULL);
}

static void
define_key_retention(void)
{
	DefineCustomIntVariable("credits.key_retention",
							"How long idempotency keys are kept: archiving stops before a younger one.",
							"A call with a key that was archived is a new call.",
							&key_retention, 90 * 24 * 60, 0, INT_MAX, PGC_SUSET, GUC_UNIT_MIN,
							NULL, NULL, NULL);
}

/*
 * Loading that fails, for want of memory, is tried again by the session's next
 * call, and a variable can be defined once only.
 */
void
settings_define(void)
{
	static void (*const definitions[]) (void) = {
		define_clock, define_default_plan, define_early_lock_release, define_allow_drop,
		define_key_retention, define_log_refusals
	};
	static int	defined = 0;

	for (; defined < (int) lengthof(definitions); defined++)
		definitions[defined] ();
	cr_reserve_guc_prefix("credits");
}

const char *
settings_default_plan(void)
{
	return default_plan && default_plan[0] ? default_plan : NULL;
}

bool
settings_early_lock_release(void)
{
	return early_lock_release;
}

bool
settings_allow_drop(void)
{
	return allow_drop;
}

bool
settings_log_refusals(void)
{
	return log_refusals;
}

/* In microseconds. */
int64_t
settings_key_retention(void)
{
	return key_retention * INT64_C(60000000);
}

/* Now. The clock is read after the lock is held, never before. */
CrTime
clock_now(void)
{
	return fixed_clock != CR_NEVER ? fixed_clock : GetCurrentTimestamp();
}

/* The time of the statement: what reads use, so that one statement sees one. */
CrTime
clock_statement(void)
{
	return fixed_clock != CR_NEVER ? fixed_clock : GetCurrentStatementStartTimestamp();
}
