/*
 * notifier.c
 *		The background worker that tells which accounts of a database have changed.
 *
 * It reads the database's ring, and sends notifications on the channel "credits": in one
 * transaction those of all accounts that changed, and after that nothing for
 * credits.notify_interval.  So each account has at most one notification in that time.
 * Notifications that it cannot send one by one are replaced by a resync.
 *
 * It writes no table.  It ends when there was no change for a short time, and when DROP
 * DATABASE or the like wants the database to have no sessions.  It also ends after any error.  The launcher then starts another one when there is something to
 * tell, and has_untold, in the ring, says whether that one begins with a resync.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/async.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/json.h"
#include "base/settings.h"
#include "live/counters.h"
#include "live/rings.h"

#define MAX_ACCOUNTS 100000
#define IDLE_TIME	 INT64_C(2000000) /* microseconds without a change until it ends */

/* An account that changed. */
typedef struct Account
{
	char user_id[CR_MAX_NAME + 1];
	int64 seq;
} Account;

PGDLLEXPORT void credits_notifier_main(Datum arg);

static Ring *ring;
static HTAB *accounts = NULL; /* NULL: none has changed */

static int64
count_accounts(void)
{
	return accounts ? hash_get_num_entries(accounts) : 0;
}

static void
forget_accounts(void)
{
	if (accounts)
		hash_destroy(accounts);
	accounts = NULL;
}

/* A resync stands for all of them. */
static void
lose_accounts(void)
{
	counters_add_one(TOTAL_LOST, count_accounts());
	forget_accounts();
}

static void
make_room(void)
{
	HASHCTL control = {.keysize = sizeof(((Account *) NULL)->user_id),
					   .entrysize = sizeof(Account)};

	if (count_accounts() >= MAX_ACCOUNTS)
	{
		lose_accounts();
		ring_owe_resync(ring);
	}
	if (accounts == NULL)
		accounts = hash_create("credits accounts", 256, &control, HASH_ELEM | HASH_STRINGS);
}

/* Two sessions can write an account's rows into the ring in another order than their own. */
static void
take(const char *user_id, int64 seq)
{
	Account *account;
	bool found;

	make_room();
	account = hash_search(accounts, user_id, HASH_ENTER, &found);
	if (found)
		counters_add_one(TOTAL_COALESCED, 1);
	account->seq = found ? Max(account->seq, seq) : seq;
}

static void
send_payload(StringInfo payload)
{
	Async_Notify("credits", json_end(payload));
	pfree(payload->data);
}

static void
send_accounts(void)
{
	HASH_SEQ_STATUS scan;
	Account *account;

	hash_seq_init(&scan, accounts);
	while ((account = hash_seq_search(&scan)) != NULL)
	{
		StringInfoData payload;

		json_begin(&payload);
		json_text(&payload, "user_id", account->user_id);
		json_int(&payload, "seq", account->seq);
		send_payload(&payload);
	}
}

static void
send_resync(void)
{
	StringInfoData payload;

	json_begin(&payload);
	json_bool(&payload, "resync", true);
	send_payload(&payload);
}

/* Sends what there is: a resync, or accounts.  False: the database has no extension. */
static bool
send_all(bool resync)
{
	bool exists;

	StartTransactionCommand();
	exists = OidIsValid(get_extension_oid("credits", true));
	if (exists && resync)
		send_resync();
	else if (exists && accounts)
		send_accounts();
	CommitTransactionCommand();
	(void) pgstat_report_stat(false);
	return exists;
}

static void
tell(void)
{
	bool resync = ring_resync_delay(ring) == 0;

	if (resync)
		ring_take_resync(ring);
	ring_read(ring, take);
	if (resync)
		lose_accounts();
	if (!send_all(resync))
	{
		ring_has_no_extension(ring);
		proc_exit(0);
	}
	counters_add_one(resync ? TOTAL_RESYNCS : TOTAL_NOTIFICATIONS,
					 resync ? 1 : count_accounts());
	forget_accounts();
	ring_is_told(ring, resync);
}

static int64
now(void)
{
	instr_time time;

	INSTR_TIME_SET_CURRENT(time);
	return (int64) INSTR_TIME_GET_MICROSEC(time);
}

/*
 * pg_terminate_backend, and the end of the server, find the worker here most of the time.
 * It is no error then.
 */
static void
handle_signals(void)
{
	if (ProcDiePending)
		proc_exit(0);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/*
 * Until there was no change for some time, or the database is to have no sessions, or
 * credits.notify is off.
 */
static void
work(void)
{
	int64 active_at = now();

	while (settings_notify() && !ring_is_sent_away(ring))
	{
		int64 delay = count_accounts() > 0 ? ring_accounts_delay(ring) : ring_delay(ring);
		int64 idle_left;

		if (ring_moves(ring) || delay == 0)
			active_at = now();
		idle_left = active_at + IDLE_TIME - now();
		if (delay == 0)
			tell();
		else if (idle_left <= 0)
			break;
		else if (ring_is_half_full(ring))
			ring_read(ring, take);
		else
			ring_wait(ring, count_accounts() > 0, Min(delay, idle_left));
		handle_signals();
	}
}

/*
 * Who may drop the database may end its sessions with FORCE, but not those of a superuser.
 * Which role may end a session is read from here only.
 */
static void
belong_to_owner(void)
{
	HeapTuple tuple;

	StartTransactionCommand();
	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	if (HeapTupleIsValid(tuple))
	{
		MyProc->roleId = ((Form_pg_database) GETSTRUCT(tuple))->datdba;
		ReleaseSysCache(tuple);
	}
	CommitTransactionCommand();
}

/*
 * If PostgreSQL's queue of notifications was full, it stays so after everybody has read it,
 * because it is shortened by those who succeed in sending; or by who asks for its length.
 */
static void
shorten_queue(void)
{
	StartTransactionCommand();
	(void) OidFunctionCall0(F_PG_NOTIFICATION_QUEUE_USAGE);
	CommitTransactionCommand();
}

void
credits_notifier_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid,
											  BGWORKER_BYPASS_ALLOWCONN);
	belong_to_owner();
	shorten_queue();
	MemoryContextSwitchTo(TopMemoryContext);
	ring = ring_attach();
	if (ring)
		work();
	proc_exit(0);
}
