/*
 * errors.c
 *		The functions that raise the ledger's errors.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/settings.h"

/* Begins the DETAIL of a UC error, which starts with the error's name. */
static void
json_begin_error(StringInfo buf, const char *name)
{
	json_begin(buf);
	json_text(buf, "error", name);
}

/* Raises the error.  numbers: the JSON object for DETAIL. */
pg_noreturn static void
raise_error(int sqlstate, const char *message, StringInfo numbers, const char *hint)
{
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("%s", message),
			 errdetail("%s", json_end(numbers)),
			 errhint("%s", hint)));
}

Refusal
refusal_to_spend(CrVerdict verdict)
{
	switch (verdict)
	{
		case CR_INSUFFICIENT:
			return (Refusal){ERRCODE_CREDITS_INSUFFICIENT, "insufficient_credits"};
		case CR_IS_FROZEN:
		case CR_IS_CLOSED:
			return (Refusal){ERRCODE_CREDITS_FROZEN, "account_frozen"};
		case CR_ZONE_UNKNOWN:
			return (Refusal){ERRCODE_CREDITS_ZONE_UNKNOWN, "time_zone_unknown"};
		default:
			elog(ERROR, "unexpected verdict %d", (int) verdict);
	}
}

/*
 * The numbers of a refusal, for the error's DETAIL, and for calls that answer instead of
 * raising the error.
 */
void
insufficient_numbers(StringInfo buf, const CrAccount *acc, int64 required)
{
	json_text(buf, "error", refusal_to_spend(CR_INSUFFICIENT).name);
	json_text(buf, "user_id", acc->user_id);
	json_int(buf, "required", required);
	json_int(buf, "available", cr_available(acc));
	json_int(buf, "monthly", acc->balance.monthly);
	json_int(buf, "granted", acc->balance.granted);
	json_int(buf, "purchased", acc->balance.purchased);
	json_int(buf, "held", cr_held(acc));
	json_int(buf, "owed", cr_owed(acc));
	json_int(buf, "overdraft_limit", acc->facts.overdraft_limit);
	json_time(buf, "next_reset_at", acc->next_reset_at);
}

void
frozen_numbers(StringInfo buf, const CrAccount *acc)
{
	json_text(buf, "error", refusal_to_spend(CR_IS_FROZEN).name);
	json_text(buf, "user_id", acc->user_id);
	json_text(buf, "status", cr_status_name(acc->facts.status));
}

void
zone_unknown_numbers(StringInfo buf, const CrAccount *acc)
{
	json_text(buf, "error", refusal_to_spend(CR_ZONE_UNKNOWN).name);
	json_text(buf, "user_id", acc->user_id);
	json_text(buf, "time_zone", acc->facts.time_zone);
	json_time(buf, "next_reset_at", acc->next_reset_at);
}

void
not_found_numbers(StringInfo buf, const char *user_id)
{
	json_text(buf, "error", "account_not_found");
	json_text(buf, "user_id", user_id);
}

void
conflict_numbers(StringInfo buf, const char *key, int64 seq, const char *kind)
{
	json_text(buf, "error", "idempotency_conflict");
	json_text(buf, "idempotency_key", key);
	json_int(buf, "seq", seq);
	json_text(buf, "kind", kind);
}

pg_noreturn static void
error_insufficient(const CrAccount *acc, int64 required)
{
	StringInfoData buf;

	json_begin(&buf);
	insufficient_numbers(&buf, acc, required);
	raise_error(ERRCODE_CREDITS_INSUFFICIENT, "insufficient credits", &buf,
				"Buy credits, wait for the next reset, or ask for less.");
}

/* credits_adjust found too few credits in the one bucket that it may take from. */
void
error_bucket_insufficient(const CrAccount *acc, const char *bucket, int64 balance,
						  int64 required)
{
	StringInfoData buf;

	json_begin_error(&buf, "insufficient_credits");
	json_text(&buf, "user_id", acc->user_id);
	json_text(&buf, "bucket", bucket);
	json_int(&buf, "required", required);
	json_int(&buf, "available", balance);
	ereport(ERROR,
			(errcode(ERRCODE_CREDITS_INSUFFICIENT),
			 errmsg("insufficient %s credits", bucket),
			 errdetail("%s", json_end(&buf)),
			 errhint("A bucket's balance cannot go below 0.")));
}

/* Adds the numbers that belong to a verdict, besides the user. */
static void
put_over_cap(StringInfo buf, const CrAccount *acc, int64 amount)
{
	json_int(buf, "amount", amount);
	json_int(buf, "available", cr_available(acc));
	json_int(buf, "held", cr_held(acc));
	json_int(buf, "max", CR_MAX_CREDITS);
}

static void
put_effective_at(StringInfo buf, const CrAccount *acc, int64 amount)
{
	(void) amount;
	json_time(buf, "effective_at", acc->effective_at);
}

static void
put_held(StringInfo buf, const CrAccount *acc, int64 amount)
{
	(void) amount;
	json_int(buf, "held", cr_held(acc));
}

/* Verdicts of the core whose error only error_refused raises. */
static const struct
{
	int sqlstate;
	const char *message;
	const char *hint;
	void (*put)(StringInfo buf, const CrAccount *acc, int64 amount);
} refusals[] = {
	[CR_OVER_CAP] = {ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
					 "account would exceed the largest total",
					 "An account's total is at most 2^53 - 1 credits.", put_over_cap},
	[CR_NO_PERIOD] = {ERRCODE_INVALID_PARAMETER_VALUE,
					  "account has no next reset at which the plan could change",
					  "Use at => 'now'.", NULL},
	[CR_NOT_AHEAD] = {ERRCODE_INVALID_PARAMETER_VALUE,
					  "account's time is not ahead of the clock",
					  "There is nothing to repair.", put_effective_at},
	[CR_ENDS_TOO_SOON] = {ERRCODE_INVALID_PARAMETER_VALUE, "the end is not in the future",
						  "Use a later time. The account's time may be ahead of the clock.",
						  NULL},
	[CR_TOO_MANY_GRANTS] =
		{ERRCODE_PROGRAM_LIMIT_EXCEEDED, "account has too many grants that have not ended",
		 "At most 10,000 can be open at a time. Use fewer and larger grants, or grants that end sooner.",
		 NULL},
	[CR_HAS_HOLDS] = {ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "account has open holds",
					  "Capture or release them first.", put_held},
	[CR_GRANT_UPWARDS] = {ERRCODE_INVALID_PARAMETER_VALUE,
						  "granted credits can only be lowered",
						  "To give credits that end, use credits_grant.", NULL},
};

pg_noreturn static void
error_frozen(CrVerdict verdict, const CrAccount *acc)
{
	StringInfoData buf;

	json_begin(&buf);
	frozen_numbers(&buf, acc);
	raise_error(ERRCODE_CREDITS_FROZEN,
				verdict == CR_IS_FROZEN ? "account is frozen" : "account is closed", &buf,
				"An administrator can end this with credits_unfreeze.");
}

/* Raises the error for a command that the core has refused. */
void
error_refused(CrVerdict verdict, const CrAccount *acc, int64 amount)
{
	StringInfoData buf;

	if (verdict == CR_INSUFFICIENT)
		error_insufficient(acc, amount);
	if (verdict == CR_IS_FROZEN || verdict == CR_IS_CLOSED)
		error_frozen(verdict, acc);
	if (verdict == CR_ZONE_UNKNOWN)
		error_zone_unknown(acc);
	if (verdict >= lengthof(refusals) || refusals[verdict].message == NULL)
		elog(ERROR, "unexpected verdict %d", (int) verdict);
	json_begin(&buf);
	json_text(&buf, "user_id", acc->user_id);
	if (refusals[verdict].put)
		refusals[verdict].put(&buf, acc, amount);
	raise_error(refusals[verdict].sqlstate, refusals[verdict].message, &buf,
				refusals[verdict].hint);
}

void
error_account_not_found(const char *user_id)
{
	StringInfoData buf;

	json_begin(&buf);
	not_found_numbers(&buf, user_id);
	raise_error(ERRCODE_CREDITS_ACCOUNT_NOT_FOUND, "account not found", &buf,
				"Open the account with credits_open_account, or set credits.default_plan.");
}

void
error_plan_not_found(const char *plan)
{
	StringInfoData buf;

	json_begin_error(&buf, "plan_not_found");
	json_text(&buf, "plan", plan);
	raise_error(
		ERRCODE_CREDITS_PLAN_NOT_FOUND, "plan not found", &buf,
		"Define the plan with credits_define_plan. A version that is not yet in force does not count.");
}

/*
 * The account of an unknown user was to be opened with the plan that the setting names.
 */
void
error_default_plan_not_found(const char *plan)
{
	StringInfoData buf;

	json_begin_error(&buf, "plan_not_found");
	json_text(&buf, "plan", plan);
	json_text(&buf, "setting", "credits.default_plan");
	ereport(ERROR,
			(errcode(ERRCODE_CREDITS_PLAN_NOT_FOUND),
			 errmsg("plan \"%s\" of the setting credits.default_plan not found", plan),
			 errdetail("%s", json_end(&buf)),
			 errhint("Define the plan with credits_define_plan, or set credits.default_plan to a plan that is in force.")));
}

#define ZONE_HINT \
	"Give the account another zone with credits_set_cycle, or install the zone on the server."

char *
zone_unknown_message(const CrAccount *acc)
{
	return psprintf("time zone \"%s\" of user \"%s\" is not known to this server",
					acc->facts.time_zone, acc->user_id);
}

/*
 * The account's reset, or what was asked for, needs a time zone that the server does not
 * know.
 */
void
error_zone_unknown(const CrAccount *acc)
{
	StringInfoData buf;

	json_begin(&buf);
	zone_unknown_numbers(&buf, acc);
	ereport(ERROR,
			(errcode(ERRCODE_CREDITS_ZONE_UNKNOWN),
			 errmsg("%s", zone_unknown_message(acc)),
			 errdetail("%s", json_end(&buf)),
			 errhint(ZONE_HINT)));
}

/* The same if only the zone's name is known. */
void
error_no_zone(const char *zone)
{
	StringInfoData buf;

	json_begin_error(&buf, "time_zone_unknown");
	json_text(&buf, "time_zone", zone);
	ereport(ERROR,
			(errcode(ERRCODE_CREDITS_ZONE_UNKNOWN),
			 errmsg("time zone \"%s\" is not known to this server", zone),
			 errdetail("%s", json_end(&buf)),
			 errhint(ZONE_HINT)));
}

const char too_many_periods_message[] =
	"too many periods have ended since the account's last row";

void
error_too_many_periods(const CrAccount *acc)
{
	StringInfoData buf;

	json_begin(&buf);
	json_text(&buf, "user_id", acc->user_id);
	json_text(&buf, "plan", acc->facts.plan);
	json_int(&buf, "max", CR_MAX_PERIODS);
	raise_error(
		ERRCODE_PROGRAM_LIMIT_EXCEEDED, too_many_periods_message, &buf,
		"Check the clock of the server, and credits.clock: it may be far ahead. Each of these periods needs a row of its own, because of the plan's rollover_limit or its versions.");
}

void
error_key_conflict(const char *key, int64 seq, const char *kind)
{
	StringInfoData buf;

	json_begin(&buf);
	conflict_numbers(&buf, key, seq, kind);
	raise_error(ERRCODE_CREDITS_IDEMPOTENCY, "idempotency key was used for another request",
				&buf, "Use a new key for a new request, and the same arguments for a retry.");
}

/*
 * The error says nothing about the other user, because a role that may add purchases need
 * not have the right to read them.
 */
void
error_payment_conflict(const char *payment_ref)
{
	StringInfoData buf;

	json_begin_error(&buf, "idempotency_conflict");
	json_text(&buf, "payment_ref", payment_ref);
	raise_error(ERRCODE_CREDITS_IDEMPOTENCY,
				"payment was credited with another user or amount", &buf,
				"Each payment_ref is credited only once.");
}

void
error_payment_not_found(const char *payment_ref)
{
	StringInfoData buf;

	json_begin_error(&buf, "payment_not_found");
	json_text(&buf, "payment_ref", payment_ref);
	raise_error(ERRCODE_CREDITS_PAYMENT_NOT_FOUND, "payment not found", &buf,
				"Use the payment_ref that credits_add_purchased was given.");
}

void
error_hold_not_found(const char *user_id, int64 seq)
{
	StringInfoData buf;

	json_begin_error(&buf, "hold_not_found");
	json_text(&buf, "user_id", user_id);
	json_int(&buf, "hold_seq", seq);
	raise_error(ERRCODE_CREDITS_HOLD_NOT_FOUND, "hold not found", &buf,
				"Use the seq of the receipt that credits_hold gave.");
}

void
error_hold_closed(const char *user_id, const CrHold *hold)
{
	StringInfoData buf;

	json_begin_error(&buf, "hold_closed");
	json_text(&buf, "user_id", user_id);
	json_int(&buf, "hold_seq", hold->seq);
	json_text(&buf, "state", cr_hold_state_name(hold->state));
	raise_error(
		ERRCODE_CREDITS_HOLD_CLOSED, "hold is closed", &buf,
		"A hold is settled only once. To spend more, use credits_deduct. To give back what a capture spent, use credits_refund with the capture's seq.");
}

void
error_refund_exceeds(const char *user_id, int64 seq, int64 amount, int64 spent, int64 refunded)
{
	StringInfoData buf;

	json_begin_error(&buf, "refund_exceeds_deduction");
	json_text(&buf, "user_id", user_id);
	json_int(&buf, "seq", seq);
	json_int(&buf, "amount", amount);
	json_int(&buf, "spent", spent);
	json_int(&buf, "refunded", refunded);
	raise_error(
		ERRCODE_CREDITS_REFUND_EXCEEDS, "refund exceeds what was spent and not refunded yet",
		&buf,
		refunded < spent
			? "Leave amount out to refund what is left."
			: "All of it was refunded. To give more, use credits_grant or credits_adjust.");
}

void
error_revoke_exceeds(const char *payment_ref, int64 amount, int64 paid, int64 revoked)
{
	StringInfoData buf;

	json_begin_error(&buf, "refund_exceeds_deduction");
	json_text(&buf, "payment_ref", payment_ref);
	json_int(&buf, "amount", amount);
	json_int(&buf, "purchased", paid);
	json_int(&buf, "revoked", revoked);
	raise_error(
		ERRCODE_CREDITS_REFUND_EXCEEDS,
		"chargeback exceeds what was purchased and not revoked yet", &buf,
		revoked < paid
			? "Leave amount out to revoke what is left. If the payment provider reports what is revoked in all, give that as total."
			: "All of it was revoked. To give credits back, use credits_reinstate_purchase.");
}

void
error_reinstate_exceeds(const char *payment_ref, int64 amount, int64 paid, int64 revoked)
{
	StringInfoData buf;

	json_begin_error(&buf, "refund_exceeds_deduction");
	json_text(&buf, "payment_ref", payment_ref);
	json_int(&buf, "amount", amount);
	json_int(&buf, "purchased", paid);
	json_int(&buf, "revoked", revoked);
	raise_error(ERRCODE_CREDITS_REFUND_EXCEEDS, "reinstatement exceeds what is revoked", &buf,
				revoked > 0 ? "Leave amount out to reinstate what is revoked."
							: "Nothing of the payment is revoked.");
}

/* Now, a plan can only follow one whose periods are as long. */
void
error_other_length(const CrAccount *acc, const CrPlanVersion *plan)
{
	StringInfoData buf;

	json_begin(&buf);
	json_text(&buf, "user_id", acc->user_id);
	json_text(&buf, "plan", plan->plan);
	json_text(&buf, "cycle", cr_cycle_name(plan->cycle));
	json_text(&buf, "running_cycle", cr_cycle_name(acc->facts.cycle));
	json_time(&buf, "next_reset_at", acc->next_reset_at);
	raise_error(
		ERRCODE_INVALID_PARAMETER_VALUE,
		"the plan's periods have another length than the running period", &buf,
		"Use at => 'next_reset' to change when the period ends, or restart => true to begin a new period now with a full allowance.");
}

void
error_recently_bought(const char *user_id, int64 amount, int64 recent)
{
	StringInfoData buf;

	json_begin(&buf);
	json_text(&buf, "user_id", user_id);
	json_int(&buf, "amount", amount);
	json_int(&buf, "recently_purchased", recent);
	raise_error(
		ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
		"credits were bought too recently to be transferred", &buf,
		"A chargeback can still come for them (credits.chargeback_days). Transfer less, or try again later.");
}

void
error_ahead_of_clock(const CrAccount *acc)
{
	StringInfoData buf;

	json_begin(&buf);
	json_text(&buf, "user_id", acc->user_id);
	put_effective_at(&buf, acc, 0);
	raise_error(
		ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "account's time is ahead of the clock", &buf,
		"A transfer has one time for both accounts, so it would set the other account's time ahead, too. If the clock is right now, credits_repair_clock sets the account's time back to it.");
}

void
error_not_spent(const char *user_id, int64 seq)
{
	StringInfoData buf;

	json_begin(&buf);
	json_text(&buf, "user_id", user_id);
	json_int(&buf, "seq", seq);
	raise_error(ERRCODE_INVALID_PARAMETER_VALUE,
				"seq is not a deduction or capture of the user", &buf,
				"Use the seq of the receipt that the deduction or capture gave.");
}

void
error_hold_archived(const char *user_id, int64 seq)
{
	StringInfoData buf;

	json_begin_error(&buf, "hold_closed");
	json_text(&buf, "user_id", user_id);
	json_int(&buf, "hold_seq", seq);
	json_bool(&buf, "archived", true);
	raise_error(ERRCODE_CREDITS_HOLD_CLOSED, "hold is closed", &buf,
				"The hold's row was archived. To spend more, use credits_deduct.");
}

void
error_archived_row(const char *user_id, int64 seq)
{
	StringInfoData buf;

	json_begin(&buf);
	json_text(&buf, "user_id", user_id);
	json_int(&buf, "seq", seq);
	json_bool(&buf, "archived", true);
	raise_error(ERRCODE_INVALID_PARAMETER_VALUE,
				"the row was archived, so it can no longer be refunded", &buf,
				"Use credits_grant or credits_adjust to give credits back.");
}

void
error_archive_dropped(int year)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the archive of %d was dropped, so no more rows of that year can be archived", year),
			 errhint("Restore the partition from its export first.")));
}

/* since: the time of the newest archived row. */
void
error_archived_time(const char *user_id, CrTime since)
{
	StringInfoData buf;

	json_begin(&buf);
	json_text(&buf, "user_id", user_id);
	json_time(&buf, "archived_until", since);
	json_bool(&buf, "archived", true);
	raise_error(ERRCODE_INVALID_PARAMETER_VALUE, "the history of that time was archived", &buf,
				"Look in credit_history_archive, or in its export.");
}

void
error_open_conflict(const char *user_id)
{
	StringInfoData buf;

	json_begin_error(&buf, "idempotency_conflict");
	json_text(&buf, "user_id", user_id);
	raise_error(
		ERRCODE_CREDITS_IDEMPOTENCY, "account was opened with other facts", &buf,
		"Use credits_set_plan to change the plan, and credits_set_cycle to change the anchor or the time zone.");
}

void
error_append_only(const char *table, const char *command)
{
	StringInfoData buf;

	json_begin_error(&buf, "append_only_violation");
	json_text(&buf, "table", table);
	json_text(&buf, "command", command);
	ereport(ERROR,
			(errcode(ERRCODE_CREDITS_APPEND_ONLY),
			 errmsg("\"%s\" refuses %s", table, command),
			 errdetail("%s", json_end(&buf)),
			 errhint("Change credits with the credits_ functions only.")));
}

/* Refuses a DROP, and says what it would destroy. */
void
error_drop_refused(int64 accounts, int64 purchased, int64 history_rows)
{
	StringInfoData buf;

	json_begin(&buf);
	json_int(&buf, "accounts", accounts);
	json_int(&buf, "purchased", purchased);
	json_int(&buf, "history_rows", history_rows);
	raise_error(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
				"dropping this would destroy the ledger", &buf,
				"Dump the database first. Then a superuser can SET credits.allow_drop = on.");
}

void
error_corrupted(const char *object, const char *problem)
{
	StringInfoData buf;

	json_begin_error(&buf, "ledger_corrupted");
	json_text(&buf, "object", object);
	json_text(&buf, "problem", problem);
	ereport(ERROR,
			(errcode(ERRCODE_CREDITS_CORRUPTED),
			 errmsg("ledger is corrupted: %s: %s", object, problem),
			 errdetail("%s", json_end(&buf)),
			 errhint("Run credits_verify(). docs/runbook-verification.md says what to do about each finding.")));
}

void
error_serialization(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent update"),
			 errhint("Retry the transaction.")));
}

/*
 * An exclusive lock could not be had.  pids: a JSON array of the processes that hold it.
 */
void
error_in_use(const char *kind, const char *name, const char *pids)
{
	StringInfoData buf;

	json_begin(&buf);
	json_text(&buf, "object", kind);
	json_text(&buf, "name", name);
	appendStringInfo(&buf, ", \"pids\": %s", pids);
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("%s \"%s\" is in use", kind, name),
			 errdetail("%s", json_end(&buf)),
			 errhint("Transactions that have used it are still open. pg_stat_activity shows these processes (0 is a prepared transaction). End them, or try again. lock_timeout sets how long the call tries.")));
}

/*
 * Something is locked, and a bulk run or sweep must not wait for it.  The run comes back
 * to it.
 */
void
error_busy(const char *kind, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("%s \"%s\" is locked by another transaction", kind, name),
			 errhint("Try again when that transaction has ended.")));
}

void
error_waited_long(int limit_ms)
{
	StringInfoData buf;

	json_begin(&buf);
	json_int(&buf, "waited_ms", limit_ms);
	raise_error(ERRCODE_LOCK_NOT_AVAILABLE,
				"gave up waiting for another transaction while an account was locked", &buf,
				"Retry the call. lock_timeout can make the wait shorter.");
}

void
error_null(const char *argument)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("%s must not be null", argument),
			 errdetail("{\"argument\": \"%s\"}", argument)));
}

void
error_bad_length(const char *argument, int max)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s must have 1 to %d bytes", argument, max),
			 errdetail("{\"argument\": \"%s\", \"max_bytes\": %d}", argument, max)));
}

void
error_bad_value(const char *argument, const char *value, const char *allowed)
{
	StringInfoData buf;

	json_begin(&buf);
	json_text(&buf, "argument", argument);
	json_text(&buf, "value", value);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s is not valid", argument),
			 errdetail("%s", json_end(&buf)),
			 errhint("Use %s.", allowed)));
}

void
error_too_small(const char *argument, int64 value, int64 min)
{
	StringInfoData buf;

	json_begin(&buf);
	json_text(&buf, "argument", argument);
	json_int(&buf, "value", value);
	json_int(&buf, "min", min);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s is too small", argument),
			 errdetail("%s", json_end(&buf)),
			 errhint("Use at least " INT64_FORMAT ".", min)));
}

void
error_out_of_range(const char *argument, int64 value, int64 max)
{
	StringInfoData buf;

	json_begin(&buf);
	json_text(&buf, "argument", argument);
	json_int(&buf, "value", value);
	json_int(&buf, "max", max);
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("%s is out of range", argument),
			 errdetail("%s", json_end(&buf)),
			 errhint("Amounts are at most " INT64_FORMAT " credits.", max)));
}

/*
 * Is this a refusal that an app passes on to its user?  Errors about tampering, damage,
 * or something that a DBA has to repair are not.
 */
static bool
is_refusal(int sqlstate)
{
	return sqlstate == ERRCODE_CREDITS_INSUFFICIENT ||
		sqlstate == ERRCODE_CREDITS_ACCOUNT_NOT_FOUND ||
		sqlstate == ERRCODE_CREDITS_IDEMPOTENCY || sqlstate == ERRCODE_CREDITS_FROZEN ||
		sqlstate == ERRCODE_CREDITS_HOLD_NOT_FOUND ||
		sqlstate == ERRCODE_CREDITS_HOLD_CLOSED ||
		sqlstate == ERRCODE_CREDITS_REFUND_EXCEEDS ||
		sqlstate == ERRCODE_CREDITS_PAYMENT_NOT_FOUND;
}

static emit_log_hook_type next_log_hook = NULL;

/*
 * Other hooks may follow ours.  They can see that the error does not go to the server's
 * log.
 */
static void
keep_out_of_log(ErrorData *error)
{
	if (error->elevel == ERROR && is_refusal(error->sqlerrcode) && !settings_log_refusals())
		error->output_to_server = false;
	if (next_log_hook)
		next_log_hook(error);
}

/*
 * Called when the library is loaded.  If memory was missing, loading is tried again, so
 * this may be called twice.
 */
void
errors_watch_log(void)
{
	static bool is_watching = false;

	if (is_watching)
		return;
	is_watching = true;
	next_log_hook = emit_log_hook;
	emit_log_hook = keep_out_of_log;
}
