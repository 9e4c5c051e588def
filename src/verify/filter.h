/*
 * filter.h
 *		Verifying many accounts while the history is read once.
 */
#ifndef CREDITS_VERIFY_FILTER_H
#define CREDITS_VERIFY_FILTER_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "verify/findings.h"

/*
 * The accounts that one process verifies: those whose hash is in its share.  The seed is
 * new for each verification, so no one can choose names that all fall into one share.
 */
typedef struct Share
{
	uint64 seed;
	uint32 mine; /* the number of this share, below shares */
	uint32 shares;
	double sample; /* the fraction of the share's accounts to verify */
} Share;

typedef struct Totals
{
	int64 accounts;
	int64 rows;
	int64 bad;		 /* how many findings */
	int64 purchases; /* purchases for which the payment was found */
	bool orphans;	 /* some history rows have no account */
} Totals;

extern uint64 share_hash(const Share *share, const char *user_id, size_t len);
extern bool share_has(const Share *share, uint64 hash);
extern void filter_accounts(const Share *share, Snapshot snapshot, int64 memory,
							Findings *findings, Totals *totals);

#endif
