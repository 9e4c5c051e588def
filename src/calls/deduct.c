/*
 * deduct.c
 *		credits_deduct and credits_try_deduct.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/errors.h"
#include "ledger/ledger.h"
#include "ledger/receipt.h"
#include "ledger/request.h"
#include "live/counted.h"

PG_FUNCTION_INFO_V1(credits_deduct);
PG_FUNCTION_INFO_V1(credits_try_deduct);

static Datum
deduct_locked(Ledger *ledger, int64 amount, bool raise)
{
	CrRow row;
	CrVerdict verdict;
	Datum receipt;

	if (!ledger_lock(ledger))
		error_account_not_found(ledger->request->user_id);
	if (ledger_replay(ledger, &receipt))
		return receipt;
	ledger_apply_due(ledger);
	verdict = cr_deduct(&ledger->acc, ledger->now, amount, &row);
	if (verdict == CR_OK)
		return ledger_append(ledger, &row);
	if (verdict != CR_INSUFFICIENT || raise)
		error_refused(verdict, &ledger->acc, amount);
	return receipt_refused(&ledger->acc, amount);
}

/*
 * Both calls have the same kind, so each can replay the other.  They differ only when
 * they refuse.
 */
static Datum
deduct(FunctionCallInfo fcinfo, const char *function, bool raise)
{
	Request request;
	Ledger ledger;
	Datum receipt;
	int64 amount;
	int place;

	request_init(&request, fcinfo, function, CR_KIND_DEDUCT);
	amount = arg_amount(fcinfo, 1, "amount");
	request.reason = arg_optional_text(fcinfo, 2);
	request.idempotency_key = arg_optional_name(fcinfo, 3, "idempotency_key");
	request_metadata(&request, fcinfo, 4);
	request.spender = arg_optional_name(fcinfo, 5, "spender");
	if (request.idempotency_key)
		request_seal(&request, amount, NULL, NULL);

	ledger_prepare(&ledger, &request, NULL, NULL);
	place = ledger_deduct_unlocked(&ledger, amount);
	receipt = place >= 0 ? receipt_from_row(&ledger.rows[place], false)
						 : deduct_locked(&ledger, amount, raise);
	ledger_end(&ledger);
	return receipt;
}

COUNTED_FUNCTION(credits_deduct, CALL_DEDUCT)
{
	return deduct(fcinfo, "credits_deduct()", true);
}

COUNTED_FUNCTION(credits_try_deduct, CALL_TRY_DEDUCT)
{
	return deduct(fcinfo, "credits_try_deduct()", false);
}
