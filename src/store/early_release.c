/*
 * early_release.c
 *		Early lock release: others get the account before the commit is
 *		durable, the caller hears after.
 *
 * An ordinary commit holds its locks while its WAL is flushed and, with
 * synchronous replication, while it travels, so one account takes one call per
 * flush.  Here PostgreSQL is made to commit as with synchronous_commit = off,
 * which lets go of the locks at once, and the wait that it left out is made up
 * for in the same backend as soon as they are gone, before the client is
 * answered.
 *
 * No acknowledged call rests on one that a crash forgets: every call that
 * answers from an account has updated or locked its row, even a replay and a
 * refusal, so its transaction has a commit record of its own, behind ours in
 * the WAL, and waits for that.  What reads only, and what fails, waits for
 * nothing and may tell of what is then forgotten.
 *
 * The variable behind synchronous_commit is set for the moment of the commit
 * alone: from the last callback before it to the first one after, where nothing
 * of PostgreSQL's reads it but the commit itself.  So the value that a SET, SET
 * LOCAL or a role's setting restores later is never this one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "utils/resowner.h"

#include "base/settings.h"
#include "store/early_release.h"

/* Of the current transaction. */
static bool locks_account = false;
static bool is_administrative = false;
static bool has_queued = false;

static bool is_lowered = false;		/* synchronous_commit, from caller_level */
static int	caller_level;
static bool owes_flush = false;

/*
 * At remote_apply the commit is an ordinary one: only a commit record that was
 * written at this level makes a standby report that it was applied.
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
 * PREPARE TRANSACTION has events of its own, so it is never early; nor is
 * COMMIT PREPARED, which ends another transaction than the one it runs in.
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
		case XACT_EVENT_ABORT:	/* also of what fails after PRE_COMMIT */
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
 * What RecordTransactionCommit left out, at the caller's level and with its
 * consequences: interrupts are held, so the flush is not cancelled; the
 * transaction is committed, so a flush that fails must not be reported as its
 * error, but takes the server down; a wait for standbys that is cancelled is a
 * warning.
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

/* The current transaction locks an account: it may let go of it early. */
void
commit_locks_account(void)
{
	locks_account = true;
}

/*
 * The current transaction has an administrative act, which is seen by others
 * when it is durable and not before: not all that looks at plans and rights
 * locks a row, so the file's argument does not hold for them.
 */
void
commit_is_administrative(void)
{
	is_administrative = true;
}

/* Once in a transaction: may it take a lock that it keeps beside its accounts'? */
bool
commit_may_queue(void)
{
	bool		may = !has_queued;

	has_queued = true;
	return may;
}
