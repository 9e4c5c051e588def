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

static inline int64_t
cr_max(int64_t a, int64_t b)
{
	return a > b ? a : b;
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

/*
 * levels.c.  The flags are what makes an account one to look at.  Its row has them, so that
 * an index finds the accounts that have any.
 */
#define CR_FLAG_LOW	   1
#define CR_FLAG_EMPTY  2
#define CR_FLAG_OWING  4
#define CR_FLAG_FROZEN 8
#define CR_FLAG_CLOSED 16

extern int32_t cr_flags(const CrAccount *acc);
extern CrCrossing cr_cross(CrAccount *after, CrKind kind, int64_t amount);

/* buckets.c */
extern bool cr_credit(CrAccount *acc, int64_t *bucket, int64_t *owed, int64_t amount);
extern void cr_take(int64_t *bucket, int64_t *wanted);
extern void cr_add_up(int64_t *sum, int64_t credits);
extern bool cr_take_or_owe(int64_t *bucket, int64_t *owed, int64_t amount);
extern CrVerdict cr_may_spend(const CrAccount *acc, int64_t amount, bool owes);
extern void cr_spend(CrAccount *acc, int64_t amount, bool every_source);

/*
 * account_rules.c and plan_rules.c.  cr_open(), cr_set_plan(), cr_restart() and
 * cr_set_cycle() compute the end of the period.  These functions get it as an argument,
 * because verification has to use the end that is stored.
 */
extern CrVerdict cr_apply_open(CrAccount *acc, CrTime at, const CrPlanVersion *plan,
							   CrLocal anchor, const char *zone, CrTime next_reset_at,
							   CrRow *row);
extern CrVerdict cr_apply_plan(CrAccount *acc, CrTime at, const CrPlanVersion *plan,
							   CrTime next_reset_at, CrRow *row);
extern CrVerdict cr_apply_restart(CrAccount *acc, CrTime at, const CrPlanVersion *plan,
								  CrLocal anchor, CrTime next_reset_at, CrRow *row);
extern CrVerdict cr_apply_cycle(CrAccount *acc, CrTime at, CrLocal anchor, const char *zone,
								CrRow *row);
extern void cr_take_plan(CrAccount *acc, const CrPlanVersion *plan);
extern void cr_take_version(CrAccount *acc, const CrPlanVersion *plan);
extern void cr_change_cycle(CrAccount *acc, CrLocal anchor, const char *zone, CrCycle cycle);
extern int64_t cr_begin_period(CrAccount *acc, CrTime at, const CrPlanVersion *plan,
							   int32_t share);
extern bool cr_change_granted(CrAccount *acc, int64_t granted);

/*
 * place.c.  The texts say what is wrong; NULL: nothing.  Some 140,000 years either way, no
 * difference of two times overflows.
 */
#define CR_EARLIEST_TIME (INT64_MIN / 2)
#define CR_LATEST_TIME	 (INT64_MAX / 2)

extern const char *cr_turn_problem(const CrAccount *acc, const CrRow *row);
extern int64_t cr_begun_by(const CrRow *row);
extern const char *cr_period_problem(const CrAccount *acc, CrTime start, const CrRow *row,
									 bool is_first);
extern const char *cr_pass_silently(CrAccount *acc, const CrRow *row);

/*
 * returns.c: giving back credits that were held, spent or revoked.  A refund is done twice:
 * the first time as a trial that finds out whether it fits, and changes no grant, because
 * grants are changed in place.
 */
typedef struct CrGiving
{
	CrAccount *acc;
	CrTime at;
	bool is_hold_end; /* at the end of a grant, the grant still takes credits back */
	int64_t seq;	  /* of the row with which they left the account */
	bool is_trial;
	bool is_over_cap;
	int64_t lost; /* credits whose period or grant has ended, or which closing forfeits */
} CrGiving;

extern int64_t cr_carried(int64_t left, int64_t limit);
extern void cr_give_monthly(CrGiving *giving, int64_t period, int64_t credits);
extern int64_t cr_give_granted(CrGiving *giving, int64_t seq, int64_t credits);
extern void cr_give_purchased(CrGiving *giving, int64_t credits);

/* lots.c */
extern void cr_wake_at(CrAccount *acc, CrTime at);
extern void cr_parts_begin(CrLots *lots);
extern void cr_parts_add(CrLots *lots, int64_t source, int64_t credits);
extern void cr_parts_to_row(const CrLots *lots, CrRow *row);
extern void cr_burn(CrAccount *acc, int64_t credits);
extern bool cr_grant_is_open(const CrGrant *grant, CrTime at, bool is_hold_end);
extern void cr_grant_return(CrAccount *acc, CrGrant *grant, int64_t credits);
extern int64_t cr_grant_close(CrGrant *grant);
extern CrHold *cr_next_hold_end(const CrAccount *acc);
extern CrGrant *cr_next_grant_end(const CrAccount *acc);

#endif
