/*
 * filter.h
 *		Verifying many accounts in one reading of the history.
 */
#ifndef CREDITS_VERIFY_FILTER_H
#define CREDITS_VERIFY_FILTER_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "verify/findings.h"

/*
 * Which accounts are one process's to verify: those whose hash is in its share.
 * The seed is new each time, so that nobody can pile accounts up in one share.
 */
typedef struct Share
{
	uint64		seed;
	uint32		mine;			/* the one of */
	uint32		shares;
	double		sample;			/* of these, the fraction to verify */
} Share;

typedef struct Totals
{
	int64		accounts;
	int64		rows;
	int64		bad;			/* findings */
	int64		purchases;		/* rows that have their payment */
	bool		orphans;		/* there are rows without an account */
} Totals;

extern uint64 share_hash(const Share *share, const char *user_id, size_t len);
extern bool share_has(const Share *share, uint64 hash);
extern void filter_accounts(const Share *share, Snapshot snapshot, int64 memory,
							Findings *findings, Totals *totals);

#endif
