/*
 * repair_clock.c
 *		credits_repair_clock: sets an account's time back to the clock.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/errors.h"
#include "base/json.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "tables/audit_log.h"

PG_FUNCTION_INFO_V1(credits_repair_clock);

static Datum
clock_object(CrTime effective_at)
{
	Object object;

	object_begin(&object);
	object_time(&object, "effective_at", effective_at);
	return object_end(&object);
}

/* Uses the clock itself, because the account's own time is what is wrong. */
Datum
credits_repair_clock(PG_FUNCTION_ARGS)
{
	Request request;
	Ledger ledger;
	CrRow row;
	CrTime before;
	Datum receipt;

	request_init(&request, fcinfo, "credits_repair_clock()", CR_KIND_CLOCK_REPAIR);
	request.reason = arg_optional_text(fcinfo, 1);

	ledger_begin_audited(&ledger, &request);
	if (ledger.is_new)
		error_account_not_found(request.user_id);
	before = ledger.acc.effective_at;
	ledger_check(&ledger, cr_repair_clock(&ledger.acc, ledger.clock, &row), 0);
	receipt = ledger_append(&ledger, &row);
	ledger_end(&ledger);
	audit_append("clock_repair", request.user_id, clock_object(before),
				 clock_object(ledger.clock));
	return receipt;
}
