/*
 * unit.h
 *		What the tests of the pure core share: TAP, a random generator with a
 *		seed, a calendar, time zones that are the same on every machine, and a
 *		ledger in memory that numbers rows as the real one does.
 */
#ifndef CREDITS_UNIT_H
#define CREDITS_UNIT_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/core.h"

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

#define lengthof(array) ((int) (sizeof(array) / sizeof((array)[0])))

#if defined(__GNUC__)
#define UNIT_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define UNIT_PRINTF(f, a)
#endif

/* unit.c: TAP */
extern bool ok(bool good, const char *fmt, ...) UNIT_PRINTF(2, 3);
extern void note(const char *fmt, ...) UNIT_PRINTF(1, 2);
extern bool is_int(int64_t got, int64_t want, const char *name);
extern bool is_time(CrTime got, CrTime want, const char *name);
extern bool is_text(const char *got, const char *want, const char *name);
extern bool same_text(const char *a, const char *b);

/* unit.c: a generator that gives the same numbers everywhere */
extern void random_seed(uint64_t seed);
extern uint64_t random_bits(void);
extern int64_t random_between(int64_t low, int64_t high);
extern bool one_in(int n);

/* zones.c: the calendar and the zones */
extern int64_t utc(int year, int month, int day, int hour, int minute, int second);
extern CrLocal add_months(CrLocal anchor, int64_t months);
extern CrTime zone_to_utc(const char *zone, CrLocal local);
extern CrLocal zone_to_local(const char *zone, CrTime at);
extern CrTime nth_boundary(CrCycle cycle, const char *zone, CrLocal anchor, int64_t n);
extern CrTime boundary_from(CrCycle cycle, const char *zone, CrLocal anchor, CrTime from);
extern CrTime boundary_upto(CrCycle cycle, const char *zone, CrLocal anchor, CrTime at);
extern const char *random_zone(void);
extern const char *show_time(CrTime at);

/* world.c: plans, an account and its history */
#define MAX_VERSIONS 32
#define MAX_ROWS 2048

typedef struct World
{
	CrPlanVersion versions[MAX_VERSIONS];
	int			n_versions;
	CrAccount	acc;
	CrAccount	stored;			/* as the last row left it, if the account is ahead of that */
	int			n_rows;
	int			zone_calls;		/* how often a time was converted */
	const char *hidden_zone;	/* the zone that is not known; NULL: all are */
	CrLots		lots;			/* what world_lists gives */
	size_t		used;
	bool		strict;			/* every step is checked; see world_run() */
	const char *broken;			/* what a check found; NULL */
	CrEnv		env;
	/* world_init() leaves the rest as it is */
	CrRow		rows[MAX_ROWS];
	char		memory[1 << 18];	/* for the lists, and for the rows' allocations */
} World;

typedef enum Op
{
	OP_DEDUCT,
	OP_PURCHASE,
	OP_ADJUST,
	OP_SET_PLAN,
	OP_CANCEL,
	OP_SCHEDULE,
	OP_SCHEDULE_CANCEL,
	OP_FREEZE,
	OP_UNFREEZE,
	OP_REPAIR_CLOCK,
	OP_GRANT,
	OP_HOLD,
	OP_CAPTURE,
	OP_RELEASE,
	OP_REFUND,
	OP_REVOKE,
	OP_REINSTATE,
	OP_SET_OVERDRAFT,
	OP_SET_LOW_THRESHOLD,
	OP_SET_CYCLE,
	OP_IMPORTED,
	OP_IMPORT,
	OP_TRANSFER_OUT,
	OP_TRANSFER_IN,
	OP_CLOSE,
	OP_UNDO,
	OP_RESTART,
	OP_OPEN
} Op;

/*
 * target: captures and releases name a hold, refunds a row that spent, revocations and
 * reinstatements a payment, undos a row that a bulk run can write.  It is the target-th of
 * these in the history, counted from 0, because its seq depends on when events were applied.
 * amount: 0 means all, but not in an exact capture; an import brings so many monthly credits,
 * and purchased ones.
 */
typedef struct Command
{
	Op			op;
	CrTime		at;
	int64_t		amount;
	CrBucket	bucket;
	const char *plan;
	CrTime		ends_at;
	int			target;
	bool		keep_open;
	CrLocal		anchor;
	const char *zone;
	int64_t		purchased;
	CrTime		period_start;
	bool		regrant;
	bool		exact;			/* a capture of 0 captures nothing */
	bool		owes;			/* a capture's over => 'owe' */
	bool		paid;			/* a grant */
	int64_t		total;			/* of a revocation; 0: none is given */
	bool		keep_anchor;
	CrKind		last_of;		/* an undo: of the last row of this kind; 0: of the target */
} Command;

extern void world_init(World *w);
extern CrLots *world_lists(World *w);
extern CrLots *world_copy_lists(World *w, const CrLots *from);
extern const CrRow *world_nth(const World *w, Op op, int target);
extern bool world_spent(const World *w, int64_t seq, int n_rows, CrSpent *spent);
extern bool world_paid(const World *w, const CrAccount *acc, int64_t seq, int n_rows,
					   CrPaid *paid);
extern const char *world_head_differs(World *w, CrAccount *acc);
extern const char *world_replay(const World *w, CrAccount *acc, const CrRow *row, int n_rows);
extern const CrPlanVersion *world_plan(World *w, const char *plan, CrTime from,
									   int64_t monthly, CrCycle cycle, int64_t rollover);
extern const CrPlanVersion *world_plan_at(const World *w, const char *plan, CrTime at);
extern CrVerdict world_open(World *w, CrTime at, const char *plan, CrLocal anchor,
							const char *zone);
extern int	world_fold(World *w, CrTime at);
extern CrVerdict world_run(World *w, const Command *cmd);
extern CrVerdict world_deduct(World *w, CrTime at, int64_t amount);
extern CrVerdict world_purchase(World *w, CrTime at, int64_t amount);
extern CrVerdict world_grant(World *w, CrTime at, int64_t amount, CrTime ends_at);
extern CrVerdict world_hold(World *w, CrTime at, int64_t amount, CrTime ends_at);
extern CrVerdict world_capture(World *w, CrTime at, int hold, int64_t amount, bool keep_open);
extern CrVerdict world_release(World *w, CrTime at, int hold);
extern CrVerdict world_refund(World *w, CrTime at, int spending, int64_t amount);
extern CrVerdict world_revoke(World *w, CrTime at, int purchase, int64_t amount);
extern CrVerdict world_set_plan(World *w, CrTime at, const char *plan);
extern CrVerdict world_restart(World *w, CrTime at, const char *plan, bool keep_anchor);
extern CrVerdict world_set_cycle(World *w, CrTime at, CrLocal anchor, const char *zone);
extern CrVerdict world_schedule(World *w, CrTime at, const char *plan);
extern bool world_never_makes(CrKind kind);
extern int	world_random_plans(World *w, CrTime from, CrTime to, bool cycles);
extern Command world_random_command(const World *w, CrTime at, int n_plans);
extern Command world_random_open_command(const World *w, CrTime at, int n_plans);
extern bool buckets_are(const CrBuckets *got, int64_t monthly, int64_t granted,
						int64_t purchased);
extern bool same_account(const CrAccount *a, const CrAccount *b);
extern const char *row_breaks(const CrAccount *before, const CrAccount *after,
							  const CrRow *row);
extern const char *account_breaks(const CrAccount *acc);
extern bool same_lists(const CrLots *a, const CrLots *b);
extern const char *lists_break(const CrAccount *acc);
/* Allocations as pairs of a source and its credits; the last pair has no credits. */
#define PAIRS(...) ((const int64_t[]) {__VA_ARGS__, 0, 0})
#define NO_PAIRS ((const int64_t[]) {0, 0})
#define B(m, g, p) ((CrBuckets) {m, g, p})
#define NOTHING B(0, 0, 0)

extern void row_is(const World *w, CrKind kind, int64_t amount, CrBuckets delta, CrBuckets held,
				   const int64_t *pairs, const char *name);
extern void balance_is(const World *w, int64_t monthly, int64_t granted, int64_t purchased,
					   const char *name);
extern const char *show_account(const CrAccount *acc);

/* one function a topic */
extern void test_names(void);
extern void test_period(void);
extern void test_levels(void);
extern void test_rules(void);
extern void test_plan_change(void);
extern void test_due(void);
extern void test_due_random(void);
extern void test_lists(void);
extern void test_refunds(void);
extern void test_lists_random(void);
extern void test_undo_import_close(void);
extern void test_replay(void);
extern void test_property(void);
extern void test_misplaced_rows(void);
extern void test_chain(void);
extern void test_tree(void);

#endif
