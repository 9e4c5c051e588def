/*
 * store.c
 *		Where the extension's tables and indexes are.
 *
 * Their OIDs are looked up once per backend in the schema of the function that
 * was called, and again after any of them changed: a relcache invalidation of
 * a relation that is in the cache, or of all, empties it.  The column numbers
 * that the C code uses are checked against the catalog at the same time.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

#include "errors.h"
#include "store.h"

typedef struct TableName
{
	const char *name;
	int			natts;
	const char *last_column;
} TableName;

static const TableName tables[TABLE_COUNT] = {
	[TABLE_PLAN] = {"credit_plan", PLAN_NATTS, "cycle"},
	[TABLE_ACCOUNT] = {"credit_account", ACC_NATTS, "scheduled_plan"},
	[TABLE_HISTORY] = {"credit_history", HIST_NATTS, "metadata_digest"},
	[TABLE_PAYMENT] = {"credit_payment", PAY_NATTS, "user_id"},
	[TABLE_RESET_RUN] = {"credit_reset_run", RUN_NATTS, "failed"},
	[TABLE_AUDIT_LOG] = {"credit_audit_log", AUDIT_NATTS, "after"},
	[TABLE_ROLE] = {"credit_role", ROLE_NATTS, "preset"},
};

static const char *const indexes[INDEX_COUNT] = {
	[INDEX_PLAN] = "credit_plan_pkey",
	[INDEX_ACCOUNT] = "credit_account_pkey",
	[INDEX_ACCOUNT_NEXT_EVENT] = "credit_account_next_event_idx",
	[INDEX_HISTORY] = "credit_history_pkey",
	[INDEX_HISTORY_KEY] = "credit_history_key_idx",
	[INDEX_PAYMENT] = "credit_payment_pkey",
	[INDEX_RESET_RUN] = "credit_reset_run_pkey",
	[INDEX_AUDIT_LOG] = "credit_audit_log_pkey",
	[INDEX_ROLE] = "credit_role_pkey",
};

static struct
{
	Oid			schema;			/* InvalidOid: nothing is cached */
	Oid			tables[TABLE_COUNT];
	Oid			indexes[INDEX_COUNT];
}			cache;

static Oid	attached_schema = InvalidOid;

static void
invalidate(Datum arg, Oid relid)
{
	(void) arg;
	if (relid != InvalidOid)
	{
		int			i;

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
	Oid			relid = get_relname_relid(name, attached_schema);

	if (!OidIsValid(relid))
		error_corrupted(name, "it does not exist");
	return relid;
}

static void
check_columns(const TableName *table, Oid relid)
{
	char	   *name = get_attname(relid, table->natts, true);

	if (name == NULL || strcmp(name, table->last_column) != 0)
		error_corrupted(table->name, "its columns are not this version's");
}

static void
fill_cache(void)
{
	Oid			found_tables[TABLE_COUNT];
	Oid			found_indexes[INDEX_COUNT];

	for (int i = 0; i < TABLE_COUNT; i++)
	{
		found_tables[i] = find_relation(tables[i].name);
		check_columns(&tables[i], found_tables[i]);
	}
	for (int i = 0; i < INDEX_COUNT; i++)
		found_indexes[i] = find_relation(indexes[i]);

	memcpy(cache.tables, found_tables, sizeof(found_tables));
	memcpy(cache.indexes, found_indexes, sizeof(found_indexes));
	cache.schema = attached_schema;
}

/*
 * Every SQL-callable function that touches a table calls this first: the
 * extension's schema is the one that its function is in.
 */
void
store_attach(FunctionCallInfo fcinfo)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(invalidate, (Datum) 0);
		registered = true;
	}
	attached_schema = get_func_namespace(fcinfo->flinfo->fn_oid);
	if (cache.schema != attached_schema)
		fill_cache();
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

/* An invalidation can arrive whenever a lock is taken. */
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

Oid
store_index(StoreIndex index)
{
	if (cache.schema != attached_schema)
		fill_cache();
	return cache.indexes[index];
}
