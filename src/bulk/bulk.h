/*
 * bulk.h
 *		A bulk run: it does the same to many accounts, batch by batch.
 *
 * The caller of bulk_run provides two things.  One is a query that gives the accounts:
 * each user once, in the order of the user_id's bytes.  The other is the function decide,
 * which says what to do to one account and adds its history rows with ledger_push.  The
 * run does the rest: it locks, writes, commits, counts and reports.
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

/* The result of one account. */
typedef enum BulkOutcome
{
	BULK_DONE,
	BULK_ALREADY, /* it was done before, by this run or another */
	BULK_SKIPPED  /* it is too late, or the account's state does not allow it */
} BulkOutcome;

typedef struct BulkCounts
{
	RunCounts run; /* here granted and expired are credits given and taken */
	int64 already;
	int64 skipped;
	/* credits that could not be taken because they are spent or held */
	int64 not_taken;
	int64 rows; /* imported from other systems' histories */
} BulkCounts;

/* One row of the query.  The caller of bulk_run knows its columns. */
typedef struct BulkItem
{
	const char *user_id;
	HeapTuple tuple;
	TupleDesc desc;
	List *more; /* what prepare found for this user */
	bool busy;	/* another transaction has the account locked */
} BulkItem;

struct Bulk
{
	/* set by the caller of bulk_run */
	const char *function;
	const char *kind; /* of the run's record */
	CrKind row_kind;
	const char *reason;
	bool reads_own_tables; /* the query reads the extension's own tables */
	void (*prepare)(Bulk *bulk, BulkItem *items, int count); /* may be NULL */
	BulkOutcome (*decide)(Bulk *bulk, Ledger *ledger, const BulkItem *item);
	/* called when a batch stays (good) or is undone; may be NULL */
	void (*settle)(Bulk *bulk, bool good);
	/* gets what decide needed when it set lacks; may be NULL */
	bool (*obtain)(Bulk *bulk, TimestampTz until);
	void (*report)(Bulk *bulk, Object *object); /* may be NULL */
	const char *second_query; /* stays open as long as the first; may be NULL */
	Portal *second;
	void *ctx;
	int64 batch_size;
	int64 max_accounts;
	int64 max_wait; /* in ms; while the run waits, this shrinks */
	bool dry_run;

	/* set by the run */
	const char *last_user; /* the last user that the query has given */
	Run run;
	BulkCounts counts;
	/* of the current batch; added to counts if the batch stays */
	BulkCounts batch;
	bool more;
	bool in_block; /* inside a transaction of the caller, which has to retry */
	bool own_transactions;
	/* the current transaction has work that is not committed yet */
	bool has_work;
	int64 wait; /* in ms, for the current account; 0: do not wait */
	/* the last try needed this plan, which is locked; NULL: none */
	const char *busy_plan;
	bool lacks; /* set by decide: it needs something that obtain can get */
	/* the last try conflicted with another transaction (40001, 40P01) */
	bool conflict;
	List *postponed; /* list of BulkItem: busy accounts, to be tried again */
	TupleDesc postponed_desc;
	int64 busy;				   /* how many busy accounts are left for another run */
	StringInfoData busy_users; /* the first of them, as JSON */
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
