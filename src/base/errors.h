/*
 * errors.h
 *		The ledger's own SQLSTATEs, UC001 to UC012, and the functions that raise errors.
 *
 * Every error with one of these SQLSTATEs is raised by a function that is declared here.
 * Other errors that calls raise, for example for wrong arguments, have functions here,
 * too.  If only one file needs an error with one of PostgreSQL's SQLSTATEs, that file may
 * raise the error itself.
 *
 * MESSAGE is one plain sentence.  DETAIL, if there is one, is a JSON object with the
 * values.  HINT says what to do.
 */
#ifndef CREDITS_BASE_ERRORS_H
#define CREDITS_BASE_ERRORS_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/compat.h"
#include "core/core.h"

#define ERRCODE_CREDITS_INSUFFICIENT	  MAKE_SQLSTATE('U', 'C', '0', '0', '1')
#define ERRCODE_CREDITS_ACCOUNT_NOT_FOUND MAKE_SQLSTATE('U', 'C', '0', '0', '2')
#define ERRCODE_CREDITS_IDEMPOTENCY		  MAKE_SQLSTATE('U', 'C', '0', '0', '3')
#define ERRCODE_CREDITS_FROZEN			  MAKE_SQLSTATE('U', 'C', '0', '0', '4')
#define ERRCODE_CREDITS_HOLD_NOT_FOUND	  MAKE_SQLSTATE('U', 'C', '0', '0', '5')
#define ERRCODE_CREDITS_HOLD_CLOSED		  MAKE_SQLSTATE('U', 'C', '0', '0', '6')
#define ERRCODE_CREDITS_APPEND_ONLY		  MAKE_SQLSTATE('U', 'C', '0', '0', '7')
#define ERRCODE_CREDITS_CORRUPTED		  MAKE_SQLSTATE('U', 'C', '0', '0', '8')
#define ERRCODE_CREDITS_PLAN_NOT_FOUND	  MAKE_SQLSTATE('U', 'C', '0', '0', '9')
#define ERRCODE_CREDITS_REFUND_EXCEEDS	  MAKE_SQLSTATE('U', 'C', '0', '1', '0')
#define ERRCODE_CREDITS_PAYMENT_NOT_FOUND MAKE_SQLSTATE('U', 'C', '0', '1', '1')
#define ERRCODE_CREDITS_ZONE_UNKNOWN	  MAKE_SQLSTATE('U', 'C', '0', '1', '2')

/*
 * These functions write the values of DETAIL.  Calls that answer with a refusal, and do
 * not raise the error, put the same values into their answer.
 */
extern void insufficient_numbers(StringInfo buf, const CrAccount *acc, int64 required);
extern void frozen_numbers(StringInfo buf, const CrAccount *acc);
extern void zone_unknown_numbers(StringInfo buf, const CrAccount *acc);
extern void not_found_numbers(StringInfo buf, const char *user_id);
extern void conflict_numbers(StringInfo buf, const char *key, int64 seq, const char *kind);

/* The error that a caller gets if a deduction is refused. */
typedef struct Refusal
{
	int sqlstate;
	const char *name; /* in the field "error" */
} Refusal;

extern Refusal refusal_to_spend(CrVerdict verdict);

pg_noreturn extern void error_bucket_insufficient(const CrAccount *acc, const char *bucket,
												  int64 balance, int64 required);
pg_noreturn extern void error_refused(CrVerdict verdict, const CrAccount *acc, int64 amount);
pg_noreturn extern void error_account_not_found(const char *user_id);
pg_noreturn extern void error_plan_not_found(const char *plan);
pg_noreturn extern void error_default_plan_not_found(const char *plan);
extern char *zone_unknown_message(const CrAccount *acc);
pg_noreturn extern void error_zone_unknown(const CrAccount *acc);
extern const char too_many_periods_message[];
pg_noreturn extern void error_too_many_periods(const CrAccount *acc);
pg_noreturn extern void error_no_zone(const char *zone);
pg_noreturn extern void error_key_conflict(const char *key, int64 seq, const char *kind);
pg_noreturn extern void error_payment_conflict(const char *payment_ref);
pg_noreturn extern void error_payment_not_found(const char *payment_ref);
pg_noreturn extern void error_hold_not_found(const char *user_id, int64 seq);
pg_noreturn extern void error_hold_closed(const char *user_id, const CrHold *hold);
pg_noreturn extern void error_refund_exceeds(const char *user_id, int64 seq, int64 amount,
											 int64 spent, int64 refunded);
pg_noreturn extern void error_revoke_exceeds(const char *payment_ref, int64 amount, int64 paid,
											 int64 revoked);
pg_noreturn extern void error_reinstate_exceeds(const char *payment_ref, int64 amount,
												int64 paid, int64 revoked);
pg_noreturn extern void error_other_length(const CrAccount *acc, const CrPlanVersion *plan);
pg_noreturn extern void error_recently_bought(const char *user_id, int64 amount, int64 recent);
pg_noreturn extern void error_ahead_of_clock(const CrAccount *acc);
pg_noreturn extern void error_not_spent(const char *user_id, int64 seq);
pg_noreturn extern void error_hold_archived(const char *user_id, int64 seq);
pg_noreturn extern void error_archived_row(const char *user_id, int64 seq);
pg_noreturn extern void error_archive_dropped(int year);
pg_noreturn extern void error_archived_time(const char *user_id, CrTime since);
pg_noreturn extern void error_open_conflict(const char *user_id);
pg_noreturn extern void error_append_only(const char *table, const char *command);
pg_noreturn extern void error_drop_refused(int64 accounts, int64 purchased,
										   int64 history_rows);
pg_noreturn extern void error_corrupted(const char *object, const char *problem);
pg_noreturn extern void error_serialization(void);
pg_noreturn extern void error_in_use(const char *kind, const char *name, const char *pids);
pg_noreturn extern void error_busy(const char *kind, const char *name);
pg_noreturn extern void error_waited_long(int limit_ms);
pg_noreturn extern void error_null(const char *argument);
pg_noreturn extern void error_bad_length(const char *argument, int max);
pg_noreturn extern void error_bad_value(const char *argument, const char *value,
										const char *allowed);
pg_noreturn extern void error_too_small(const char *argument, int64 value, int64 min);
pg_noreturn extern void error_out_of_range(const char *argument, int64 value, int64 max);

extern void errors_watch_log(void);

#endif
