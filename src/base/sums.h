/*
 * sums.h
 *		Totals of many amounts.  Each amount is at most 2^53 - 1.  A total that does not
 *		fit into an int64 becomes the largest (or smallest) int64 and never wraps.
 */
#ifndef CREDITS_BASE_SUMS_H
#define CREDITS_BASE_SUMS_H

#include "postgres.h"

#include "common/int.h"

static inline void
sum_add(int64 *sum, int64 credits)
{
	if (pg_add_s64_overflow(*sum, credits, sum))
		*sum = credits > 0 ? PG_INT64_MAX : PG_INT64_MIN;
}

static inline void
sum_subtract(int64 *sum, int64 credits)
{
	if (pg_sub_s64_overflow(*sum, credits, sum))
		*sum = credits > 0 ? PG_INT64_MIN : PG_INT64_MAX;
}

#endif
