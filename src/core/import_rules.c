/*
 * import_rules.c
 *		Coming from another system.
 */
#include "core/private.h"

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
