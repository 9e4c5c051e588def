/*
 * calls.c
 *		The names of what is counted.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "base/errors.h"
#include "live/calls.h"

#define X(name, text) text,
const char *const counted_call_names[CALL_COUNT] = {COUNTED_CALLS(X)};
const char *const counted_total_names[TOTAL_COUNT] = {COUNTED_TOTALS(X)};
#undef X

/* 0.1 ms to 5 s, in the steps that are usual for Prometheus. */
const uint64 counted_time_bounds[TIME_BUCKETS - 1] = {100,	  250,	  500,	   1000,   2500,
													  5000,	  10000,  25000,   50000,  100000,
													  250000, 500000, 1000000, 5000000};

/* The SQLSTATEs with which a call can be refused. */
static const int sqlstates[] = {
	ERRCODE_CREDITS_INSUFFICIENT,
	ERRCODE_CREDITS_ACCOUNT_NOT_FOUND,
	ERRCODE_CREDITS_IDEMPOTENCY,
	ERRCODE_CREDITS_FROZEN,
	ERRCODE_CREDITS_HOLD_NOT_FOUND,
	ERRCODE_CREDITS_HOLD_CLOSED,
	ERRCODE_CREDITS_CORRUPTED,
	ERRCODE_CREDITS_PLAN_NOT_FOUND,
	ERRCODE_CREDITS_REFUND_EXCEEDS,
	ERRCODE_CREDITS_PAYMENT_NOT_FOUND,
	ERRCODE_CREDITS_ZONE_UNKNOWN,
	ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
	ERRCODE_NULL_VALUE_NOT_ALLOWED,
	ERRCODE_INVALID_PARAMETER_VALUE,
	ERRCODE_READ_ONLY_SQL_TRANSACTION,
	ERRCODE_T_R_SERIALIZATION_FAILURE,
	ERRCODE_T_R_DEADLOCK_DETECTED,
	ERRCODE_INSUFFICIENT_PRIVILEGE,
	ERRCODE_OUT_OF_MEMORY,
	ERRCODE_PROGRAM_LIMIT_EXCEEDED,
	ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
	ERRCODE_LOCK_NOT_AVAILABLE,
	ERRCODE_QUERY_CANCELED,
};

StaticAssertDecl(lengthof(sqlstates) == RESULT_COUNT - FIRST_SQLSTATE,
				 "RESULT_COUNT does not fit the list of SQLSTATEs");

int
counted_result_of(int sqlstate)
{
	for (int i = 0; i < (int) lengthof(sqlstates); i++)
	{
		if (sqlstates[i] == sqlstate)
			return FIRST_SQLSTATE + i;
	}
	return RESULT_OTHER;
}

/* "ok", "replayed", "other", or the SQLSTATE. */
const char *
counted_result_name(int result)
{
	if (result >= FIRST_SQLSTATE)
		return pstrdup(unpack_sql_state(sqlstates[result - FIRST_SQLSTATE]));
	return result == RESULT_OK ? "ok" : result == RESULT_REPLAYED ? "replayed" : "other";
}

static uint32
add_names(uint32 layout, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		layout = hash_combine(layout, string_hash(names[i], NAMEDATALEN));
	return layout;
}

static uint32
add_bytes(uint32 layout, const void *bytes, int length)
{
	return hash_combine(layout, hash_bytes(bytes, length));
}

/*
 * Another number if anything else is counted, or at another place.  Whoever has numbers
 * of an older library compares it.
 */
uint32
counted_layout(void)
{
	uint32 layout = add_names(0, counted_call_names, CALL_COUNT);

	layout = add_names(layout, counted_total_names, TOTAL_COUNT);
	layout = add_bytes(layout, sqlstates, sizeof(sqlstates));
	return add_bytes(layout, counted_time_bounds, sizeof(counted_time_bounds));
}
