/*
 * settings.c
 *		The extension's settings (GUCs).
 *
 * Only superusers may set the clock and the default plan, because a user who could move
 * the clock could have the next month's credits today.  Only superusers may allow
 * dropping the ledger.  No other role may change a row of it, but the owner of its
 * schema, which on most servers is the database's owner, could otherwise destroy all of
 * it.  Only superusers may keep refusals out of the server's log, because they are the
 * ones who read that log.  Any role may set early lock release.  It shows others no more
 * than synchronous_commit = off does, which any role may set.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/event_kinds.h"
#include "base/settings.h"

static char *default_plan = NULL;
static bool early_lock_release = false;
static bool allow_drop = false;
static bool log_refusals = true;
static bool refuse_recent_transfers = false;
static int chargeback_days = 120;
static char *events = NULL;
static int event_kinds = 0;					/* those that events names, as bits */
static int grant_notice = 3 * 24 * 60 * 60; /* seconds */
static int hold_notice = 10 * 60;			/* seconds */
static int counted_databases = 8;
static bool notify = true;
static int notify_interval = 100;		 /* milliseconds */
static int key_retention = 90 * 24 * 60; /* minutes */

static void
define_default_plan(void)
{
	DefineCustomStringVariable(
		"credits.default_plan",
		"Plan that an unknown user's account is opened with by the first call; empty: none.",
		"While empty, a call for an unknown user is UC002.", &default_plan, "", PGC_SUSET, 0,
		NULL, NULL, NULL);
}

static void
define_early_lock_release(void)
{
	DefineCustomBoolVariable(
		"credits.early_lock_release",
		"Lets go of an account's lock when the commit is written, and answers when it is durable.",
		"Others may see what a crash then forgets, as with synchronous_commit = off.",
		&early_lock_release, false, PGC_USERSET, 0, NULL, NULL, NULL);
}

static void
define_allow_drop(void)
{
	DefineCustomBoolVariable(
		"credits.allow_drop",
		"Lets DROP EXTENSION, DROP SCHEMA and DROP OWNED destroy a ledger with accounts.",
		"While off, such a statement is refused and says what it would destroy.", &allow_drop,
		false, PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
}

static void
define_log_refusals(void)
{
	DefineCustomBoolVariable(
		"credits.log_refusals",
		"Writes refusals to the server's log, as PostgreSQL does with any error.",
		"While off, UC001 to UC006, UC010 and UC011 are told to the client alone.",
		&log_refusals, true, PGC_SUSET, 0, NULL, NULL, NULL);
}

static void
define_key_retention(void)
{
	DefineCustomIntVariable(
		"credits.key_retention",
		"How long idempotency keys are kept: archiving stops before a younger one.",
		"A call with a key that was archived is a new call.", &key_retention, 90 * 24 * 60, 0,
		INT_MAX, PGC_SUSET, GUC_UNIT_MIN, NULL, NULL, NULL);
}

static void
define_chargeback_days(void)
{
	DefineCustomIntVariable(
		"credits.chargeback_days",
		"For how many days after a purchase a chargeback can come; 0: none comes.",
		"A transfer reports how many of its credits were bought since then.", &chargeback_days,
		120, 0, 10000, PGC_SUSET, 0, NULL, NULL, NULL);
}

static void
define_refuse_recent_transfers(void)
{
	DefineCustomBoolVariable(
		"credits.refuse_recent_transfers",
		"Refuses to transfer credits that were bought in the last credits.chargeback_days.",
		"While off, a transfer reports them as recently_purchased.", &refuse_recent_transfers,
		false, PGC_SUSET, 0, NULL, NULL, NULL);
}

/* Finds the kinds in a list of names.  False if one is no kind. */
static bool
check_events(char **value, void **extra, GucSource source)
{
	char *list = pstrdup(*value);
	List *names;
	ListCell *cell;
	int *kinds;
	int wanted = 0;

	(void) source;
	if (!SplitIdentifierString(list, ',', &names))
	{
		GUC_check_errdetail("List syntax is invalid.");
		return false;
	}
	foreach(cell, names)
	{
		int kind = event_kind_find(lfirst(cell));

		if (kind < 0)
		{
			GUC_check_errdetail("\"%s\" is not a kind of events.", (char *) lfirst(cell));
			return false;
		}
		wanted |= EVENT_BIT(kind);
	}
	kinds = compat_guc_malloc(sizeof(int));
	if (kinds == NULL)
		return false;
	*kinds = wanted;
	*extra = kinds;
	return true;
}

static void
assign_events(const char *value, void *extra)
{
	(void) value;
	event_kinds = *(int *) extra;
}

static void
define_events(void)
{
	DefineCustomStringVariable("credits.events",
							   "Kinds of events that are put into the queue credit_event.",
							   "credits_take_events takes them from there.", &events, "",
							   PGC_SUSET, GUC_LIST_INPUT, check_events, assign_events, NULL);
}

static void
define_grant_notice(void)
{
	DefineCustomIntVariable("credits.grant_notice",
							"How long before a grant ends the event grant_ending is due; 0: never.",
							"The next sweep writes it, if credits.events has the kind.",
							&grant_notice, 3 * 24 * 60 * 60, 0, INT_MAX, PGC_SUSET, GUC_UNIT_S,
							NULL, NULL, NULL);
}

static void
define_hold_notice(void)
{
	DefineCustomIntVariable("credits.hold_notice",
							"How long before a hold ends the event hold_ending is due; 0: never.",
							"The next sweep writes it, if credits.events has the kind.",
							&hold_notice, 10 * 60, 0, INT_MAX, PGC_SUSET, GUC_UNIT_S, NULL,
							NULL, NULL);
}

/* It says how much shared memory is taken, so it can be set only when the server starts. */
static void
define_counted_databases(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	DefineCustomIntVariable("credits.counted_databases",
							"For how many databases pg_stat_credits counts, and has notifications.",
							"Each takes about 1.1 MB of shared memory.", &counted_databases, 8,
							1, 1000, PGC_POSTMASTER, 0, NULL, NULL, NULL);
}

/* Without preloading there are no notifications. */
static void
define_notify(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	DefineCustomBoolVariable("credits.notify",
							 "Tells who listens to the channel credits which accounts changed.",
							 "A background worker of each database sends the notifications.",
							 &notify, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("credits.notify_interval",
							"An account has at most one notification in this time.",
							"Changes in between are told together, when it is over.",
							&notify_interval, 100, 10, 60000, PGC_SIGHUP, GUC_UNIT_MS, NULL,
							NULL, NULL);
}

/*
 * If loading fails because memory is missing, the session's next call tries it again.  A
 * variable can be defined only once, so this function remembers what it has defined.
 */
void
settings_define(void)
{
	/* clang-format off */
	static void (*const definitions[]) (void) = {
		clock_define, define_default_plan, define_early_lock_release, define_allow_drop,
		define_key_retention, define_log_refusals, define_chargeback_days,
		define_refuse_recent_transfers, define_counted_databases,
		define_events, define_grant_notice, define_hold_notice, define_notify
	};
	/* clang-format on */
	static int defined = 0;

	for (; defined < (int) lengthof(definitions); defined++)
		definitions[defined]();
	compat_reserve_guc_prefix("credits");
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

/* In microseconds; 0: no chargeback comes. */
int64_t
settings_chargeback_time(void)
{
	return chargeback_days * INT64_C(86400000000);
}

bool
settings_refuse_recent_transfers(void)
{
	return refuse_recent_transfers;
}

int
settings_counted_databases(void)
{
	return counted_databases;
}

/* The kinds of events that are wanted, as bits; 0: none. */
int
settings_events(void)
{
	return event_kinds;
}

/* In microseconds; 0: none is wanted. */
int64_t
settings_grant_notice(void)
{
	return grant_notice * INT64_C(1000000);
}

int64_t
settings_hold_notice(void)
{
	return hold_notice * INT64_C(1000000);
}

bool
settings_notify(void)
{
	return notify;
}

/* In microseconds. */
int64_t
settings_notify_interval(void)
{
	return notify_interval * INT64_C(1000);
}
