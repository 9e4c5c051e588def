/*
 * judge.h
 *		Checking one account by its history.  The code calls this judging.
 */
#ifndef CREDITS_VERIFY_JUDGE_H
#define CREDITS_VERIFY_JUDGE_H

#include "postgres.h"

#include "core/core.h"
#include "store/lookup.h"
#include "tables/archive_partitions.h"
#include "tables/checkpoint.h"
#include "tables/plan_versions.h"
#include "tables/rows.h"
#include "verify/findings.h"
#include "verify/judge_lots.h"

/* What judging needs.  It is kept from one account to the next. */
typedef struct Judge
{
	Plans plans;
	CrEnv env;
	Lookup accounts;
	Lookup rows;
	Lookup payments;
	Lookup checkpoints;
	Archived archived;
	bool has_archived;		  /* archived is open */
	JudgeLots lots;			  /* of the account that is being judged */
	struct names_hash *names; /* names of plans and zones, for the accounts' facts */
	MemoryContext memory;
	MemoryContext row_memory; /* the caller resets it after each row */
	RowArena arena;
	int64 n_accounts; /* judged so far */
	int64 n_rows;
	int64 n_purchases; /* purchases for which the payment was found */
} Judge;

/* Does the row make a payment: a purchase, or a grant that is paid for? */
static inline bool
is_new_payment(const CrRow *row)
{
	return row->kind == CR_KIND_PURCHASE || (row->kind == CR_KIND_GRANT && row->payment_ref);
}

extern void judge_begin(Judge *judge, Snapshot snapshot);
extern void judge_start(CrAccount *acc, const char *user_id);
extern const char *judge_row(Judge *judge, CrAccount *acc, const CrRow *row);
extern void judge_slot(Judge *judge, Findings *findings, const char *user_id,
					   TupleTableSlot *account);
extern bool judge_user(Judge *judge, Findings *findings, const char *user_id);
extern bool judge_from_checkpoint(Judge *judge, CrAccount *acc, Checkpoint *ckpt,
								  const char *user_id);
extern void judge_replay(Judge *judge, CrAccount *acc, const char *user_id, int64 upto);
extern void judge_end(Judge *judge);

#endif
