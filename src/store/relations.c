/*
 * relations.c
 *		Finding the extension's tables and indexes.
 *
 * Their OIDs are looked up once per backend, in the schema of the function that was
 * called.  A relcache invalidation of one of these relations, or of all relations,
 * empties this cache, and they are looked up again.  At the same time, the column numbers
 * that the C code uses are checked against the catalog.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/dependency.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "nodes/primnodes.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "base/errors.h"
#include "store/columns.h"
#include "store/relations.h"

typedef struct IndexName
{
	const char *name;
	StoreTable table;
	bool unique;
	/* 0: it has all rows; a column: those in which it is not NULL; minus a column: is NULL */
	int partial;
	int nkeys;
	AttrNumber keys[3];
} IndexName;

/* clang-format off */
static const IndexName indexes[INDEX_COUNT] = {
	[INDEX_PLAN] = {"credit_plan_pkey", TABLE_PLAN, true, 0,
	2, {PLAN_PLAN, PLAN_VERSION}},
	[INDEX_ACCOUNT] = {"credit_account_pkey", TABLE_ACCOUNT, true, 0,
	1, {ACC_USER_ID, 0}},
	[INDEX_ACCOUNT_NEXT_EVENT] = {"credit_account_next_event_idx", TABLE_ACCOUNT, false, 0,
	1, {ACC_NEXT_EVENT_AT, 0}},
	[INDEX_ACCOUNT_FLAGS] = {"credit_account_flags_idx", TABLE_ACCOUNT, false, ACC_FLAGS,
	1, {ACC_FLAGS, 0}},
	[INDEX_HISTORY] = {"credit_history_pkey", TABLE_HISTORY, true, 0,
	2, {HIST_USER_ID, HIST_SEQ}},
	[INDEX_HISTORY_KEY] = {"credit_history_key_idx", TABLE_HISTORY, true, HIST_IDEMPOTENCY_KEY,
	2, {HIST_USER_ID, HIST_IDEMPOTENCY_KEY}},
	[INDEX_PAYMENT] = {"credit_payment_pkey", TABLE_PAYMENT, true, 0,
	1, {PAY_PAYMENT_REF, 0}},
	[INDEX_PAYMENT_USER] = {"credit_payment_user_idx", TABLE_PAYMENT, false, 0,
	2, {PAY_USER_ID, PAY_PAID_AT}},
	[INDEX_RESET_RUN] = {"credit_reset_run_pkey", TABLE_RESET_RUN, true, 0,
	1, {RUN_RUN_ID, 0}},
	[INDEX_RESET_RUN_STATE] = {"credit_reset_run_state_idx", TABLE_RESET_RUN, false, 0,
	1, {RUN_STATE, 0}},
	[INDEX_RESET_RUN_KIND] = {"credit_reset_run_kind_idx", TABLE_RESET_RUN, false, 0,
	2, {RUN_KIND, RUN_STARTED_AT}},
	[INDEX_AUDIT_LOG] = {"credit_audit_log_pkey", TABLE_AUDIT_LOG, true, 0,
	1, {AUDIT_SEQ, 0}},
	[INDEX_ROLE] = {"credit_role_pkey", TABLE_ROLE, true, 0,
	3, {ROLE_SYSTEM_IDENTIFIER, ROLE_ROLE_OID, ROLE_PRESET}},
	[INDEX_HISTORY_REF] = {"credit_history_ref_idx", TABLE_HISTORY, false, HIST_REF_SEQ,
	2, {HIST_USER_ID, HIST_REF_SEQ}},
	[INDEX_GRANT] = {"credit_grant_pkey", TABLE_GRANT, true, 0,
	2, {GRANT_USER_ID, GRANT_SEQ}},
	[INDEX_GRANT_ENDS] = {"credit_grant_ends_idx", TABLE_GRANT, false, 0,
	2, {GRANT_USER_ID, GRANT_ENDS_AT}},
	[INDEX_GRANT_ALL_ENDS] = {"credit_grant_all_ends_idx", TABLE_GRANT, false, 0,
	1, {GRANT_ENDS_AT, 0}},
	[INDEX_GRANT_NOTICE] = {"credit_grant_notice_idx", TABLE_GRANT, false, -GRANT_NOTICED,
	1, {GRANT_ENDS_AT, 0}},
	[INDEX_HOLD] = {"credit_hold_pkey", TABLE_HOLD, true, 0,
	2, {HOLD_USER_ID, HOLD_SEQ}},
	[INDEX_HOLD_OPEN] = {"credit_hold_open_idx", TABLE_HOLD, false, HOLD_ENDS_AT,
	2, {HOLD_USER_ID, HOLD_ENDS_AT}},
	[INDEX_HOLD_ALL_OPEN] = {"credit_hold_all_open_idx", TABLE_HOLD, false, HOLD_ENDS_AT,
	1, {HOLD_ENDS_AT, 0}},
	[INDEX_HOLD_NOTICE] = {"credit_hold_notice_idx", TABLE_HOLD, false, -HOLD_NOTICED,
	1, {HOLD_ENDS_AT, 0}},
	[INDEX_ANCHOR] = {"credit_anchor_pkey", TABLE_ANCHOR, true, 0,
	1, {ANCHOR_NO, 0}},
	[INDEX_ANCHOR_LEAF] = {"credit_anchor_leaf_pkey", TABLE_ANCHOR_LEAF, true, 0,
	2, {LEAF_USER_ID, LEAF_ANCHOR_NO}},
	[INDEX_CHECKPOINT] = {"credit_checkpoint_pkey", TABLE_CHECKPOINT, true, 0,
	1, {ACC_USER_ID, 0}},
	[INDEX_EVENT] = {"credit_event_pkey", TABLE_EVENT, true, 0,
	3, {EVENT_USER_ID, EVENT_SEQ, EVENT_KIND}},
	[INDEX_EVENT_ORDER] = {"credit_event_order_idx", TABLE_EVENT, false, 0,
	3, {EVENT_CREATED_AT, EVENT_USER_ID, EVENT_SEQ}},
};
/* clang-format on */

static struct
{
	Oid schema; /* InvalidOid: the cache is empty */
	Oid tables[TABLE_COUNT];
	Oid indexes[INDEX_COUNT];
} cache;

static Oid attached_schema = InvalidOid;

static void
invalidate(Datum arg, Oid relid)
{
	(void) arg;
	if (relid != InvalidOid)
	{
		int i;

		for (i = 0; i < TABLE_COUNT && cache.tables[i] != relid; i++)
			;
		if (i == TABLE_COUNT)
		{
			for (i = 0; i < INDEX_COUNT && cache.indexes[i] != relid; i++)
				;
			if (i == INDEX_COUNT)
				return;
		}
	}
	cache.schema = InvalidOid;
}

static Oid
find_relation(const char *name)
{
	Oid relid = get_relname_relid(name, attached_schema);

	if (!OidIsValid(relid))
		error_corrupted(name, "it does not exist");
	return relid;
}

/*
 * Does a relation have the columns of a table in the places where the code reads them,
 * with the same names, types and numbers?  The archive's partitions have rows of the
 * history, too, and a table with another order of columns can be attached as a partition.
 */
bool
store_has_columns(Relation rel, StoreTable table)
{
	TupleDesc desc = RelationGetDescr(rel);
	bool good = desc->natts >= tables[table].natts;

	for (int i = 0; good && i < tables[table].natts; i++)
	{
		const Column *column = &tables[table].columns[i];
		Form_pg_attribute found = TupleDescAttr(desc, i);

		good = !found->attisdropped && strcmp(NameStr(found->attname), column->name) == 0 &&
			found->atttypid == column->type && (found->attnotnull || !column->not_null);
	}
	return good;
}

static void
check_columns(StoreTable table, Oid relid)
{
	Relation rel = relation_open(relid, AccessShareLock);
	bool good = rel->rd_rel->relkind == RELKIND_RELATION && store_has_columns(rel, table);

	relation_close(rel, AccessShareLock);
	if (!good)
		error_corrupted(tables[table].name, STORE_WRONG_COLUMNS);
}

/*
 * What an index leaves out, from its predicate.  0: nothing; a column: rows in which it is
 * NULL; minus a column: rows in which it is not NULL.  False: it is another predicate.
 */
bool
store_partial(List *predicate, int *partial)
{
	NullTest *test = list_length(predicate) == 1 ? linitial(predicate) : NULL;

	*partial = 0;
	if (predicate == NIL)
		return true;
	if (test == NULL || !IsA(test, NullTest) || test->argisrow || !IsA(test->arg, Var) ||
		((Var *) test->arg)->varattno <= 0)
		return false;
	*partial = ((Var *) test->arg)->varattno;
	if (test->nulltesttype == IS_NULL)
		*partial = -*partial;
	return true;
}

/* Does an index key find values that are equal byte for byte, and no others? */
static bool
is_exact(Relation rel, int key, Oid type)
{
	return rel->rd_indoption[key] == 0 &&
		rel->rd_indcollation[key] == (type == TEXTOID ? C_COLLATION_OID : InvalidOid) &&
		rel->rd_opfamily[key] == lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY)->btree_opf;
}

/*
 * Checks an index.  All rows are found by these indexes, so a wrong index could hide
 * rows, let a key in twice, or find the wrong row.
 */
static void
check_index(const IndexName *index, Oid relid)
{
	Relation rel = relation_open(relid, AccessShareLock);
	Form_pg_index form = rel->rd_index;
	int partial;
	bool good = rel->rd_rel->relkind == RELKIND_INDEX && rel->rd_rel->relam == BTREE_AM_OID &&
		form->indrelid == find_relation(tables[index->table].name) && form->indisvalid &&
		form->indisunique == index->unique && form->indnkeyatts == index->nkeys &&
		store_partial(RelationGetIndexPredicate(rel), &partial) && partial == index->partial;

	for (int i = 0; good && i < index->nkeys; i++)
		good = form->indkey.values[i] == index->keys[i] &&
			is_exact(rel, i, tables[index->table].columns[index->keys[i] - 1].type);
	relation_close(rel, AccessShareLock);
	if (!good)
		error_corrupted(index->name, "the index is not this version's");
}

static void
fill_cache(void)
{
	Oid found_tables[TABLE_COUNT];
	Oid found_indexes[INDEX_COUNT];

	for (int i = 0; i < TABLE_COUNT; i++)
	{
		found_tables[i] = find_relation(tables[i].name);
		check_columns(i, found_tables[i]);
	}
	for (int i = 0; i < INDEX_COUNT; i++)
	{
		found_indexes[i] = find_relation(indexes[i].name);
		check_index(&indexes[i], found_indexes[i]);
	}

	memcpy(cache.tables, found_tables, sizeof(found_tables));
	memcpy(cache.indexes, found_indexes, sizeof(found_indexes));
	cache.schema = attached_schema;
}

void
store_attach_schema(Oid schema)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(invalidate, (Datum) 0);
		registered = true;
	}
	attached_schema = schema;
	if (cache.schema != attached_schema)
		fill_cache();
}

/*
 * Every SQL function that uses a table calls this first.  The extension's schema is the
 * schema of that function.
 */
void
store_attach(FunctionCallInfo fcinfo)
{
	store_attach_schema(get_func_namespace(fcinfo->flinfo->fn_oid));
}

Oid
store_schema(void)
{
	return attached_schema;
}

const char *
store_schema_name(void)
{
	return get_namespace_name(attached_schema);
}

/*
 * Looks up the tables again if needed: an invalidation can arrive whenever a lock is
 * taken.
 */
Oid
store_table(StoreTable table)
{
	if (cache.schema != attached_schema)
		fill_cache();
	return cache.tables[table];
}

const char *
store_table_name(StoreTable table)
{
	return tables[table].name;
}

/* How many of the columns are the extension's own. */
int
store_table_natts(StoreTable table)
{
	return tables[table].natts;
}

/* The extension that the tables belong to. */
Oid
store_extension(void)
{
	return getExtensionOfObject(RelationRelationId, store_table(TABLE_ACCOUNT));
}

Oid
store_index(StoreIndex index)
{
	if (cache.schema != attached_schema)
		fill_cache();
	return cache.indexes[index];
}
