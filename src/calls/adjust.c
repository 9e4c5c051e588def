/*
 * adjust.c
 *		credits_adjust: an administrator's correction of one bucket.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "ledger/ledger.h"
#include "ledger/request.h"

PG_FUNCTION_INFO_V1(credits_adjust);

static int64
arg_delta(FunctionCallInfo fcinfo, int arg)
{
	int64		delta;

	if (PG_ARGISNULL(arg))
		error_null("delta");
	delta = PG_GETARG_INT64(arg);
	if (delta == 0)
		error_bad_value("delta", "0", "a number of credits above or below 0");
	if (delta > CR_MAX_CREDITS || delta < -CR_MAX_CREDITS)
		error_out_of_range("delta", delta, CR_MAX_CREDITS);
	return delta;
}

Datum
credits_adjust(PG_FUNCTION_ARGS)
{
	Request		request;
	Ledger		ledger;
	CrRow		row;
	CrVerdict	verdict;
	CrBucket	bucket;
	Datum		receipt;
	char	   *bucket_name;
	int64		delta;

	request_init(&request, fcinfo, "credits_adjust()", CR_KIND_ADJUST);
	bucket_name = arg_name(fcinfo, 1, "bucket");
	if (!cr_bucket_parse(bucket_name, &bucket))
		error_bad_value("bucket", bucket_name, "monthly, granted or purchased");
	delta = arg_delta(fcinfo, 2);
	if (PG_ARGISNULL(3))
		error_null("reason");
	request.reason = arg_optional_text(fcinfo, 3);
	if (request.reason[0] == '\0')
		error_bad_value("reason", "", "a text that says why");
	request.idempotency_key = arg_optional_name(fcinfo, 4, "idempotency_key");
	request_metadata(&request, fcinfo, 5);
	if (request.idempotency_key)
		request_seal(&request, delta, bucket_name, NULL);

	ledger_begin(&ledger, &request);
	if (!ledger_replay(&ledger, &receipt))
	{
		if (bucket == CR_MONTHLY)
			ledger_apply_due(&ledger);	/* what it corrects would be gone with the reset */
		else
			(void) ledger_apply_ready(&ledger);
		verdict = cr_adjust(&ledger.acc, ledger.now, bucket, delta, &row);
		if (verdict == CR_INSUFFICIENT)
			error_bucket_insufficient(&ledger.acc, bucket_name,
									  cr_bucket_balance(&ledger.acc, bucket), -delta);
		if (verdict != CR_OK)
			error_refused(verdict, &ledger.acc, delta);
		receipt = ledger_append(&ledger, &row);
	}
	ledger_end(&ledger);
	return receipt;
}
