/*
 * import_rules.c
 *		Bringing an account in from another system.
 */
#include "core/private.h"

/*
 * True if the account has no plan, no period and no credits: it is new, or it has
 * only imported rows, or its import was undone.
 */
bool
cr_can_import(const CrAccount *acc)
{
	return acc->facts.plan == NULL && acc->next_reset_at == CR_NEVER &&
		acc->facts.status != CR_CLOSED && cr_available(acc) == 0 && cr_held(acc) == 0 &&
		cr_owed(acc) == 0;
}

/* A row of the other system's history.  It moved credits there and moves none here. */
CrVerdict
cr_imported(CrAccount *acc, CrTime at, int64_t amount, CrRow *row)
{
	CrAccount after = *acc;

	if (acc->period_start == INT64_MIN)
		after.period_start = at;
	return cr_record(row, CR_KIND_IMPORTED, at, amount, acc, &after);
}

/*
 * What the account had in the other system, in the middle of a period.  The plan
 * counts as having granted that period's allowance already, so that changing to
 * another plan does not grant it again.
 */
CrVerdict
cr_import(CrAccount *acc, CrTime at, const CrImport *import, CrRow *row)
{
	CrAccount after = *acc;

	if (import->purchased > CR_MAX_CREDITS - import->monthly)
		return CR_OVER_CAP;
	after.balance.monthly = import->monthly;
	after.balance.purchased = import->purchased;
	cr_set_facts_plan(&after.facts, import->plan);
	after.facts.period_granted = import->plan ? import->plan->monthly_credits : 0;
	after.facts.cycle_anchor = import->anchor;
	after.facts.time_zone = import->zone;
	after.period_start = import->period_start;
	after.next_reset_at = import->next_reset_at;
	return cr_record(row, CR_KIND_IMPORT, at, import->monthly + import->purchased, acc,
					 &after);
}
