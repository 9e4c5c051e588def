/*
 * bulk.h
 *		A bulk run: one act for many accounts, batch by batch.
 *
 * A caller of bulk_run says where the accounts come from, which is a query that
 * gives each user once, in the order of their bytes, and decides what is to be
 * done to one of them, by pushing rows; the run locks, writes, commits, counts
 * and reports.
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

/* What became of an account. */
typedef enum BulkOutcome
{
	BULK_DONE,
	BULK_ALREADY,				/* before, by this run or another */
	BULK_SKIPPED				/* it cannot be done any more, or in this state */
} BulkOutcome;

typedef struct BulkCounts
{
	RunCounts	run;			/* granted and expired: given and taken */
	int64		already;
	int64		skipped;
	int64		not_taken;		/* credits that were spent or are held */
	int64		rows;			/* of other systems' histories */
} BulkCounts;

/* A row of the query: its columns are the concern's. */
typedef struct BulkItem
{
	const char *user_id;
	HeapTuple	tuple;
	TupleDesc	desc;
	List	   *more;			/* what prepare found for it */
	bool		busy;			/* another transaction has the account */
} BulkItem;

struct Bulk
{
	/* by the caller */
	const char *function;
	const char *kind;			/* of the run */
	CrKind		row_kind;
	const char *reason;
	bool		reads_own_tables;	/* the query reads the extension's own tables */
	void		(*prepare) (Bulk *bulk, BulkItem *items, int count);	/* may be NULL */
	BulkOutcome (*decide) (Bulk *bulk, Ledger *ledger, const BulkItem *item);
	void		(*settle) (Bulk *bulk, bool good);	/* the batch stays, or not; may be NULL */
	bool		(*obtain) (Bulk *bulk, TimestampTz until);	/* what decide lacked; may be NULL */
	void		(*report) (Bulk *bulk, Object *object);	/* may be NULL */
	const char *second_query;	/* one more, open as long; may be NULL */
	Portal	   *second;
	void	   *ctx;
	int64		batch_size;
	int64		max_accounts;
	int64		max_wait;		/* in ms: what is left of it */
	bool		dry_run;

	/* by the run */
	const char *last_user;		/* of the query so far */
	Run			run;
	BulkCounts	counts;
	BulkCounts	batch;			/* of the batch at hand: undone with it */
	bool		more;
	bool		in_block;		/* in a transaction of the caller's, who has to retry */
	bool		own_transactions;
	bool		holds;			/* the transaction at hand has done something */
	int64		wait;			/* in ms, for the account at hand; 0: none */
	const char *busy_plan;		/* the last try would have had to wait for it; NULL: none */
	bool		lacks;			/* the last try lacked what obtain gets; set by decide */
	bool		conflict;		/* the last try met with what others had committed or locked */
	List	   *aside;			/* of BulkItem: busy accounts, to come back to */
	TupleDesc	aside_desc;
	int64		busy;			/* accounts that are left for another run */
	StringInfoData busy_users;	/* the first of them, as JSON */
	MemoryContext memory;		/* lives as long as the run */
};

extern Datum bulk_run(Bulk *bulk, FunctionCallInfo fcinfo, const char *query, int nargs,
					  Oid *types, Datum *values);
extern void bulk_arguments(Bulk *bulk, FunctionCallInfo fcinfo, int first);
extern Datum bulk_result(FunctionCallInfo fcinfo, Datum report);
extern void bulk_check_plan(const char *plan);
extern bool bulk_is_undone(const char *user_id, int64 seq);
extern Oid	bulk_column_type(const BulkItem *item, const char *name);
extern Datum bulk_column(const BulkItem *item, const char *name, Oid type, bool *isnull);

#endif
