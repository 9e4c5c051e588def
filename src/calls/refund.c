/*
 * refund.c
 *		credits_refund: gives back credits that a deduction or a capture spent.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "base/sums.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "live/counted.h"
#include "store/lookup.h"
#include "tables/checkpoint.h"
#include "tables/find.h"
#include "tables/lot_rows.h"
#include "tables/rows.h"

PG_FUNCTION_INFO_V1(credits_refund);

/* How much of a row was refunded.  Only refunds refer to a row that spent. */
static int64
sum_refunds(const char *user_id, int64 seq)
{
	Lookup lookup;
	int64 sum = 0;

	referring_begin(&lookup, user_id, seq);
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		CrRow row;

		row_from_slot(&row, lookup.slot);
		if (row.kind != CR_KIND_REFUND)
			continue;
		if (row.amount < 1 || row.amount > CR_MAX_CREDITS)
			error_corrupted("credit_history", "amount is out of range");
		sum_add(&sum, row.amount);
	}
	lookup_end(&lookup);
	return sum;
}

/* What the row spent, and how much of it is not refunded yet. */
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
	if (!cr_spent_fits(row))
		error_corrupted("credit_history", "amount does not fit what the row took or gave");
	spent->refunded = sum_refunds(user_id, seq);
	if (spent->refunded > spent->amount)
		error_corrupted("credit_history", "more was refunded than was spent");
}

typedef struct Refund
{
	int64 seq;	  /* the row that spent */
	int64 amount; /* 0: all */
} Refund;

static void
refund(Ledger *ledger, const void *args, CrRow *row)
{
	const Refund *asked = args;
	CrRow spending;
	CrSpent spent;
	CrVerdict verdict;
	int64 amount;

	(void) ledger_apply_ready(ledger);
	find_spent(ledger, asked->seq, &spent, &spending);
	lots_load_parts(&ledger->acc, spent.parts, spent.n_parts, SnapshotSelf);
	amount = asked->amount > 0 ? asked->amount : spent.amount - spent.refunded;
	verdict = amount == 0 ? CR_MORE_THAN_SPENT
						  : cr_refund(&ledger->acc, ledger->now, &spent, amount, row);
	if (verdict == CR_MORE_THAN_SPENT)
		error_refund_exceeds(ledger->acc.user_id, asked->seq, asked->amount, spent.amount,
							 spent.refunded);
	ledger_check(ledger, verdict, amount);
}

COUNTED_FUNCTION(credits_refund, CALL_REFUND)
{
	Request request;
	Refund args;

	request_init(&request, fcinfo, "credits_refund()", CR_KIND_REFUND);
	if (PG_ARGISNULL(1))
		error_null("seq");
	args.seq = PG_GETARG_INT64(1);
	args.amount = PG_ARGISNULL(2) ? 0 : arg_amount(fcinfo, 2, "amount");
	request_tail(&request, fcinfo, 3);
	if (request.idempotency_key)
		request_seal(&request, args.amount, psprintf(INT64_FORMAT, args.seq), NULL);
	return ledger_command(&request, refund, &args);
}
