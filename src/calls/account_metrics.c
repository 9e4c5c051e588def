/*
 * account_metrics.c
 *		The samples of credits_metrics for which all accounts are read.
 *
 * An account counts as the view credit_balance shows it: with what is due applied in memory.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/clock.h"
#include "base/sums.h"
#include "base/zone.h"
#include "calls/account_metrics.h"
#include "ledger/state.h"
#include "store/columns.h"
#include "store/relations.h"
#include "tables/rows.h"

typedef struct Sums
{
	CrBuckets available;
	CrBuckets held;
	int64 owed_monthly;
	int64 owed_purchased;
	int64 accounts[CR_CLOSED + 1]; /* by status */
	int64 unknown_zones;
} Sums;

static void
add_buckets(CrBuckets *sum, const CrBuckets *more)
{
	sum_add(&sum->monthly, more->monthly);
	sum_add(&sum->granted, more->granted);
	sum_add(&sum->purchased, more->purchased);
}

/* Uses the current memory context for what only this account needs. */
static void
add_account(Sums *sums, TupleTableSlot *slot)
{
	CrAccount acc;
	Plans plans;

	account_from_slot(&acc, slot);
	if (cr_is_due(&acc, clock_statement()))
	{
		plans_init(&plans, GetActiveSnapshot());
		(void) state_now(&acc, &plans);
	}
	add_buckets(&sums->available, &acc.balance);
	add_buckets(&sums->held, &acc.held);
	sum_add(&sums->owed_monthly, acc.owed_monthly);
	sum_add(&sums->owed_purchased, acc.owed_purchased);
	sums->accounts[acc.facts.status]++;
	if (!zone_is_known(NULL, acc.facts.time_zone))
		sums->unknown_zones++;
}

static void
read_accounts(Sums *sums)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext row_memory = AllocSetContextCreate(old, "credits metrics row",
													 ALLOCSET_DEFAULT_SIZES);
	Relation rel = table_open(store_table(TABLE_ACCOUNT), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(row_memory);
		add_account(sums, slot);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_memory);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	MemoryContextDelete(row_memory);
}

static void
put_bucket(MetricRows *rows, const char *name, const char *bucket, int64 value,
		   const char *help)
{
	metric_label(rows, "bucket", bucket);
	metric_gauge(rows, name, value, help);
}

static void
put_buckets(MetricRows *rows, const char *name, const CrBuckets *sum, const char *help)
{
	put_bucket(rows, name, "monthly", sum->monthly, help);
	put_bucket(rows, name, "granted", sum->granted, help);
	put_bucket(rows, name, "purchased", sum->purchased, help);
}

void
account_metrics_put(MetricRows *rows)
{
	static const char owed[] = "Credits owed by all accounts.";
	Sums sums = {0};

	read_accounts(&sums);
	for (int status = 0; status <= CR_CLOSED; status++)
	{
		metric_label(rows, "status", cr_status_name(status));
		metric_gauge(rows, "credits_accounts", sums.accounts[status], "Accounts, by status.");
	}
	metric_gauge(rows, "credits_accounts_in_unknown_zone", sums.unknown_zones,
				 "Accounts in a time zone that the server does not know.");
	put_buckets(rows, "credits_outstanding", &sums.available,
				"Credits available in all accounts.");
	put_buckets(rows, "credits_held", &sums.held, "Credits held in all accounts.");
	put_bucket(rows, "credits_owed", "monthly", sums.owed_monthly, owed);
	put_bucket(rows, "credits_owed", "purchased", sums.owed_purchased, owed);
}
