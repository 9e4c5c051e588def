/*
 * payments.c
 *		Calls that credit a payment: a purchase, or a grant that is paid for.
 *
 * A payment is credited once for ever, whoever sends it how often.  Its reference is locked
 * before the account.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "calls/payments.h"
#include "ledger/ledger.h"
#include "ledger/receipt.h"
#include "ledger/request.h"
#include "store/columns.h"
#include "store/locks.h"
#include "store/slots.h"
#include "store/writer.h"
#include "tables/checkpoint.h"
#include "tables/find.h"
#include "tables/lot_rows.h"
#include "tables/rows.h"

/*
 * Writes the payment.  The caller ends the writer after it has written everything else,
 * so that triggers see it all.
 */
static Writer *
insert_payment(const Ledger *ledger, const Paying *paying)
{
	Writer *writer = writer_begin(TABLE_PAYMENT, CurrentMemoryContext);
	TupleTableSlot *slot = writer->slot;

	writer_clear(writer);
	slot_set_int(slot, PAY_AMOUNT, paying->amount);
	slot_set_int(slot, PAY_REVOKED, 0);
	slot_set_int(slot, PAY_SEQ, ledger_next_seq(ledger));
	slot_set_time(slot, PAY_PAID_AT, ledger->now);
	slot_set(slot, PAY_GRANTED, BoolGetDatum(paying->ends_at != CR_NEVER));
	slot_set_text(slot, PAY_PAYMENT_REF, ledger->request->payment_ref);
	slot_set_text(slot, PAY_USER_ID, ledger->request->user_id);
	writer_insert(writer);
	return writer;
}

/*
 * A payment that was credited before: gives the first receipt.  Raises UC003 if the user,
 * the amount or the end differs.
 */
static Datum
replay_payment(const Request *request, const Payment *payment, const Paying *paying)
{
	CrGrant grant;
	CrRow row;

	if (payment->amount != paying->amount ||
		payment->granted != (paying->ends_at != CR_NEVER) ||
		strcmp(payment->user_id, request->user_id) != 0)
		error_payment_conflict(request->payment_ref);
	if (!find_row(payment->user_id, payment->seq, SnapshotSelf, &row))
	{
		if (checkpoint_covers(payment->user_id, payment->seq, SnapshotSelf))
		{
			/* the row of a paid grant stays when the history row is archived */
			if (find_grant(payment->user_id, payment->seq, SnapshotSelf, &grant) &&
				grant.ends_at != paying->ends_at)
				error_payment_conflict(request->payment_ref);
			return receipt_archived(cr_kind_name(request->kind), payment->user_id,
									payment->seq, paying->amount, payment->payment_ref);
		}
		error_corrupted("credit_payment", "a payment has no history row");
	}
	if (row.malformed)
		error_corrupted("credit_history", row.malformed);
	if (payment->granted && row.ends_at != paying->ends_at)
		error_payment_conflict(request->payment_ref);
	return receipt_from_row(&row, true);
}

static CrVerdict
credit_payment(Ledger *ledger, const Paying *paying, CrRow *row)
{
	if (paying->ends_at == CR_NEVER)
		return cr_purchase(&ledger->acc, ledger->now, paying->amount, row);
	if (ledger->is_waiting && paying->ends_at <= ledger->clock)
		return CR_ENDS_TOO_SOON;
	return cr_grant(&ledger->acc, ledger->now, ledger_next_seq(ledger), paying->amount,
					paying->ends_at, true, row);
}

/*
 * Credits the payment or gives its first receipt.  If another transaction is inserting the
 * same reference, waits for that transaction.  So if the same payment is sent for two users
 * at once, the second call waits here, and the two calls cannot deadlock.
 */
Datum
payment_command(const Request *request, const Paying *paying)
{
	Ledger ledger;
	Payment payment;
	CrRow row;
	CrVerdict verdict;
	Datum receipt;
	bool known;
	Writer *writer;

	writer_check_allowed(request->function);
	lock_name(LOCK_PAYMENT, request->payment_ref, ExclusiveLock);
	known = find_payment(request->payment_ref, &payment);
	ledger_begin(&ledger, request);
	if (!ledger_replay(&ledger, &receipt))
	{
		if (known)
			receipt = replay_payment(request, &payment, paying);
		else
		{
			(void) ledger_apply_ready(&ledger);
			verdict = credit_payment(&ledger, paying, &row);
			if (verdict != CR_OK)
			{
				note_absent_payment(request->payment_ref);
				error_refused(verdict, &ledger.acc, paying->amount);
			}
			writer = insert_payment(&ledger, paying);
			receipt = ledger_append(&ledger, &row);
			writer_end(writer);
		}
	}
	ledger_end(&ledger);
	unlock_name(LOCK_PAYMENT, request->payment_ref, ExclusiveLock);
	return receipt;
}
