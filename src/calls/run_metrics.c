/*
 * run_metrics.c
 *		The samples of credits_metrics about sweeps, bulk runs and verifications.
 *
 * There may be very many runs, so an index finds the newest ones of each kind.
 */
#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "calls/run_metrics.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "tables/rows.h"

#define MOST_RUNS 10000 /* that are searched for one that succeeded */

typedef struct Runs
{
	const char *kind;
	bool any;
	/* of the newest run, if there is any */
	CrTime started_at;
	int64 accounts;
	int64 failures;
	bool is_running;
	/* METRIC_TIME_ZERO: none has succeeded, of those that are searched */
	CrTime succeeded_at;
} Runs;

static int64
get_number(TupleTableSlot *slot, AttrNumber column)
{
	bool isnull;

	return DatumGetInt64(slot_getattr(slot, column, &isnull));
}

static bool
is_in_state(TupleTableSlot *slot, const char *state)
{
	char *found = slot_text(slot, RUN_STATE);
	bool same = strcmp(found, state) == 0;

	pfree(found); /* many runs may be searched */
	return same;
}

static void
read_newest(Runs *runs, TupleTableSlot *slot)
{
	runs->any = true;
	runs->started_at = get_number(slot, RUN_STARTED_AT);
	runs->accounts = get_number(slot, RUN_ACCOUNTS);
	runs->failures = get_number(slot, RUN_FAILURES);
	runs->is_running = is_in_state(slot, "running");
}

static Runs *
read_runs(const char *kind)
{
	Runs *runs = palloc0(sizeof(Runs));
	Lookup lookup;

	runs->kind = kind;
	runs->succeeded_at = METRIC_TIME_ZERO;
	lookup_begin(&lookup, TABLE_RESET_RUN, INDEX_RESET_RUN_KIND, GetActiveSnapshot());
	lookup_text_key(&lookup, 1, kind);
	for (int i = 0; i < MOST_RUNS && lookup_next(&lookup, BackwardScanDirection); i++)
	{
		if (i == 0)
			read_newest(runs, lookup.slot);
		if (get_number(lookup.slot, RUN_FAILURES) == 0 && is_in_state(lookup.slot, "finished"))
		{
			runs->succeeded_at = get_number(lookup.slot, RUN_FINISHED_AT);
			break;
		}
	}
	lookup_end(&lookup);
	return runs;
}

/* The next kind of which there are runs.  NULL: there is no more. */
static const char *
next_kind(const char *kind)
{
	Lookup lookup;
	const char *next = NULL;

	lookup_begin(&lookup, TABLE_RESET_RUN, INDEX_RESET_RUN_KIND, GetActiveSnapshot());
	lookup_after_key(&lookup, 1, kind);
	if (lookup_next(&lookup, ForwardScanDirection))
		next = slot_text(lookup.slot, RUN_KIND);
	lookup_end(&lookup);
	return next;
}

/*
 * All kinds of which there are runs, and those that should run again and again: an alarm that
 * looks for an old success also has to find that there never was a run.
 */
static List *
read_all_runs(void)
{
	List *all = list_make2(read_runs("reset"), read_runs("verify"));

	for (const char *kind = next_kind(NULL); kind; kind = next_kind(kind))
	{
		if (strcmp(kind, "reset") != 0 && strcmp(kind, "verify") != 0)
			all = lappend(all, read_runs(kind));
	}
	return all;
}

static void
put_gauge(MetricRows *rows, const Runs *runs, const char *name, int64 value, const char *help)
{
	if (!runs->any)
		return;
	metric_label(rows, "kind", runs->kind);
	metric_gauge(rows, name, value, help);
}

void
run_metrics_put(MetricRows *rows)
{
	List *all = read_all_runs();
	ListCell *cell;

	foreach(cell, all)
	{
		const Runs *runs = lfirst(cell);

		metric_label(rows, "kind", runs->kind);
		metric_time(rows, "credits_run_success_timestamp_seconds", runs->succeeded_at,
					"When the newest run that finished without failures finished. 0: none.");
	}
	foreach(cell, all)
	{
		const Runs *runs = lfirst(cell);

		if (!runs->any)
			continue;
		metric_label(rows, "kind", runs->kind);
		metric_time(rows, "credits_run_start_timestamp_seconds", runs->started_at,
					"When the newest run began.");
	}
	foreach(cell, all)
		put_gauge(rows, lfirst(cell), "credits_run_accounts",
				  ((const Runs *) lfirst(cell))->accounts,
				  "Accounts that the newest run has done.");
	foreach(cell, all)
		put_gauge(rows, lfirst(cell), "credits_run_failures",
				  ((const Runs *) lfirst(cell))->failures,
				  "Failures of the newest run, or what a verification found.");
	foreach(cell, all)
		put_gauge(rows, lfirst(cell), "credits_run_running",
				  ((const Runs *) lfirst(cell))->is_running,
				  "1: the newest run has not ended, or it died.");
}
