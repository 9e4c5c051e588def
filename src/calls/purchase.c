/*
 * purchase.c
 *		credits_add_purchased: adds credits that were paid for.
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
#include "store/slots.h"
#include "store/writer.h"
#include "tables/checkpoint.h"
#include "tables/find.h"
#include "tables/rows.h"

PG_FUNCTION_INFO_V1(credits_add_purchased);

/*
 * Writes the payment.  The caller ends the writer after it has written everything else,
 * so that triggers see it all.
 */
static Writer *
insert_payment(const Ledger *ledger, int64 amount)
{
	Writer *writer = writer_begin(TABLE_PAYMENT, CurrentMemoryContext);
	TupleTableSlot *slot = writer->slot;

	writer_clear(writer);
	slot_set_int(slot, PAY_AMOUNT, amount);
	slot_set_int(slot, PAY_REVOKED, 0);
	slot_set_int(slot, PAY_SEQ, ledger_next_seq(ledger));
	slot_set_text(slot, PAY_PAYMENT_REF, ledger->request->payment_ref);
	slot_set_text(slot, PAY_USER_ID, ledger->request->user_id);
	writer_insert(writer);
	return writer;
}

/*
 * A payment that was credited before: gives the first receipt.  Raises UC003 if the user
 * or the amount differs.
 */
static Datum
replay_payment(const Request *request, const Payment *payment, int64 amount)
{
	CrRow row;

	if (payment->amount != amount || strcmp(payment->user_id, request->user_id) != 0)
		error_payment_conflict(request->payment_ref);
	if (!find_row(payment->user_id, payment->seq, SnapshotSelf, &row))
	{
		if (checkpoint_covers(payment->user_id, payment->seq, SnapshotSelf))
			return receipt_archived(cr_kind_name(CR_KIND_PURCHASE), payment->user_id,
									payment->seq, amount, payment->payment_ref);
		error_corrupted("credit_payment", "a payment has no history row");
	}
	if (row.malformed)
		error_corrupted("credit_history", row.malformed);
	return receipt_from_row(&row, true);
}

/*
 * Locks the reference before the account.  If another transaction is inserting the same
 * reference, waits for that transaction.  So if the same payment is sent for two users at
 * once, the second call waits here, and the two calls cannot deadlock.
 */
Datum
credits_add_purchased(PG_FUNCTION_ARGS)
{
	Request request;
	Ledger ledger;
	Payment payment;
	CrRow row;
	CrVerdict verdict;
	Datum receipt;
	int64 amount;
	bool known;
	Writer *writer;

	request_init(&request, fcinfo, "credits_add_purchased()", CR_KIND_PURCHASE);
	amount = arg_amount(fcinfo, 1, "amount");
	request.payment_ref = arg_name(fcinfo, 2, "payment_ref");
	request.reason = arg_optional_text(fcinfo, 3);
	request.idempotency_key = arg_optional_name(fcinfo, 4, "idempotency_key");
	request_metadata(&request, fcinfo, 5);
	request_seal(&request, amount, NULL, NULL);

	writer_check_allowed(request.function);
	lock_name(LOCK_PAYMENT, request.payment_ref, ExclusiveLock);
	known = find_payment(request.payment_ref, &payment);
	ledger_begin(&ledger, &request);
	if (!ledger_replay(&ledger, &receipt))
	{
		if (known)
			receipt = replay_payment(&request, &payment, amount);
		else
		{
			(void) ledger_apply_ready(&ledger);
			verdict = cr_purchase(&ledger.acc, ledger.now, amount, &row);
			if (verdict != CR_OK)
			{
				note_absent_payment(request.payment_ref);
				error_refused(verdict, &ledger.acc, amount);
			}
			writer = insert_payment(&ledger, amount);
			receipt = ledger_append(&ledger, &row);
			writer_end(writer);
		}
	}
	ledger_end(&ledger);
	unlock_name(LOCK_PAYMENT, request.payment_ref, ExclusiveLock);
	return receipt;
}
