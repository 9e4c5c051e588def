/*
 * ledger.c
 *		Changing one account: lock it, look up the key, apply what is due, let the core
 *		decide, append.
 *
 * Lock first, then decide: a call decides on the account version whose row lock it holds.
 * There is an exception for the usual deduction and the usual account of the sweep, when
 * no other transaction has the account locked or is changing it.  They may decide on the
 * version that was read, without a lock.  The update then takes the lock, and it succeeds
 * only if that version is still the newest.  If it succeeds, nothing has happened in
 * between, so locking first would have given the same result.  In all other cases, the
 * call decides again under the lock.
 *
 * Rows are kept in memory until the core has accepted the whole call.  So a call that is
 * refused or fails writes nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/errors.h"
#include "base/event_kinds.h"
#include "base/settings.h"
#include "base/subtransaction.h"
#include "base/zone.h"
#include "ledger/books.h"
#include "ledger/ledger.h"
#include "ledger/receipt.h"
#include "ledger/request.h"
#include "live/committed.h"
#include "live/counted.h"
#include "store/early_release.h"
#include "store/locks.h"
#include "store/writer.h"
#include "tables/audit_log.h"
#include "tables/event_rows.h"
#include "tables/find.h"
#include "tables/lot_rows.h"
#include "tables/plan_versions.h"
#include "tables/rows.h"

#define BRIEF_WAIT_MS 100

static void
push_row(Ledger *ledger, const CrRow *row)
{
	if (ledger->n_rows == ledger->room)
	{
		ledger->room = ledger->room ? ledger->room * 2 : 4;
		ledger->rows = ledger->rows ? repalloc(ledger->rows, sizeof(CrRow) * ledger->room)
									: palloc(sizeof(CrRow) * ledger->room);
		ledger->metadata = ledger->metadata
			? repalloc(ledger->metadata, sizeof(Datum) * ledger->room)
			: palloc(sizeof(Datum) * ledger->room);
	}
	ledger->metadata[ledger->n_rows] = (Datum) 0;
	ledger->rows[ledger->n_rows] = *row;
	if (row->n_allocations > 0) /* the core uses the memory of the allocations again */
	{
		size_t size = sizeof(CrPart) * row->n_allocations;

		ledger->rows[ledger->n_rows].allocations = memcpy(palloc(size), row->allocations,
														  size);
	}
	ledger->n_rows++;
}

static void
push_event(void *ctx, const CrRow *row)
{
	Ledger *ledger = ctx;

	push_row(ledger, row);
	ledger->after_event = ledger->acc;
}

/* books, plans: shared by the accounts of a call.  NULL: use the ledger's own. */
void
ledger_prepare(Ledger *ledger, const Request *request, Books *books, Plans *plans)
{
	writer_check_allowed(request->function);
	commit_locks_account();
	memset(ledger, 0, sizeof(*ledger));
	ledger->request = request;
	if (plans == NULL)
	{
		plans_init(&ledger->own_plans, NULL);
		plans = &ledger->own_plans;
	}
	ledger->plans = plans;
	ledger->env = plans_env(plans);
	if (books == NULL)
	{
		books_open(&ledger->own_books, false);
		books = &ledger->own_books;
	}
	ledger->books = books;
}

/*
 * Finds the account.  If another transaction has it locked or is changing it, the call
 * takes its turn: it waits for an advisory lock on the user_id and holds that lock to
 * the end of the transaction.
 *
 * Without the turn, PostgreSQL's queue for a row wakes two calls for each call that goes
 * on: the one that gets the row, and the one that then becomes the first in the queue,
 * which only waits again.
 *
 * The turn is for speed.  The row lock alone keeps the account correct, so a call may go
 * on without a turn.  A transaction takes a turn for one account only, because a
 * transaction of a million calls must not need a million locks.
 */
static bool
find_in_turn(Ledger *ledger)
{
	const char *user_id = ledger->request->user_id;
	Books *books = ledger->books;
	bool found = books_find(books, user_id);

	if (found && !books->skips && books_state(books, books->accounts.slot) == BOOKS_BUSY)
	{
		ledger->has_waited = true;
		ledger->in_turn = commit_may_take_turn();
		INSTR_TIME_SET_CURRENT(ledger->busy_since);
	}
	if (ledger->has_waited && ledger->in_turn)
	{
		lock_name(LOCK_TURN, user_id, ExclusiveLock);
		books_refresh(books);
		found = books_find(books, user_id);
	}
	ledger->version = found ? books->accounts.slot : NULL;
	return found;
}

/* Reads the version, and then the clock.  An account's time never goes back. */
static void
read_version(Ledger *ledger)
{
	if (ledger->has_waited)
		counted_wait(ledger->busy_since, ledger->in_turn);
	ledger->has_waited = false;
	account_from_slot(&ledger->acc, ledger->version);
	ledger->clock = clock_now();
	ledger->now = Max(ledger->clock, ledger->acc.effective_at);
}

/*
 * Locks the account that was found.  False if it is gone, or busy and must not be waited
 * for.
 */
static bool
lock_version(Ledger *ledger)
{
	BooksResult result = books_lock(ledger->books, ledger->version,
									ledger->books->skips ? LockWaitSkip : LockWaitBlock);

	ledger->is_busy = result == BOOKS_SKIPPED;
	if (result != BOOKS_FOUND)
		return false;
	read_version(ledger);
	return strcmp(ledger->acc.user_id, ledger->request->user_id) == 0;
}

/* Money never bounces: a payment opens an account for an unknown user. */
static bool
is_payment(const Request *request)
{
	return request->kind == CR_KIND_PURCHASE ||
		(request->kind == CR_KIND_GRANT && request->payment_ref);
}

/*
 * The user has no account.  Returns false if the user is unknown.  Otherwise this call
 * may open the account, and the opening lock is held.  If another call has opened the
 * account while this one waited for the lock, that account is locked and used.
 */
static bool
lock_unknown(Ledger *ledger)
{
	const Request *request = ledger->request;

	if (request->kind != CR_KIND_OPEN && request->kind != CR_KIND_IMPORT &&
		!is_payment(request) && settings_default_plan() == NULL)
	{
		if (IsolationUsesXactSnapshot() && find_account_latest(request->user_id))
			error_serialization();
		return false;
	}
	if (!ledger->books->skips)
		lock_name(LOCK_OPENING, request->user_id, ExclusiveLock);
	else if (!try_lock_name(LOCK_OPENING, request->user_id, ExclusiveLock))
	{
		ledger->is_busy = true;
		return false;
	}
	if (find_opened(request->user_id, ledger->books->skips ? &ledger->is_busy : NULL))
	{
		unlock_name(LOCK_OPENING, request->user_id, ExclusiveLock);
		books_refresh(ledger->books);
		if (find_in_turn(ledger) && lock_version(ledger))
			return true;
		if (!ledger->is_busy)
			elog(ERROR, "could not lock an account that was just opened");
	}
	if (ledger->is_busy)
	{
		unlock_name(LOCK_OPENING, request->user_id, ExclusiveLock);
		return false;
	}
	ledger->is_new = true;
	cr_account_init(&ledger->acc, request->user_id);
	ledger->clock = ledger->now = clock_now();
	return true;
}

/*
 * Locks the account of the request's user, and reads the account and the clock, again if
 * they were read before.  False if the user is unknown, or if the account is busy and the
 * books skip busy accounts.
 */
bool
ledger_lock(Ledger *ledger)
{
	ledger->is_busy = false;
	ledger->n_rows = 0;
	ledger->is_up_to_date = false;
	ledger->is_waiting = false;
	ledger->is_locked = true;
	return ((ledger->version || find_in_turn(ledger)) && lock_version(ledger)) ||
		(!ledger->is_busy && lock_unknown(ledger));
}

/* Begins a call with the account locked.  Raises UC002 if the user is unknown. */
void
ledger_begin(Ledger *ledger, const Request *request)
{
	ledger_prepare(ledger, request, NULL, NULL);
	if (!ledger_lock(ledger))
		error_account_not_found(request->user_id);
}

/*
 * Limits the waits for locks to a time after which no transaction has begun to search for
 * a deadlock.
 */
static void
limit_lock_wait(void)
{
	int brief = Max(Min(BRIEF_WAIT_MS, DeadlockTimeout / 2), 1);

	if (LockTimeout == 0 || LockTimeout > brief)
		LockTimeout = brief;
}

/* An account that is to be locked together with the audit log. */
typedef struct WithLog
{
	const Request *request;
	bool has_log; /* the audit log is locked already */
	bool both;
} WithLog;

/* If not both are locked, the subtransaction is undone, which releases the account. */
static bool
lock_account_with_log(void *arg)
{
	WithLog *with = arg;
	Ledger ledger;
	int usual = LockTimeout;

	ledger_prepare(&ledger, with->request, NULL, NULL);
	if (with->has_log)
		limit_lock_wait();
	(void) ledger_lock(&ledger);
	CHECK_FOR_INTERRUPTS();
	LockTimeout = usual;
	ledger_end(&ledger);
	with->both = with->has_log || audit_try_lock();
	return with->both;
}

/*
 * Locks the account and the audit log, and does not wait for one while it holds the other
 * for long.  log_first false: lock the account, then try the log.  log_first true: wait
 * for the log, then try the account.  False if it did not get both: then neither is
 * locked.  A row lock can only be released by undoing a subtransaction, so it uses one.
 */
static bool
lock_with_log(const Request *request, bool log_first)
{
	WithLog with = {request, log_first, false};
	int usual = LockTimeout;
	ErrorData *failure;

	if (log_first)
		audit_lock();
	failure = subtransaction_try(lock_account_with_log, &with);
	LockTimeout = usual;
	if (failure && !(log_first && failure->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE))
		ReThrowError(failure);
	if (failure)
		with.both = false;
	if (!with.both && log_first)
		audit_unlock();
	return with.both;
}

/*
 * Begins an act that the audit log records.  If the log was busy in the last try, the
 * next try waits for the log first, without holding the account.  If the account was
 * busy, the next try waits for the account first, without holding the log.
 */
void
ledger_begin_audited(Ledger *ledger, const Request *request)
{
	bool log_first = false;

	while (!lock_with_log(request, log_first))
		log_first = !log_first;
	ledger_begin(ledger, request);
}

/*
 * Reads the account and does not lock it.  False if that is not enough, because another
 * transaction has the account locked or is changing it, or because the account has to be
 * opened.  Then the caller uses ledger_lock.
 */
static bool
read_unlocked(Ledger *ledger)
{
	BooksState state = BOOKS_OLD;

	for (int tries = 0; tries < 10 && state == BOOKS_OLD; tries++)
	{
		if (tries > 0)
			books_refresh(ledger->books);
		if (!find_in_turn(ledger))
			return false;
		state = books_state(ledger->books, ledger->version);
	}
	if (state != BOOKS_FREE)
		return false;
	read_version(ledger);
	return true;
}

/*
 * Locks the account in the slot, and reads the account and the clock, again if they were
 * read before.  False if another transaction has the account locked, or if it is gone.
 * The sweep has many accounts, and not in the order of users, so it must not wait for one
 * of them.
 */
bool
ledger_lock_at(Ledger *ledger, TupleTableSlot *slot)
{
	ledger->n_rows = 0;
	ledger->is_up_to_date = false;
	ledger->is_waiting = false;
	ledger->version = slot;
	ledger->is_locked = true;
	if (books_lock(ledger->books, slot, LockWaitSkip) != BOOKS_FOUND)
		return false;
	read_version(ledger);
	return true;
}

/* The same without the lock.  The write that follows may fail. */
void
ledger_read_at(Ledger *ledger, TupleTableSlot *slot)
{
	ledger->version = slot;
	read_version(ledger);
}

static bool
find_key(Ledger *ledger, CrRow *row)
{
	const Request *request = ledger->request;

	return request->idempotency_key && !ledger->is_new &&
		books_find_key(ledger->books, request->user_id, request->idempotency_key, row);
}

/*
 * If the request's key was used before, gives the first receipt or raises UC003.  A call
 * looks up the key before it looks at events, at a freeze or at the balance.
 */
bool
ledger_replay(Ledger *ledger, Datum *receipt)
{
	const Request *request = ledger->request;
	CrRow row;

	if (!find_key(ledger, &row))
		return false;
	if (!digest_is(row.request_digest, request->digest))
		error_key_conflict(request->idempotency_key, row.seq, cr_kind_name(row.kind));
	*receipt = receipt_from_row(&row, true);
	return true;
}

/*
 * A call other than credits_open_account opens the account of an unknown user.  The
 * account gets the default plan.  If there is none, only a payment can open it, without
 * a plan.  The empty key marks an opening row with facts, which credits_open_account can
 * replay.
 */
static void
open_by_default(Ledger *ledger)
{
	const char *name = settings_default_plan();
	const CrPlanVersion *plan = NULL;
	CrRow row;

	if (name)
	{
		plan = plans_in_force(ledger->plans, name, ledger->now);
		if (plan == NULL && !is_payment(ledger->request))
			error_default_plan_not_found(name);
	}
	if (cr_open(&ledger->acc, &ledger->env, ledger->now, plan,
				zone_utc_to_local(NULL, "UTC", ledger->now), "UTC", &row) != CR_OK)
		elog(ERROR, "could not open an account");
	if (plan)
		row.idempotency_key = "";
	push_row(ledger, &row);
}

/*
 * Reads the account's grants and holds, but only if the next step may change them.  That
 * is so if something is due, if the call spends and there are grants, or if the call is
 * about grants or holds.
 */
static void
load_lists(Ledger *ledger)
{
	CrAccount *acc = &ledger->acc;

	if (ledger->request->kind < CR_KIND_GRANT &&
		(cr_is_due(acc, ledger->now) ? !cr_has_lots(acc) : acc->balance.granted == 0))
		return;
	lots_load(acc, ledger->now, SnapshotSelf);
}

/*
 * Applies what is due up to now, in memory, once.  False if the reset has to wait for the
 * account's time zone.  Then the reset and what is due after it are not applied, and the
 * account's time is just before the reset.
 */
bool
ledger_apply_ready(Ledger *ledger)
{
	if (ledger->is_up_to_date)
		return !ledger->is_waiting;
	ledger->is_up_to_date = true;
	load_lists(ledger);
	if (ledger->is_new)
	{
		if (ledger->request->kind != CR_KIND_OPEN && ledger->request->kind != CR_KIND_IMPORT)
			open_by_default(ledger);
		return true;
	}
	if (!cr_is_due(&ledger->acc, ledger->now))
		return true;
	ledger->plans->emit = push_event;
	ledger->plans->emit_ctx = ledger;
	switch (cr_fold_due(&ledger->acc, &ledger->env, ledger->now))
	{
		case CR_FOLDED:
			break;
		case CR_WAITS_FOR_ZONE:
			ledger->is_waiting = true;
			ledger->now = cr_waiting_time(&ledger->acc);
			break;
		case CR_TOO_MANY_PERIODS:
			error_too_many_periods(&ledger->acc);
		case CR_PLAN_MISSING:
			error_corrupted("credit_plan", "a plan that an account has is missing");
	}
	return !ledger->is_waiting;
}

/*
 * The same for a call that needs everything applied.  Raises UC012 if the reset has to
 * wait.
 */
void
ledger_apply_due(Ledger *ledger)
{
	if (!ledger_apply_ready(ledger))
		error_zone_unknown(&ledger->acc);
}

/*
 * Completes a row: its number, its time and its hash.  The row is then the account's new
 * head.
 */
static void
hash_row(Ledger *ledger, CrRow *row, const char *actor)
{
	CrAccount *acc = &ledger->acc;

	if (acc->history_seq == 0)
		genesis_hash(acc->user_id, acc->history_hash);
	row->user_id = acc->user_id;
	row->seq = ++acc->history_seq;
	row->created_at = ledger->clock;
	row->actor = actor;
	row->run_id = ledger->request->run_id;
	if (row->reason || row->metadata)
	{
		uint8_t *salt = palloc(SALT_LEN);

		new_salt(salt);
		row->text_salt = salt;
		row->text_salt_len = SALT_LEN;
	}
	row_hash(acc->history_hash, row, row->hash);
	memcpy(acc->history_hash, row->hash, CR_HASH_LEN);
}

/*
 * The account as it is to be written.  After its last row, it may have passed boundaries
 * that make no row.  Then it stays as that row left it, and only next_event_at is later.
 */
static const CrAccount *
written_state(Ledger *ledger)
{
	CrAccount *state = &ledger->after_event;

	if (!ledger->acc.is_ahead)
		return &ledger->acc;
	if (ledger->n_rows == 0)
		account_from_slot(state, ledger->version);
	state->history_seq = ledger->acc.history_seq;
	memcpy(state->history_hash, ledger->acc.history_hash, CR_HASH_LEN);
	state->next_event_at = ledger->acc.next_event_at;
	return state;
}

/*
 * False if the account was not locked and the version that was read is no longer the
 * newest.
 */
static bool
write_account(Ledger *ledger)
{
	Writer *writer = ledger->books->account;

	if (ledger->is_new)
		writer_clear(writer);
	else
		writer_copy(writer, ledger->version);
	account_to_slot(written_state(ledger), writer->slot);
	if (ledger->is_new)
		writer_insert(writer);
	else if (ledger->is_locked)
		writer_update(writer, ledger->version);
	else
		return writer_try_update(writer, ledger->version);
	return true;
}

static void
write_row(Ledger *ledger, int i)
{
	Writer *writer = ledger->books->history;

	committed_row(&ledger->rows[i]);
	writer_clear(writer);
	row_to_slot(&ledger->rows[i], writer->slot, ledger->metadata[i]);
	if (ledger->books->many)
		writer_queue(writer);
	else
		writer_insert(writer);
}

/* Writes the events that the row is, of those that credits.events names. */
static void
write_events(Ledger *ledger, const CrRow *row)
{
	Books *books = ledger->books;
	int kinds = settings_events() == 0 ? 0 : settings_events() & events_of_row(row);

	for (int kind = 0; kinds != 0 && kind < EVENT_KIND_COUNT; kind++)
	{
		if ((kinds & EVENT_BIT(kind)) == 0)
			continue;
		if (books->events == NULL)
			books->events = writer_begin(TABLE_EVENT, books->memory);
		event_write(books->events, row, kind);
	}
}

static void
hash_rows(Ledger *ledger)
{
	const char *actor = GetUserNameFromId(GetOuterUserId(), false);

	Assert(cr_available(&ledger->acc) + cr_held(&ledger->acc) <= CR_MAX_CREDITS);
	for (int i = 0; i < ledger->n_rows; i++)
		hash_row(ledger, &ledger->rows[i], actor);
}

static void
write_rows(Ledger *ledger)
{
	for (int i = 0; i < ledger->n_rows; i++)
	{
		write_row(ledger, i);
		write_events(ledger, &ledger->rows[i]);
	}
	if (ledger->acc.lots)
		lots_save(&ledger->acc, &ledger->books->grants, &ledger->books->holds,
				  ledger->books->memory);
}

/*
 * Writes the account as it is after the pushed rows, and these rows.  False, and nothing
 * is written, if the account was read without a lock and has changed since.  A DBA's
 * triggers fire when the books are closed and everything is written, so they can call the
 * ledger themselves.
 */
bool
ledger_write(Ledger *ledger)
{
	hash_rows(ledger);
	if (!write_account(ledger))
		return false;
	write_rows(ledger);
	return true;
}

/*
 * Undoes the update of the account: writes the old values again, as a new version.  A new
 * search for the account finds that version.  No other transaction has seen the version
 * in between.
 */
static void
undo_update(Ledger *ledger)
{
	Books *books = ledger->books;
	TupleTableSlot *before = writer_read_slot(books->account);

	ExecCopySlot(before, ledger->version);
	ledger->version = NULL;
	books_refresh(books);
	if (!books_find(books, ledger->request->user_id))
		elog(ERROR, "an account that was just updated is gone");
	writer_copy(books->account, before);
	writer_update(books->account, books->accounts.slot);
	ExecDropSingleTupleTableSlot(before);
	books_refresh(books);
}

/* The seq that the call's own row will get. */
int64
ledger_next_seq(const Ledger *ledger)
{
	return ledger->acc.history_seq + ledger->n_rows + 1;
}

/*
 * Adds the request's own row, after the rows of events, to the rows to write.  Returns
 * its index in the rows.
 */
int
ledger_push(Ledger *ledger, const CrRow *row)
{
	const Request *request = ledger->request;
	int place = ledger->n_rows;
	CrRow *own;

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

/*
 * Adds a row that has nothing of the request except the run_id.  The pointer is valid
 * until the next row is pushed.
 */
CrRow *
ledger_push_as_is(Ledger *ledger, const CrRow *row)
{
	push_row(ledger, row);
	return &ledger->rows[ledger->n_rows - 1];
}

/* Gives metadata to a row that was just pushed. */
void
ledger_set_metadata(Ledger *ledger, CrRow *pushed, Datum metadata)
{
	Request request;

	request_set_metadata(&request, metadata);
	pushed->metadata = request.metadata;
	ledger->metadata[pushed - ledger->rows] = request.metadata_datum;
}

/* Writes the request's own row after the rows of events, and returns its receipt. */
Datum
ledger_append(Ledger *ledger, const CrRow *row)
{
	int place = ledger_push(ledger, row);

	(void) ledger_write(ledger);
	return receipt_from_row(&ledger->rows[place], false);
}

/*
 * Raises the error if the core has refused the command.  amount: what the call asked for.
 */
void
ledger_check(const Ledger *ledger, CrVerdict verdict, int64 amount)
{
	if (verdict != CR_OK)
		error_refused(verdict, &ledger->acc, amount);
}

/*
 * Makes one change to one account, from the lock to the receipt.  decide applies what is
 * due, asks the core and fills the row, or raises an error.
 */
Datum
ledger_command(const Request *request, LedgerDecide decide, const void *args)
{
	Ledger ledger;
	CrRow row;
	Datum receipt;

	ledger_begin(&ledger, request);
	if (!ledger_replay(&ledger, &receipt))
	{
		decide(&ledger, args, &row);
		receipt = ledger_append(&ledger, &row);
	}
	ledger_end(&ledger);
	return receipt;
}

/*
 * The usual deduction: no other transaction has the account locked or is changing it, its
 * key is new, nothing is due, there are no grants, and the balance is sufficient.  It
 * needs no lock except the one that its update takes.  Returns the index of the row, or
 * -1 if the caller has to use ledger_lock and decide again.
 *
 * Another transaction may lock the account after it was read and before the update, and
 * change nothing.  Then the update waits and succeeds.  Meanwhile something may have
 * become due, or the account may have been anchored.  So in this case the update is
 * undone, and the caller decides again with the time after the wait.
 */
int
ledger_deduct_unlocked(Ledger *ledger, int64 amount)
{
	CrRow row;
	int place;

	if (!read_unlocked(ledger) || find_key(ledger, &row) ||
		cr_is_due(&ledger->acc, ledger->now) || ledger->acc.balance.granted > 0 ||
		cr_deduct(&ledger->acc, ledger->now, amount, &row) != CR_OK)
		return -1;
	place = ledger_push(ledger, &row);
	hash_rows(ledger);
	if (!write_account(ledger))
		return -1;
	if (ledger->books->account->waited)
	{
		undo_update(ledger);
		return -1;
	}
	write_rows(ledger);
	return place;
}

void
ledger_end(Ledger *ledger)
{
	if (ledger->books == &ledger->own_books)
		books_close(ledger->books);
	if (ledger->is_new)
		unlock_name(LOCK_OPENING, ledger->request->user_id, ExclusiveLock);
}
