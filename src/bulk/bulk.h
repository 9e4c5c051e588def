/*
 * bulk.h
 *		A bulk run does the same to many accounts, batch by batch.
 *
 * The caller of bulk_run provides two things.  One is a query that gives the accounts:
 * each user once, in the order of the user_id's bytes.  The other is the function decide,
 * which decides what to do to one account and adds the account's history rows with
 * ledger_push.  The run does the rest: it locks, writes, commits, counts and reports.
 */
#ifndef CREDITS_BULK_BULK_H
#define CREDITS_BULK_BULK_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/portal.h"

#include "base/json.h"
#include "core/core.h"
#include "ledger/ledger.h"
#include "tables/run_record.h"

typedef struct Bulk Bulk;

/* The result for one account. */
typedef enum BulkOutcome
{
	BULK_DONE,
	BULK_ALREADY, /* the account was done before, by this run or another run */
	/*
	 * The period or grant has ended, or the account's state (for example another plan)
	 * does not allow the change, or there is nothing to change.
	 */
	BULK_SKIPPED
} BulkOutcome;

typedef struct BulkCounts
{
	/*
	 * run.granted is the number of credits given.  run.expired is, in a bulk run, the
	 * number of credits taken.
	 */
	RunCounts run;
	int64 already;
	int64 skipped;
	/* credits that could not be taken because they are spent or held */
	int64 not_taken;
	/* rows that were imported from other systems' histories, or archived */
	int64 rows;
} BulkCounts;

/* One row of the query.  The caller of bulk_run knows the columns of the row. */
typedef struct BulkItem
{
	const char *user_id;
	HeapTuple tuple;
	TupleDesc desc;
	List *more; /* further rows that prepare found for this user */
	bool busy;	/* another transaction has the account locked */
} BulkItem;

struct Bulk
{
	/* set by the caller of bulk_run */
	const char *function;
	const char *kind; /* the kind of run, for the run's record */
	CrKind row_kind;  /* the kind of the history rows that the run writes */
	const char *reason;
	bool reads_own_tables; /* the query reads the extension's own tables */
	void (*prepare)(Bulk *bulk, BulkItem *items, int count); /* may be NULL */
	BulkOutcome (*decide)(Bulk *bulk, Ledger *ledger, const BulkItem *item);
	/*
	 * Called after each try of a batch.  good: the batch's work stays; otherwise that work
	 * is undone.  May be NULL.
	 */
	void (*settle)(Bulk *bulk, bool good);
	/*
	 * Called if decide() has set bulk->lacks.  Waits for what was locked or missing
	 * (in the archive run, a partition), but not longer than to the time "until".  True if
	 * it is there now.  May be NULL.
	 */
	bool (*obtain)(Bulk *bulk, TimestampTz until);
	void (*report)(Bulk *bulk, Object *object); /* may be NULL */
	const char *second_query; /* is open as long as the first query; may be NULL */
	Portal *second;
	void *ctx;
	int64 batch_size;
	int64 max_accounts;
	int64 max_wait; /* how long the run may still wait, in ms; each wait reduces it */
	bool dry_run;

	/* set by the run */
	const char *last_user; /* the last user that the query has given */
	Run run;
	BulkCounts counts;
	/* the counts of the current batch; added to counts if the batch's work stays */
	BulkCounts batch;
	bool more; /* the run stopped at max_accounts, and accounts are left */
	/*
	 * The run is inside a transaction of the caller.  After a conflict, the caller has to
	 * retry.
	 */
	bool in_block;
	bool own_transactions; /* each batch is a transaction of its own */
	/* the current transaction has work that is not committed yet */
	bool has_work;
	int64 wait; /* how long to wait for the current account, in ms; 0: do not wait */
	/* the plan that the last try needed and that is locked; NULL: none */
	const char *busy_plan;
	bool lacks; /* set by decide: decide needs something that obtain can get */
	/* the last try conflicted with another transaction (40001, 40P01) */
	bool conflict;
	List *postponed; /* list of BulkItem: busy accounts, to be tried again */
	TupleDesc postponed_desc;
	int64 busy;				   /* how many busy accounts are left for another run */
	StringInfoData busy_users; /* the user_ids of the first of these accounts, as JSON */
	MemoryContext memory;	   /* lives as long as the run */
};

extern Datum bulk_run(Bulk *bulk, FunctionCallInfo fcinfo, const char *query, int nargs,
					  Oid *types, Datum *values);
extern void bulk_arguments(Bulk *bulk, FunctionCallInfo fcinfo, int first);
extern Datum bulk_result(FunctionCallInfo fcinfo, Datum report);
extern void bulk_check_plan(const char *plan);
extern bool bulk_is_undone(const char *user_id, int64 seq);
extern Oid bulk_column_type(const BulkItem *item, const char *name);
extern Datum bulk_column(const BulkItem *item, const char *name, Oid type, bool *isnull);

#endif
