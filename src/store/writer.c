/*
 * writer.c
 *		The one file that writes table rows.
 *
 * The ledger writes below the executor, so no other code makes the usual checks.  This
 * file does: it checks that writing is allowed, checks constraints, maintains indexes and
 * fires a DBA's triggers.  It uses the functions that logical replication's apply worker
 * uses (ExecSimpleRelation*).  These fire row triggers only.  A trigger of another kind
 * would silently not fire, so it is refused.  The guards are BEFORE STATEMENT triggers,
 * and they must not fire here.
 *
 * Constraints, index expressions, defaults and triggers run as the caller, as they do for
 * an ordinary INSERT.  If a trigger ran as the owner, it would run with the caller's
 * search_path and temporary tables, and the caller could become the owner.  Row-level
 * security is not applied.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"

#include "base/compat.h"
#include "base/errors.h"
#include "store/columns.h"
#include "store/relations.h"
#include "store/table_code.h"
#include "store/writer.h"

/*
 * Every function that may write calls this first.  So the function also refuses where
 * writing is not possible if it would have nothing to write.
 */
void
writer_check_allowed(const char *function)
{
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
	PreventCommandDuringRecovery(function);
}

/*
 * Rows that wait to be written together.  Many rows then need one WAL record and one
 * visit of a page.
 */
#define QUEUE_ROWS 200

typedef struct Queue
{
	MemoryContext memory; /* the memory of the rows */
	int count;
	TupleTableSlot *slots[QUEUE_ROWS]; /* as many as were needed so far */
} Queue;

static Writer *cache[TABLE_COUNT];
static bool valid[TABLE_COUNT];

static void
queue_forget(Writer *writer)
{
	Queue *queue = writer->queue;

	if (queue == NULL)
		return;
	for (int i = 0; i < queue->count; i++)
		ExecClearTuple(queue->slots[i]);
	queue->count = 0;
	MemoryContextReset(queue->memory);
}

static bool
depends_on(const Writer *writer, Oid relid)
{
	if (relid == writer->relid)
		return true;
	for (int i = 0; i < writer->rri->ri_NumIndices; i++)
	{
		if (relid == writer->indexes[i])
			return true;
	}
	return false;
}

/*
 * Marks writers of a changed table as no longer valid.  If there is no writer of a table
 * yet, it may be in preparation right now, so the table is marked, too.
 */
static void
forget_table(Datum arg, Oid relid)
{
	(void) arg;
	for (int i = 0; i < TABLE_COUNT; i++)
	{
		if (cache[i] == NULL || relid == InvalidOid || depends_on(cache[i], relid))
			valid[i] = false;
	}
}

static void
forget_all(Datum arg, int cache_id, uint32 hash)
{
	(void) cache_id;
	(void) hash;
	forget_table(arg, InvalidOid);
}

/*
 * Forgets that an index is open.  GIN, GiST and BRIN leave pointers to the index in its
 * IndexInfo, which is kept here after the index is closed.  What they allocated is in the
 * memory of the writer's user.
 */
static void
forget_index(Writer *writer, int i)
{
	writer->rri->ri_IndexRelationDescs[i] = NULL;
	writer->rri->ri_IndexRelationInfo[i]->ii_AmCache = NULL;
}

/*
 * After an aborted transaction or subtransaction, its writers can be used again.  Their
 * relations are already closed, and their queued rows are not wanted.
 */
static void
release_from(int nest_level)
{
	for (int i = 0; i < TABLE_COUNT; i++)
	{
		Writer *writer = cache[i];

		if (writer == NULL || writer->nest_level < nest_level)
			continue;
		writer->nest_level = 0;
		for (int j = 0; j < writer->rri->ri_NumIndices; j++)
			forget_index(writer, j);
		queue_forget(writer);
	}
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PARALLEL_ABORT)
		release_from(1);
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
					  void *arg)
{
	(void) mine;
	(void) parent;
	(void) arg;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		release_from(GetCurrentTransactionNestLevel());
}

static void
register_callbacks(void)
{
	static bool registered = false;

	if (registered)
		return;
	CacheRegisterRelcacheCallback(forget_table, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, forget_all, (Datum) 0);
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
	registered = true;
}

/*
 * The columns that an update sets, for triggers that fire for some columns only: all
 * columns.
 */
static Bitmapset *
all_columns(Relation rel)
{
	Bitmapset *columns = NULL;

	for (int i = 1; i <= RelationGetDescr(rel)->natts; i++)
		columns = bms_add_member(columns, i - FirstLowInvalidHeapAttributeNumber);
	return columns;
}

static Writer *
prepare(StoreTable table, Relation rel, MemoryContext parent)
{
	MemoryContext memory = AllocSetContextCreate(parent, "credits writer",
												 ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(memory);
	Writer *writer = palloc0(sizeof(Writer));
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	writer->memory = memory;
	writer->table = table;
	writer->relid = RelationGetRelid(rel);
	writer->rel = rel;
	writer->has_triggers = code_has_triggers(rel);
	writer->estate = CreateExecutorState();
	rte->rtekind = RTE_RELATION;
	rte->relid = writer->relid;
	rte->relkind = rel->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
	compat_init_range_table(writer->estate, rte,
							writer->has_triggers ? all_columns(rel) : NULL);

	writer->rri = makeNode(ResultRelInfo);
	InitResultRelInfo(writer->rri, rel, 1, NULL, 0);
	if (!writer->has_triggers)
		writer->rri->ri_TrigDesc = NULL; /* the guards must not fire here */
	writer->estate->es_opened_result_relations =
		lappend(writer->estate->es_opened_result_relations, writer->rri);
	writer->rri->ri_ConstraintExprs = code_checks(rel);
	writer->defaults = code_defaults(rel, store_table_natts(table), &writer->has_foreign_code);
	ExecOpenIndices(writer->rri, false);
	writer->has_foreign_code |= code_is_foreign(writer->rri);
	writer->indexes = palloc(sizeof(Oid) * Max(writer->rri->ri_NumIndices, 1));
	writer->partial = palloc(sizeof(int) * Max(writer->rri->ri_NumIndices, 1));
	for (int i = 0; i < writer->rri->ri_NumIndices; i++)
	{
		writer->indexes[i] = RelationGetRelid(writer->rri->ri_IndexRelationDescs[i]);
		(void) store_partial(writer->rri->ri_IndexRelationInfo[i]->ii_Predicate,
							 &writer->partial[i]);
	}
	writer->slot = MakeSingleTupleTableSlot(CreateTupleDescCopyConstr(RelationGetDescr(rel)),
											&TTSOpsVirtual);
	MemoryContextSwitchTo(old);
	return writer;
}

static Relation
open_index(Writer *writer, int i)
{
	Relation *index = &writer->rri->ri_IndexRelationDescs[i];

	if (*index == NULL)
	{
		*index = index_open(writer->indexes[i], RowExclusiveLock);
		writer->rri->ri_IndexRelationInfo[i]->ii_Context = writer->use_memory;
	}
	return *index;
}

/*
 * Opens the indexes that the row needs an entry in.  ExecInsertIndexTuples skips indexes
 * that are not open.
 */
static void
open_indexes(Writer *writer, TupleTableSlot *slot)
{
	for (int i = 0; i < writer->rri->ri_NumIndices; i++)
	{
		int column = writer->partial[i];

		if (column == 0 || slot_attisnull(slot, abs(column)) == (column < 0))
			(void) open_index(writer, i);
	}
}

static void
close_indexes(Writer *writer)
{
	for (int i = 0; i < writer->rri->ri_NumIndices; i++)
	{
		Relation index = writer->rri->ri_IndexRelationDescs[i];

		if (index == NULL)
			continue;
		compat_index_insert_cleanup(index, writer->rri->ri_IndexRelationInfo[i]);
		index_close(index, NoLock);
		forget_index(writer, i);
	}
}

static void
begin_use(Writer *writer, MemoryContext memory)
{
	writer->use_memory = memory;
	writer->nest_level = GetCurrentTransactionNestLevel();
	if (writer->has_triggers)
	{
		writer->hides_rows = !compat_may_select(writer->relid, GetUserId());
		AfterTriggerBeginQuery();
	}
}

/*
 * Begins to write a table.  These writers are not kept in the cache: one that is needed
 * while a call further out uses the cached one (the inner call comes from a trigger), one
 * that fires triggers, because its slots belong to a transaction, and one that runs
 * foreign code.
 *
 * memory: is neither reset nor deleted before writer_end.  It has a writer that is not
 * kept, and what indexes keep while a statement inserts.  It must not be the memory of
 * one account, because many accounts share one writer, and the memory of the first
 * account is freed before the second.
 */
Writer *
writer_begin(StoreTable table, MemoryContext memory)
{
	Relation rel = table_open(store_table(table), RowExclusiveLock);
	Writer *writer = cache[table];

	register_callbacks();
	if (writer && writer->nest_level == 0 &&
		(!valid[table] || writer->relid != RelationGetRelid(rel)))
	{
		cache[table] = NULL;
		MemoryContextDelete(writer->memory);
		writer = NULL;
	}
	if (writer && writer->nest_level == 0)
	{
		writer->rel = rel;
		writer->rri->ri_RelationDesc = rel;
	}
	else
	{
		valid[table] = cache[table] == NULL || valid[table];
		writer = prepare(table, rel, memory);
		if (cache[table] == NULL && !writer->has_triggers && !writer->has_foreign_code)
		{
			MemoryContextSetParent(writer->memory, TopMemoryContext);
			writer->kept = true;
			cache[table] = writer;
		}
	}
	begin_use(writer, memory);
	return writer;
}

/* Begins to write a partition of the archive.  This writer is not kept. */
Writer *
writer_begin_partition(Oid relid, MemoryContext memory)
{
	Relation rel = table_open(relid, RowExclusiveLock);
	Writer *writer;

	if (!store_has_columns(rel, TABLE_HISTORY))
		error_corrupted(RelationGetRelationName(rel), STORE_WRONG_COLUMNS);
	writer = prepare(TABLE_HISTORY, rel, memory);
	begin_use(writer, memory);
	return writer;
}

/*
 * A row of one table must not be written to another, even if the writer's memory was
 * damaged.  stored: the row that is updated or deleted; may be NULL.
 */
static void
check_use(const Writer *writer, const TupleTableSlot *stored)
{
	Assert(writer->nest_level > 0);
	Assert(MemoryContextIsValid(writer->memory) && MemoryContextIsValid(writer->use_memory));
	Assert(writer->rri->ri_RelationDesc == writer->rel);
	Assert(writer->slot->tts_tupleDescriptor->natts == RelationGetDescr(writer->rel)->natts);
	if (RelationGetRelid(writer->rel) != writer->relid ||
		(stored && stored->tts_tableOid != writer->relid))
		elog(ERROR, "a row would be written to another table than its own");
}

/* One of the table's indexes, open until writer_end. */
Relation
writer_index(Writer *writer, StoreIndex index)
{
	Oid relid = store_index(index);

	for (int i = 0; i < writer->rri->ri_NumIndices; i++)
	{
		if (writer->indexes[i] == relid)
			return open_index(writer, i);
	}
	elog(ERROR, "table %u has no index %u", writer->relid, relid);
}

/* A slot for reading the table's rows.  The caller drops it. */
TupleTableSlot *
writer_read_slot(Writer *writer)
{
	return MakeSingleTupleTableSlot(writer->slot->tts_tupleDescriptor,
									table_slot_callbacks(writer->rel));
}

/* Makes the slot an empty row: every column is NULL or has its default. */
void
writer_clear(Writer *writer)
{
	TupleTableSlot *slot = writer->slot;

	ExecClearTuple(slot);
	for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++)
	{
		slot->tts_values[i] = (Datum) 0;
		slot->tts_isnull[i] = true;
		if (writer->defaults && writer->defaults[i])
			slot->tts_values[i] = ExecEvalExprSwitchContext(writer->defaults[i],
															GetPerTupleExprContext(
																writer->estate),
															&slot->tts_isnull[i]);
	}
}

/* Makes the slot a copy of a row.  The copy shares the row's memory. */
void
writer_copy(Writer *writer, TupleTableSlot *old)
{
	int natts = old->tts_tupleDescriptor->natts;

	ExecClearTuple(writer->slot);
	slot_getallattrs(old);
	memcpy(writer->slot->tts_values, old->tts_values, sizeof(Datum) * natts);
	memcpy(writer->slot->tts_isnull, old->tts_isnull, sizeof(bool) * natts);
}

/*
 * Makes the slot a copy of a row of another table with the same columns.  If a DBA has
 * added columns to that table, this table must have them, too.
 */
void
writer_copy_to(Writer *writer, TupleTableSlot *row)
{
	TupleDesc from = row->tts_tupleDescriptor;
	TupleDesc to = writer->slot->tts_tupleDescriptor;

	writer_clear(writer);
	slot_getallattrs(row);
	for (int i = 0; i < from->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(from, i);
		int at = i;

		if (column->attisdropped)
			continue;
		if (i >= HIST_NATTS)
		{
			for (at = HIST_NATTS; at < to->natts; at++)
			{
				Form_pg_attribute other = TupleDescAttr(to, at);

				if (!other->attisdropped && other->atttypid == column->atttypid &&
					strcmp(NameStr(other->attname), NameStr(column->attname)) == 0)
					break;
			}
			if (at == to->natts)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("table \"%s\" has no column \"%s\"",
								RelationGetRelationName(writer->rel), NameStr(column->attname)),
						 errhint("Add the column, which credit_history has, to credit_history_archive.")));
		}
		writer->slot->tts_values[at] = row->tts_values[i];
		writer->slot->tts_isnull[at] = row->tts_isnull[i];
	}
}

/*
 * The DETAIL of a violated constraint shows the columns that the statement sets.  Because
 * of the triggers, these are all columns.
 */
static void
hide_row(void *writer)
{
	if (((Writer *) writer)->hides_rows &&
		ERRCODE_TO_CATEGORY(geterrcode()) ==
			ERRCODE_TO_CATEGORY(ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION))
		errdetail("The row is not shown.");
}

/* Prepares a write.  The commands after this one see what is written now. */
static void
begin_write(Writer *writer, const TupleTableSlot *stored)
{
	check_use(writer, stored);
	writer->estate->es_snapshot = GetActiveSnapshot();
	writer->estate->es_output_cid = GetCurrentCommandId(true);
}

void
writer_insert(Writer *writer)
{
	ErrorContextCallback context = {error_context_stack, hide_row, writer};

	error_context_stack = &context;
	begin_write(writer, NULL);
	ExecStoreVirtualTuple(writer->slot);
	open_indexes(writer, writer->slot);
	ExecSimpleRelationInsert(writer->rri, writer->estate, writer->slot);
	ResetPerTupleExprContext(writer->estate);
	error_context_stack = context.previous;
}

/* Does the table have columns or code that only ExecSimpleRelation* handles? */
static bool
is_plain(const Writer *writer)
{
	TupleConstr *constraints = RelationGetDescr(writer->rel)->constr;

	return !writer->has_triggers && !writer->has_foreign_code &&
		!(constraints && constraints->has_generated_stored);
}

/* Checks the row of a plain table, as ExecSimpleRelation* would before writing it. */
static void
check_row(Writer *writer, TupleTableSlot *slot, CmdType command)
{
	CheckCmdReplicaIdentity(writer->rel, command);
	if (RelationGetDescr(writer->rel)->constr)
		ExecConstraints(writer->rri, slot, writer->estate);
	if (writer->rel->rd_rel->relispartition)
		ExecPartitionCheck(writer->rri, slot, writer->estate, true);
}

static void
flush(Writer *writer)
{
	Queue *queue = writer->queue;
	MemoryContext old;

	if (queue == NULL || queue->count == 0)
		return;
	old = MemoryContextSwitchTo(queue->memory);
	table_multi_insert(writer->rel, queue->slots, queue->count, writer->estate->es_output_cid,
					   0, NULL);
	for (int i = 0; i < queue->count; i++)
	{
		open_indexes(writer, queue->slots[i]);
		compat_insert_index_tuples(writer->rri, writer->estate, queue->slots[i], false,
								   CR_ALL_INDEXES);
		ResetPerTupleExprContext(writer->estate);
	}
	MemoryContextSwitchTo(old);
	queue_forget(writer);
}

static Queue *
make_queue(Writer *writer)
{
	Queue *queue = MemoryContextAllocZero(writer->memory, sizeof(Queue));

	queue->memory = AllocSetContextCreate(writer->memory, "credits queued rows",
										  ALLOCSET_DEFAULT_SIZES);
	return queue;
}

/*
 * Inserts a row now, or later but before writer_end returns.  The row's constraints are
 * checked now.  Until it is inserted, the row must not be looked for.
 */
void
writer_queue(Writer *writer)
{
	ErrorContextCallback context = {error_context_stack, hide_row, writer};
	Queue *queue;
	TupleTableSlot **slot;
	MemoryContext old;

	if (!is_plain(writer))
	{
		writer_insert(writer);
		return;
	}
	error_context_stack = &context;
	begin_write(writer, NULL);
	ExecStoreVirtualTuple(writer->slot);
	check_row(writer, writer->slot, CMD_INSERT);
	if (writer->queue == NULL)
		writer->queue = make_queue(writer);
	queue = writer->queue;
	slot = &queue->slots[queue->count];
	if (*slot == NULL)
	{
		old = MemoryContextSwitchTo(writer->memory);
		*slot = MakeSingleTupleTableSlot(writer->slot->tts_tupleDescriptor, &TTSOpsHeapTuple);
		MemoryContextSwitchTo(old);
	}
	old = MemoryContextSwitchTo(queue->memory);
	ExecStoreHeapTuple(ExecCopySlotHeapTuple(writer->slot), *slot, false);
	MemoryContextSwitchTo(old);
	ResetPerTupleExprContext(writer->estate);
	if (++queue->count == QUEUE_ROWS)
		flush(writer);
	error_context_stack = context.previous;
}

/*
 * May a row be updated without being locked first?  Not if the table runs code before the
 * update.
 */
bool
writer_can_update_unlocked(const Writer *writer)
{
	return is_plain(writer);
}

/*
 * When this backend last slept while it waited for a lock.  Every such sleep starts the
 * timer of the search for deadlocks.
 */
static TimestampTz
last_sleep(void)
{
	return get_timeout_start_time(DEADLOCK_TIMEOUT);
}

/*
 * Updates a row that was read and perhaps not locked.  False, and nothing is written, if
 * the version that was read is no longer the newest.  writer->waited says whether the
 * update had to wait.  If it did, what the caller decided from the clock is about a time
 * before the wait.
 */
bool
writer_try_update(Writer *writer, TupleTableSlot *old)
{
	ErrorContextCallback context = {error_context_stack, hide_row, writer};
	ItemPointerData tid = old->tts_tid;
	TM_FailureData failure;
	LockTupleMode mode;
	CrIndexChange change;
	TM_Result result;
	TimestampTz slept;

	error_context_stack = &context;
	begin_write(writer, old);
	ExecStoreVirtualTuple(writer->slot);
	check_row(writer, writer->slot, CMD_UPDATE);
	slept = last_sleep();
	result = table_tuple_update(writer->rel, &tid, writer->slot, writer->estate->es_output_cid,
								writer->estate->es_snapshot, InvalidSnapshot, true, &failure,
								&mode, &change);
	writer->waited = last_sleep() != slept;
	if (result == TM_Ok && change)
	{
		open_indexes(writer, writer->slot);
		compat_insert_index_tuples(writer->rri, writer->estate, writer->slot, true, change);
	}
	ResetPerTupleExprContext(writer->estate);
	error_context_stack = context.previous;
	return result == TM_Ok;
}

/*
 * Updates a row.  locked: the row's newest version.  No other transaction can change it,
 * because we hold the row's lock or, for a history row, the lock of its account.
 */
void
writer_update(Writer *writer, TupleTableSlot *locked)
{
	ErrorContextCallback context = {error_context_stack, hide_row, writer};
	EPQState epq;

	if (is_plain(writer))
	{
		if (!writer_try_update(writer, locked))
			elog(ERROR, "a locked row of \"%s\" was updated by another",
				 RelationGetRelationName(writer->rel));
		return;
	}
	error_context_stack = &context;
	begin_write(writer, locked);
	ExecStoreVirtualTuple(writer->slot);
	open_indexes(writer, writer->slot);
	compat_epq_init(&epq, writer->estate);
	ExecSimpleRelationUpdate(writer->rri, writer->estate, &epq, locked, writer->slot);
	EvalPlanQualEnd(&epq);
	ResetPerTupleExprContext(writer->estate);
	error_context_stack = context.previous;
}

void
writer_delete(Writer *writer, TupleTableSlot *locked)
{
	EPQState epq;

	begin_write(writer, locked);
	compat_epq_init(&epq, writer->estate);
	ExecSimpleRelationDelete(writer->rri, writer->estate, &epq, locked);
	EvalPlanQualEnd(&epq);
}

/*
 * Ends the writing: inserts queued rows, fires the triggers, and makes the rows visible
 * to the commands that follow.
 */
void
writer_end(Writer *writer)
{
	flush(writer);
	CommandCounterIncrement();
	if (writer->has_triggers)
	{
		AfterTriggerEndQuery(writer->estate);
		/* also closes those that the triggers opened */
		ExecCloseResultRelations(writer->estate);
	}
	else
		close_indexes(writer);
	ExecClearTuple(writer->slot);
	ResetPerTupleExprContext(writer->estate);
	table_close(writer->rel, NoLock);
	writer->nest_level = 0;
	if (!writer->kept)
	{
		ExecResetTupleTable(writer->estate->es_tupleTable, false);
		MemoryContextDelete(writer->memory);
	}
}
