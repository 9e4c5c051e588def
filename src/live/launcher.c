/*
 * launcher.c
 *		The background worker that starts the others.
 *
 * It is connected to no database.  When a database has changes to tell and no worker, it
 * starts one, see notifier.c.  On a standby it does not run: there are no changes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/settings.h"
#include "live/launcher.h"
#include "live/rings.h"

#define TRY_INTERVAL INT64_C(1000000) /* microseconds between two workers of a database */

/* The worker that was last started for a ring. */
typedef struct Started
{
	BackgroundWorkerHandle *handle; /* NULL: none was, or it has ended */
	TimestampTz at;
} Started;

PGDLLEXPORT void credits_launcher_main(Datum arg);

static Started *started; /* one for each ring */
static bool has_complained = false;

static void
describe(BackgroundWorker *worker, const char *name, const char *function)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	strlcpy(worker->bgw_name, name, sizeof(worker->bgw_name));
	strlcpy(worker->bgw_type, name, sizeof(worker->bgw_type));
	strlcpy(worker->bgw_library_name, "credits", sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function, sizeof(worker->bgw_function_name));
}

/* Called when the library is loaded. */
void
launcher_init(void)
{
	BackgroundWorker worker;

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	describe(&worker, "credits launcher", "credits_launcher_main");
	worker.bgw_restart_time = 1;
	RegisterBackgroundWorker(&worker);
}

/* False also for one that DROP DATABASE has begun to remove. */
static bool
database_exists(Oid database)
{
	HeapTuple tuple;
	bool exists = false;

	StartTransactionCommand();
	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	if (HeapTupleIsValid(tuple))
	{
		exists = ((Form_pg_database) GETSTRUCT(tuple))->datconnlimit !=
			DATCONNLIMIT_INVALID_DB;
		ReleaseSysCache(tuple);
	}
	CommitTransactionCommand();
	return exists;
}

/* Says it once until it is over. */
static void
complain_once(const char *what, const char *setting)
{
	if (!has_complained)
		ereport(LOG, (errmsg("%s", what), errhint("Consider increasing %s.", setting)));
	has_complained = true;
}

static void
start_worker(Oid database, Started *last)
{
	BackgroundWorker worker;

	describe(&worker, "credits notifier", "credits_notifier_main");
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	last->at = GetCurrentTimestamp();
	if (RegisterDynamicBackgroundWorker(&worker, &last->handle))
		has_complained = false;
	else
		complain_once("there is no free background worker to tell changes of credits",
					  "max_worker_processes");
}

/* The handle is freed when its worker has ended. */
static bool
is_running(Started *last)
{
	pid_t pid;

	if (last->handle == NULL)
		return false;
	if (GetBackgroundWorkerPid(last->handle, &pid) != BGWH_STOPPED)
		return true;
	pfree(last->handle);
	last->handle = NULL;
	return false;
}

/* How much is left of the time in which no other worker of the ring is started. */
static int64
rest_of_try(const Started *last)
{
	int64 since = GetCurrentTimestamp() - last->at;

	return since < 0 || since > TRY_INTERVAL ? 0 : TRY_INTERVAL - since;
}

/* Starts a ring's worker if it is needed.  Returns after what time to look again. */
static int64
serve(Ring *ring, Started *last)
{
	Oid database = ring_database(ring);
	int64 delay;

	if (!OidIsValid(database) || ring_has_worker(ring) || is_running(last) ||
		!settings_notify())
		return RING_NEVER;
	delay = ring_delay(ring);
	if (delay < RING_NEVER)
		delay = Max(delay, rest_of_try(last));
	if (delay > 0)
		return delay;
	if (!database_exists(database))
	{
		ring_free(ring);
		return RING_NEVER;
	}
	start_worker(database, last);
	return last->handle ? RING_NEVER : TRY_INTERVAL;
}

/* A database has found no free ring.  Frees those whose database is gone. */
static void
free_rings(void)
{
	bool freed = false;

	for (int i = 0; i < rings_count(); i++)
	{
		Ring *ring = rings_nth(i);
		Oid database = ring_database(ring);

		if (OidIsValid(database) && !ring_has_worker(ring) && !is_running(&started[i]) &&
			!database_exists(database))
		{
			ring_free(ring);
			freed = true;
		}
	}
	if (!freed)
		complain_once("there are more databases with credits than can have notifications",
					  "credits.counted_databases");
}

static int64
serve_all(void)
{
	int64 delay = RING_NEVER;

	if (rings_are_missed())
		free_rings();
	for (int i = 0; i < rings_count(); i++)
		delay = Min(delay, serve(rings_nth(i), &started[i]));
	return delay;
}

static void
wait_for_work(int64 delay)
{
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
						 (delay < RING_NEVER ? WL_TIMEOUT : 0),
					 delay < RING_NEVER ? delay / 1000 + 1 : -1, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

static void
stop(int code, Datum arg)
{
	(void) code;
	(void) arg;
	rings_launch(false);
}

/* If it is terminated, it ends with 1, so that the postmaster starts it again. */
void
credits_launcher_main(Datum arg)
{
	(void) arg;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	started = MemoryContextAllocZero(TopMemoryContext, sizeof(Started) * rings_count());
	MemoryContextSwitchTo(TopMemoryContext);
	before_shmem_exit(stop, (Datum) 0);
	rings_launch(true);
	for (;;)
	{
		int64 delay = serve_all();

		wait_for_work(delay);
		if (ProcDiePending)
			proc_exit(1);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}
