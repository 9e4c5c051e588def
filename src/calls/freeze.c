/*
 * freeze.c
 *		credits_freeze and credits_unfreeze.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/json.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "live/counted.h"
#include "tables/audit_log.h"

PG_FUNCTION_INFO_V1(credits_freeze);
PG_FUNCTION_INFO_V1(credits_unfreeze);

static Datum
status_object(CrStatus status)
{
	Object object;

	object_begin(&object);
	object_text(&object, "status", cr_status_name(status));
	return object_end(&object);
}

/*
 * An administrative act is recorded in the account's history and in the audit log.  Its
 * reason may be personal, so only the history has it, where it can be erased.
 */
static Datum
set_status(FunctionCallInfo fcinfo, const char *function, CrKind kind, CrStatus status)
{
	Request request;
	Ledger ledger;
	CrRow row;
	CrStatus before;
	Datum receipt;

	request_init(&request, fcinfo, function, kind);
	request.reason = arg_optional_text(fcinfo, 1);

	ledger_begin_audited(&ledger, &request);
	(void) ledger_apply_ready(&ledger);
	before = ledger.acc.facts.status;
	ledger_check(&ledger, cr_set_status(&ledger.acc, ledger.now, status, &row), 0);
	receipt = ledger_append(&ledger, &row);
	ledger_end(&ledger);
	audit_append(cr_kind_name(kind), request.user_id, status_object(before),
				 status_object(status));
	return receipt;
}

COUNTED_FUNCTION(credits_freeze, CALL_FREEZE)
{
	return set_status(fcinfo, "credits_freeze()", CR_KIND_FREEZE, CR_FROZEN);
}

COUNTED_FUNCTION(credits_unfreeze, CALL_UNFREEZE)
{
	return set_status(fcinfo, "credits_unfreeze()", CR_KIND_UNFREEZE, CR_ACTIVE);
}
