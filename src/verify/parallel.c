/*
 * parallel.c
 *		Verifying accounts with parallel workers.
 *
 * It uses PostgreSQL's own parallel workers, which share the transaction and the
 * snapshot.  This process takes part, too.  Each process has a share of the accounts, by
 * a hash of the user.  Workers send their findings and add up their totals.  If a worker
 * fails, the verification fails: accounts that were not checked must not count as good.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/parallel.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "optimizer/paths.h"
#include "storage/bufmgr.h"
#include "storage/condition_variable.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/wait_event.h"

#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/rows.h"
#include "verify/filter.h"
#include "verify/findings.h"
#include "verify/judge.h"
#include "verify/parallel.h"

#define KEY_TASK   UINT64CONST(0xc4ed170000000001)
#define KEY_AFTER  UINT64CONST(0xc4ed170000000002)
#define KEY_UPTO   UINT64CONST(0xc4ed170000000003)
#define KEY_QUEUES UINT64CONST(0xc4ed170000000004)

#define QUEUE_SIZE ((Size) 65536)

/* What the processes share. */
typedef struct Task
{
	Oid schema;
	bool all;
	uint64 seed;
	double sample;
	int64 memory; /* for all processes together */
	ConditionVariable begun;
	slock_t lock;  /* for the fields below */
	uint32 shares; /* 0: not known yet */
	uint32 done;
	Totals totals;
} Task;

PGDLLEXPORT void credits_verify_worker(dsm_segment *seg, shm_toc *toc);

/* Judges the accounts of a range that are in the share, each by index. */
static void
judge_range(const Share *share, const char *after, const char *upto, Findings *findings,
			Totals *totals)
{
	Judge *judge = palloc(sizeof(Judge));
	MemoryContext memory;
	MemoryContext old;
	Lookup lookup;

	judge_begin(judge, GetActiveSnapshot());
	memory = AllocSetContextCreate(CurrentMemoryContext, "credits verify account",
								   ALLOCSET_DEFAULT_SIZES);
	lookup_begin(&lookup, TABLE_ACCOUNT, INDEX_ACCOUNT, GetActiveSnapshot());
	lookup_after_key(&lookup, 1, after);
	lookup_upto_key(&lookup, 1, upto);
	old = MemoryContextSwitchTo(memory);
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		char *user_id = slot_text(lookup.slot, ACC_USER_ID);

		CHECK_FOR_INTERRUPTS();
		if (share_has(share, share_hash(share, user_id, strlen(user_id))))
			judge_slot(judge, findings, user_id, lookup.slot);
		MemoryContextReset(memory);
	}
	MemoryContextSwitchTo(old);
	lookup_end(&lookup);
	totals->accounts += judge->n_accounts;
	totals->rows += judge->n_rows;
	judge_end(judge);
	MemoryContextDelete(memory);
	pfree(judge);
}

/* Does the part of one process. */
static void
take_part(Task *task, uint32 mine, const char *after, const char *upto, Findings *findings)
{
	Share share = {.seed = task->seed,
				   .mine = mine,
				   .shares = task->shares,
				   .sample = task->sample};
	Totals totals = {0};

	if (task->all)
		filter_accounts(&share, GetActiveSnapshot(), task->memory / task->shares, findings,
						&totals);
	else
		judge_range(&share, after, upto, findings, &totals);

	SpinLockAcquire(&task->lock);
	task->done++;
	task->totals.accounts += totals.accounts;
	task->totals.rows += totals.rows;
	task->totals.purchases += totals.purchases;
	task->totals.orphans |= totals.orphans;
	SpinLockRelease(&task->lock);
}

static uint32
shares_known(Task *task)
{
	uint32 shares;

	SpinLockAcquire(&task->lock);
	shares = task->shares;
	SpinLockRelease(&task->lock);
	return shares;
}

void
credits_verify_worker(dsm_segment *seg, shm_toc *toc)
{
	Task *task = shm_toc_lookup(toc, KEY_TASK, false);
	char *queues = shm_toc_lookup(toc, KEY_QUEUES, false);
	shm_mq *queue = (shm_mq *) (queues + QUEUE_SIZE * ParallelWorkerNumber);
	shm_mq_handle *handle;
	Findings findings;

	shm_mq_set_sender(queue, MyProc);
	handle = shm_mq_attach(queue, seg, NULL);
	ConditionVariablePrepareToSleep(&task->begun);
	while (shares_known(task) == 0)
		ConditionVariableSleep(&task->begun, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();

	store_attach_schema(task->schema);
	findings_to_queue(&findings, handle);
	take_part(task, ParallelWorkerNumber + 1, shm_toc_lookup(toc, KEY_AFTER, true),
			  shm_toc_lookup(toc, KEY_UPTO, true), &findings);
	shm_mq_detach(handle);
}

static void
task_init(Task *task, const Extent *extent)
{
	memset(task, 0, sizeof(*task));
	task->schema = store_schema();
	task->all = extent->all;
	task->seed = extent->seed;
	task->sample = extent->sample;
	task->memory = (int64) maintenance_work_mem * 1024;
	SpinLockInit(&task->lock);
	ConditionVariableInit(&task->begun);
}

/*
 * How many workers to ask for: one for each other core, if the history is as large as a
 * table for which a parallel query is worth it.  The number of workers that start is also
 * limited by max_parallel_workers, which a session can set lower.
 */
static int
wanted_workers(void)
{
	Relation history;
	BlockNumber blocks;

	if (IsInParallelMode() || max_parallel_workers <= 0)
		return 0;
	history = table_open(store_table(TABLE_HISTORY), AccessShareLock);
	blocks = RelationGetNumberOfBlocks(history);
	table_close(history, NoLock);
	if (blocks < (BlockNumber) min_parallel_table_scan_size)
		return 0;
	return (int) Min(Max(sysconf(_SC_NPROCESSORS_ONLN) - 1, min_parallel_table_scan_size == 0),
					 max_parallel_workers);
}

/* The library that has the worker's function: the one that has the calling function. */
static char *
library_name(FunctionCallInfo fcinfo)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(fcinfo->flinfo->fn_oid));
	bool isnull;
	char *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", fcinfo->flinfo->fn_oid);
	name = TextDatumGetCString(SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_probin, &isnull));
	ReleaseSysCache(tuple);
	return name;
}

static void
put_text(ParallelContext *context, uint64 key, const char *text)
{
	if (text)
		shm_toc_insert(context->toc, key,
					   strcpy(shm_toc_allocate(context->toc, strlen(text) + 1), text));
}

static void
estimate(ParallelContext *context, Size size)
{
	shm_toc_estimate_chunk(&context->estimator, size);
	shm_toc_estimate_keys(&context->estimator, 1);
}

static void
verify_with_workers(FunctionCallInfo fcinfo, int workers, const Extent *extent,
					Findings *findings, Totals *totals)
{
	ParallelContext *context;
	Task *task;
	char *queues;
	shm_mq_handle **handles = palloc(sizeof(shm_mq_handle *) * workers);

	EnterParallelMode();
	context = CreateParallelContext(library_name(fcinfo), "credits_verify_worker", workers);
	estimate(context, sizeof(Task));
	estimate(context, QUEUE_SIZE * workers);
	if (extent->after)
		estimate(context, strlen(extent->after) + 1);
	if (extent->upto)
		estimate(context, strlen(extent->upto) + 1);
	InitializeParallelDSM(context);

	task = shm_toc_allocate(context->toc, sizeof(Task));
	task_init(task, extent);
	shm_toc_insert(context->toc, KEY_TASK, task);
	put_text(context, KEY_AFTER, extent->after);
	put_text(context, KEY_UPTO, extent->upto);
	queues = shm_toc_allocate(context->toc, QUEUE_SIZE * workers);
	shm_toc_insert(context->toc, KEY_QUEUES, queues);
	for (int i = 0; i < context->nworkers; i++)
	{
		shm_mq *queue = shm_mq_create(queues + QUEUE_SIZE * i, QUEUE_SIZE);

		shm_mq_set_receiver(queue, MyProc);
		handles[i] = shm_mq_attach(queue, context->seg, NULL);
	}
	LaunchParallelWorkers(context);
	for (int i = 0; i < context->nworkers_launched; i++)
		shm_mq_set_handle(handles[i], context->worker[i].bgwhandle);

	/* only now is the number of processes known */
	SpinLockAcquire(&task->lock);
	task->shares = context->nworkers_launched + 1;
	SpinLockRelease(&task->lock);
	ConditionVariableBroadcast(&task->begun);

	take_part(task, 0, extent->after, extent->upto, findings);
	for (int i = 0; i < context->nworkers_launched; i++)
		findings_receive(findings, handles[i]);
	WaitForParallelWorkersToFinish(context);
	if (task->done != task->shares)
		elog(ERROR, "only %u of %u shares were verified", task->done, task->shares);
	*totals = task->totals;
	DestroyParallelContext(context);
	ExitParallelMode();
	pfree(handles);
}

void
verify_accounts(FunctionCallInfo fcinfo, const Extent *extent, Findings *findings,
				Totals *totals)
{
	int workers = wanted_workers();
	int64 before = findings->count;

	if (workers > 0)
		verify_with_workers(fcinfo, workers, extent, findings, totals);
	else
	{
		Task task;

		task_init(&task, extent);
		task.shares = 1;
		take_part(&task, 0, extent->after, extent->upto, findings);
		*totals = task.totals;
	}
	totals->bad = findings->count - before;
}
