/*
 * balance_at.c
 *		credits_balance_at: what a user had at a given time.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/utc.h"
#include "ledger/request.h"
#include "ledger/state.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/checkpoint.h"
#include "tables/plan_versions.h"
#include "tables/rows.h"
#include "verify/judge.h"

PG_FUNCTION_INFO_V1(credits_balance_at);

/*
 * The last row that was in effect at a time.  What is due after it has to be applied.  0:
 * there was no account yet.
 */
static int64
last_row_at(const char *user_id, CrTime at)
{
	Lookup lookup;
	int64 seq = 0;
	bool isnull;

	lookup_begin(&lookup, TABLE_HISTORY, INDEX_HISTORY, GetActiveSnapshot());
	lookup_text_key(&lookup, 1, user_id);
	while (seq == 0 && lookup_next(&lookup, BackwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		if (DatumGetTimestampTz(slot_getattr(lookup.slot, HIST_EFFECTIVE_AT, &isnull)) <= at)
			seq = DatumGetInt64(slot_getattr(lookup.slot, HIST_SEQ, &isnull));
	}
	lookup_end(&lookup);
	return seq;
}

Datum
credits_balance_at(PG_FUNCTION_ARGS)
{
	char *user_id;
	CrTime asked;
	CrTime at;
	CrAccount acc;
	State state;
	CrEnv env;
	CrTime now;
	Judge judge;
	Checkpoint ckpt;
	Plans plans;
	int64 seq;
	Datum result;
	char text[UTC_TEXT_SIZE];

	store_attach(fcinfo);
	user_id = arg_name(fcinfo, 0, "user_id");
	asked = at = arg_time(fcinfo, 1, "at");
	now = clock_statement();
	if (at > now)
		error_bad_value("at", utc_text(at, text), "a time that is not in the future");
	seq = last_row_at(user_id, at);

	judge_begin(&judge, GetActiveSnapshot());
	if (judge_from_checkpoint(&judge, &acc, &ckpt, user_id))
	{
		if (at < acc.effective_at)
			error_archived_time(user_id, acc.effective_at);
		seq = Max(seq, acc.history_seq);
	}
	if (seq == 0)
		error_account_not_found(user_id);
	judge_replay(&judge, &acc, user_id, seq);
	plans_init(&plans, GetActiveSnapshot());
	acc.next_event_at = cr_next_event(&acc);
	at = Max(at, acc.effective_at);
	env = plans_env(&plans);

	/* While a reset waits, rows are written with the time just before it. */
	state = state_bring_up_to(&acc, &plans, at);
	if (cr_waits_for_zone(&acc, &env, now) && at >= cr_waiting_time(&acc))
		error_zone_unknown(&acc);
	state.as_of = asked;
	result = state_object(&acc, &state);
	judge_end(&judge);
	return result;
}
