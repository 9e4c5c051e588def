/*
 * store.h
 *		The extension's tables: where they are, and how their rows are read.
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
#include "nodes/lockoptions.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "columns.h"
#include "core/core.h"

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
	INDEX_HISTORY_REF,
	INDEX_GRANT,
	INDEX_GRANT_ENDS,
	INDEX_HOLD,
	INDEX_HOLD_OPEN,
	INDEX_ANCHOR,
	INDEX_ANCHOR_LEAF,
	INDEX_CHECKPOINT,
	INDEX_COUNT
} StoreIndex;

typedef struct Payment
{
	int64		amount;
	int64		revoked;
	int64		seq;
	const char *payment_ref;
	const char *user_id;
} Payment;

/* store.c: where the tables are */
#define STORE_WRONG_COLUMNS "its columns are not this version's"

extern void store_attach(FunctionCallInfo fcinfo);
extern void store_attach_schema(Oid schema);
extern Oid	store_schema(void);
extern const char *store_schema_name(void);
extern Oid	store_table(StoreTable table);
extern const char *store_table_name(StoreTable table);
extern int	store_table_natts(StoreTable table);
extern bool store_has_columns(Relation rel, StoreTable table);
extern Oid	store_extension(void);
extern Oid	store_index(StoreIndex index);

/* rows.c: rows and the core's structs */
typedef struct RowArena
{
	size_t		used;
	char		data[4096];		/* a row's texts; what does not fit is copied */
} RowArena;

extern const CrPart *parts_from_array(Datum value, int *pairs);
extern Datum parts_to_array(const CrPart *parts, int pairs);
extern const char *account_read(CrAccount *acc, const Datum *values, const bool *nulls);
extern void account_from_slot(CrAccount *acc, TupleTableSlot *slot);
extern void account_to_slot(const CrAccount *acc, TupleTableSlot *slot);
extern void account_from_values(CrAccount *acc, const Datum *values, const bool *nulls);
extern void row_read(CrRow *row, TupleTableSlot *slot);
extern void row_borrow(CrRow *row, TupleTableSlot *slot, RowArena *arena);
extern void row_from_slot(CrRow *row, TupleTableSlot *slot);
extern void row_to_slot(const CrRow *row, TupleTableSlot *slot, Datum metadata);
extern void row_erase_texts(const CrRow *row, TupleTableSlot *slot);
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
	MemoryContext memory;
	bool		positioned;		/* with the keys there are */
	bool		owns_relations;	/* else somebody else has them open */
	TupleTableSlot *slot;
	ScanKeyData keys[3];
	int			nkeys;
} Lookup;

extern void lookup_begin(Lookup *lookup, StoreTable table, StoreIndex index,
						 Snapshot snapshot);
extern void lookup_in(Lookup *lookup, Relation heap, Relation index, TupleTableSlot *slot,
					  Snapshot snapshot);
extern void lookup_again(Lookup *lookup);
extern void lookup_key(Lookup *lookup, AttrNumber index_column, StrategyNumber strategy,
					   RegProcedure operator_function, Datum value);
extern void lookup_text_key(Lookup *lookup, AttrNumber index_column, const char *value);
extern void lookup_after_key(Lookup *lookup, AttrNumber index_column, const char *value);
extern void lookup_upto_key(Lookup *lookup, AttrNumber index_column, const char *value);
extern bool lookup_next(Lookup *lookup, ScanDirection direction);
extern bool lookup_lock(Lookup *lookup, LockWaitPolicy wait);
extern void lookup_end(Lookup *lookup);

extern bool lookup_account(const char *user_id, Snapshot snapshot, CrAccount *acc);
extern bool lookup_account_latest(const char *user_id);
extern bool lookup_row(const char *user_id, int64 seq, Snapshot snapshot, CrRow *row);
extern bool lookup_opened(const char *user_id, bool *busy);
extern bool lookup_payment(const char *payment_ref, Payment *payment);
extern void lookup_note_absent_payment(const char *payment_ref);
extern bool lookup_is_news(const Lookup *lookup);
extern void lookup_note_plan(const char *plan);

#endif
