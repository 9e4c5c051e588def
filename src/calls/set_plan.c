/*
 * set_plan.c
 *		credits_set_plan: changes the plan, now or at the next reset.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "tables/plan_versions.h"

PG_FUNCTION_INFO_V1(credits_set_plan);

typedef struct SetPlan
{
	const char *name; /* NULL: no plan */
	bool at_next_reset;
} SetPlan;

static void
set_plan(Ledger *ledger, const void *args, CrRow *row)
{
	const SetPlan *asked = args;
	const CrPlanVersion *plan = NULL;

	ledger_apply_due(ledger);
	if (asked->name)
	{
		plan = plans_in_force(ledger->plans, asked->name, ledger->now);
		if (plan == NULL)
			error_plan_not_found(asked->name);
	}
	ledger_check(ledger,
				 asked->at_next_reset
					 ? cr_schedule_plan(&ledger->acc, ledger->now, asked->name, row)
					 : cr_set_plan(&ledger->acc, &ledger->env, ledger->now, plan, row),
				 plan ? plan->monthly_credits : 0);
}

Datum
credits_set_plan(PG_FUNCTION_ARGS)
{
	Request request;
	SetPlan args;
	const char *at;

	request_init(&request, fcinfo, "credits_set_plan()", CR_KIND_SET_PLAN);
	args.name = arg_optional_name(fcinfo, 1, "plan");
	at = arg_optional_name(fcinfo, 2, "at");
	if (at == NULL)
		at = "now";
	args.at_next_reset = strcmp(at, "next_reset") == 0;
	if (!args.at_next_reset && strcmp(at, "now") != 0)
		error_bad_value("at", at, "'now' or 'next_reset'");
	request.reason = arg_optional_text(fcinfo, 3);
	request.idempotency_key = arg_optional_name(fcinfo, 4, "idempotency_key");
	request_metadata(&request, fcinfo, 5);
	if (request.idempotency_key)
		request_seal(&request, 0, args.name, at);
	return ledger_command(&request, set_plan, &args);
}
