/*
 * purchase.c
 *		credits_add_purchased: adds credits that were paid for.
 */
#include "postgres.h"

#include "fmgr.h"

#include "calls/payments.h"
#include "ledger/request.h"
#include "live/counted.h"

PG_FUNCTION_INFO_V1(credits_add_purchased);

COUNTED_FUNCTION(credits_add_purchased, CALL_ADD_PURCHASED)
{
	Request request;
	Paying paying = {.ends_at = CR_NEVER};

	request_init(&request, fcinfo, "credits_add_purchased()", CR_KIND_PURCHASE);
	paying.amount = arg_amount(fcinfo, 1, "amount");
	request.payment_ref = arg_name(fcinfo, 2, "payment_ref");
	request.reason = arg_optional_text(fcinfo, 3);
	request.idempotency_key = arg_optional_name(fcinfo, 4, "idempotency_key");
	request_metadata(&request, fcinfo, 5);
	request_seal(&request, paying.amount, NULL, NULL);
	return payment_command(&request, &paying);
}
