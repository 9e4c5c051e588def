/*
 * state.c
 *		The state of an account at a given time, for calls that read.  What is due is
 *		applied in memory, by the same core that applies it for calls that write.
 */
#include "postgres.h"

#include "utils/snapshot.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/settings.h"
#include "base/zone.h"
#include "ledger/state.h"
#include "tables/find.h"
#include "tables/lot_rows.h"
#include "tables/plan_versions.h"

/*
 * Applies everything that is due at a time.  If the reset has to wait because the server
 * does not know the account's time zone, applies only what is due before it.
 */
State
state_bring_up_to(CrAccount *acc, Plans *plans, CrTime at)
{
	State state = {.as_of = at};
	CrEnv env = plans_env(plans);

	if (cr_is_due(acc, at))
	{
		if (acc->lots == NULL && cr_has_lots(acc))
			lots_load(acc, at, plans->snapshot);
		switch (cr_fold_due(acc, &env, at))
		{
			case CR_FOLDED:
				break;
			case CR_WAITS_FOR_ZONE:
				state.waits_for_zone = true;
				state.as_of = cr_waiting_time(acc);
				break;
			case CR_TOO_MANY_PERIODS:
				error_too_many_periods(acc);
			case CR_PLAN_MISSING:
				error_corrupted("credit_plan", "a plan that an account has is missing");
		}
	}
	if (acc->facts.plan)
		state.plan = env.plan_version(plans, acc->facts.plan, acc->facts.plan_version);
	return state;
}

/* The state now: at the start of the statement. */
State
state_now(CrAccount *acc, Plans *plans)
{
	return state_bring_up_to(acc, plans, Max(clock_statement(), acc->effective_at));
}

/*
 * A user without an account: makes the account that the first call would open.  False if no
 * default plan is set.
 */
bool
state_preview(const char *user_id, Plans *plans, CrAccount *acc)
{
	const char *name = settings_default_plan();
	CrTime at = clock_statement();
	const CrPlanVersion *plan;
	CrEnv env = plans_env(plans);
	CrRow row;

	if (name == NULL)
		return false;
	plan = plans_in_force(plans, name, at);
	if (plan == NULL)
		error_default_plan_not_found(name);
	cr_account_init(acc, user_id);
	if (cr_open(acc, &env, at, plan, zone_utc_to_local(NULL, "UTC", at), "UTC", &row) != CR_OK)
		elog(ERROR, "could not make an account in memory");
	return true;
}

/* The state of a user now.  Raises UC002 if the user is unknown. */
State
state_of_user(const char *user_id, Plans *plans, CrAccount *acc)
{
	if (!find_account(user_id, plans->snapshot, acc) && !state_preview(user_id, plans, acc))
		error_account_not_found(user_id);
	return state_now(acc, plans);
}

/* The answer of credits_balance. */
Datum
state_object(const CrAccount *acc, const State *state)
{
	const CrPlanVersion *plan = state->plan;
	Object object;

	object_begin(&object);
	object_text(&object, "user_id", acc->user_id);
	object_int(&object, "monthly", acc->balance.monthly);
	object_int(&object, "granted", acc->balance.granted);
	object_int(&object, "purchased", acc->balance.purchased);
	object_int(&object, "available", cr_available(acc));
	object_int(&object, "held", cr_held(acc));
	object_int(&object, "owed", cr_owed(acc));
	object_int(&object, "owed_monthly", acc->owed_monthly);
	object_int(&object, "overdraft_limit", acc->facts.overdraft_limit);
	object_text(&object, "plan", acc->facts.plan);
	object_text(&object, "scheduled_plan", acc->facts.scheduled_plan);
	object_int(&object, "monthly_credits", plan ? plan->monthly_credits : 0);
	object_text(&object, "status", cr_status_name(acc->facts.status));
	object_text(&object, "time_zone", acc->facts.time_zone);
	object_int(&object, "period", acc->period);
	object_time(&object, "period_start", acc->facts.period_start);
	object_time(&object, "next_reset_at", acc->next_reset_at);
	object_bool(&object, "low", cr_is_low(acc));
	object_int(&object, "seq", acc->history_seq);
	object_time(&object, "as_of", state->as_of);
	object_time(&object, "valid_until", cr_valid_until(acc));
	if (state->waits_for_zone)
		object_bool(&object, "time_zone_unknown", true);
	return object_end(&object);
}
