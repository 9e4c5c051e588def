/*
 * transfer.c
 *		credits_transfer: moves purchased credits to another user.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/settings.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "live/counted.h"
#include "store/locks.h"
#include "tables/find.h"

/* So far, a clock may step back when it is set.  A longer step shows that it was wrong. */
#define ALLOWED_LEAD INT64_C(60000000) /* a minute */

PG_FUNCTION_INFO_V1(credits_transfer);

typedef struct Transfer
{
	Request out;
	Request in;
	Ledger from;
	Ledger to;
	bool from_first; /* the giving user comes first in the order of users */
	int64 asked;	 /* 0: all */
	Datum receipt;
} Transfer;

/* If the clock ran ahead when the account's last row was written, the transfer is refused. */
static void
check_lead(const CrAccount *acc, CrTime clock)
{
	if (acc->effective_at > clock + ALLOWED_LEAD)
		error_ahead_of_clock(acc);
}

/*
 * A transfer is one instant for both accounts.  Both are locked now, so this is the time
 * after both locks and after the last rows of both.  An account whose time is far ahead of
 * the clock would carry its time to the other account, and from there to further ones.
 */
static void
set_one_time(Ledger *from, Ledger *to)
{
	from->clock = to->clock = clock_now();
	check_lead(&from->acc, from->clock);
	check_lead(&to->acc, to->clock);
	from->now = to->now = Max(from->clock, Max(from->acc.effective_at, to->acc.effective_at));
}

/*
 * How many of the credits were bought so lately that a chargeback can still come.  Older
 * credits are given away first.
 */
static int64
recently_bought(const Ledger *from, int64 amount)
{
	CrTime since = from->now - settings_chargeback_time();
	int64 recent = settings_chargeback_time() == 0
		? 0
		: sum_payments_since(from->acc.user_id, since);
	int64 older = Max(from->acc.balance.purchased - recent, 0);

	return Max(amount - older, 0);
}

/* Does the transfer.  The first of the two accounts is locked. */
static void
transfer_on(void *arg)
{
	Transfer *transfer = arg;
	Ledger *from = &transfer->from;
	Ledger *to = &transfer->to;
	CrRow row;
	CrVerdict verdict;
	int64 recent;

	if (transfer->from_first)
		ledger_begin(to, &transfer->in);
	else
		ledger_begin(from, &transfer->out);
	if (!ledger_replay(from, &transfer->receipt))
	{
		int64 amount;

		set_one_time(from, to);
		ledger_apply_due(from);
		ledger_apply_due(to);
		amount = transfer->asked > 0 ? transfer->asked : from->acc.balance.purchased;
		if (amount == 0)
			error_bucket_insufficient(&from->acc, "purchased", 0, 1);
		recent = recently_bought(from, Min(amount, from->acc.balance.purchased));
		verdict = cr_transfer_out(&from->acc, from->now, amount, recent, &row);
		if (verdict == CR_INSUFFICIENT)
			error_bucket_insufficient(&from->acc, "purchased", from->acc.balance.purchased,
									  amount);
		ledger_check(from, verdict, amount);
		if (recent > 0 && settings_refuse_recent_transfers())
			error_recently_bought(from->acc.user_id, amount, recent);
		transfer->receipt = ledger_append(from, &row);

		ledger_check(to, cr_transfer_in(&to->acc, to->now, amount, &row), amount);
		(void) ledger_append(to, &row);
	}
	ledger_end(to);
	ledger_end(from);
}

/*
 * Moves purchased credits from one user to another.  The two accounts are locked in the
 * order of their users.  Each account gets a row that names the other user as spender.
 * The wait for the second account is limited, because the first is locked meanwhile.
 */
COUNTED_FUNCTION(credits_transfer, CALL_TRANSFER)
{
	Transfer transfer;
	Request *out = &transfer.out;
	Request *in = &transfer.in;

	request_init(out, fcinfo, "credits_transfer()", CR_KIND_TRANSFER_OUT);
	out->spender = arg_name(fcinfo, 1, "to_user_id");
	transfer.asked = PG_ARGISNULL(2) ? 0 : arg_amount(fcinfo, 2, "amount");
	request_tail(out, fcinfo, 3);
	if (strcmp(out->spender, out->user_id) == 0)
		error_bad_value("to_user_id", out->spender, "another user");
	if (out->idempotency_key)
		request_seal(out, transfer.asked, out->spender, NULL);
	*in = *out;
	in->kind = CR_KIND_TRANSFER_IN;
	in->user_id = out->spender;
	in->spender = out->user_id;
	in->idempotency_key = NULL;
	in->has_digest = false;

	transfer.from_first = strcmp(out->user_id, in->user_id) < 0;
	if (transfer.from_first)
		ledger_begin(&transfer.from, out);
	else
		ledger_begin(&transfer.to, in);
	lock_limit_waits(transfer_on, &transfer);
	return transfer.receipt;
}
