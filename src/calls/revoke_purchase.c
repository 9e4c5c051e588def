/*
 * revoke_purchase.c
 *		credits_revoke_purchase and credits_reinstate_purchase: take back what a payment
 *		bought, for example after a chargeback, and give it back when the dispute is won.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "ledger/ledger.h"
#include "ledger/receipt.h"
#include "ledger/request.h"
#include "live/counted.h"
#include "store/columns.h"
#include "store/locks.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "store/slots.h"
#include "store/writer.h"
#include "tables/checkpoint.h"
#include "tables/find.h"
#include "tables/lot_rows.h"
#include "tables/rows.h"

PG_FUNCTION_INFO_V1(credits_revoke_purchase);
PG_FUNCTION_INFO_V1(credits_reinstate_purchase);

/* Reads the payment again, into the look-up's slot.  Its account is locked. */
static void
reread_payment(Lookup *lookup, const char *payment_ref, Payment *payment)
{
	const char *problem;

	lookup_begin(lookup, TABLE_PAYMENT, INDEX_PAYMENT, SnapshotSelf);
	lookup_text_key(lookup, 1, payment_ref);
	if (!lookup_next(lookup, ForwardScanDirection))
		error_corrupted("credit_payment", "a payment that was read is gone");
	problem = payment_read(payment, lookup->slot);
	if (problem)
		error_corrupted("credit_payment", problem);
}

/*
 * Writes the payment.  The caller ends the writer after it has written everything else,
 * so that triggers see it all.
 */
static Writer *
update_payment(Lookup *lookup, const Payment *payment)
{
	Writer *writer = writer_begin(TABLE_PAYMENT, CurrentMemoryContext);

	writer_copy(writer, lookup->slot);
	slot_set_int(writer->slot, PAY_REVOKED, payment->revoked);
	slot_set_null(writer->slot, PAY_REPORTED);
	if (payment->reported > 0)
		slot_set_int(writer->slot, PAY_REPORTED, payment->reported);
	writer_update(writer, lookup->slot);
	return writer;
}

/* The receipt of a purchase's last chargeback. */
static Datum
replay_revoke(const Payment *payment)
{
	Lookup lookup;
	CrRow last = {0};

	referring_begin(&lookup, payment->user_id, payment->seq);
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		CrRow row;

		row_from_slot(&row, lookup.slot);
		if (row.kind == CR_KIND_REVOKE && row.seq > last.seq)
			last = row;
	}
	lookup_end(&lookup);
	if (last.seq == 0 && checkpoint_covers(payment->user_id, payment->seq, SnapshotSelf))
		return receipt_archived(cr_kind_name(CR_KIND_REVOKE), payment->user_id, payment->seq,
								payment->revoked, payment->payment_ref);
	if (last.seq == 0)
		error_corrupted("credit_payment", "a payment was revoked without a history row");
	return receipt_from_row(&last, true);
}

/* What the caller asks for. */
typedef struct Chargeback
{
	int64 amount; /* 0: everything */
	int64 total;  /* how much is revoked in all; 0: not given */
	Payment payment;
	Lookup lookup; /* has the payment's row */
} Chargeback;

/* The payment as the core needs it. */
static CrPaid
paid_of(Ledger *ledger, const Payment *payment)
{
	CrPaid paid = {.seq = payment->seq,
				   .amount = payment->amount,
				   .revoked = payment->revoked};
	CrPart grant = {payment->seq, payment->amount};

	if (!payment->granted)
		return paid;
	lots_load_parts(&ledger->acc, &grant, 1, SnapshotSelf);
	paid.grant = cr_find_grant(&ledger->acc, payment->seq);
	if (paid.grant == NULL)
		error_corrupted("credit_grant", "a grant that was paid for is missing");
	return paid;
}

/* Writes the payment and the row. */
static Datum
append(Ledger *ledger, Chargeback *asked, const CrRow *row)
{
	Writer *writer = update_payment(&asked->lookup, &asked->payment);
	Datum receipt = ledger_append(ledger, row);

	writer_end(writer);
	return receipt;
}

static Datum
revoke_payment(Ledger *ledger, Chargeback *asked)
{
	Payment *payment = &asked->payment;
	int64 left = payment->amount - payment->revoked;
	int64 amount = asked->amount > 0 ? asked->amount : left;
	CrPaid paid;
	CrRow row;

	if (asked->total > payment->amount || asked->amount > left)
		error_revoke_exceeds(payment->payment_ref, Max(asked->amount, asked->total),
							 payment->amount, payment->revoked);
	if (asked->total > 0)
		amount = Min(asked->total - payment->reported, left);
	if (asked->total > 0 ? asked->total <= payment->reported : left == 0)
		return replay_revoke(payment);

	(void) ledger_apply_ready(ledger);
	paid = paid_of(ledger, payment);
	ledger_check(ledger,
				 cr_revoke(&ledger->acc, ledger->now, amount, &paid, asked->total, &row),
				 amount);
	payment->revoked += amount;
	payment->reported = Max(payment->reported, asked->total);
	return append(ledger, asked, &row);
}

static Datum
reinstate_payment(Ledger *ledger, Chargeback *asked)
{
	Payment *payment = &asked->payment;
	int64 amount = asked->amount > 0 ? asked->amount : payment->revoked;
	CrPaid paid;
	CrRow row;

	if (amount == 0 || amount > payment->revoked)
		error_reinstate_exceeds(payment->payment_ref, asked->amount, payment->amount,
								payment->revoked);
	(void) ledger_apply_ready(ledger);
	paid = paid_of(ledger, payment);
	ledger_check(ledger, cr_reinstate(&ledger->acc, ledger->now, amount, &paid, &row), amount);
	payment->revoked -= amount;
	return append(ledger, asked, &row);
}

/*
 * The payment says which account to lock.  After the account is locked, the payment is
 * read again, because it changes only under its account's lock.
 */
static Datum
change_payment(Request *request, Chargeback *asked,
			   Datum (*decide)(Ledger *ledger, Chargeback *asked))
{
	Ledger ledger;
	Datum receipt;

	writer_check_allowed(request->function);
	CommandCounterIncrement();
	lock_name(LOCK_PAYMENT, request->payment_ref, ExclusiveLock);
	if (!find_payment(request->payment_ref, &asked->payment))
	{
		note_absent_payment(request->payment_ref);
		error_payment_not_found(request->payment_ref);
	}
	request->user_id = asked->payment.user_id;
	if (request->idempotency_key)
		request_seal(request, asked->amount,
					 asked->total > 0 ? psprintf(INT64_FORMAT, asked->total) : NULL, NULL);

	ledger_begin(&ledger, request);
	if (!ledger_replay(&ledger, &receipt))
	{
		reread_payment(&asked->lookup, request->payment_ref, &asked->payment);
		receipt = decide(&ledger, asked);
		lookup_end(&asked->lookup);
	}
	ledger_end(&ledger);
	unlock_name(LOCK_PAYMENT, request->payment_ref, ExclusiveLock);
	return receipt;
}

COUNTED_FUNCTION(credits_revoke_purchase, CALL_REVOKE)
{
	Request request = {.function = "credits_revoke_purchase()", .kind = CR_KIND_REVOKE};
	Chargeback asked = {0};

	store_attach(fcinfo);
	request.payment_ref = arg_name(fcinfo, 0, "payment_ref");
	if (!PG_ARGISNULL(1))
		asked.amount = arg_amount(fcinfo, 1, "amount");
	if (!PG_ARGISNULL(5))
		asked.total = arg_amount(fcinfo, 5, "total");
	if (asked.amount > 0 && asked.total > 0)
		error_bad_value("total", psprintf(INT64_FORMAT, asked.total),
						"either amount or total");
	request_tail(&request, fcinfo, 2);
	return change_payment(&request, &asked, revoke_payment);
}

COUNTED_FUNCTION(credits_reinstate_purchase, CALL_REINSTATE)
{
	Request request = {.function = "credits_reinstate_purchase()", .kind = CR_KIND_REINSTATE};
	Chargeback asked = {0};

	store_attach(fcinfo);
	request.payment_ref = arg_name(fcinfo, 0, "payment_ref");
	if (!PG_ARGISNULL(1))
		asked.amount = arg_amount(fcinfo, 1, "amount");
	request_tail(&request, fcinfo, 2);
	return change_payment(&request, &asked, reinstate_payment);
}
