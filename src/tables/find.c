/*
 * find.c
 *		Finding one row: an account, a history row, a payment.
 *
 * If another transaction is just inserting the row, these functions wait for that
 * transaction or report that it is busy.  So the answer "there is none" stays true until
 * the caller releases its lock.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "base/sums.h"
#include "store/columns.h"
#include "store/locks.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/find.h"
#include "tables/rows.h"

void
find_accounts_begin(Lookup *lookup, Snapshot snapshot)
{
	lookup_begin(lookup, TABLE_ACCOUNT, INDEX_ACCOUNT, snapshot);
}

bool
find_accounts_next(Lookup *lookup, const char *user_id, CrAccount *acc)
{
	bool found;

	lookup_again(lookup);
	lookup_text_key(lookup, 1, user_id);
	found = lookup_next(lookup, ForwardScanDirection);
	if (found)
		account_from_slot(acc, lookup->slot);
	return found;
}

bool
find_account(const char *user_id, Snapshot snapshot, CrAccount *acc)
{
	Lookup lookup;
	bool found;

	find_accounts_begin(&lookup, snapshot);
	found = find_accounts_next(&lookup, user_id, acc);
	lookup_end(&lookup);
	return found;
}

/* Is there an account now, whatever our transaction's snapshot sees? */
bool
find_account_latest(const char *user_id)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	CrAccount acc;
	bool found = find_account(user_id, snapshot, &acc);

	UnregisterSnapshot(snapshot);
	return found;
}

/* Finds a row by its number.  The row may be malformed. */
bool
find_row(const char *user_id, int64 seq, Snapshot snapshot, CrRow *row)
{
	Lookup lookup;
	bool found;

	lookup_begin(&lookup, TABLE_HISTORY, INDEX_HISTORY, snapshot);
	lookup_text_key(&lookup, 1, user_id);
	lookup_key(&lookup, 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(seq));
	found = lookup_next(&lookup, ForwardScanDirection);
	if (found)
		row_read(row, lookup.slot);
	lookup_end(&lookup);
	return found;
}

/*
 * What adjustments gave the monthly bucket after an import, in periods before this one: for
 * undoing the import.  upto: the last row to read.  -1: a row cannot be read.
 */
int64
find_adjusted(const char *user_id, int64 import_seq, int64 upto, int64 period, FindRow find,
			  void *ctx)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext memory[2]; /* of a row, and of the row before it */
	CrRow rows[2];
	int64 sum = 0;

	for (int i = 0; i < 2; i++)
		memory[i] = AllocSetContextCreate(old, "credits rows since an import",
										  ALLOCSET_SMALL_SIZES);
	for (int64 seq = import_seq; seq <= upto && sum >= 0; seq++)
	{
		CrRow *row = &rows[seq % 2];

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(memory[seq % 2]);
		MemoryContextSwitchTo(memory[seq % 2]);
		if (!find(ctx, user_id, seq, row) || row->malformed)
			sum = -1;
		else if (row->period >= period)
			break;
		else if (seq > import_seq)
			sum_add(&sum, cr_monthly_adjusted(&rows[(seq - 1) % 2], row));
	}
	MemoryContextSwitchTo(old);
	for (int i = 0; i < 2; i++)
		MemoryContextDelete(memory[i]);
	return sum;
}

/*
 * Begins to read the rows of a user that refer to one row: refunds of a deduction,
 * chargebacks of a purchase, and the row that undoes it.  The account is locked.
 */
void
referring_begin(Lookup *lookup, const char *user_id, int64 seq)
{
	lookup_begin(lookup, TABLE_HISTORY, INDEX_HISTORY_REF, SnapshotSelf);
	lookup_text_key(lookup, 1, user_id);
	lookup_key(lookup, 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(seq));
}

/*
 * Finds the row of a key.  The caller has the key locked.  If a transaction has inserted
 * the row and has not ended, this function first waits for that transaction.  While it
 * waits, it releases the lock on the key, because that transaction may need it again.
 * Above READ COMMITTED, if the row was committed after the transaction's snapshot was
 * taken, it raises 40001.  If it returns true, the caller ends the look-up.  If busy is
 * not NULL, it does not wait: it sets busy and returns false.
 */
static bool
find_settled(Lookup *lookup, StoreTable table, StoreIndex index, LockClass lock_class,
			 const char *key, bool *busy)
{
	for (;;)
	{
		SnapshotData dirty;

		InitDirtySnapshot(dirty);
		lookup_begin(lookup, table, index, &dirty);
		lookup_text_key(lookup, 1, key);
		if (!lookup_next(lookup, ForwardScanDirection))
		{
			lookup_end(lookup);
			return false;
		}
		if (!TransactionIdIsValid(dirty.xmin))
			break;
		lookup_end(lookup);
		if (busy)
		{
			*busy = true;
			return false;
		}
		unlock_name(lock_class, key, ExclusiveLock);
		XactLockTableWait(dirty.xmin, NULL, NULL, XLTW_None);
		lock_name(lock_class, key, ExclusiveLock);
	}
	if (lookup_is_after_snapshot(lookup))
		error_serialization();
	return true;
}

/*
 * Is there an account now?  The caller holds the user's opening lock.  That lock does not
 * prevent updates of an existing account, so the row may be just changing.  If busy is
 * not NULL and another transaction is opening the account, sets busy instead of waiting.
 */
bool
find_opened(const char *user_id, bool *busy)
{
	Lookup lookup;

	if (!find_settled(&lookup, TABLE_ACCOUNT, INDEX_ACCOUNT, LOCK_OPENING, user_id, busy))
	{
		if (busy && *busy)
			return false;
		if (!find_account_latest(user_id))
			return false;
		if (IsolationUsesXactSnapshot())
			error_serialization();
		return true;
	}
	lookup_end(&lookup);
	return true;
}

/*
 * Some rows are looked up without an MVCC snapshot, or searched for and not found.  Under
 * SERIALIZABLE, this function turns such a look-up into an ordinary read.  So if another
 * transaction adds the row meanwhile, that conflicts with what our transaction does
 * because of the look-up.
 */
static void
note_read(StoreTable table, StoreIndex index, const char *key)
{
	Lookup lookup;

	if (!IsolationIsSerializable())
		return;
	lookup_begin(&lookup, table, index, GetTransactionSnapshot());
	lookup_text_key(&lookup, 1, key);
	while (lookup_next(&lookup, ForwardScanDirection))
		;
	lookup_end(&lookup);
}

/*
 * For a caller that gets the answer "there is no such payment", and that does not credit
 * one.
 */
void
note_absent_payment(const char *payment_ref)
{
	note_read(TABLE_PAYMENT, INDEX_PAYMENT, payment_ref);
}

/*
 * For a caller that depends on a plan's versions, or on there being none.  There are few
 * versions, and new ones are rare.
 */
void
note_plan_read(const char *plan)
{
	note_read(TABLE_PLAN, INDEX_PLAN, plan);
}

/* Finds the payment of a reference.  The caller holds the reference's lock. */
bool
find_payment(const char *payment_ref, Payment *payment)
{
	Lookup lookup;
	const char *complaint;

	if (!find_settled(&lookup, TABLE_PAYMENT, INDEX_PAYMENT, LOCK_PAYMENT, payment_ref, NULL))
		return false;
	complaint = payment_read(payment, lookup.slot);
	if (complaint)
		error_corrupted("credit_payment", complaint);
	lookup_end(&lookup);
	return true;
}

/*
 * How many credits the user has bought since a time and not lost to chargebacks.  Grants
 * that were paid for are not among them.  The caller has the account locked.
 */
int64
sum_payments_since(const char *user_id, CrTime since)
{
	Lookup lookup;
	int64 sum = 0;

	lookup_begin(&lookup, TABLE_PAYMENT, INDEX_PAYMENT_USER, SnapshotSelf);
	lookup_text_key(&lookup, 1, user_id);
	lookup_key(&lookup, 2, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
			   TimestampTzGetDatum(since));
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		Payment payment;
		const char *complaint = payment_read(&payment, lookup.slot);

		CHECK_FOR_INTERRUPTS();
		if (complaint)
			error_corrupted("credit_payment", complaint);
		if (!payment.granted)
			sum_add(&sum, payment.amount - payment.revoked);
	}
	lookup_end(&lookup);
	return sum;
}

/* The number of the user's last history row.  0: there is none. */
int64
find_last_seq(const char *user_id, Snapshot snapshot)
{
	Lookup lookup;
	bool isnull;
	int64 seq = 0;

	lookup_begin(&lookup, TABLE_HISTORY, INDEX_HISTORY, snapshot);
	lookup_text_key(&lookup, 1, user_id);
	if (lookup_next(&lookup, BackwardScanDirection))
		seq = DatumGetInt64(slot_getattr(lookup.slot, HIST_SEQ, &isnull));
	lookup_end(&lookup);
	return seq;
}
