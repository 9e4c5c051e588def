/*
 * account_from_history.c
 *		credits_account_from_history: the row of credit_account that a user's history gives.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "ledger/request.h"
#include "store/columns.h"
#include "store/relations.h"
#include "tables/find.h"
#include "tables/rows.h"
#include "verify/judge.h"

PG_FUNCTION_INFO_V1(credits_account_from_history);

/*
 * Replays and verifies the whole history.  Columns that a DBA has added are NULL, because
 * the history does not have them.
 */
Datum
credits_account_from_history(PG_FUNCTION_ARGS)
{
	char *user_id;
	CrAccount acc;
	Judge judge;
	Checkpoint ckpt;
	TupleDesc desc;
	TupleTableSlot *slot;
	int64 last;

	store_attach(fcinfo);
	user_id = arg_name(fcinfo, 0, "user_id");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts < ACC_NATTS)
		elog(ERROR, "return type must be credit_account");
	last = find_last_seq(user_id, GetActiveSnapshot());

	judge_begin(&judge, GetActiveSnapshot());
	if (judge_from_checkpoint(&judge, &acc, &ckpt, user_id))
		last = Max(last, acc.history_seq);
	if (last == 0)
		error_account_not_found(user_id);
	judge_replay(&judge, &acc, user_id, last);
	acc.next_event_at = cr_next_event(&acc);
	slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	ExecStoreAllNullTuple(slot);
	account_to_slot(&acc, slot);
	judge_end(&judge);
	return HeapTupleGetDatum(heap_form_tuple(desc, slot->tts_values, slot->tts_isnull));
}
