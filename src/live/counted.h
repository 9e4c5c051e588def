/*
 * counted.h
 *		Counting the calls of SQL functions, with their results and times.
 *
 *		COUNTED_FUNCTION(credits_freeze, CALL_FREEZE)
 *		{
 *			... as in Datum credits_freeze(PG_FUNCTION_ARGS)
 *		}
 */
#ifndef CREDITS_LIVE_COUNTED_H
#define CREDITS_LIVE_COUNTED_H

#include "postgres.h"

#include "fmgr.h"
#include "portability/instr_time.h"

#include "live/calls.h"

#define COUNTED_FUNCTION(name, call)                    \
	static Datum name##_body(FunctionCallInfo fcinfo);  \
	Datum name(PG_FUNCTION_ARGS)                        \
	{                                                   \
		return counted_call(fcinfo, call, name##_body); \
	}                                                   \
	static Datum name##_body(FunctionCallInfo fcinfo)

extern Datum counted_call(FunctionCallInfo fcinfo, CountedCall call, PGFunction body);
extern void counted_result(int result);
extern void counted_wait(instr_time since, bool in_turn);

#endif
