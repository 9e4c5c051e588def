/*
 * find.c
 *		Finding one row: an account, a history row, a payment.
 *
 * What other transactions are just adding is waited for or reported as busy, so that
 * "there is none" is true until the caller's lock is released.
 */
#include "postgres.h"

#include "access/xact.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "store/columns.h"
#include "store/locks.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/find.h"
#include "tables/rows.h"

bool
find_account(const char *user_id, Snapshot snapshot, CrAccount *acc)
{
	Lookup		lookup;
	bool		found;

	lookup_begin(&lookup, TABLE_ACCOUNT, INDEX_ACCOUNT, snapshot);
	lookup_text_key(&lookup, 1, user_id);
	found = lookup_next(&lookup, ForwardScanDirection);
	if (found)
		account_from_slot(acc, lookup.slot);
	lookup_end(&lookup);
	return found;
}

/* Is there an account by now, whatever our transaction's snapshot is? */
bool
find_account_latest(const char *user_id)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	CrAccount	acc;
	bool		found = find_account(user_id, snapshot, &acc);

	UnregisterSnapshot(snapshot);
	return found;
}

/* A row by its number, which may be malformed. */
bool
find_row(const char *user_id, int64 seq, Snapshot snapshot, CrRow *row)
{
	Lookup		lookup;
	bool		found;

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
 * Begins to read the rows of a user that are about one row: refunds of a deduction,
 * chargebacks of a purchase, what undoes it.  The account is locked.
 */
void
referring_begin(Lookup *lookup, const char *user_id, int64 seq)
{
	lookup_begin(lookup, TABLE_HISTORY, INDEX_HISTORY_REF, SnapshotSelf);
	lookup_text_key(lookup, 1, user_id);
	lookup_key(lookup, 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(seq));
}

/*
 * Finds the row of a key that the caller has locked, first waiting for any
 * transaction that has just inserted it and not ended.  The lock is let go
 * meanwhile: that transaction may want it again.  Above READ COMMITTED a
 * row that committed since the transaction's snapshot is 40001.  On true, the
 * caller ends the lookup.  busy not NULL: instead of waiting it is set, and false.
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
	if (lookup_is_news(lookup))
		error_serialization();
	return true;
}

/*
 * Is there an account after all?  Call it under the user's opening lock, which
 * keeps nobody from updating one that is there.  busy not NULL: set if one is being
 * opened, which is then not waited for.
 */
bool
find_opened(const char *user_id, bool *busy)
{
	Lookup		lookup;

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
 * Under SERIALIZABLE, what was looked up without an MVCC snapshot, or not found so,
 * becomes a read like any other, so that who adds it meanwhile conflicts with what
 * the transaction does about it.
 */
static void
note_read(StoreTable table, StoreIndex index, const char *key)
{
	Lookup		lookup;

	if (!IsolationIsSerializable())
		return;
	lookup_begin(&lookup, table, index, GetTransactionSnapshot());
	lookup_text_key(&lookup, 1, key);
	while (lookup_next(&lookup, ForwardScanDirection))
		;
	lookup_end(&lookup);
}

/* For a caller who is told that there is no such payment, and credits none. */
void
note_absent_payment(const char *payment_ref)
{
	note_read(TABLE_PAYMENT, INDEX_PAYMENT, payment_ref);
}

/* A plan's versions are few, and new ones are rare: whether it has any or not. */
void
note_plan_read(const char *plan)
{
	note_read(TABLE_PLAN, INDEX_PLAN, plan);
}

/* The payment of a reference; call it under the reference's lock. */
bool
find_payment(const char *payment_ref, Payment *payment)
{
	Lookup		lookup;
	const char *complaint;

	if (!find_settled(&lookup, TABLE_PAYMENT, INDEX_PAYMENT, LOCK_PAYMENT,
						payment_ref, NULL))
		return false;
	complaint = payment_read(payment, lookup.slot);
	if (complaint)
		error_corrupted("credit_payment", complaint);
	lookup_end(&lookup);
	return true;
}
