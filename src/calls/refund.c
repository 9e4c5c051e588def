/*
 * refund.c
 *		credits_refund: gives back what a deduction or a capture spent.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "base/sums.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/checkpoint.h"
#include "tables/find.h"
#include "tables/rows.h"

PG_FUNCTION_INFO_V1(credits_refund);

/* How much of a row was refunded: no other kind refers to what spent. */
static int64
sum_refunds(const char *user_id, int64 seq)
{
	Lookup		lookup;
	int64		sum = 0;

	lookup_begin(&lookup, TABLE_HISTORY, INDEX_HISTORY_REF, SnapshotSelf);
	lookup_text_key(&lookup, 1, user_id);
	lookup_key(&lookup, 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(seq));
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		CrRow		row;

		row_from_slot(&row, lookup.slot);
		if (row.kind == CR_KIND_REFUND)
			sum_add(&sum, row.amount);
	}
	lookup_end(&lookup);
	return sum;
}

/* What the row spent, and what of it is not refunded yet. */
static void
find_spent(Ledger *ledger, int64 seq, CrSpent *spent, CrRow *row)
{
	const char *user_id = ledger->acc.user_id;

	if (!find_row(user_id, seq, SnapshotSelf, row))
	{
		if (checkpoint_covers(user_id, seq, SnapshotSelf))
			error_archived_row(user_id, seq);
		error_not_spent(user_id, seq);
	}
	if (row->malformed)
		error_corrupted("credit_history", row->malformed);
	if (!cr_spent(spent, row))
		error_not_spent(user_id, seq);
	spent->refunded = sum_refunds(user_id, seq);
}

Datum
credits_refund(PG_FUNCTION_ARGS)
{
	Request		request;
	Ledger		ledger;
	CrRow		row;
	CrRow		spending;
	CrSpent		spent;
	CrVerdict	verdict;
	Datum		receipt;
	int64		seq;
	int64		asked;			/* 0: all */

	request_init(&request, fcinfo, "credits_refund()", CR_KIND_REFUND);
	if (PG_ARGISNULL(1))
		error_null("seq");
	seq = PG_GETARG_INT64(1);
	asked = PG_ARGISNULL(2) ? 0 : arg_amount(fcinfo, 2, "amount");
	request_tail(&request, fcinfo, 3);
	if (request.idempotency_key)
		request_seal(&request, asked, psprintf(INT64_FORMAT, seq), NULL);

	ledger_begin(&ledger, &request);
	if (!ledger_replay(&ledger, &receipt))
	{
		int64		amount;

		(void) ledger_apply_ready(&ledger);
		find_spent(&ledger, seq, &spent, &spending);
		amount = asked > 0 ? asked : spent.amount - spent.refunded;
		verdict = amount == 0 ? CR_MORE_THAN_SPENT :
			cr_refund(&ledger.acc, ledger.now, &spent, amount, &row);
		if (verdict == CR_MORE_THAN_SPENT)
			error_refund_exceeds(request.user_id, seq, asked, spent.amount, spent.refunded);
		if (verdict != CR_OK)
			error_refused(verdict, &ledger.acc, amount);
		receipt = ledger_append(&ledger, &row);
	}
	ledger_end(&ledger);
	return receipt;
}
