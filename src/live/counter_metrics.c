/*
 * counter_metrics.c
 *		The counters of this database as samples of credits_metrics.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/syscache.h"

#include "live/counter_metrics.h"
#include "live/counters.h"

#define DURATION	  "credits_call_duration_seconds"
#define DURATION_HELP "Time of calls of SQL functions, by function and result."
#define SPENT		  "credits_spent_total", "Credits spent by deductions and captures."
#define ISSUED		  "credits_issued_total", "Credits that accounts were given."

/*
 * Each total has a line.  The lines of one name follow each other.
 */
/* clang-format off */
static const struct
{
	const char *name;
	const char *help;
	const char *label; /* NULL: none */
	const char *label_value;
	double unit;	   /* the total is divided by it; 0: it is not */
}			totals[] = {
	[TOTAL_ROWS] = {"credits_history_rows_total", "History rows written.", NULL, NULL, 0},
	[TOTAL_SPENT_MONTHLY] = {SPENT, "bucket", "monthly", 0},
	[TOTAL_SPENT_GRANTED] = {SPENT, "bucket", "granted", 0},
	[TOTAL_SPENT_PURCHASED] = {SPENT, "bucket", "purchased", 0},
	[TOTAL_REFUNDED] = {"credits_refunded_total", "Credits given back by refunds.", NULL, NULL, 0},
	[TOTAL_ISSUED_PLAN] = {ISSUED, "source", "plan", 0},
	[TOTAL_ISSUED_GRANT] = {ISSUED, "source", "grant", 0},
	[TOTAL_ISSUED_PURCHASE] = {ISSUED, "source", "purchase", 0},
	[TOTAL_ISSUED_ADJUST] = {ISSUED, "source", "adjust", 0},
	[TOTAL_ISSUED_IMPORT] = {ISSUED, "source", "import", 0},
	[TOTAL_REVOKED] = {"credits_revoked_total", "Credits taken back by revocations.", NULL, NULL, 0},
	[TOTAL_EXPIRED] = {"credits_expired_total", "Credits that came to their end unspent.", NULL, NULL, 0},
	[TOTAL_FORFEITED] = {"credits_forfeited_total", "Credits that were lost in another way.", NULL, NULL, 0},
	[TOTAL_WAITS] = {"credits_waits_total", "Waits of calls for a busy account.", NULL, NULL, 0},
	[TOTAL_WAIT_TIME] = {"credits_wait_seconds_total", "Time of these waits.", NULL, NULL, 1e6},
	[TOTAL_TURNS] = {"credits_turns_total", "Waits that ended by a turn.", NULL, NULL, 0},
	[TOTAL_NOTIFICATIONS] = {"credits_notifications_total", "Notifications of changed accounts.", NULL, NULL, 0},
	[TOTAL_RESYNCS] = {"credits_resyncs_total", "Notifications that stand for changes that were not told one by one.", NULL, NULL, 0},
	[TOTAL_COALESCED] = {"credits_changes_coalesced_total", "Changes that a later change of the same account made needless to tell.", NULL, NULL, 0},
	[TOTAL_LOST] = {"credits_changes_lost_total", "Changes for which a resync stands.", NULL, NULL, 0},
};
/* clang-format on */

StaticAssertDecl(lengthof(totals) == TOTAL_COUNT, "a total has no line");

static void
put_totals(MetricRows *rows, const Counted *counted)
{
	for (int i = 0; i < TOTAL_COUNT; i++)
	{
		double value = (double) counted->numbers[COUNTED_TOTAL(i)];

		if (totals[i].label)
			metric_label(rows, totals[i].label, totals[i].label_value);
		metric_put(rows, METRIC_COUNTER, totals[i].name,
				   totals[i].unit == 0 ? value : value / totals[i].unit, totals[i].help);
	}
}

static void
put_call_sample(MetricRows *rows, int call, int result, const char *name, double value)
{
	metric_label(rows, "call", counted_call_names[call]);
	metric_label(rows, "result", counted_result_name(result));
	metric_put(rows, METRIC_HISTOGRAM, name, value, DURATION_HELP);
}

static const char *
bound_text(int bucket)
{
	return bucket == TIME_BUCKETS - 1
		? "+Inf"
		: psprintf("%g", (double) counted_time_bounds[bucket] / 1e6);
}

/* A bucket also has the calls of all buckets before it. */
static void
put_call(MetricRows *rows, const Counted *counted, int call, int result)
{
	uint64 calls = 0;

	for (int i = 0; i < TIME_BUCKETS; i++)
		calls += counted->numbers[COUNTED_BUCKET(call, result, i)];
	if (calls == 0)
		return;
	calls = 0;
	for (int i = 0; i < TIME_BUCKETS; i++)
	{
		calls += counted->numbers[COUNTED_BUCKET(call, result, i)];
		metric_label(rows, "le", bound_text(i));
		put_call_sample(rows, call, result, DURATION "_bucket", (double) calls);
	}
	put_call_sample(rows, call, result, DURATION "_sum",
					(double) counted->numbers[COUNTED_TIME(call, result)] / 1e6);
	put_call_sample(rows, call, result, DURATION "_count", (double) calls);
}

/*
 * Finds the counters of this database.  has_room: if it has none, its next call gets a
 * place.  A place of a database that is gone is freed.
 */
static bool
find_counted(Counted *counted, bool *has_room)
{
	*has_room = false;
	for (int i = 0; i < counters_databases(); i++)
	{
		if (!counters_read(i, counted))
			*has_room = true;
		else if (counted->database == MyDatabaseId)
			return true;
		else if (!SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(counted->database)))
		{
			counters_free(counted->database);
			*has_room = true;
		}
	}
	return false;
}

/* Until the first call, there is only the sample that says whether calls are counted. */
void
counter_metrics_put(MetricRows *rows)
{
	Counted *counted = palloc(sizeof(Counted));
	bool has_room;
	bool found = find_counted(counted, &has_room);

	metric_gauge(rows, "credits_counters_enabled", found || has_room,
				 "1: calls in this database are counted.");
	if (!found)
		return;
	metric_time(rows, "credits_counters_reset_timestamp_seconds", counted->stats_reset,
				"When the counters began at 0.");
	for (int call = 0; call < CALL_COUNT; call++)
	{
		for (int result = 0; result < RESULT_COUNT; result++)
			put_call(rows, counted, call, result);
	}
	put_totals(rows, counted);
}
