/*
 * receipt.c
 *		Receipts: what a call answers.
 *
 * A receipt is made from the history row alone, so a replay gives exactly the receipt
 * that the first call gave.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/errors.h"
#include "base/json.h"
#include "ledger/receipt.h"
#include "live/counted.h"

/*
 * The receipt of a call, from its history row.  The keys are added in the order that
 * jsonb stores them in, shorter keys first, so they need not be sorted.
 */
Datum
receipt_from_row(const CrRow *row, bool replayed)
{
	Object object;

	if (replayed)
		counted_result(RESULT_REPLAYED);
	object_begin(&object);
	object_bool(&object, "ok", true);
	object_int(&object, "seq", row->seq);
	object_int(&object, "held", row->held.monthly + row->held.granted + row->held.purchased);
	object_text(&object, "kind", cr_kind_name(row->kind));
	object_int(&object, "owed", row->owed_purchased);
	if (row->has_facts)
		object_text(&object, "plan", row->facts.plan);
	object_int(&object, "amount", row->amount);
	if (row->has_facts)
		object_text(&object, "status", cr_status_name(row->facts.status));
	object_int(&object, "granted", row->balance.granted);
	object_int(&object, "monthly", row->balance.monthly);
	if (row->spender)
		object_text(&object, "spender", row->spender);
	object_text(&object, "user_id", row->user_id);
	if (row->crossed != CR_CROSSED_NOTHING)
		object_text(&object, "crossed", cr_crossing_name(row->crossed));
	if (row->has_ends_at)
		object_time(&object, "ends_at", row->ends_at);
	if (row->expired > 0)
		object_int(&object, "expired", row->expired);
	if (row->has_ref_seq)
		object_int(&object, "ref_seq", row->ref_seq);
	object_bool(&object, "replayed", replayed);
	object_int(&object, "available",
			   row->balance.monthly + row->balance.granted + row->balance.purchased);
	if (row->forfeited > 0)
		object_int(&object, "forfeited", row->forfeited);
	object_int(&object, "purchased", row->balance.purchased);
	if (row->has_facts)
		object_text(&object, "time_zone", row->facts.time_zone);
	object_time(&object, "created_at", row->created_at);
	if (row->payment_ref)
		object_text(&object, "payment_ref", row->payment_ref);
	object_time(&object, "effective_at", row->effective_at);
	if (row->owed_monthly > 0)
		object_int(&object, "owed_monthly", row->owed_monthly);
	object_int(&object, "granted_delta", row->delta.granted);
	object_int(&object, "monthly_delta", row->delta.monthly);
	object_time(&object, "next_reset_at", row->next_reset_at);
	if (row->has_facts)
	{
		object_text(&object, "scheduled_plan", row->facts.scheduled_plan);
		object_int(&object, "overdraft_limit", row->facts.overdraft_limit);
	}
	object_int(&object, "purchased_delta", row->delta.purchased);
	if (row->kind == CR_KIND_TRANSFER_OUT)
		object_int(&object, "recently_purchased",
				   row->n_allocations > 0 ? row->allocations[0].credits : 0);
	return object_end(&object);
}

/*
 * The receipt of a row that was archived, from what is still known.  payment_ref may be
 * NULL.
 */
Datum
receipt_archived(const char *kind, const char *user_id, int64 seq, int64 amount,
				 const char *payment_ref)
{
	Object object;

	counted_result(RESULT_REPLAYED);
	object_begin(&object);
	object_bool(&object, "ok", true);
	object_int(&object, "seq", seq);
	object_text(&object, "kind", kind);
	object_int(&object, "amount", amount);
	object_text(&object, "user_id", user_id);
	object_bool(&object, "archived", true);
	object_bool(&object, "replayed", true);
	if (payment_ref)
		object_text(&object, "payment_ref", payment_ref);
	return object_end(&object);
}

/*
 * Begins an answer that refuses: {"ok": false, ...}.  The caller adds what the DETAIL of
 * the error would have.
 */
void
refusal_begin(StringInfo buf)
{
	json_begin(buf);
	json_bool(buf, "ok", false);
}

Datum
refusal_end(StringInfo buf)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json_end(buf)));
}

/* What credits_try_deduct answers where credits_deduct raises UC001. */
Datum
receipt_refused(const CrAccount *acc, int64 required)
{
	StringInfoData buf;

	counted_result(counted_result_of(ERRCODE_CREDITS_INSUFFICIENT));
	refusal_begin(&buf);
	insufficient_numbers(&buf, acc, required);
	return refusal_end(&buf);
}
