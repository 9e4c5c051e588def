/*
 * parallel.h
 *		Verifying accounts with parallel workers.
 */
#ifndef CREDITS_VERIFY_PARALLEL_H
#define CREDITS_VERIFY_PARALLEL_H

#include "postgres.h"

#include "fmgr.h"

#include "verify/filter.h"
#include "verify/findings.h"

/* Which accounts to verify. */
typedef struct Extent
{
	bool all;		   /* every account; else the range from after to upto */
	const char *after; /* the range begins behind this user; NULL: with the first */
	const char *upto;  /* the range ends with this user; NULL: with the last */
	uint64 seed;
	double sample; /* of a range: the fraction to verify */
} Extent;

extern void verify_accounts(FunctionCallInfo fcinfo, const Extent *extent, Findings *findings,
							Totals *totals);

#endif
