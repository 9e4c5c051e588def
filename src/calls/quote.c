/*
 * quote.c
 *		credits_quote: what a deduction would do.
 *
 * The core deducts from the state that credits_balance shows, in memory.  So a quote has no
 * rules of its own.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "base/json.h"
#include "base/utc.h"
#include "ledger/request.h"
#include "ledger/state.h"
#include "live/counted.h"
#include "store/relations.h"
#include "tables/lot_rows.h"
#include "tables/plan_versions.h"

PG_FUNCTION_INFO_V1(credits_quote);

/* What each grant would give, in the order in which grants are spent. */
static void
put_grants(Object *object, const CrAccount *acc, const CrRow *row)
{
	StringInfoData buf;
	char ends_at[UTC_TEXT_SIZE];

	if (row->n_allocations == 0)
	{
		object_empty_array(object, "grants");
		return;
	}
	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	for (int i = 0; i < row->n_allocations; i++)
	{
		const CrPart *part = &row->allocations[i];

		appendStringInfo(&buf,
						 "%s{\"seq\": " INT64_FORMAT ", \"credits\": " INT64_FORMAT
						 ", \"ends_at\": \"%s\"}",
						 i > 0 ? ", " : "", part->source, part->credits,
						 utc_text(cr_find_grant(acc, part->source)->ends_at, ends_at));
	}
	appendStringInfoChar(&buf, ']');
	object_json(object, "grants", buf.data);
}

static void
put_refusal(Object *object, const CrAccount *acc, CrVerdict verdict, int64 amount)
{
	Refusal refusal = refusal_to_spend(verdict);

	counted_result(counted_result_of(refusal.sqlstate));
	object_text(object, "error", refusal.name);
	object_text(object, "sqlstate", pstrdup(unpack_sql_state(refusal.sqlstate)));
	if (verdict == CR_INSUFFICIENT)
		object_int(object, "required", amount);
	if (verdict == CR_ZONE_UNKNOWN)
		object_text(object, "time_zone", acc->facts.time_zone);
}

COUNTED_FUNCTION(credits_quote, CALL_QUOTE)
{
	char *user_id;
	int64 amount;
	int64 owed;
	int64 missing;
	CrAccount acc;
	CrTime valid_until;
	CrVerdict verdict;
	CrRow row = {0};
	Plans plans;
	State state;
	Object object;

	store_attach(fcinfo);
	user_id = arg_name(fcinfo, 0, "user_id");
	amount = arg_amount(fcinfo, 1, "amount");
	plans_init(&plans, GetActiveSnapshot());
	state = state_of_user(user_id, &plans, &acc);
	if (acc.balance.granted > 0 && acc.lots == NULL)
		lots_load(&acc, state.as_of, plans.snapshot);
	owed = cr_owed(&acc);
	missing = cr_missing(&acc, amount);
	valid_until = cr_valid_until(&acc);
	verdict = state.waits_for_zone ? CR_ZONE_UNKNOWN
								   : cr_deduct(&acc, state.as_of, amount, &row);

	object_begin(&object);
	object_bool(&object, "ok", verdict == CR_OK);
	if (verdict != CR_OK)
		put_refusal(&object, &acc, verdict, amount);
	object_text(&object, "user_id", user_id);
	object_int(&object, "amount", amount);
	object_int(&object, "monthly_delta", row.delta.monthly);
	object_int(&object, "granted_delta", row.delta.granted);
	object_int(&object, "purchased_delta", row.delta.purchased);
	object_int(&object, "owed_delta", cr_owed(&acc) - owed);
	put_grants(&object, &acc, &row);
	object_int(&object, "monthly", acc.balance.monthly);
	object_int(&object, "granted", acc.balance.granted);
	object_int(&object, "purchased", acc.balance.purchased);
	object_int(&object, "available", cr_available(&acc));
	object_int(&object, "held", cr_held(&acc));
	object_int(&object, "owed", cr_owed(&acc));
	object_int(&object, "overdraft_limit", acc.facts.overdraft_limit);
	object_int(&object, "shortfall", missing);
	object_bool(&object, "low", cr_is_low(&acc));
	if (row.crossed != CR_CROSSED_NOTHING)
		object_text(&object, "crossed", cr_crossing_name(row.crossed));
	object_text(&object, "status", cr_status_name(acc.facts.status));
	object_time(&object, "next_reset_at", acc.next_reset_at);
	object_int(&object, "seq", acc.history_seq);
	object_time(&object, "as_of", state.as_of);
	object_time(&object, "valid_until", valid_until);
	return object_end(&object);
}
