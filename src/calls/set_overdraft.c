/*
 * set_overdraft.c
 *		credits_set_overdraft: sets how much an account may owe.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/errors.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "live/counted.h"

PG_FUNCTION_INFO_V1(credits_set_overdraft);

static void
set_overdraft(Ledger *ledger, const void *args, CrRow *row)
{
	int64 limit = *(const int64 *) args;

	(void) ledger_apply_ready(ledger);
	ledger_check(ledger, cr_set_overdraft(&ledger->acc, ledger->now, limit, row), limit);
}

COUNTED_FUNCTION(credits_set_overdraft, CALL_SET_OVERDRAFT)
{
	Request request;
	int64 limit;

	request_init(&request, fcinfo, "credits_set_overdraft()", CR_KIND_SET_OVERDRAFT);
	if (PG_ARGISNULL(1))
		error_null("overdraft_limit");
	limit = arg_optional_credits(fcinfo, 1, "overdraft_limit", 0);
	request_tail(&request, fcinfo, 2);
	if (request.idempotency_key)
		request_seal(&request, limit, NULL, NULL);
	return ledger_command(&request, set_overdraft, &limit);
}
