/*
 * life.c
 *		Coming from another system, and leaving.
 */
#include "core/inside.h"

/* Nothing has happened in the account but what was imported, or that undone. */
bool
cr_can_import(const CrAccount *acc)
{
	return acc->facts.plan == NULL && acc->next_reset_at == CR_NEVER &&
		acc->facts.status != CR_CLOSED &&
		cr_available(acc) == 0 && cr_held(acc) == 0 && cr_owed(acc) == 0;
}

/* A row of the other system's history: it moved credits there, and none here. */
CrVerdict
cr_imported(CrAccount *acc, CrTime at, int64_t amount, CrRow *row)
{
	CrAccount	after = *acc;

	if (acc->period_start == INT64_MIN)
		after.period_start = at;
	cr_row_init(row, CR_KIND_IMPORTED, at, amount);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}

/*
 * What the account had there, in the midst of its period.  The plan has granted
 * the period's allowance, so that changing plans does not grant it again.
 */
CrVerdict
cr_import(CrAccount *acc, CrTime at, const CrImport *import, CrRow *row)
{
	CrAccount	after = *acc;

	if (import->purchased > CR_MAX_CREDITS - import->monthly)
		return CR_OVER_CAP;
	after.balance.monthly = import->monthly;
	after.balance.purchased = import->purchased;
	after.facts.plan = import->plan ? import->plan->plan : NULL;
	after.facts.plan_version = import->plan ? import->plan->version : 0;
	after.facts.period_granted = import->plan ? import->plan->monthly_credits : 0;
	after.facts.cycle_anchor = import->anchor;
	after.facts.time_zone = import->zone;
	after.period_start = import->period_start;
	after.next_reset_at = import->next_reset_at;

	cr_row_init(row, CR_KIND_IMPORT, at, import->monthly + import->purchased);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}

/* Purchased credits to another user. */
CrVerdict
cr_transfer_out(CrAccount *acc, CrTime at, int64_t amount, CrRow *row)
{
	CrAccount	after = *acc;

	if (acc->facts.status == CR_FROZEN)
		return CR_IS_FROZEN;
	if (amount > acc->balance.purchased)
		return CR_INSUFFICIENT;
	after.balance.purchased -= amount;
	cr_row_init(row, CR_KIND_TRANSFER_OUT, at, amount);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}

CrVerdict
cr_transfer_in(CrAccount *acc, CrTime at, int64_t amount, CrRow *row)
{
	CrAccount	after = *acc;

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (!cr_credit(&after, &after.balance.purchased, &after.owed_purchased, amount))
		return CR_OVER_CAP;
	cr_row_init(row, CR_KIND_TRANSFER_IN, at, amount);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}

/*
 * All that is left goes, and the plan.  The period keeps its end and remembers
 * what it granted and was spent of it, so that coming back never grants twice.
 */
CrVerdict
cr_close(CrAccount *acc, CrTime at, CrRow *row)
{
	CrAccount	after = *acc;
	int64_t		unspent = acc->balance.monthly < acc->facts.period_granted ?
		acc->balance.monthly : acc->facts.period_granted;

	if (acc->facts.status == CR_CLOSED)
		return CR_IS_CLOSED;
	if (cr_held(acc) > 0)
		return CR_HAS_HOLDS;
	cr_parts_begin(acc->open);
	cr_burn(&after, acc->balance.granted);
	for (int i = 0; i < acc->open->n_grants; i++)
	{
		CrGrant    *grant = &acc->open->grants[i];

		if (grant->closed || grant->ends_at <= at)
			continue;
		grant->closed = grant->changed = true;
	}
	after.balance.monthly = after.balance.purchased = 0;
	after.facts.period_granted -= unspent;
	after.facts.plan = after.facts.scheduled_plan = NULL;
	after.facts.plan_version = 0;
	after.facts.status = CR_CLOSED;

	cr_row_init(row, CR_KIND_CLOSE, at, cr_available(acc));
	row->expired = acc->balance.monthly + acc->balance.granted;
	row->forfeited = acc->balance.purchased;
	cr_parts_to_row(acc->open, row);
	cr_row_finish(row, acc, &after);
	*acc = after;
	return CR_OK;
}

/*
 * The rows up to one have gone to the archive.  Nothing about the account changes;
 * the row is where its chain holds the digest of the checkpoint that they left.
 */
void
cr_archive(CrAccount *acc, CrTime at, int64_t upto, CrRow *row)
{
	CrAccount	after = *acc;

	cr_row_init(row, CR_KIND_ARCHIVE, at, 0);
	row->has_ref_seq = true;
	row->ref_seq = upto;
	cr_row_finish(row, acc, &after);
	*acc = after;
}
