/*
 * metrics.c
 *		credits_metrics: what monitoring needs, as samples of Prometheus.
 *
 * By default nothing here reads all accounts or all of a long queue: what is counted is
 * counted by an index, up to a limit.  It writes nothing, so it works on a hot standby.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_extension.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "admin/guards.h"
#include "base/clock.h"
#include "calls/account_metrics.h"
#include "calls/run_metrics.h"
#include "core/core.h"
#include "live/counter_metrics.h"
#include "live/metric_rows.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/anchor_rows.h"

PG_FUNCTION_INFO_V1(credits_metrics);

#define MOST_COUNTED 100000 /* of each, unless the caller wants all */

typedef struct Scrape
{
	MetricRows rows;
	CrTime now;
	int64 most;
} Scrape;

static void
put_version(Scrape *scrape)
{
	Relation rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(store_extension()));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;
		Datum version = heap_getattr(tuple, Anum_pg_extension_extversion,
									 RelationGetDescr(rel), &isnull);

		metric_label(&scrape->rows, "version", TextDatumGetCString(version));
		metric_gauge(&scrape->rows, "credits_info", 1, "The version of the extension.");
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* Counts the rows whose value in the index's first column fits. */
static int64
count_rows(const Scrape *scrape, StoreTable table, StoreIndex index, StrategyNumber strategy,
		   RegProcedure operator_function, Datum value)
{
	Lookup lookup;
	int64 count;

	lookup_begin(&lookup, table, index, GetActiveSnapshot());
	lookup_key(&lookup, 1, strategy, operator_function, value);
	count = lookup_count(&lookup, scrape->most);
	lookup_end(&lookup);
	return count;
}

/* The first time in an index.  CR_NEVER: there is none. */
static CrTime
first_time(StoreTable table, StoreIndex index, AttrNumber column)
{
	Lookup lookup;
	CrTime at = CR_NEVER;

	lookup_begin(&lookup, table, index, GetActiveSnapshot());
	if (lookup_next(&lookup, ForwardScanDirection))
	{
		bool isnull;
		Datum value = slot_getattr(lookup.slot, column, &isnull);

		if (!isnull)
			at = DatumGetTimestampTz(value);
	}
	lookup_end(&lookup);
	return at;
}

/* A sample that says since when something waits is left out if nothing waits. */
static void
put_first_time(Scrape *scrape, const char *name, CrTime at, const char *help)
{
	if (at != CR_NEVER)
		metric_time(&scrape->rows, name, at, help);
}

static void
put_due(Scrape *scrape)
{
	CrTime first = first_time(TABLE_ACCOUNT, INDEX_ACCOUNT_NEXT_EVENT, ACC_NEXT_EVENT_AT);

	metric_gauge(&scrape->rows, "credits_accounts_due",
				 count_rows(scrape, TABLE_ACCOUNT, INDEX_ACCOUNT_NEXT_EVENT,
							BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
							TimestampTzGetDatum(scrape->now)),
				 "Accounts that the next sweep looks at.");
	put_first_time(scrape, "credits_accounts_due_oldest_timestamp_seconds",
				   first <= scrape->now ? first : CR_NEVER,
				   "Since when the first of these accounts is due.");
}

static void
put_flags(Scrape *scrape)
{
	int64 counts[CR_ALL_FLAGS + 1];

	for (int sum = 1; sum <= CR_ALL_FLAGS; sum++)
		counts[sum] = count_rows(scrape, TABLE_ACCOUNT, INDEX_ACCOUNT_FLAGS,
								 BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(sum));
	for (int flag = 1; flag <= CR_ALL_FLAGS; flag *= 2)
	{
		int64 count = 0;

		for (int sum = 1; sum <= CR_ALL_FLAGS; sum++)
			count += sum & flag ? counts[sum] : 0;
		metric_label(&scrape->rows, "flag", cr_flag_name(flag));
		metric_gauge(&scrape->rows, "credits_accounts_flagged", count,
					 "Accounts that their last row left low, empty, owing, frozen or closed.");
	}
}

/* What reltuples says, which is -1 before the first VACUUM or ANALYZE. */
static void
put_estimate(Scrape *scrape)
{
	Relation rel = table_open(store_table(TABLE_ACCOUNT), AccessShareLock);

	if (rel->rd_rel->reltuples >= 0)
		metric_gauge(&scrape->rows, "credits_accounts_estimated",
					 (int64) rel->rd_rel->reltuples,
					 "Accounts, as the last VACUUM or ANALYZE estimated.");
	table_close(rel, AccessShareLock);
}

static void
put_holds(Scrape *scrape)
{
	Datum now = TimestampTzGetDatum(scrape->now);

	metric_gauge(&scrape->rows, "credits_holds_open",
				 count_rows(scrape, TABLE_HOLD, INDEX_HOLD_ALL_OPEN, BTGreaterStrategyNumber,
							F_TIMESTAMPTZ_GT, now),
				 "Holds that have not ended.");
	metric_gauge(&scrape->rows, "credits_holds_due",
				 count_rows(scrape, TABLE_HOLD, INDEX_HOLD_ALL_OPEN, BTLessEqualStrategyNumber,
							F_TIMESTAMPTZ_LE, now),
				 "Holds that have ended, which is not written yet.");
	put_first_time(scrape, "credits_holds_first_end_timestamp_seconds",
				   first_time(TABLE_HOLD, INDEX_HOLD_ALL_OPEN, HOLD_ENDS_AT),
				   "When the first of all these holds ends or ended.");
}

static void
put_events(Scrape *scrape)
{
	Lookup lookup;

	lookup_begin(&lookup, TABLE_EVENT, INDEX_EVENT_ORDER, GetActiveSnapshot());
	metric_gauge(&scrape->rows, "credits_events_waiting", lookup_count(&lookup, scrape->most),
				 "Events in the queue.");
	lookup_end(&lookup);
	put_first_time(scrape, "credits_events_oldest_timestamp_seconds",
				   first_time(TABLE_EVENT, INDEX_EVENT_ORDER, EVENT_CREATED_AT),
				   "When the oldest event in the queue was written.");
}

/* A time of 0 says that there is none, so that an alarm for an old anchor finds that, too. */
static void
put_anchor(Scrape *scrape)
{
	CrAnchor anchor = {.created_at = METRIC_TIME_ZERO};

	(void) anchors_newest(GetActiveSnapshot(), &anchor);
	metric_time(&scrape->rows, "credits_anchor_timestamp_seconds", anchor.created_at,
				"When the newest anchor was made.");
}

static void
note_problem(void *is_intact, const char *object, const char *problem)
{
	(void) object;
	(void) problem;
	*(bool *) is_intact = false;
}

static void
put_guards(Scrape *scrape)
{
	bool is_intact = true;

	guards_check(note_problem, &is_intact);
	metric_gauge(&scrape->rows, "credits_guards_intact", is_intact,
				 "1: the guards are there, and nothing bypasses them.");
}

Datum
credits_metrics(PG_FUNCTION_ARGS)
{
	bool all_accounts = !PG_ARGISNULL(0) && PG_GETARG_BOOL(0);
	Scrape scrape = {.now = clock_statement()};

	scrape.most = all_accounts ? PG_INT64_MAX : MOST_COUNTED;
	store_attach(fcinfo);
	metric_rows_begin(&scrape.rows, fcinfo);
	put_version(&scrape);
	put_due(&scrape);
	put_flags(&scrape);
	put_estimate(&scrape);
	put_holds(&scrape);
	put_events(&scrape);
	run_metrics_put(&scrape.rows);
	put_anchor(&scrape);
	put_guards(&scrape);
	if (all_accounts)
		account_metrics_put(&scrape.rows);
	counter_metrics_put(&scrape.rows);
	return (Datum) 0;
}
