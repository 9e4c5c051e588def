/*
 * counters.h
 *		Counters in shared memory: calls, their results and times, and committed work.
 *
 * They are there if the library is in shared_preload_libraries.  Otherwise nothing is
 * counted.
 */
#ifndef CREDITS_LIVE_COUNTERS_H
#define CREDITS_LIVE_COUNTERS_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "live/calls.h"

/* The sums of one database. */
typedef struct Counted
{
	Oid database;
	TimestampTz stats_reset;
	uint64 numbers[COUNTED_NUMBERS]; /* see calls.h */
} Counted;

extern void counters_init(void);
extern bool counters_are_on(void);
extern void counters_call(CountedCall call, int result, uint64 microseconds);
extern void counters_add(const int64 *totals);
extern void counters_add_one(CountedTotal total, uint64 number);
extern int counters_databases(void);
extern bool counters_read(int nth, Counted *counted);
extern void counters_reset(Oid database);
extern void counters_free(Oid database);

#endif
