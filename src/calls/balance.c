/*
 * balance.c
 *		credits_balance, credits_my_balance and the view credit_balance.
 *
 * They use the snapshot of the statement, write nothing and lock no row, so they work on
 * a hot standby.  What is due is applied in memory, by the same core that applies it for
 * calls that write.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/settings.h"
#include "base/zone.h"
#include "calls/current_user_id.h"
#include "ledger/request.h"
#include "ledger/state.h"
#include "live/counted.h"
#include "store/columns.h"
#include "store/relations.h"
#include "tables/find.h"
#include "tables/plan_versions.h"
#include "tables/rows.h"

#define DEFAULT_PAGE 50
#define MAX_PAGE	 1000

PG_FUNCTION_INFO_V1(credits_balance);
PG_FUNCTION_INFO_V1(credits_account_state);
PG_FUNCTION_INFO_V1(credits_now);
PG_FUNCTION_INFO_V1(credits_my_balance);

/*
 * A user without an account: makes the account that the first call would open, if a
 * default plan is set.
 */
static void
preview_account(CrAccount *acc, const char *user_id, Plans *plans, CrTime at)
{
	const char *name = settings_default_plan();
	const CrPlanVersion *plan;
	CrEnv env = plans_env(plans);
	CrRow row;

	if (name == NULL)
		error_account_not_found(user_id);
	plan = plans_in_force(plans, name, at);
	if (plan == NULL)
		error_default_plan_not_found(name);
	cr_account_init(acc, user_id);
	if (cr_open(acc, &env, at, plan, zone_utc_to_local(NULL, "UTC", at), "UTC", &row) != CR_OK)
		elog(ERROR, "could not make an account in memory");
}

static Datum
balance(const char *user_id)
{
	CrAccount acc;
	Plans plans;
	State state;
	CrTime now = clock_statement();

	plans_init(&plans, GetActiveSnapshot());
	if (!find_account(user_id, GetActiveSnapshot(), &acc))
		preview_account(&acc, user_id, &plans, now);
	state = state_bring_up_to(&acc, &plans, Max(now, acc.effective_at));

	return state_object(&acc, &state);
}

COUNTED_FUNCTION(credits_balance, CALL_BALANCE)
{
	store_attach(fcinfo);
	return balance(arg_name(fcinfo, 0, "user_id"));
}

/* Makes a row of the view credit_balance from a row of credit_account. */
Datum
credits_account_state(PG_FUNCTION_ARGS)
{
	HeapTupleHeader header = PG_GETARG_HEAPTUPLEHEADER(0);
	HeapTupleData tuple;
	TupleDesc in;
	TupleDesc out;
	Datum *in_values;
	bool *in_nulls;
	Datum values[13];
	bool nulls[13] = {0};
	CrAccount acc;
	Plans plans;

	store_attach(fcinfo);
	if (get_call_result_type(fcinfo, NULL, &out) != TYPEFUNC_COMPOSITE || out->natts != 13)
		elog(ERROR, "return type must be a row type");
	in = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
								HeapTupleHeaderGetTypMod(header));
	if (in->natts < ACC_NATTS)
		elog(ERROR, "argument is not a row of credit_account");
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	in_values = palloc(sizeof(Datum) * in->natts);
	in_nulls = palloc(sizeof(bool) * in->natts);
	heap_deform_tuple(&tuple, in, in_values, in_nulls);
	ReleaseTupleDesc(in);
	for (int i = 0; i < ACC_NEXT_RESET_AT - 1; i++)
	{
		if (in_nulls[i])
			PG_RETURN_NULL(); /* the account's side of an outer join is NULL */
	}
	account_from_values(&acc, in_values, in_nulls);

	plans_init(&plans, GetActiveSnapshot());
	(void) state_bring_up_to(&acc, &plans, Max(clock_statement(), acc.effective_at));
	values[0] = Int64GetDatum(acc.balance.monthly);
	values[1] = Int64GetDatum(acc.balance.granted);
	values[2] = Int64GetDatum(acc.balance.purchased);
	values[3] = Int64GetDatum(cr_available(&acc));
	values[4] = Int64GetDatum(cr_held(&acc));
	values[5] = Int64GetDatum(cr_owed(&acc));
	nulls[6] = nulls[7] = acc.facts.plan == NULL;
	if (acc.facts.plan)
	{
		values[6] = CStringGetTextDatum(acc.facts.plan);
		values[7] = Int32GetDatum(acc.facts.plan_version);
	}
	values[8] = CStringGetTextDatum(cr_status_name(acc.facts.status));
	values[9] = TimestampTzGetDatum(acc.facts.period_start);
	nulls[10] = acc.next_reset_at == CR_NEVER;
	values[10] = TimestampTzGetDatum(acc.next_reset_at);
	values[11] = BoolGetDatum(cr_is_low(&acc));
	values[12] = Int64GetDatum(acc.owed_monthly);
	return HeapTupleGetDatum(heap_form_tuple(out, values, nulls));
}

/* credits_now: the time to which all of these refer. */
Datum
credits_now(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_TIMESTAMPTZ(clock_statement());
}

COUNTED_FUNCTION(credits_my_balance, CALL_MY_BALANCE)
{
	char *user_id = current_user_id();

	if (user_id == NULL)
		PG_RETURN_NULL();
	store_attach(fcinfo);
	return balance(user_id);
}
