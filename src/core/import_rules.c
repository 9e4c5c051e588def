/*
 * import_rules.c
 *		Bringing an account in from another system.
 */
#include "core/private.h"

/*
 * True if the account never had a plan and has no credits: it is new, or it has only
 * imported rows, or its import was undone.  In the last case it may owe what was spent
 * meanwhile; the next import pays that first.
 */
bool
cr_can_import(const CrAccount *acc)
{
	return acc->facts.cycle == CR_NO_CYCLE && acc->facts.status != CR_CLOSED &&
		cr_available(acc) == 0 && cr_held(acc) == 0;
}

/* A row of the other system's history.  It moved credits there and moves none here. */
CrVerdict
cr_imported(CrAccount *acc, CrTime at, int64_t amount, CrRow *row)
{
	CrAccount after = *acc;

	if (acc->facts.period_start == INT64_MIN)
		after.facts.period_start = at;
	return cr_record(row, CR_KIND_IMPORTED, at, amount, acc, &after);
}

/* How many monthly or purchased credits an import brought. */
int64_t
cr_brought(const CrRow *import, int64_t source)
{
	if (import->n_allocations == 0)
		return source == CR_FROM_MONTHLY ? import->delta.monthly : import->delta.purchased;
	return cr_part_of(import, source);
}

/*
 * How many monthly credits a row gave if it is an adjustment upwards.  before: the row before
 * it.  Credits that paid what the bucket owed are among them.
 */
int64_t
cr_monthly_adjusted(const CrRow *before, const CrRow *row)
{
	int64_t gain = row->delta.monthly + before->owed_monthly - row->owed_monthly;

	return row->kind == CR_KIND_ADJUST && gain > 0 ? gain : 0;
}

/*
 * What was brought can differ from what the balances got, if the account owed credits.
 * Then the row's allocations say it.
 */
static void
note_brought(CrImport *import, CrRow *row)
{
	if (row->amount == row->delta.monthly + row->delta.purchased)
		return;
	if (import->monthly > 0)
		import->parts[row->n_allocations++] = (CrPart){CR_FROM_MONTHLY, import->monthly};
	if (import->purchased > 0)
		import->parts[row->n_allocations++] = (CrPart){CR_FROM_PURCHASED, import->purchased};
	row->allocations = import->parts;
}

/*
 * What the account had in the other system, in the middle of a period.  The plan
 * counts as having granted that period's allowance already, so that changing to
 * another plan does not grant it again.
 */
CrVerdict
cr_import(CrAccount *acc, CrTime at, CrImport *import, CrRow *row)
{
	CrAccount after = *acc;

	if (!cr_credit(&after, &after.balance.monthly, &after.owed_monthly, import->monthly) ||
		!cr_credit(&after, &after.balance.purchased, &after.owed_purchased, import->purchased))
		return CR_OVER_CAP;
	cr_take_plan(&after, import->plan);
	cr_change_cycle(&after, import->anchor, import->zone,
					import->plan ? import->plan->cycle : CR_NO_CYCLE);
	after.facts.period_granted = cr_allowance(acc, import->plan);
	after.facts.period_start = import->period_start;
	after.next_reset_at = import->next_reset_at;
	(void) cr_record(row, CR_KIND_IMPORT, at, import->monthly + import->purchased, acc,
					 &after);
	note_brought(import, row);
	return CR_OK;
}
