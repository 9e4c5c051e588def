/*
 * judge_lots.h
 *		What verification knows about an account's grants, holds, refunds and chargebacks
 *		while it reads the account's history.
 */
#ifndef CREDITS_VERIFY_JUDGE_LOTS_H
#define CREDITS_VERIFY_JUDGE_LOTS_H

#include "postgres.h"

#include "utils/hsearch.h"

#include "core/core.h"
#include "tables/archive_partitions.h"
#include "tables/checkpoint.h"
#include "tables/rows.h"
#include "verify/findings.h"

/* Kept from one account to the next. */
typedef struct JudgeLots
{
	Snapshot snapshot;
	MemoryContext memory; /* of the current account */
	HTAB *marks;		  /* rows that later rows can refer to; NULL: none yet */
	int64 n_grants;		  /* of the current account; n_holds, too */
	int64 n_holds;
	Archived *archived; /* search for rows in the archive; NULL: in the history */
	/* collects what a new checkpoint needs; NULL: do not collect */
	Checkpoint *collect;
} JudgeLots;

extern void judge_lots_begin(JudgeLots *book, Snapshot snapshot);
extern void judge_lots_start(JudgeLots *book, CrAccount *acc);
extern void judge_lots_before(JudgeLots *book, CrAccount *acc, const CrRow *row,
							  const Payment *payment, CrReplayed *about);
extern void judge_lots_after(JudgeLots *book, CrAccount *acc, const CrRow *row,
							 const Payment *payment);
extern const char *judge_lots_check_total(JudgeLots *book, const CrRow *row,
										  const CrPaid *paid);
extern bool judge_lots_has_changed(const Payment *payment);
extern void judge_lots_load(JudgeLots *book, CrAccount *acc, const Checkpoint *ckpt);
extern void judge_lots_load_purchase(JudgeLots *book, const int64 *numbers,
									 const Payment *payment);
extern void judge_lots_finish(JudgeLots *book, const CrAccount *acc, Checkpoint *ckpt);
extern bool judge_lots_compare(JudgeLots *book, const CrAccount *acc, Findings *findings);
extern void judge_lots_end(JudgeLots *book);
extern void verify_lot_orphans(Findings *findings);

#endif
