/*
 * hold.c
 *		credits_hold, credits_capture and credits_release.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "live/counted.h"
#include "tables/checkpoint.h"
#include "tables/lot_rows.h"

#define ALL			 INT64_C(-1) /* no amount is given */
#define DEFAULT_HOLD (15 * INT64_C(60000000))

PG_FUNCTION_INFO_V1(credits_hold);
PG_FUNCTION_INFO_V1(credits_capture);
PG_FUNCTION_INFO_V1(credits_release);

/*
 * How long to hold, in microseconds.  A day has 24 hours.  A month has no certain length,
 * so it is not allowed.
 */
static int64
arg_expires_in(FunctionCallInfo fcinfo, int arg)
{
	const char *allowed =
		"more than 0 and at most 31 days, a day being 24 hours, without months";
	Interval *interval;
	int64 length;

	if (PG_ARGISNULL(arg))
		return DEFAULT_HOLD;
	interval = PG_GETARG_INTERVAL_P(arg);
	if (interval->month != 0 || interval->day < -31 || interval->day > 31 ||
		interval->time < -2 * CR_LONGEST_HOLD || interval->time > 2 * CR_LONGEST_HOLD)
		error_bad_value("expires_in", "out of range", allowed);
	length = interval->day * CR_DAY + interval->time;
	if (length <= 0 || length > CR_LONGEST_HOLD)
		error_bad_value("expires_in", "out of range", allowed);
	return length;
}

typedef struct Hold
{
	int64 amount;
	int64 length;
} Hold;

static void
hold(Ledger *ledger, const void *args, CrRow *row)
{
	const Hold *asked = args;

	ledger_apply_due(ledger);
	ledger_check(ledger,
				 cr_hold(&ledger->acc, ledger->now, ledger_next_seq(ledger), asked->amount,
						 ledger->now + asked->length, row),
				 asked->amount);
}

COUNTED_FUNCTION(credits_hold, CALL_HOLD)
{
	Request request;
	Hold args;

	request_init(&request, fcinfo, "credits_hold()", CR_KIND_HOLD);
	args.amount = arg_amount(fcinfo, 1, "amount");
	args.length = arg_expires_in(fcinfo, 2);
	request_tail(&request, fcinfo, 3);
	request.spender = arg_optional_name(fcinfo, 6, "spender");
	if (request.idempotency_key)
		request_seal(&request, args.amount, psprintf(INT64_FORMAT, args.length), NULL);
	return ledger_command(&request, hold, &args);
}

static int64
arg_hold_seq(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1))
		error_null("hold_seq");
	return PG_GETARG_INT64(1);
}

/* Applies what is due, and finds the hold that the call names. */
static CrHold *
find_hold(Ledger *ledger, int64 seq)
{
	CrHold *hold = lots_find_hold(&ledger->acc, seq, SnapshotSelf);

	if (hold == NULL && checkpoint_covers(ledger->acc.user_id, seq, SnapshotSelf))
		error_hold_archived(ledger->acc.user_id, seq);
	if (hold == NULL)
		error_hold_not_found(ledger->acc.user_id, seq);
	if (!cr_hold_fits(hold))
		error_corrupted("credit_hold", "more is held than was set aside");
	return hold;
}

/*
 * Would a capture of this amount take more than what is held, or expired with the hold?  A
 * hold that is settled takes nothing: that is another error, and needs no time zone.
 */
static bool
spends_more(const CrAccount *acc, const CrHold *hold, int64 amount)
{
	return (hold->state == CR_HOLD_OPEN || hold->state == CR_HOLD_EXPIRED) &&
		amount > cr_hold_has(acc, hold);
}

typedef struct Settlement
{
	int64 hold_seq;
	int64 amount; /* of a capture; ALL: everything that is held */
	bool keep_open;
	bool owes;
} Settlement;

static void
capture(Ledger *ledger, const void *args, CrRow *row)
{
	const Settlement *asked = args;
	CrHold *hold;
	CrCapture capture = {asked->amount, asked->keep_open, asked->owes};
	CrVerdict verdict;

	(void) ledger_apply_ready(ledger);
	hold = find_hold(ledger, asked->hold_seq);
	if (capture.amount == ALL)
		capture.amount = cr_hold_left(hold);
	if (ledger->is_waiting && spends_more(&ledger->acc, hold, capture.amount))
		error_zone_unknown(&ledger->acc);
	verdict = cr_capture(&ledger->acc, ledger->now, hold, &capture, row);
	if (verdict == CR_HOLD_CLOSED)
		error_hold_closed(ledger->acc.user_id, hold);
	ledger_check(ledger, verdict,
				 verdict == CR_OK ? 0 : capture.amount - cr_hold_has(&ledger->acc, hold));
}

COUNTED_FUNCTION(credits_capture, CALL_CAPTURE)
{
	Request request;
	Settlement args;
	const char *over;

	request_init(&request, fcinfo, "credits_capture()", CR_KIND_CAPTURE);
	args.hold_seq = arg_hold_seq(fcinfo);
	args.amount = arg_optional_credits(fcinfo, 2, "amount", ALL);
	args.keep_open = arg_flag(fcinfo, 3);
	request_tail(&request, fcinfo, 4);
	request.spender = arg_optional_name(fcinfo, 7, "spender");
	over = arg_optional_name(fcinfo, 8, "over");
	args.owes = over && strcmp(over, "owe") == 0;
	if (over && !args.owes && strcmp(over, "refuse") != 0)
		error_bad_value("over", over, "'refuse' or 'owe'");
	if (args.keep_open && args.amount == 0)
		error_bad_value("keep_open", "true", "an amount of at least 1 with it");
	if (request.idempotency_key)
		request_seal(&request, args.amount, psprintf(INT64_FORMAT, args.hold_seq),
					 args.keep_open	 ? (args.owes ? "keep_open, owe" : "keep_open")
						 : args.owes ? "owe"
									 : NULL);
	return ledger_command(&request, capture, &args);
}

static void
release(Ledger *ledger, const void *args, CrRow *row)
{
	CrHold *hold;

	(void) ledger_apply_ready(ledger);
	hold = find_hold(ledger, ((const Settlement *) args)->hold_seq);
	if (cr_release(&ledger->acc, ledger->now, hold, row) != CR_OK)
		error_hold_closed(ledger->acc.user_id, hold);
}

COUNTED_FUNCTION(credits_release, CALL_RELEASE)
{
	Request request;
	Settlement args = {0};

	request_init(&request, fcinfo, "credits_release()", CR_KIND_RELEASE);
	args.hold_seq = arg_hold_seq(fcinfo);
	request_tail(&request, fcinfo, 2);
	if (request.idempotency_key)
		request_seal(&request, 0, psprintf(INT64_FORMAT, args.hold_seq), NULL);
	return ledger_command(&request, release, &args);
}
