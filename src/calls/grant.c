/*
 * grant.c
 *		credits_grant: gives credits that end at a given time, for nothing or for a payment.
 */
#include "postgres.h"

#include "fmgr.h"

#include "calls/payments.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "live/counted.h"

PG_FUNCTION_INFO_V1(credits_grant);

static void
grant(Ledger *ledger, const void *args, CrRow *row)
{
	const Paying *asked = args;

	(void) ledger_apply_ready(ledger);
	ledger_check(ledger,
				 ledger->is_waiting && asked->ends_at <= ledger->clock
					 ? CR_ENDS_TOO_SOON
					 : cr_grant(&ledger->acc, ledger->now, ledger_next_seq(ledger),
								asked->amount, asked->ends_at, false, row),
				 asked->amount);
}

COUNTED_FUNCTION(credits_grant, CALL_GRANT)
{
	Request request;
	Paying args;

	request_init(&request, fcinfo, "credits_grant()", CR_KIND_GRANT);
	args.amount = arg_amount(fcinfo, 1, "amount");
	args.ends_at = arg_time(fcinfo, 2, "expires_at");
	request_tail(&request, fcinfo, 3);
	request.payment_ref = arg_optional_name(fcinfo, 6, "payment_ref");
	if (request.idempotency_key || request.payment_ref)
		request_seal(&request, args.amount, psprintf(INT64_FORMAT, args.ends_at), NULL);
	return request.payment_ref ? payment_command(&request, &args)
							   : ledger_command(&request, grant, &args);
}
