/*
 * verify.c
 *		credits_verify and credits_verify_account.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/errors.h"
#include "ledger/request.h"
#include "store/relations.h"
#include "tables/run_record.h"
#include "verify/filter.h"
#include "verify/findings.h"
#include "verify/judge.h"
#include "verify/parallel.h"
#include "verify/progress.h"
#include "verify/verify_structure.h"

PG_FUNCTION_INFO_V1(credits_verify);
PG_FUNCTION_INFO_V1(credits_verify_account);

Datum
credits_verify_account(PG_FUNCTION_ARGS)
{
	Findings findings;
	Judge judge;
	char *user_id;

	if (PG_ARGISNULL(0))
		error_null("user_id");
	store_attach(fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	user_id = arg_optional_text(fcinfo, 0);
	findings_to_store(&findings, ((ReturnSetInfo *) fcinfo->resultinfo)->setResult);
	judge_begin(&judge, GetActiveSnapshot());
	if (!judge_user(&judge, &findings, user_id))
		error_account_not_found(user_id);
	judge_end(&judge);
	return (Datum) 0;
}

/*
 * Verifies everything.  Tables are read below the executor, so row security, which could
 * hide rows from an auditor, has no effect.  If the transaction may write, the
 * verification is recorded in credit_reset_run for every caller: an auditor has no right
 * to write there.
 */
Datum
credits_verify(PG_FUNCTION_ARGS)
{
	Extent extent = {.all = true, .sample = 1};
	bool may_write = !XactReadOnly && !RecoveryInProgress() && !IsInParallelMode();
	Run run;
	Findings result;
	Findings found;
	Totals totals;

	store_attach(fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	findings_to_store(&result, ((ReturnSetInfo *) fcinfo->resultinfo)->setResult);
	findings_to_sort(&found);
	run_init(&run, "verify");
	result.record = &run;

	progress_begin();
	if (!pg_strong_random(&extent.seed, sizeof(extent.seed)))
		elog(ERROR, "could not generate random bytes");
	verify_accounts(fcinfo, &extent, &found, &totals);
	verify_structure(&result, &totals);
	findings_move_sorted(&found, &result);
	progress_end();
	run.counts.accounts = totals.accounts;
	run.history_rows = totals.rows;
	run.sample = 1;
	if (may_write)
		run_record_finished(&run);
	return (Datum) 0;
}
