/*
 * committed.c
 *		What a transaction does to accounts: when it commits, it is counted, and the
 *		accounts are told to those who listen.
 *
 * A transaction's numbers and accounts are kept in this backend's memory until then.  A
 * subtransaction has numbers and accounts of its own, in its own memory: they are added to
 * those around it when it ends well, and freed when it is rolled back.
 *
 * What PREPARE TRANSACTION prepares is not counted, because another session may commit it.
 * Nor is what logical replication writes.  Those who listen must read anew after both; for
 * COMMIT PREPARED, see statements.c.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "utils/memutils.h"

#include "base/settings.h"
#include "live/changes.h"
#include "live/committed.h"
#include "live/counters.h"
#include "live/rings.h"

/* What one level of subtransactions did, from the outermost on. */
typedef struct Level
{
	int depth; /* as GetCurrentTransactionNestLevel() */
	int64 totals[TOTAL_COUNT];
	Changes changes;
	struct Level *outer;
} Level;

static Level *innermost = NULL; /* NULL: the transaction has done nothing to accounts */

static Level *
current_level(void)
{
	int depth = GetCurrentTransactionNestLevel();
	Level *level;

	if (innermost && innermost->depth == depth)
		return innermost;
	level = MemoryContextAllocZero(CurTransactionContext, sizeof(Level));
	level->depth = depth;
	level->outer = innermost;
	innermost = level;
	return level;
}

/* Which total counts the credits that a row of the kind issues; -1: it issues none. */
static int
issued_by(CrKind kind)
{
	switch (kind)
	{
		case CR_KIND_OPEN:
		case CR_KIND_RESET:
		case CR_KIND_RESTART:
		case CR_KIND_SET_PLAN:
			return TOTAL_ISSUED_PLAN;
		case CR_KIND_GRANT:
			return TOTAL_ISSUED_GRANT;
		case CR_KIND_PURCHASE:
			return TOTAL_ISSUED_PURCHASE;
		case CR_KIND_ADJUST:
			return TOTAL_ISSUED_ADJUST;
		case CR_KIND_IMPORT:
			return TOTAL_ISSUED_IMPORT;
		default:
			return -1;
	}
}

static void
count_spent(int64 *totals, const CrRow *row)
{
	CrSpent spent;

	if (!cr_spent(&spent, row))
		return;
	totals[TOTAL_SPENT_MONTHLY] += spent.monthly;
	totals[TOTAL_SPENT_PURCHASED] += spent.purchased;
	for (int i = 0; i < spent.n_parts; i++)
	{
		int64 source = spent.parts[i].source;

		totals[source > 0						 ? TOTAL_SPENT_GRANTED
				   : source == CR_FROM_PURCHASED ? TOTAL_SPENT_PURCHASED
												 : TOTAL_SPENT_MONTHLY] +=
			spent.parts[i].credits;
	}
}

/* The transaction writes a history row. */
void
committed_row(const CrRow *row)
{
	Level *level;
	int64 *totals;
	int issued;

	if (!counters_are_on())
		return;
	level = current_level();
	totals = level->totals;
	issued = issued_by(row->kind);
	changes_add(&level->changes, row->user_id, row->seq);
	totals[TOTAL_ROWS]++;
	count_spent(totals, row);
	if (issued >= 0 && row->amount > 0)
		totals[issued] += row->amount;
	if (row->kind == CR_KIND_REFUND)
		totals[TOTAL_REFUNDED] += row->amount - row->forfeited;
	if (row->kind == CR_KIND_REVOKE)
		totals[TOTAL_REVOKED] += row->amount;
	totals[TOTAL_EXPIRED] += row->expired;
	totals[TOTAL_FORFEITED] += row->forfeited;
}

/*
 * The rows can be seen by now.  The setting can have changed since the first of them, so
 * it is asked here and nowhere before.
 */
static void
tell(const Changes *changes)
{
	if (settings_notify())
		rings_push(changes);
	else
		rings_owe_resync();
}

/* Memory of a transaction is freed when it ends. */
static void
at_transaction_end(XactEvent event, void *arg)
{
	static bool is_applied = false; /* by a logical replication worker, and it matters */

	(void) arg;
	if (event == XACT_EVENT_PRE_COMMIT)
		is_applied = IsLogicalWorker() && rings_are_wanted();
	if (event == XACT_EVENT_COMMIT && innermost)
	{
		counters_add(innermost->totals);
		tell(&innermost->changes);
	}
	if (event == XACT_EVENT_COMMIT && is_applied)
		rings_owe_resync();
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		innermost = NULL;
}

static void
add_to_outer(Level *level)
{
	Level *outer = level->outer;

	if (outer == NULL || outer->depth < level->depth - 1)
	{
		level->depth--;
		return;
	}
	for (int i = 0; i < TOTAL_COUNT; i++)
		outer->totals[i] += level->totals[i];
	changes_join(&outer->changes, &level->changes);
	innermost = outer;
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId own, SubTransactionId parent,
					  void *arg)
{
	int depth = GetCurrentTransactionNestLevel();

	(void) own;
	(void) parent;
	(void) arg;
	if (innermost == NULL || innermost->depth < depth)
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		add_to_outer(innermost);
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		innermost = innermost->outer;
}

/* Called when the library is loaded. */
void
committed_init(void)
{
	static bool is_registered = false;

	if (is_registered || !process_shared_preload_libraries_in_progress)
		return;
	is_registered = true;
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}
