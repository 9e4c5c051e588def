/*
 * parallel.h
 *		Verifying accounts on all cores.
 */
#ifndef CREDITS_VERIFY_PARALLEL_H
#define CREDITS_VERIFY_PARALLEL_H

#include "postgres.h"

#include "fmgr.h"

#include "verify/filter.h"
#include "verify/findings.h"

/* What is to be verified. */
typedef struct Extent
{
	bool		all;			/* every account; else those of a range */
	const char *after;			/* NULL: from the first on */
	const char *upto;			/* NULL: to the last */
	uint64		seed;
	double		sample;			/* of a range, the fraction to verify */
} Extent;

extern void verify_accounts(FunctionCallInfo fcinfo, const Extent *extent,
							Findings *findings, Totals *totals);

#endif
