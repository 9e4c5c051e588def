/*
 * calls.h
 *		What is counted: the calls, their results, and the totals.
 */
#ifndef CREDITS_LIVE_CALLS_H
#define CREDITS_LIVE_CALLS_H

#include "postgres.h"

#include "fmgr.h"

/* The SQL functions that are counted, without "credits_". */
#define COUNTED_CALLS(X)                      \
	X(ADD_PURCHASED, "add_purchased")         \
	X(ADJUST, "adjust")                       \
	X(BALANCE, "balance")                     \
	X(BALANCES, "balances")                   \
	X(CAPTURE, "capture")                     \
	X(CLOSE_ACCOUNT, "close_account")         \
	X(DEDUCT, "deduct")                       \
	X(DEDUCT_MANY, "deduct_many")             \
	X(EXPLAIN, "explain")                     \
	X(FREEZE, "freeze")                       \
	X(GRANT, "grant")                         \
	X(HISTORY, "history")                     \
	X(HOLD, "hold")                           \
	X(MY_BALANCE, "my_balance")               \
	X(MY_EXPLAIN, "my_explain")               \
	X(MY_HISTORY, "my_history")               \
	X(MY_USAGE, "my_usage")                   \
	X(OPEN_ACCOUNT, "open_account")           \
	X(QUOTE, "quote")                         \
	X(REFUND, "refund")                       \
	X(REINSTATE, "reinstate_purchase")        \
	X(RELEASE, "release")                     \
	X(REVOKE, "revoke_purchase")              \
	X(SET_CYCLE, "set_cycle")                 \
	X(SET_LOW_THRESHOLD, "set_low_threshold") \
	X(SET_OVERDRAFT, "set_overdraft")         \
	X(SET_PLAN, "set_plan")                   \
	X(TOTAL_USAGE, "total_usage")             \
	X(TRANSFER, "transfer")                   \
	X(TRY_DEDUCT, "try_deduct")               \
	X(UNFREEZE, "unfreeze")                   \
	X(USAGE, "usage")

typedef enum CountedCall
{
#define X(name, text) CALL_##name,
	COUNTED_CALLS(X)
#undef X
	CALL_COUNT
} CountedCall;

/* How a call ended: ok, replayed, or refused with an SQLSTATE. */
#define RESULT_OK		0
#define RESULT_REPLAYED 1
#define RESULT_OTHER	2 /* an SQLSTATE that is not in the list */
#define FIRST_SQLSTATE	3
#define RESULT_COUNT	26

/* Totals of committed work, of waiting, and of notifications. */
#define COUNTED_TOTALS(X)                 \
	X(ROWS, "history_rows")               \
	X(SPENT_MONTHLY, "spent_monthly")     \
	X(SPENT_GRANTED, "spent_granted")     \
	X(SPENT_PURCHASED, "spent_purchased") \
	X(REFUNDED, "refunded")               \
	X(ISSUED_PLAN, "issued_plan")         \
	X(ISSUED_GRANT, "issued_grant")       \
	X(ISSUED_PURCHASE, "issued_purchase") \
	X(ISSUED_ADJUST, "issued_adjust")     \
	X(ISSUED_IMPORT, "issued_import")     \
	X(REVOKED, "revoked")                 \
	X(EXPIRED, "expired")                 \
	X(FORFEITED, "forfeited")             \
	X(WAITS, "waits")                     \
	X(WAIT_TIME, "wait_time")             \
	X(TURNS, "turns")                     \
	X(NOTIFICATIONS, "notifications")     \
	X(RESYNCS, "resyncs")                 \
	X(COALESCED, "changes_coalesced")     \
	X(LOST, "changes_lost")

typedef enum CountedTotal
{
#define X(name, text) TOTAL_##name,
	COUNTED_TOTALS(X)
#undef X
	TOTAL_COUNT
} CountedTotal;

/* Upper bounds of the histogram of times, in microseconds; the last bucket has none. */
#define TIME_BUCKETS 15

/* All that is counted for a database, as places in one array of numbers. */
#define COUNTED_BUCKET(call, result, bucket) \
	(((call) *RESULT_COUNT + (result)) * TIME_BUCKETS + (bucket))
#define COUNTED_TIME(call, result) \
	(CALL_COUNT * RESULT_COUNT * TIME_BUCKETS + (call) *RESULT_COUNT + (result))
#define COUNTED_TOTAL(total) (CALL_COUNT * RESULT_COUNT * (TIME_BUCKETS + 1) + (total))
#define COUNTED_NUMBERS		 COUNTED_TOTAL(TOTAL_COUNT)

extern const char *const counted_call_names[CALL_COUNT];
extern const char *const counted_total_names[TOTAL_COUNT];
extern const uint64 counted_time_bounds[TIME_BUCKETS - 1];
extern const char *counted_result_name(int result);
extern int counted_result_of(int sqlstate);
extern uint32 counted_layout(void);

#endif
