/*
 * early_release.c
 *		Early lock release: a transaction releases its accounts before its commit is
 *		durable.  Its caller gets the answer only when the commit is durable.
 *
 * An ordinary commit holds its locks while its WAL is flushed and, with synchronous
 * replication, while the WAL is sent to standbys.  So one account takes one call per
 * flush.  Here PostgreSQL commits as with synchronous_commit = off, which releases the
 * locks at once.  The same backend then waits for the flush and the standbys, after the
 * locks are released and before it answers the client.
 *
 * If a crash loses a transaction, no acknowledged call depends on it.  The reason: every
 * call that answers from an account has updated or locked the account's row, even if it
 * is a replay or refuses.  So the call's transaction has a commit record of its own,
 * which comes after ours in the WAL, and the call waits until that record is durable.
 * Transactions that only read, or that fail, wait for nothing.  They can show something
 * that a crash then loses.
 *
 * synchronous_commit is changed for the moment of the commit only, from the last callback
 * before the commit to the first callback after it.  In that time PostgreSQL reads the
 * variable for nothing but the commit.  So a later restore of SET, SET LOCAL or a role's
 * setting never restores our value.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "utils/resowner.h"

#include "base/settings.h"
#include "store/early_release.h"

/* These are about the current transaction. */
static bool locks_account = false;
static bool is_administrative = false;
static bool has_queued = false;

static bool is_lowered = false; /* synchronous_commit is lowered; it was caller_level */
static int caller_level;
static bool owes_flush = false;

/*
 * At remote_apply the commit is an ordinary one.  A standby reports that it has applied a
 * commit only if the commit record was written at this level.
 */
static bool
is_early(void)
{
	return locks_account && !is_administrative && settings_early_lock_release() &&
		synchronous_commit > SYNCHRONOUS_COMMIT_OFF &&
		synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_APPLY &&
		TransactionIdIsValid(GetTopTransactionIdIfAny());
}

static void
restore_level(void)
{
	if (is_lowered)
		synchronous_commit = caller_level;
	is_lowered = false;
}

static void
forget_transaction(void)
{
	locks_account = false;
	is_administrative = false;
	has_queued = false;
}

/*
 * PREPARE TRANSACTION has events of its own, so it is never early.  COMMIT PREPARED is
 * never early either, because it ends another transaction than the one in which it runs.
 */
static void
at_transaction_end(XactEvent event, void *arg)
{
	(void) arg;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (is_early())
			{
				caller_level = synchronous_commit;
				is_lowered = true;
				synchronous_commit = SYNCHRONOUS_COMMIT_OFF;
			}
			break;
		case XACT_EVENT_COMMIT:
			owes_flush = is_lowered;
			restore_level();
			forget_transaction();
			break;
		case XACT_EVENT_ABORT: /* also for errors after PRE_COMMIT */
			restore_level();
			forget_transaction();
			break;
		case XACT_EVENT_PREPARE:
			forget_transaction();
			break;
		default:
			break;
	}
}

/*
 * Waits as RecordTransactionCommit would have waited at the caller's level, with the same
 * consequences.  Interrupts are held, so the flush is not cancelled.  The transaction is
 * committed, so a failed flush must not be reported as an error of the transaction: it
 * takes the server down.  If a wait for standbys is cancelled, that is a warning.
 */
static void
at_release(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void *arg)
{
	(void) arg;
	if (!owes_flush || phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_commit || !is_top_level)
		return;
	owes_flush = false;
	START_CRIT_SECTION();
	XLogFlush(XactLastCommitEnd);
	END_CRIT_SECTION();
	SyncRepWaitForLSN(XactLastCommitEnd, true);
}

void
commit_init(void)
{
	RegisterResourceReleaseCallback(at_release, NULL);
	RegisterXactCallback(at_transaction_end, NULL);
}

/* The current transaction locks an account, and may release it early. */
void
commit_locks_account(void)
{
	locks_account = true;
}

/*
 * The current transaction does an administrative act.  Others must not see it before it
 * is durable.  Not every statement that reads plans and rights locks a row, so the
 * reasoning at the top of this file does not hold for them.
 */
void
commit_is_administrative(void)
{
	is_administrative = true;
}

/*
 * May the transaction take a turn, a lock that it keeps beside the locks of its accounts?
 * True once in a transaction.
 */
bool
commit_may_take_turn(void)
{
	bool may = !has_queued;

	has_queued = true;
	return may;
}
