/*
 * private.h
 *		What the core's files share with each other, and nothing else needs.
 */
#ifndef CREDITS_CORE_PRIVATE_H
#define CREDITS_CORE_PRIVATE_H

#include "core/core.h"

static inline int64_t
cr_min(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* cycle.c: the longest that a stored period of the cycle can be */
extern CrTime cr_longest_period(CrCycle cycle);

/* row.c */
extern void cr_row_init(CrRow *row, CrKind kind, CrTime at, int64_t amount);
extern void cr_row_refer(CrRow *row, int64_t seq);
extern void cr_row_set_end(CrRow *row, CrTime ends_at);
extern CrVerdict cr_row_finish(CrRow *row, CrAccount *acc, const CrAccount *after);
extern CrVerdict cr_record(CrRow *row, CrKind kind, CrTime at, int64_t amount, CrAccount *acc,
						   const CrAccount *after);

/* buckets.c */
extern bool cr_credit(CrAccount *acc, int64_t *bucket, int64_t *owed, int64_t amount);
extern void cr_take(int64_t *bucket, int64_t *wanted);
extern bool cr_take_or_owe(int64_t *bucket, int64_t *owed, int64_t amount);
extern CrVerdict cr_may_spend(const CrAccount *acc, int64_t amount);
extern void cr_spend(CrAccount *acc, int64_t amount, bool every_source);

/* plan_rules.c */
extern void cr_set_facts_plan(CrFacts *facts, const CrPlanVersion *plan);

/* lots.c */
extern void cr_wake_at(CrAccount *acc, CrTime at);
extern void cr_parts_begin(CrLots *lots);
extern void cr_parts_add(CrLots *lots, int64_t source, int64_t credits);
extern void cr_parts_to_row(const CrLots *lots, CrRow *row);
extern void cr_burn(CrAccount *acc, int64_t credits);
extern CrGrant *cr_find_grant(const CrAccount *acc, int64_t seq, CrTime at, bool at_its_end);
extern void cr_grant_return(CrAccount *acc, CrGrant *grant, int64_t credits);
extern int64_t cr_grant_close(CrGrant *grant);
extern CrHold *cr_next_hold_end(const CrAccount *acc);
extern CrGrant *cr_next_grant_end(const CrAccount *acc);

#endif
