/*
 * compat.h
 *		Every difference between PostgreSQL's majors, 14 to 18.
 */
#ifndef CREDITS_BASE_COMPAT_H
#define CREDITS_BASE_COMPAT_H

#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/readfuncs.h"
#include "storage/shm_mq.h"
#include "utils/acl.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#if PG_VERSION_NUM >= 160000
#include "parser/parse_relation.h"
#include "varatt.h"
#endif
#if PG_VERSION_NUM >= 180000
#include "rewrite/rewriteHandler.h"
#endif

/*
 * In PostgreSQL 18 pg_noreturn stands before a declaration.  Up to 17 the attribute could
 * stand behind it.
 */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* DROP DATABASE was interrupted.  The name has come with later minor versions. */
#ifndef DATCONNLIMIT_INVALID_DB
#define DATCONNLIMIT_INVALID_DB -2
#endif

static inline IndexScanDesc
compat_index_beginscan(Relation heap, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(heap, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(heap, index, snapshot, nkeys, 0);
#endif
}

/*
 * Makes a range table of one relation, so that a row of it can be written without a plan.
 * updated: the columns that an update sets.
 */
static inline void
compat_init_range_table(EState *estate, RangeTblEntry *rte, Bitmapset *updated)
{
#if PG_VERSION_NUM >= 160000
	List *perminfos = NIL;

	addRTEPermissionInfo(&perminfos, rte)->updatedCols = updated;
#if PG_VERSION_NUM >= 180000
	ExecInitRangeTable(estate, list_make1(rte), perminfos, bms_make_singleton(1));
#else
	ExecInitRangeTable(estate, list_make1(rte), perminfos);
#endif
#else
	rte->updatedCols = updated;
	ExecInitRangeTable(estate, list_make1(rte));
#endif
}

/* What an update says about the indexes that need an entry for the row's new version. */
#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes CrIndexChange;
#define CR_ALL_INDEXES TU_All
#else
typedef bool CrIndexChange;
#define CR_ALL_INDEXES true
#endif

static inline void
compat_insert_index_tuples(ResultRelInfo *rri, EState *estate, TupleTableSlot *slot,
						   bool is_update, CrIndexChange change)
{
#if PG_VERSION_NUM >= 160000
	list_free(ExecInsertIndexTuples(rri, slot, estate, is_update, false, NULL, NIL,
									change == TU_Summarizing));
#else
	(void) change;
	list_free(ExecInsertIndexTuples(rri, slot, estate, is_update, false, NULL, NIL));
#endif
}

/* Frees what an index access method keeps in IndexInfo while a statement inserts. */
static inline void
compat_index_insert_cleanup(Relation index, IndexInfo *info)
{
#if PG_VERSION_NUM >= 170000
	index_insert_cleanup(index, info);
#else
	(void) index;
	(void) info;
#endif
}

/* The field in which ExecConstraints keeps a relation's compiled CHECK constraints. */
#if PG_VERSION_NUM >= 180000
#define ri_ConstraintExprs ri_CheckConstraintExprs
#endif

/*
 * The expression of a CHECK constraint, as ExecConstraints would compile it: references
 * to virtual columns are replaced by their expressions.  NULL if the constraint is not
 * enforced.
 */
static inline Node *
compat_check_expr(Relation rel, const ConstrCheck *check)
{
#if PG_VERSION_NUM >= 180000
	if (!check->ccenforced)
		return NULL;
	return expand_generated_columns_in_expr(stringToNode(check->ccbin), rel, 1);
#else
	(void) rel;
	return stringToNode(check->ccbin);
#endif
}

/* Makes the EvalPlanQual state for writing one row.  We hold the row's newest version. */
static inline void
compat_epq_init(EPQState *epq, EState *estate)
{
#if PG_VERSION_NUM >= 160000
	EvalPlanQualInit(epq, estate, NULL, NIL, -1, NIL);
#else
	EvalPlanQualInit(epq, estate, NULL, NIL, -1);
#endif
}

static inline void
compat_reserve_guc_prefix(const char *prefix)
{
#if PG_VERSION_NUM >= 150000
	MarkGUCPrefixReserved(prefix);
#else
	EmitWarningsOnPlaceholders(prefix);
#endif
}

/*
 * Has a function run when shared memory is asked for.  Returns the function that ran then
 * before, which it has to call, or NULL.  Before 15 there was no such hook, and memory is
 * asked for while the library is loaded.
 */
typedef void (*CompatRequest)(void);

static inline CompatRequest
compat_request_shmem(CompatRequest request)
{
#if PG_VERSION_NUM >= 150000
	CompatRequest next = shmem_request_hook;

	shmem_request_hook = request;
	return next;
#else
	request();
	return NULL;
#endif
}

static inline int
compat_decode_datetime(char **fields, int *types, int count, int *dtype, struct pg_tm *tm,
					   fsec_t *fraction, int *tz)
{
#if PG_VERSION_NUM >= 160000
	DateTimeErrorExtra extra;

	return DecodeDateTime(fields, types, count, dtype, tm, fraction, tz, &extra);
#else
	return DecodeDateTime(fields, types, count, dtype, tm, fraction, tz);
#endif
}

static inline bool
compat_owns_relation(Oid relid, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(RelationRelationId, relid, roleid);
#else
	return pg_class_ownercheck(relid, roleid);
#endif
}

static inline bool
compat_owns_extension(Oid extension, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(ExtensionRelationId, extension, roleid);
#else
	return pg_extension_ownercheck(extension, roleid);
#endif
}

static inline bool
compat_owns_schema(Oid schema, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(NamespaceRelationId, schema, roleid);
#else
	return pg_namespace_ownercheck(schema, roleid);
#endif
}

static inline bool
compat_owns_database(Oid database, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, roleid);
#else
	return pg_database_ownercheck(database, roleid);
#endif
}

static inline bool
compat_may_select(Oid relid, Oid roleid)
{
	return pg_class_aclcheck(relid, roleid, ACL_SELECT) == ACLCHECK_OK;
}

static inline bool
compat_has_schema_usage(Oid schema, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(NamespaceRelationId, schema, roleid, ACL_USAGE) == ACLCHECK_OK;
#else
	return pg_namespace_aclcheck(schema, roleid, ACL_USAGE) == ACLCHECK_OK;
#endif
}

/*
 * Memory for a GUC's "extra".  Up to 15 it comes from malloc, since 16 from the GUC
 * functions.
 */
static inline void *
compat_guc_malloc(size_t size)
{
#if PG_VERSION_NUM >= 160000
	return guc_malloc(LOG, size);
#else
	return malloc(size);
#endif
}

/* Sends one message.  Waits until the queue has room for it. */
static inline shm_mq_result
compat_mq_send(shm_mq_handle *queue, Size len, const void *data)
{
#if PG_VERSION_NUM >= 150000
	return shm_mq_send(queue, len, data, false, false);
#else
	return shm_mq_send(queue, len, data, false);
#endif
}

static inline void
compat_guc_free(void *memory)
{
#if PG_VERSION_NUM >= 160000
	guc_free(memory);
#else
	free(memory);
#endif
}

#if PG_VERSION_NUM < 150000
#include "miscadmin.h"

#define MAT_SRF_USE_EXPECTED_DESC 1

/* InitMaterializedSRF exists since 15.  This does the same. */
static inline void
InitMaterializedSRF(FunctionCallInfo fcinfo, bits32 flags)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;
	TupleDesc tupdesc;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) ||
		!(rsinfo->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	old = MemoryContextSwitchTo(rsinfo->econtext->ecxt_per_query_memory);
	if (flags & MAT_SRF_USE_EXPECTED_DESC)
		tupdesc = CreateTupleDescCopy(rsinfo->expectedDesc);
	else if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	rsinfo->returnMode = SFRM_Materialize;
	rsinfo->setResult = tuplestore_begin_heap((rsinfo->allowedModes &
											   SFRM_Materialize_Random) != 0,
											  false, work_mem);
	rsinfo->setDesc = tupdesc;
	MemoryContextSwitchTo(old);
}
#endif

/*
 * The columns and rows of a table that are published, in a query on pg_publication_rel r.
 */
#if PG_VERSION_NUM >= 150000
#define CR_PUBLISHED_COLUMNS "r.prattrs"
#define CR_PUBLISHED_ROWS	 "r.prqual"
#else
#define CR_PUBLISHED_COLUMNS "NULL::int2vector"
#define CR_PUBLISHED_ROWS	 "NULL::pg_node_tree"
#endif

#endif
