/*
 * adjust.c
 *		credits_adjust: an administrator corrects one bucket.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "live/counted.h"

PG_FUNCTION_INFO_V1(credits_adjust);

static int64
arg_delta(FunctionCallInfo fcinfo, int arg)
{
	int64 delta;

	if (PG_ARGISNULL(arg))
		error_null("delta");
	delta = PG_GETARG_INT64(arg);
	if (delta == 0)
		error_bad_value("delta", "0", "a number of credits above or below 0");
	if (delta > CR_MAX_CREDITS || delta < -CR_MAX_CREDITS)
		error_out_of_range("delta", delta, CR_MAX_CREDITS);
	return delta;
}

typedef struct Adjustment
{
	const char *bucket_name;
	CrBucket bucket;
	int64 delta;
} Adjustment;

static void
adjust(Ledger *ledger, const void *args, CrRow *row)
{
	const Adjustment *asked = args;
	CrVerdict verdict;

	if (asked->bucket == CR_MONTHLY)
		ledger_apply_due(ledger); /* the reset would remove what this corrects */
	else
		(void) ledger_apply_ready(ledger);
	verdict = cr_adjust(&ledger->acc, ledger->now, asked->bucket, asked->delta, row);
	if (verdict == CR_INSUFFICIENT)
		error_bucket_insufficient(&ledger->acc, asked->bucket_name,
								  cr_bucket_balance(&ledger->acc, asked->bucket),
								  -asked->delta);
	ledger_check(ledger, verdict, asked->delta);
}

COUNTED_FUNCTION(credits_adjust, CALL_ADJUST)
{
	Request request;
	Adjustment args;

	request_init(&request, fcinfo, "credits_adjust()", CR_KIND_ADJUST);
	args.bucket_name = arg_name(fcinfo, 1, "bucket");
	if (!cr_bucket_parse(args.bucket_name, &args.bucket))
		error_bad_value("bucket", args.bucket_name, "monthly, granted or purchased");
	args.delta = arg_delta(fcinfo, 2);
	if (PG_ARGISNULL(3))
		error_null("reason");
	request.reason = arg_optional_text(fcinfo, 3);
	if (request.reason[0] == '\0')
		error_bad_value("reason", "", "a text that says why");
	request.idempotency_key = arg_optional_name(fcinfo, 4, "idempotency_key");
	request_metadata(&request, fcinfo, 5);
	if (request.idempotency_key)
		request_seal(&request, args.delta, args.bucket_name, NULL);
	return ledger_command(&request, adjust, &args);
}
