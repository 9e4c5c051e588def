/*
 * set_overdraft.c
 *		credits_set_overdraft: how much an account may owe.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/errors.h"
#include "ledger/ledger.h"
#include "ledger/request.h"

PG_FUNCTION_INFO_V1(credits_set_overdraft);

Datum
credits_set_overdraft(PG_FUNCTION_ARGS)
{
	Request		request;
	Ledger		ledger;
	CrRow		row;
	CrVerdict	verdict;
	Datum		receipt;
	int64		limit;

	request_init(&request, fcinfo, "credits_set_overdraft()", CR_KIND_SET_OVERDRAFT);
	if (PG_ARGISNULL(1))
		error_null("overdraft_limit");
	limit = arg_optional_credits(fcinfo, 1, "overdraft_limit", 0);
	request_tail(&request, fcinfo, 2);
	if (request.idempotency_key)
		request_seal(&request, limit, NULL, NULL);

	ledger_begin(&ledger, &request);
	if (!ledger_replay(&ledger, &receipt))
	{
		(void) ledger_apply_ready(&ledger);
		verdict = cr_set_overdraft(&ledger.acc, ledger.now, limit, &row);
		if (verdict != CR_OK)
			error_refused(verdict, &ledger.acc, limit);
		receipt = ledger_append(&ledger, &row);
	}
	ledger_end(&ledger);
	return receipt;
}
