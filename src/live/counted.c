/*
 * counted.c
 *		Counting the calls of SQL functions.
 *
 * A call is counted when it ends, also if its transaction is rolled back later: what was
 * asked and answered has happened.  A call inside another one, from a trigger of a DBA, is
 * counted for itself.
 */
#include "postgres.h"

#include "live/counted.h"
#include "live/counters.h"

static int current_result = RESULT_OK; /* of the innermost call that runs */

static uint64
microseconds_since(instr_time since)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, since);
	return INSTR_TIME_GET_MICROSEC(now);
}

/* A function that returns a set is called once for each row. */
static bool
is_going_on(FunctionCallInfo fcinfo)
{
	return fcinfo->flinfo->fn_retset && fcinfo->flinfo->fn_extra != NULL;
}

/* Runs a function's body, and counts it. */
Datum
counted_call(FunctionCallInfo fcinfo, CountedCall call, PGFunction body)
{
	int outer_result = current_result;
	instr_time start;
	Datum answer;

	if (!counters_are_on() || is_going_on(fcinfo))
		return body(fcinfo);
	INSTR_TIME_SET_CURRENT(start);
	current_result = RESULT_OK;
	PG_TRY();
	{
		answer = body(fcinfo);
	}
	PG_CATCH();
	{
		current_result = outer_result;
		counters_call(call, counted_result_of(geterrcode()), microseconds_since(start));
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (call == CALL_DEDUCT_MANY) /* each of its items has a result */
		current_result = RESULT_OK;
	counters_call(call, current_result, microseconds_since(start));
	current_result = outer_result;
	return answer;
}

/* The running call ends with this result, without an error. */
void
counted_result(int result)
{
	current_result = result;
}

/* A busy account was waited for.  in_turn: by a turn, see ledger.c. */
void
counted_wait(instr_time since, bool in_turn)
{
	if (!counters_are_on())
		return;
	counters_add_one(TOTAL_WAITS, 1);
	counters_add_one(TOTAL_WAIT_TIME, microseconds_since(since));
	if (in_turn)
		counters_add_one(TOTAL_TURNS, 1);
}
