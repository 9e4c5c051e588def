/*
 * relations.h
 *		Finding the extension's tables and indexes.
 *
 * search_path is not used.  The tables are in the schema of the function that was called.
 */
#ifndef CREDITS_STORE_RELATIONS_H
#define CREDITS_STORE_RELATIONS_H

#include "postgres.h"

#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

#include "store/columns.h"

typedef enum StoreIndex
{
	INDEX_PLAN,
	INDEX_ACCOUNT,
	INDEX_ACCOUNT_NEXT_EVENT,
	INDEX_ACCOUNT_FLAGS,
	INDEX_HISTORY,
	INDEX_HISTORY_KEY,
	INDEX_PAYMENT,
	INDEX_PAYMENT_USER,
	INDEX_RESET_RUN,
	INDEX_RESET_RUN_STATE,
	INDEX_RESET_RUN_KIND,
	INDEX_AUDIT_LOG,
	INDEX_ROLE,
	INDEX_HISTORY_REF,
	INDEX_GRANT,
	INDEX_GRANT_ENDS,
	INDEX_GRANT_ALL_ENDS,
	INDEX_GRANT_NOTICE,
	INDEX_HOLD,
	INDEX_HOLD_OPEN,
	INDEX_HOLD_ALL_OPEN,
	INDEX_HOLD_NOTICE,
	INDEX_ANCHOR,
	INDEX_ANCHOR_LEAF,
	INDEX_CHECKPOINT,
	INDEX_EVENT,
	INDEX_EVENT_ORDER,
	INDEX_COUNT
} StoreIndex;

#define STORE_WRONG_COLUMNS "its columns are not this version's"

extern void store_attach(FunctionCallInfo fcinfo);
extern void store_attach_schema(Oid schema);
extern Oid store_schema(void);
extern const char *store_schema_name(void);
extern Oid store_table(StoreTable table);
extern const char *store_table_name(StoreTable table);
extern int store_table_natts(StoreTable table);
extern bool store_has_columns(Relation rel, StoreTable table);
extern Oid store_extension(void);
extern Oid store_index(StoreIndex index);
extern bool store_partial(List *predicate, int *partial);

#endif
