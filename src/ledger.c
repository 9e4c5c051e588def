/*
 * ledger.c
 *		One account, locked: look up the key, apply what is due, let the core
 *		decide, append.
 *
 * Lock first, then decide: everything is decided on the account version whose
 * row lock is held.  READ COMMITTED follows the update chain after a wait;
 * above it a version that the transaction's snapshot does not see is 40001.
 * Rows are kept in memory until the core has accepted the whole call, so that
 * a refused or failed call writes nothing.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "digest.h"
#include "errors.h"
#include "ledger.h"
#include "locks.h"
#include "receipt.h"
#include "settings.h"
#include "store.h"
#include "writer.h"
#include "zone.h"

typedef enum LockResult
{
	LOCKED,
	NOT_FOUND,
	SKIPPED
} LockResult;

/*
 * Locks the newest version of the user's account row.  The scan's snapshot is
 * taken after CommandCounterIncrement, so that two calls in one statement see
 * each other.
 */
static LockResult
lock_account(Ledger *ledger, LockWaitPolicy wait)
{
	Snapshot	snapshot;
	Lookup		lookup;
	TM_FailureData failure;
	TM_Result	result;
	ItemPointerData tid;
	bool		found;
	uint8		flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;

	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	lookup_begin(&lookup, TABLE_ACCOUNT, INDEX_ACCOUNT, snapshot);
	lookup_text_key(&lookup, 1, ledger->request->user_id);
	found = lookup_next(&lookup, ForwardScanDirection);
	if (found)
		tid = lookup.slot->tts_tid;
	lookup_end(&lookup);
	if (!found)
	{
		UnregisterSnapshot(snapshot);
		return NOT_FOUND;
	}

	if (!IsolationUsesXactSnapshot())
		flags |= TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
	result = table_tuple_lock(ledger->rel, &tid, snapshot, ledger->locked,
							  GetCurrentCommandId(false), LockTupleNoKeyExclusive,
							  wait, flags, &failure);
	UnregisterSnapshot(snapshot);
	switch (result)
	{
		case TM_Ok:
			break;
		case TM_Updated:
			error_serialization();
			break;
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				error_serialization();
			return NOT_FOUND;
		case TM_WouldBlock:
			return SKIPPED;
		default:
			elog(ERROR, "unexpected result %d of locking an account", (int) result);
	}
	account_from_slot(&ledger->acc, ledger->locked);
	if (strcmp(ledger->acc.user_id, ledger->request->user_id) != 0)
		return NOT_FOUND;
	return LOCKED;
}

static void
push_row(Ledger *ledger, const CrRow *row)
{
	if (ledger->n_rows == ledger->room)
	{
		ledger->room = ledger->room ? ledger->room * 2 : 4;
		ledger->rows = ledger->rows ?
			repalloc(ledger->rows, sizeof(CrRow) * ledger->room) :
			palloc(sizeof(CrRow) * ledger->room);
		ledger->metadata = ledger->metadata ?
			repalloc(ledger->metadata, sizeof(Datum) * ledger->room) :
			palloc(sizeof(Datum) * ledger->room);
	}
	ledger->metadata[ledger->n_rows] = (Datum) 0;
	ledger->rows[ledger->n_rows++] = *row;
}

static void
push_event(void *ctx, const CrRow *row)
{
	push_row(ctx, row);
}

static void
prepare(Ledger *ledger, const Request *request, Plans *plans)
{
	writer_check_allowed(request->function);
	memset(ledger, 0, sizeof(*ledger));
	ledger->request = request;
	if (plans == NULL)
	{
		plans_init(&ledger->own_plans, NULL);
		plans = &ledger->own_plans;
	}
	ledger->plans = plans;
	ledger->env = plans_env(plans);
	ledger->rel = table_open(store_table(TABLE_ACCOUNT), RowExclusiveLock);
	ledger->locked = table_slot_create(ledger->rel, NULL);
}

/* Time is read after the lock is held; an account's never goes back. */
static void
read_clock(Ledger *ledger)
{
	ledger->clock = clock_now();
	ledger->now = Max(ledger->clock, ledger->acc.effective_at);
}

/*
 * A user without an account: unknown (false), or to be opened by this call.
 * Opening is one at a time, so whoever waited finds the account that the other
 * opened.
 */
static bool
begin_unknown(Ledger *ledger)
{
	const Request *request = ledger->request;
	CrAccount	found;

	if (request->kind != CR_KIND_OPEN && request->kind != CR_KIND_PURCHASE &&
		settings_default_plan() == NULL)
	{
		if (IsolationUsesXactSnapshot() &&
			lookup_account(request->user_id, SnapshotSelf, &found))
			error_serialization();
		return false;
	}
	lock_name(LOCK_OPENING, request->user_id, ExclusiveLock);
	if (lookup_opened(request->user_id))
	{
		unlock_name(LOCK_OPENING, request->user_id, ExclusiveLock);
		if (lock_account(ledger, LockWaitBlock) != LOCKED)
			elog(ERROR, "could not lock an account that was just opened");
		return true;
	}
	ledger->is_new = true;
	cr_account_init(&ledger->acc, request->user_id);
	return true;
}

/*
 * Locks the account of the request's user and reads the clock.  False, and
 * nothing to end, if the user is unknown.
 */
bool
ledger_begin_known(Ledger *ledger, const Request *request)
{
	prepare(ledger, request, NULL);
	if (lock_account(ledger, LockWaitBlock) != LOCKED && !begin_unknown(ledger))
	{
		ledger_end(ledger);
		return false;
	}
	read_clock(ledger);
	return true;
}

/* The same where an unknown user is UC002. */
void
ledger_begin(Ledger *ledger, const Request *request)
{
	if (!ledger_begin_known(ledger, request))
		error_account_not_found(request->user_id);
}

/*
 * The sweep's way: false, and nothing to end, if somebody else has the account
 * locked or it is gone.  Plans are shared by a transaction's accounts.
 */
bool
ledger_try_begin(Ledger *ledger, const Request *request, Plans *plans)
{
	prepare(ledger, request, plans);
	if (lock_account(ledger, LockWaitSkip) != LOCKED)
	{
		ledger_end(ledger);
		return false;
	}
	read_clock(ledger);
	return true;
}

/*
 * If the request's key was used before: its first receipt, or UC003.  The key
 * is looked up before events, freeze or funds.
 */
bool
ledger_replay(Ledger *ledger, Datum *receipt)
{
	const Request *request = ledger->request;
	CrRow		row;

	if (request->idempotency_key == NULL || ledger->is_new ||
		!lookup_keyed_row(request->user_id, request->idempotency_key, &row))
		return false;
	if (row.request_digest == NULL ||
		memcmp(row.request_digest, request->digest, CR_HASH_LEN) != 0)
		error_key_conflict(request->idempotency_key, row.seq, cr_kind_name(row.kind));
	*receipt = receipt_from_row(&row, true);
	return true;
}

/*
 * A call other than credits_open_account opens an unknown user's account: with
 * the default plan, or for a purchase without any if there is none.  The empty
 * key marks an opening row with facts that credits_open_account replays.
 */
static void
open_by_default(Ledger *ledger)
{
	const char *name = settings_default_plan();
	const CrPlanVersion *plan = NULL;
	CrRow		row;

	if (name)
	{
		plan = plans_in_force(ledger->plans, name, ledger->now);
		if (plan == NULL && ledger->request->kind != CR_KIND_PURCHASE)
			error_plan_not_found(name);
	}
	if (cr_open(&ledger->acc, &ledger->env, ledger->now, plan,
				zone_utc_to_local(NULL, "UTC", ledger->now), "UTC", &row) != CR_OK)
		elog(ERROR, "could not open an account");
	if (plan)
		row.idempotency_key = "";
	push_row(ledger, &row);
}

/* Applies what is due up to now, in memory, once. */
void
ledger_apply_due(Ledger *ledger)
{
	if (ledger->is_up_to_date)
		return;
	ledger->is_up_to_date = true;
	if (ledger->is_new)
	{
		if (ledger->request->kind != CR_KIND_OPEN)
			open_by_default(ledger);
		return;
	}
	if (!cr_is_due(&ledger->acc, ledger->now))
		return;
	ledger->plans->emit = push_event;
	ledger->plans->emit_ctx = ledger;
	if (!cr_fold_due(&ledger->acc, &ledger->env, ledger->now))
		error_corrupted("credit_plan", "a plan that an account has is missing");
}

/* Numbers, stamps and signs a row: the account's new head. */
static void
sign_row(Ledger *ledger, CrRow *row, const char *actor)
{
	CrAccount  *acc = &ledger->acc;

	if (acc->history_seq == 0)
		genesis_hash(acc->user_id, acc->history_hash);
	row->user_id = acc->user_id;
	row->seq = ++acc->history_seq;
	row->created_at = ledger->clock;
	row->actor = actor;
	row->run_id = ledger->request->run_id;
	if (row->reason || row->metadata)
	{
		uint8_t    *salt = palloc(SALT_LEN);

		new_salt(salt);
		row->text_salt = salt;
		row->text_salt_len = SALT_LEN;
	}
	row_hash(acc->history_hash, row, row->hash);
	memcpy(acc->history_hash, row->hash, CR_HASH_LEN);
}

static void
fill_account(Ledger *ledger, Writer *writer)
{
	if (ledger->is_new)
		writer_clear(writer);
	else
		writer_copy(writer, ledger->locked);
	account_to_slot(&ledger->acc, writer->slot);
}

/*
 * Writes the rows that were pushed, and the account as it is after them.  A
 * DBA's triggers fire when all is written, so that they can call the ledger
 * themselves.
 */
void
ledger_write(Ledger *ledger)
{
	const char *actor = GetUserNameFromId(GetOuterUserId(), false);
	Writer	   *history = writer_begin(TABLE_HISTORY);
	Writer	   *account = writer_begin(TABLE_ACCOUNT);

	Assert(cr_available(&ledger->acc) + cr_held(&ledger->acc) <= CR_MAX_CREDITS);
	for (int i = 0; i < ledger->n_rows; i++)
	{
		sign_row(ledger, &ledger->rows[i], actor);
		writer_clear(history);
		row_to_slot(&ledger->rows[i], history->slot, ledger->metadata[i]);
		writer_insert(history);
	}
	fill_account(ledger, account);
	if (ledger->is_new)
		writer_insert(account);
	else
		writer_update(account, ledger->locked);
	writer_end(account);
	writer_end(history);
}

/* The seq that the call's own row will have. */
int64
ledger_next_seq(const Ledger *ledger)
{
	return ledger->acc.history_seq + ledger->n_rows + 1;
}

/*
 * Keeps the request's own row, after the events', to be written.  Gives its
 * place among the rows.
 */
int
ledger_push(Ledger *ledger, const CrRow *row)
{
	const Request *request = ledger->request;
	int			place = ledger->n_rows;
	CrRow	   *own;

	push_row(ledger, row);
	own = &ledger->rows[place];
	own->spender = request->spender;
	own->payment_ref = request->payment_ref;
	own->idempotency_key = request->idempotency_key;
	own->request_digest = request->has_digest ? request->digest : NULL;
	own->reason = request->reason;
	own->metadata = request->metadata;
	ledger->metadata[place] = request->metadata_datum;
	return place;
}

/* Writes the request's own row after the events', and gives its receipt. */
Datum
ledger_append(Ledger *ledger, const CrRow *row)
{
	int			place = ledger_push(ledger, row);

	ledger_write(ledger);
	return receipt_from_row(&ledger->rows[place], false);
}

void
ledger_end(Ledger *ledger)
{
	if (ledger->is_new)
		unlock_name(LOCK_OPENING, ledger->request->user_id, ExclusiveLock);
	ExecDropSingleTupleTableSlot(ledger->locked);
	table_close(ledger->rel, NoLock);
}
