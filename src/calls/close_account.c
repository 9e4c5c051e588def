/*
 * close_account.c
 *		credits_close_account: removes all credits of an account and ends its periods.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "ledger/ledger.h"
#include "ledger/request.h"
#include "live/counted.h"
#include "tables/audit_log.h"

PG_FUNCTION_INFO_V1(credits_close_account);

COUNTED_FUNCTION(credits_close_account, CALL_CLOSE_ACCOUNT)
{
	Request request;
	Ledger ledger;
	CrRow row;
	Datum receipt;

	request_init(&request, fcinfo, "credits_close_account()", CR_KIND_CLOSE);
	request.reason = arg_optional_text(fcinfo, 1);

	ledger_begin_audited(&ledger, &request);
	(void) ledger_apply_ready(&ledger);
	ledger_check(&ledger, cr_close(&ledger.acc, ledger.now, ledger_next_seq(&ledger), &row),
				 0);
	receipt = ledger_append(&ledger, &row);
	ledger_end(&ledger);
	audit_append("close_account", request.user_id, (Datum) 0, receipt);
	return receipt;
}
