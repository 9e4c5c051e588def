/*
 * balance.c
 *		credits_balance, credits_balances, credits_my_balance and the view credit_balance.
 *
 * They use the snapshot of the statement, write nothing and lock no row, so they work on
 * a hot standby.  What is due is applied in memory, by the same core that applies it for
 * calls that write.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/json.h"
#include "calls/current_user_id.h"
#include "ledger/request.h"
#include "ledger/state.h"
#include "live/counted.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/find.h"
#include "tables/plan_versions.h"
#include "tables/rows.h"

#define MAX_USERS	  10000
#define STATE_COLUMNS 15

PG_FUNCTION_INFO_V1(credits_balance);
PG_FUNCTION_INFO_V1(credits_balances);
PG_FUNCTION_INFO_V1(credits_account_state);
PG_FUNCTION_INFO_V1(credits_now);
PG_FUNCTION_INFO_V1(credits_my_balance);

static Datum
balance(const char *user_id)
{
	CrAccount acc;
	Plans plans;
	State state;

	plans_init(&plans, GetActiveSnapshot());
	state = state_of_user(user_id, &plans, &acc);
	return state_object(&acc, &state);
}

COUNTED_FUNCTION(credits_balance, CALL_BALANCE)
{
	store_attach(fcinfo);
	return balance(arg_name(fcinfo, 0, "user_id"));
}

static Datum
unknown_user(const char *user_id)
{
	Object object;

	object_begin(&object);
	object_text(&object, "error", "account_not_found");
	object_text(&object, "user_id", user_id);
	return object_end(&object);
}

/*
 * The balances of many users, all with one snapshot and at one time.  Each account is found
 * by the index.
 */
static void
put_balances(ReturnSetInfo *rsinfo, Datum *users, int count)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext memory = AllocSetContextCreate(old, "credits balances user",
												 ALLOCSET_DEFAULT_SIZES);
	Lookup lookup;
	Plans plans;

	plans_init(&plans, GetActiveSnapshot());
	find_accounts_begin(&lookup, GetActiveSnapshot());
	for (int i = 0; i < count; i++)
	{
		CrAccount acc;
		State state;
		Datum answer;
		bool isnull = false;
		char *user_id;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(memory);
		user_id = TextDatumGetCString(users[i]);
		if (find_accounts_next(&lookup, user_id, &acc) || state_preview(user_id, &plans, &acc))
		{
			state = state_now(&acc, &plans);
			answer = state_object(&acc, &state);
		}
		else
			answer = unknown_user(user_id);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &answer, &isnull);
		MemoryContextSwitchTo(old);
		MemoryContextReset(memory);
	}
	lookup_end(&lookup);
	MemoryContextDelete(memory);
}

COUNTED_FUNCTION(credits_balances, CALL_BALANCES)
{
	Datum *users;
	bool *nulls;
	int count;

	store_attach(fcinfo);
	if (PG_ARGISNULL(0))
		error_null("user_ids");
	deconstruct_array(check_array(PG_GETARG_ARRAYTYPE_P(0), "user_ids"), TEXTOID, -1, false,
					  TYPALIGN_INT, &users, &nulls, &count);
	if (count > MAX_USERS)
		error_bad_value("user_ids", psprintf("%d elements", count),
						psprintf("at most %d elements", MAX_USERS));
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			error_null("user_ids");
		check_name(DatumGetTextPP(users[i]), "user_ids");
	}
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	put_balances((ReturnSetInfo *) fcinfo->resultinfo, users, count);
	return (Datum) 0;
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
	Datum values[STATE_COLUMNS];
	bool nulls[STATE_COLUMNS] = {0};
	CrAccount acc;
	Plans plans;
	State state;

	store_attach(fcinfo);
	if (get_call_result_type(fcinfo, NULL, &out) != TYPEFUNC_COMPOSITE ||
		out->natts != STATE_COLUMNS)
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
	state = state_now(&acc, &plans);
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
	values[13] = TimestampTzGetDatum(state.as_of);
	nulls[14] = cr_valid_until(&acc) == CR_NEVER;
	values[14] = TimestampTzGetDatum(cr_valid_until(&acc));
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
