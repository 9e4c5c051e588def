/*
 * set_low_threshold.c
 *		credits_set_low_threshold: gives an account a threshold of its own.
 */
#include "postgres.h"

#include "fmgr.h"

#include "ledger/ledger.h"
#include "ledger/request.h"
#include "live/counted.h"

PG_FUNCTION_INFO_V1(credits_set_low_threshold);

static void
set_low_threshold(Ledger *ledger, const void *args, CrRow *row)
{
	int64 threshold = *(const int64 *) args;

	(void) ledger_apply_ready(ledger);
	ledger_check(ledger, cr_set_low_threshold(&ledger->acc, ledger->now, threshold, row), 0);
}

COUNTED_FUNCTION(credits_set_low_threshold, CALL_SET_LOW_THRESHOLD)
{
	Request request;
	int64 threshold;

	request_init(&request, fcinfo, "credits_set_low_threshold()", CR_KIND_SET_LOW_THRESHOLD);
	threshold = arg_optional_credits(fcinfo, 1, "threshold", CR_NO_THRESHOLD);
	request_tail(&request, fcinfo, 2);
	if (request.idempotency_key)
		request_seal(&request, threshold, NULL, NULL);
	return ledger_command(&request, set_low_threshold, &threshold);
}
