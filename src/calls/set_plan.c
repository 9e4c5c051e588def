/*
 * set_plan.c
 *		credits_set_plan: another plan, now or at the next reset.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "tables/plan_versions.h"

PG_FUNCTION_INFO_V1(credits_set_plan);

Datum
credits_set_plan(PG_FUNCTION_ARGS)
{
	Request		request;
	Ledger		ledger;
	CrRow		row;
	CrVerdict	verdict;
	const CrPlanVersion *plan = NULL;
	Datum		receipt;
	char	   *name;
	char	   *at;

	request_init(&request, fcinfo, "credits_set_plan()", CR_KIND_SET_PLAN);
	name = arg_optional_name(fcinfo, 1, "plan");
	at = arg_optional_name(fcinfo, 2, "at");
	if (at == NULL)
		at = "now";
	if (strcmp(at, "now") != 0 && strcmp(at, "next_reset") != 0)
		error_bad_value("at", at, "'now' or 'next_reset'");
	request.reason = arg_optional_text(fcinfo, 3);
	request.idempotency_key = arg_optional_name(fcinfo, 4, "idempotency_key");
	request_metadata(&request, fcinfo, 5);
	if (request.idempotency_key)
		request_seal(&request, 0, name, at);

	ledger_begin(&ledger, &request);
	if (!ledger_replay(&ledger, &receipt))
	{
		ledger_apply_due(&ledger);
		if (name)
		{
			plan = plans_in_force(ledger.plans, name, ledger.now);
			if (plan == NULL)
				error_plan_not_found(name);
		}
		verdict = strcmp(at, "now") == 0 ?
			cr_set_plan(&ledger.acc, &ledger.env, ledger.now, plan, &row) :
			cr_schedule_plan(&ledger.acc, ledger.now, name, &row);
		if (verdict != CR_OK)
			error_refused(verdict, &ledger.acc, plan ? plan->monthly_credits : 0);
		receipt = ledger_append(&ledger, &row);
	}
	ledger_end(&ledger);
	return receipt;
}
