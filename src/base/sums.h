/*
 * sums.h
 *		Totals of many amounts, each up to 2^53 - 1: a total that there is no room for
 *		is the most that there is room for, never another number.
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
