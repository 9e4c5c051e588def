/*
 * revoke_purchase.c
 *		credits_revoke_purchase: takes back purchased credits, for example after a
 *		chargeback.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "ledger/ledger.h"
#include "ledger/receipt.h"
#include "ledger/request.h"
#include "store/columns.h"
#include "store/locks.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "store/slots.h"
#include "store/writer.h"
#include "tables/checkpoint.h"
#include "tables/find.h"
#include "tables/rows.h"

PG_FUNCTION_INFO_V1(credits_revoke_purchase);

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
update_payment(Lookup *lookup, int64 revoked)
{
	Writer *writer = writer_begin(TABLE_PAYMENT, CurrentMemoryContext);

	writer_copy(writer, lookup->slot);
	slot_set_int(writer->slot, PAY_REVOKED, revoked);
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

/*
 * The payment says which account to lock.  After the account is locked, the payment is
 * read again, because it changes only under its account's lock.
 */
Datum
credits_revoke_purchase(PG_FUNCTION_ARGS)
{
	Request request = {.function = "credits_revoke_purchase()", .kind = CR_KIND_REVOKE};
	Ledger ledger;
	Lookup lookup;
	Payment payment;
	CrRow row;
	CrVerdict verdict;
	Datum receipt;
	int64 asked; /* 0: all */

	store_attach(fcinfo);
	request.payment_ref = arg_name(fcinfo, 0, "payment_ref");
	asked = PG_ARGISNULL(1) ? 0 : arg_amount(fcinfo, 1, "amount");
	request_tail(&request, fcinfo, 2);

	writer_check_allowed(request.function);
	CommandCounterIncrement();
	lock_name(LOCK_PAYMENT, request.payment_ref, ExclusiveLock);
	if (!find_payment(request.payment_ref, &payment))
	{
		note_absent_payment(request.payment_ref);
		error_payment_not_found(request.payment_ref);
	}
	request.user_id = payment.user_id;
	if (request.idempotency_key)
		request_seal(&request, asked, NULL, NULL);

	ledger_begin(&ledger, &request);
	if (!ledger_replay(&ledger, &receipt))
	{
		int64 left;

		reread_payment(&lookup, request.payment_ref, &payment);
		left = payment.amount - payment.revoked;
		if (asked > left)
			error_revoke_exceeds(request.payment_ref, asked, payment.amount, payment.revoked);
		if (left == 0)
			receipt = replay_revoke(&payment);
		else
		{
			int64 amount = asked > 0 ? asked : left;
			Writer *writer;

			(void) ledger_apply_ready(&ledger);
			verdict = cr_revoke(&ledger.acc, ledger.now, amount, payment.seq, &row);
			ledger_check(&ledger, verdict, amount);
			writer = update_payment(&lookup, payment.revoked + amount);
			receipt = ledger_append(&ledger, &row);
			writer_end(writer);
		}
		lookup_end(&lookup);
	}
	ledger_end(&ledger);
	unlock_name(LOCK_PAYMENT, request.payment_ref, ExclusiveLock);
	return receipt;
}
