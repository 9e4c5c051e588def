/*
 * store.h
 *		The extension's tables: where they are, how their rows are read, and
 *		what a column's number is.
 *
 * Nothing relies on search_path: the tables are in the schema of the function
 * that was called.
 */
#ifndef CREDITS_STORE_H
#define CREDITS_STORE_H

#include "postgres.h"

#include "access/sdir.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "core/core.h"

typedef enum StoreTable
{
	TABLE_PLAN,
	TABLE_ACCOUNT,
	TABLE_HISTORY,
	TABLE_PAYMENT,
	TABLE_RESET_RUN,
	TABLE_AUDIT_LOG,
	TABLE_ROLE,
	TABLE_COUNT
} StoreTable;

typedef enum StoreIndex
{
	INDEX_PLAN,
	INDEX_ACCOUNT,
	INDEX_ACCOUNT_NEXT_EVENT,
	INDEX_HISTORY,
	INDEX_HISTORY_KEY,
	INDEX_PAYMENT,
	INDEX_RESET_RUN,
	INDEX_RESET_RUN_STATE,
	INDEX_AUDIT_LOG,
	INDEX_ROLE,
	INDEX_COUNT
} StoreIndex;

/* Column numbers, in the install script's order. */
enum
{
	PLAN_VERSION = 1, PLAN_EFFECTIVE_FROM, PLAN_MONTHLY_CREDITS, PLAN_ROLLOVER_LIMIT,
	PLAN_LOW_BALANCE_THRESHOLD, PLAN_CREATED_AT, PLAN_PLAN, PLAN_CYCLE,
	PLAN_NATTS = PLAN_CYCLE
};

enum
{
	ACC_MONTHLY = 1, ACC_GRANTED, ACC_PURCHASED, ACC_HELD_MONTHLY, ACC_HELD_GRANTED,
	ACC_HELD_PURCHASED, ACC_OWED_MONTHLY, ACC_OWED_PURCHASED, ACC_OVERDRAFT_LIMIT,
	ACC_PERIOD_GRANTED, ACC_LAST_MONTHLY_RESET, ACC_EFFECTIVE_AT, ACC_CYCLE_ANCHOR,
	ACC_HISTORY_SEQ, ACC_USER_ID, ACC_TIME_ZONE, ACC_STATUS, ACC_HISTORY_HASH,
	ACC_NEXT_RESET_AT, ACC_NEXT_EVENT_AT, ACC_PLAN_VERSION, ACC_PLAN,
	ACC_SCHEDULED_PLAN, ACC_NATTS = ACC_SCHEDULED_PLAN
};

enum
{
	HIST_SEQ = 1, HIST_CREATED_AT, HIST_EFFECTIVE_AT, HIST_PERIOD_START, HIST_AMOUNT,
	HIST_MONTHLY_DELTA, HIST_GRANTED_DELTA, HIST_PURCHASED_DELTA, HIST_MONTHLY,
	HIST_GRANTED, HIST_PURCHASED, HIST_HELD_MONTHLY, HIST_HELD_GRANTED,
	HIST_HELD_PURCHASED, HIST_OWED_MONTHLY, HIST_OWED_PURCHASED, HIST_EXPIRED,
	HIST_FORFEITED, HIST_SKIPPED, HIST_PLAN_VERSION, HIST_USER_ID, HIST_KIND,
	HIST_ACTOR, HIST_HASH, HIST_NEXT_RESET_AT, HIST_REF_SEQ, HIST_ENDS_AT,
	HIST_OVERDRAFT_LIMIT, HIST_PERIOD_GRANTED, HIST_CYCLE_ANCHOR, HIST_RUN_ID,
	HIST_IDEMPOTENCY_KEY, HIST_REQUEST_DIGEST, HIST_PAYMENT_REF, HIST_SPENDER,
	HIST_PLAN, HIST_SCHEDULED_PLAN, HIST_TIME_ZONE, HIST_STATUS, HIST_ALLOCATIONS,
	HIST_TEXT_SALT, HIST_REASON, HIST_METADATA, HIST_REASON_DIGEST,
	HIST_METADATA_DIGEST, HIST_NATTS = HIST_METADATA_DIGEST
};

enum
{
	PAY_AMOUNT = 1, PAY_REVOKED, PAY_SEQ, PAY_PAYMENT_REF, PAY_USER_ID,
	PAY_NATTS = PAY_USER_ID
};

enum
{
	RUN_STARTED_AT = 1, RUN_FINISHED_AT, RUN_ACCOUNTS, RUN_CREDITS_GRANTED,
	RUN_CREDITS_EXPIRED, RUN_FAILURES, RUN_RUN_ID, RUN_KIND, RUN_STATE, RUN_ACTOR,
	RUN_FAILED, RUN_NATTS = RUN_FAILED
};

enum
{
	AUDIT_SEQ = 1, AUDIT_CREATED_AT, AUDIT_ACTION, AUDIT_SUBJECT, AUDIT_ACTOR,
	AUDIT_HASH, AUDIT_CLIENT_ADDR, AUDIT_APPLICATION, AUDIT_BEFORE, AUDIT_AFTER,
	AUDIT_NATTS = AUDIT_AFTER
};

enum
{
	ROLE_GRANTED_AT = 1, ROLE_ROLE_NAME, ROLE_PRESET, ROLE_GRANTED_USAGE,
	ROLE_NATTS = ROLE_GRANTED_USAGE
};

typedef struct Payment
{
	int64		amount;
	int64		revoked;
	int64		seq;
	const char *payment_ref;
	const char *user_id;
} Payment;

/* store.c: where the tables are */
extern void store_attach(FunctionCallInfo fcinfo);
extern Oid	store_schema(void);
extern const char *store_schema_name(void);
extern Oid	store_table(StoreTable table);
extern const char *store_table_name(StoreTable table);
extern Oid	store_index(StoreIndex index);

/* rows.c: rows and the core's structs */
extern const char *account_read(CrAccount *acc, const Datum *values, const bool *nulls);
extern void account_from_slot(CrAccount *acc, TupleTableSlot *slot);
extern void account_to_slot(const CrAccount *acc, TupleTableSlot *slot);
extern void account_from_values(CrAccount *acc, const Datum *values, const bool *nulls);
extern void row_read(CrRow *row, TupleTableSlot *slot);
extern void row_from_slot(CrRow *row, TupleTableSlot *slot);
extern void row_to_slot(const CrRow *row, TupleTableSlot *slot, Datum metadata);
extern const char *payment_read(Payment *payment, TupleTableSlot *slot);
extern const char *plan_read(CrPlanVersion *plan, TupleTableSlot *slot);
extern char *slot_text(TupleTableSlot *slot, AttrNumber attno);

/* lookup.c: reading by index */
typedef struct Lookup
{
	Relation	heap;
	Relation	index;
	Snapshot	snapshot;
	struct IndexScanDescData *scan; /* NULL until the first row is asked for */
	TupleTableSlot *slot;
	ScanKeyData keys[3];
	int			nkeys;
} Lookup;

extern void lookup_begin(Lookup *lookup, StoreTable table, StoreIndex index,
						 Snapshot snapshot);
extern void lookup_key(Lookup *lookup, AttrNumber index_column, StrategyNumber strategy,
					   RegProcedure operator_function, Datum value);
extern void lookup_text_key(Lookup *lookup, AttrNumber index_column, const char *value);
extern bool lookup_next(Lookup *lookup, ScanDirection direction);
extern void lookup_end(Lookup *lookup);

extern bool lookup_account(const char *user_id, Snapshot snapshot, CrAccount *acc);
extern bool lookup_row(const char *user_id, int64 seq, Snapshot snapshot, CrRow *row);
extern bool lookup_keyed_row(const char *user_id, const char *key, CrRow *row);
extern bool lookup_opened(const char *user_id);
extern bool lookup_payment(const char *payment_ref, Payment *payment);

#endif
