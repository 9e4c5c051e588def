/*
 * grant.c
 *		credits_grant: credits that end at a time.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "base/utc.h"
#include "ledger/ledger.h"
#include "ledger/request.h"

PG_FUNCTION_INFO_V1(credits_grant);

Datum
credits_grant(PG_FUNCTION_ARGS)
{
	Request		request;
	Ledger		ledger;
	CrRow		row;
	CrVerdict	verdict;
	CrTime		ends_at;
	Datum		receipt;
	int64		amount;

	request_init(&request, fcinfo, "credits_grant()", CR_KIND_GRANT);
	amount = arg_amount(fcinfo, 1, "amount");
	if (PG_ARGISNULL(2))
		error_null("expires_at");
	ends_at = PG_GETARG_TIMESTAMPTZ(2);
	if (!utc_is_ordinary(ends_at))
		error_bad_value("expires_at", "out of range", "a time in the years 1 to 9999");
	request_tail(&request, fcinfo, 3);
	if (request.idempotency_key)
		request_seal(&request, amount, psprintf(INT64_FORMAT, ends_at), NULL);

	ledger_begin(&ledger, &request);
	if (!ledger_replay(&ledger, &receipt))
	{
		(void) ledger_apply_ready(&ledger);
		verdict = ledger.is_waiting && ends_at <= ledger.clock ? CR_ENDS_TOO_SOON :
			cr_grant(&ledger.acc, ledger.now, ledger_next_seq(&ledger), amount,
					 ends_at, &row);
		if (verdict != CR_OK)
			error_refused(verdict, &ledger.acc, amount);
		receipt = ledger_append(&ledger, &row);
	}
	ledger_end(&ledger);
	return receipt;
}
