/*
 * set_plan.c
 *		credits_set_plan: changes the plan, now or at the next reset, or begins a new period
 *		with it.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "live/counted.h"
#include "tables/plan_versions.h"

PG_FUNCTION_INFO_V1(credits_set_plan);

typedef struct SetPlan
{
	const char *name; /* NULL: no plan */
	bool at_next_reset;
	bool restart;
	bool keep_anchor;
} SetPlan;

static void
set_plan(Ledger *ledger, const void *args, CrRow *row)
{
	const SetPlan *asked = args;
	const CrPlanVersion *plan = NULL;
	CrAccount *acc = &ledger->acc;
	CrVerdict verdict;

	ledger_apply_due(ledger);
	if (asked->name)
	{
		plan = plans_in_force(ledger->plans, asked->name, ledger->now);
		if (plan == NULL)
			error_plan_not_found(asked->name);
	}
	if (asked->at_next_reset)
		verdict = cr_schedule_plan(acc, ledger->now, asked->name, row);
	else if (asked->restart)
		verdict = cr_restart(acc, &ledger->env, ledger->now, plan, asked->keep_anchor, row);
	else
		verdict = cr_set_plan(acc, &ledger->env, ledger->now, plan, row);
	if (verdict == CR_OTHER_LENGTH)
		error_other_length(acc, plan);
	ledger_check(ledger, verdict, plan ? plan->monthly_credits : 0);
}

/* What the digest has of how the plan is set. */
static const char *
how(const SetPlan *asked, const char *at)
{
	if (!asked->restart)
		return at;
	return asked->keep_anchor ? "restart, keep_anchor" : "restart";
}

COUNTED_FUNCTION(credits_set_plan, CALL_SET_PLAN)
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
	args.restart = arg_flag(fcinfo, 6);
	args.keep_anchor = arg_flag(fcinfo, 7);
	if (args.restart && (args.name == NULL || args.at_next_reset))
		error_bad_value("restart", "true", "a plan, and at => 'now', with restart");
	if (args.keep_anchor && !args.restart)
		error_bad_value("keep_anchor", "true", "restart => true with it");
	request.reason = arg_optional_text(fcinfo, 3);
	request.idempotency_key = arg_optional_name(fcinfo, 4, "idempotency_key");
	request_metadata(&request, fcinfo, 5);
	if (request.idempotency_key)
		request_seal(&request, 0, args.name, how(&args, at));
	return ledger_command(&request, set_plan, &args);
}
