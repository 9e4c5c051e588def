/*
 * writer.c
 *		The one file that writes table rows.
 *
 * The ledger writes below the executor, so nobody else checks for it: whether
 * writing is allowed at all, constraints, indexes and a DBA's own triggers are
 * seen to here, through the functions that logical replication's apply worker
 * uses (ExecSimpleRelation*).  They fire row triggers only; a trigger of any
 * other timing would silently not fire, so it is refused.  The guards, BEFORE
 * STATEMENT, are not fired on purpose.
 *
 * EXECUTE on the calling function is the only right that a caller needs, so
 * constraints, index expressions and triggers run as the table's owner, like
 * those of a foreign key.  Row-level security is not consulted.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/readfuncs.h"
#include "optimizer/optimizer.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "writer.h"

/*
 * Every function that may write calls this first, so that it refuses where
 * writing is not possible even when it would have had nothing to write.
 */
void
writer_check_allowed(const char *function)
{
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
	PreventCommandDuringRecovery(function);
}

static void
refuse_trigger(Relation rel, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("trigger \"%s\" of table \"%s\" would not fire",
					name, RelationGetRelationName(rel)),
			 errhint("Only AFTER ... FOR EACH ROW triggers are supported on the ledger's tables.")));
}

static void
check_triggers(Relation rel)
{
	TriggerDesc *triggers = rel->trigdesc;

	if (triggers == NULL)
		return;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (trigger->tgisinternal || trigger->tgenabled == TRIGGER_DISABLED)
			continue;
		if (TRIGGER_FOR_ROW(trigger->tgtype) && TRIGGER_FOR_AFTER(trigger->tgtype) &&
			trigger->tgoldtable == NULL && trigger->tgnewtable == NULL)
			continue;
		if (strcmp(trigger->tgname, "credits_guard") == 0 &&
			!TRIGGER_FOR_INSERT(trigger->tgtype))
			continue;
		refuse_trigger(rel, trigger->tgname);
	}
}

/*
 * A table's compiled CHECK constraints.  Compiling them costs several times
 * what a whole call does, so they are kept until the table or any function
 * changes.
 */
typedef struct Checks
{
	MemoryContext memory;		/* this struct and all that it points to */
	Oid			relid;
	ExprState **exprs;			/* NULL: the table has none */
	int			users;			/* writers that hold it */
} Checks;

static Checks *checks_cache[TABLE_COUNT];
static bool checks_valid[TABLE_COUNT];

static void
forget_checks(Datum arg, Oid relid)
{
	(void) arg;
	for (int i = 0; i < TABLE_COUNT; i++)
	{
		if (checks_cache[i] && (relid == InvalidOid || relid == checks_cache[i]->relid))
			checks_valid[i] = false;
	}
}

static void
forget_all_checks(Datum arg, int cache_id, uint32 hash)
{
	(void) cache_id;
	(void) hash;
	forget_checks(arg, InvalidOid);
}

static Checks *
compile_checks(Relation rel)
{
	MemoryContext memory = AllocSetContextCreate(TopMemoryContext, "credits checks",
												 ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(memory);
	Checks	   *checks = palloc0(sizeof(Checks));
	TupleConstr *constraints = RelationGetDescr(rel)->constr;
	int			count = constraints ? constraints->num_check : 0;

	checks->memory = memory;
	checks->relid = RelationGetRelid(rel);
	if (count > 0)
		checks->exprs = palloc0(sizeof(ExprState *) * count);
	for (int i = 0; i < count; i++)
	{
		Node	   *node = stringToNode(constraints->check[i].ccbin);

		checks->exprs[i] = ExecInitExpr(expression_planner((Expr *) node), NULL);
	}
	MemoryContextSwitchTo(old);
	return checks;
}

/* An entry that a writer still holds, in a call that a trigger came from, stays. */
static Checks *
get_checks(StoreTable table, Relation rel)
{
	static bool registered = false;
	Checks	   *checks = checks_cache[table];

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget_checks, (Datum) 0);
		CacheRegisterSyscacheCallback(PROCOID, forget_all_checks, (Datum) 0);
		registered = true;
	}
	if (checks == NULL || !checks_valid[table] || checks->relid != RelationGetRelid(rel))
	{
		checks_cache[table] = NULL;
		if (checks && checks->users == 0)
			MemoryContextDelete(checks->memory);
		checks = compile_checks(rel);
		checks_cache[table] = checks;
		checks_valid[table] = true;
	}
	checks->users++;
	return checks;
}

void
writer_begin(Writer *writer, StoreTable table)
{
	RangeTblEntry *rte;

	writer->rel = table_open(store_table(table), RowExclusiveLock);
	check_triggers(writer->rel);

	writer->estate = CreateExecutorState();
	rte = makeNode(RangeTblEntry);
	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(writer->rel);
	rte->relkind = writer->rel->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
	cr_init_range_table(writer->estate, rte);
	writer->estate->es_snapshot = GetActiveSnapshot();
	writer->estate->es_output_cid = GetCurrentCommandId(true);

	writer->rri = makeNode(ResultRelInfo);
	InitResultRelInfo(writer->rri, writer->rel, 1, NULL, 0);
	writer->estate->es_opened_result_relations =
		lappend(writer->estate->es_opened_result_relations, writer->rri);
	writer->checks = get_checks(table, writer->rel);
	writer->rri->ri_ConstraintExprs = writer->checks->exprs;
	ExecOpenIndices(writer->rri, false);

	writer->slot = MakeSingleTupleTableSlot(RelationGetDescr(writer->rel), &TTSOpsVirtual);
	AfterTriggerBeginQuery();
}

/* Makes the slot an empty row: every column NULL. */
void
writer_clear(Writer *writer)
{
	ExecClearTuple(writer->slot);
	for (int i = 0; i < writer->slot->tts_tupleDescriptor->natts; i++)
	{
		writer->slot->tts_values[i] = (Datum) 0;
		writer->slot->tts_isnull[i] = true;
	}
}

typedef struct SavedUser
{
	Oid			userid;
	int			context;
	ErrorContextCallback hiding;
} SavedUser;

/*
 * A violated constraint's DETAIL shows the row, to whom the owner would show
 * it; the caller may have no right to read the table at all.
 */
static void
hide_row(void *arg)
{
	if (ERRCODE_TO_CATEGORY(geterrcode()) ==
		ERRCODE_TO_CATEGORY(ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION))
		errdetail("The row of table \"%s\" is not shown.",
				  RelationGetRelationName((Relation) arg));
}

static void
become_owner(SavedUser *saved, Relation rel)
{
	GetUserIdAndSecContext(&saved->userid, &saved->context);
	SetUserIdAndSecContext(rel->rd_rel->relowner,
						   saved->context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_NOFORCE_RLS);
	saved->hiding.callback = hide_row;
	saved->hiding.arg = rel;
	saved->hiding.previous = error_context_stack;
	error_context_stack = &saved->hiding;
}

/* An error instead restores the user with the (sub)transaction's abort. */
static void
become_caller(const SavedUser *saved)
{
	error_context_stack = saved->hiding.previous;
	SetUserIdAndSecContext(saved->userid, saved->context);
}

void
writer_insert(Writer *writer)
{
	SavedUser	saved;

	become_owner(&saved, writer->rel);
	ExecStoreVirtualTuple(writer->slot);
	ExecSimpleRelationInsert(writer->rri, writer->estate, writer->slot);
	become_caller(&saved);
}

/* locked: the row's newest version, whose lock we hold. */
void
writer_update(Writer *writer, TupleTableSlot *locked)
{
	SavedUser	saved;
	EPQState	epq;

	become_owner(&saved, writer->rel);
	cr_epq_init(&epq, writer->estate);
	ExecStoreVirtualTuple(writer->slot);
	ExecSimpleRelationUpdate(writer->rri, writer->estate, &epq, locked, writer->slot);
	EvalPlanQualEnd(&epq);
	become_caller(&saved);
}

void
writer_delete(Writer *writer, TupleTableSlot *locked)
{
	SavedUser	saved;
	EPQState	epq;

	become_owner(&saved, writer->rel);
	cr_epq_init(&epq, writer->estate);
	ExecSimpleRelationDelete(writer->rri, writer->estate, &epq, locked);
	EvalPlanQualEnd(&epq);
	become_caller(&saved);
}

/* Fires the triggers and makes the rows visible to what comes next. */
void
writer_end(Writer *writer)
{
	SavedUser	saved;

	become_owner(&saved, writer->rel);
	AfterTriggerEndQuery(writer->estate);
	become_caller(&saved);
	writer->checks->users--;
	ExecCloseIndices(writer->rri);
	ExecDropSingleTupleTableSlot(writer->slot);
	ExecResetTupleTable(writer->estate->es_tupleTable, false);
	FreeExecutorState(writer->estate);
	table_close(writer->rel, NoLock);
	CommandCounterIncrement();
}
