/*
 * core.h
 *		The rules of the ledger, without tables, locks and clocks.
 *
 * A rule is a function.  Its arguments are an account's state, a time and what to do.
 * If the rule accepts, it returns CR_OK, changes the account to the new state, and makes
 * the history row that records the change.  If the rule refuses, it returns another
 * verdict and leaves the account as it was.  The core never throws and includes no
 * PostgreSQL header.  Therefore the same rules are unit-tested and fuzzed without a
 * server, and verification replays a history through these rules.
 *
 * An account has three buckets.  The monthly bucket is filled with its plan's
 * allowance at each boundary between two periods.  Granted credits end, each grant
 * at its own time.  Purchased credits do not end.  A deduction spends monthly credits
 * first, then granted, then purchased ones.  A hold sets credits aside: these
 * credits are held.  Capturing the hold spends them, and releasing the hold gives them
 * back.  Credits are owed if they could not be taken (an overdraft, or a chargeback of
 * credits that were spent).
 *
 * A boundary is the time at which one period ends and the next begins.  Boundaries and
 * the ends of grants and holds are events.  An event is due if its time has come and no
 * history row records it yet.
 *
 * Amounts are whole credits.  A CrTime is microseconds since 2000-01-01 00:00 UTC,
 * like PostgreSQL's TimestampTz.  A CrLocal is microseconds since 2000-01-01 00:00
 * on a wall clock in the account's time zone.
 */
#ifndef CREDITS_CORE_CORE_H
#define CREDITS_CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int64_t CrTime;
typedef int64_t CrLocal;

#define CR_NEVER		 INT64_MAX				   /* a time that never comes */
#define CR_MAX_CREDITS	 INT64_C(9007199254740991) /* 2^53 - 1 */
#define CR_HASH_LEN		 32
#define CR_UUID_LEN		 16
#define CR_MAX_NAME		 255				  /* bytes of a user id, plan, key and so on */
#define CR_DAY			 INT64_C(86400000000) /* microseconds */
#define CR_LONGEST_HOLD	 (31 * CR_DAY)
#define CR_MAX_OVERDRAFT CR_MAX_CREDITS
/*
 * An account that has so many grants that have not ended takes no more, except grants that
 * are paid for.  A deduction reads them all.
 */
#define CR_MAX_GRANTS	 10000
/*
 * If more periods have ended since the account's last row, and each needs a row of its own,
 * what is due is not applied: the clock must be wrong.
 */
#define CR_MAX_PERIODS	 100000
#define CR_FULL_SHARE	 1000000 /* parts per million: the share of a whole period */

/*
 * Says where the boundaries of a plan's periods are, in local time.  cycle.c computes
 * them.
 */
typedef enum CrCycle
{
	CR_CALENDAR,	/* at 00:00 on the 1st of a month */
	CR_ANNIVERSARY, /* whole months after the account's cycle_anchor */
	CR_DAILY,		/* at 00:00 */
	CR_WEEKLY,		/* whole weeks after the account's cycle_anchor */
	CR_YEARLY,		/* whole years after the account's cycle_anchor */
	CR_CYCLE_COUNT
} CrCycle;

#define CR_NO_CYCLE CR_CYCLE_COUNT /* of an account that never had a plan */

/* When a period ends, and which share of a full period of its cycle it is. */
typedef struct CrPeriod
{
	CrTime end;
	int32_t share; /* in parts per million */
} CrPeriod;

typedef enum CrStatus
{
	CR_ACTIVE,
	CR_FROZEN, /* nothing can be spent */
	CR_CLOSED  /* credits can be purchased, but not spent or granted */
} CrStatus;

typedef enum CrBucket
{
	CR_MONTHLY,
	CR_GRANTED,
	CR_PURCHASED
} CrBucket;

/*
 * How many credits are available, compared with the threshold: the account's own one, or its
 * plan's.
 */
typedef enum CrLevel
{
	CR_LEVEL_OK,
	CR_LEVEL_LOW,	/* fewer than the threshold */
	CR_LEVEL_EMPTY, /* none */
	CR_LEVEL_COUNT
} CrLevel;

/* Which level a row crossed; see levels.c. */
typedef enum CrCrossing
{
	CR_CROSSED_NOTHING,
	CR_CROSSED_LOW,
	CR_CROSSED_EMPTY,
	CR_CROSSED_RECOVERED,
	CR_CROSSING_COUNT
} CrCrossing;

/* What a history row records. */
typedef enum CrKind
{
	CR_KIND_OPEN,
	CR_KIND_DEDUCT,
	CR_KIND_PURCHASE,
	CR_KIND_ADJUST,
	CR_KIND_SET_PLAN,	   /* a call: another plan from now on */
	CR_KIND_SCHEDULE_PLAN, /* a call: another plan from the next boundary on */
	CR_KIND_PLAN_CHANGE,   /* an event: the scheduled plan replaces the old one */
	CR_KIND_RESET,		   /* an event: a period ended and the next began */
	CR_KIND_FREEZE,
	CR_KIND_UNFREEZE,
	CR_KIND_CLOCK_REPAIR,
	CR_KIND_SET_OVERDRAFT,
	CR_KIND_SET_LOW_THRESHOLD,
	CR_KIND_SET_CYCLE, /* another cycle_anchor or time zone */
	CR_KIND_IMPORTED,  /* a row of another system's history */
	CR_KIND_IMPORT,	   /* what the account had in the other system */
	CR_KIND_TRANSFER_IN,
	CR_KIND_RESTART, /* a call: a new period, with the full allowance of its plan */

	/*
	 * The order matters.  A kind from CR_KIND_GRANT on is about grants, holds or earlier
	 * rows.  For these kinds, ledger.c always reads the account's grants and holds.
	 * judge.c needs these lists, too: if the account that it checks has none (acc->lots
	 * is NULL), it reports such a row as wrong.
	 */
	CR_KIND_GRANT,
	CR_KIND_GRANT_END, /* an event: what was left of a grant has expired */
	CR_KIND_HOLD,
	CR_KIND_HOLD_END, /* an event: a hold's time is over */
	CR_KIND_CAPTURE,
	CR_KIND_RELEASE,
	CR_KIND_REFUND,
	CR_KIND_REVOKE,	   /* takes a payment back, for example after a chargeback */
	CR_KIND_REINSTATE, /* gives back what a revocation took */
	CR_KIND_UNDO,	   /* takes back what a row of a bulk run did */
	CR_KIND_CLOSE,
	CR_KIND_ARCHIVE, /* older rows were archived and left a checkpoint */
	CR_KIND_TRANSFER_OUT,
	CR_KIND_COUNT
} CrKind;

/* What a rule answers: CR_OK, or why it refused, with the SQLSTATE that a caller gets. */
typedef enum CrVerdict
{
	CR_OK,
	CR_INSUFFICIENT, /* UC001 */
	CR_IS_FROZEN,	 /* UC004 */
	CR_IS_CLOSED,	 /* UC004 */
	CR_OVER_CAP,	 /* 22003: the account would have more than CR_MAX_CREDITS */
	CR_NO_PERIOD,	 /* 22023: a change cannot be scheduled, because no boundary will come */
	CR_OTHER_LENGTH, /* 22023: the plan's cycle is longer or shorter than the account's */
	/* 22023: the account's last row is not later than the clock: nothing to repair */
	CR_NOT_AHEAD,
	CR_GRANT_UPWARDS,	  /* 22023: a correction cannot add granted credits */
	CR_ENDS_TOO_SOON,	  /* 22023: the end is not after now */
	CR_TOO_MANY_GRANTS,	  /* 54000: so many grants have not ended */
	CR_HOLD_CLOSED,		  /* UC006 */
	CR_MORE_THAN_SPENT,	  /* UC010 */
	CR_MORE_THAN_REVOKED, /* UC010 */
	/* the period or grant has ended, something else changed it, or the row was undone before */
	CR_NOT_UNDOABLE,
	/* a regrant would grant what is granted already, so no row is written */
	CR_UNCHANGED,
	CR_HAS_HOLDS,	/* 55000: holds are open */
	CR_ZONE_UNKNOWN /* UC012: the server does not know the account's zone */
} CrVerdict;

/* The result of applying what is due. */
typedef enum CrFold
{
	CR_FOLDED, /* everything is applied */
	/* the next reset, and what is due after the reset, wait for the account's time zone */
	CR_WAITS_FOR_ZONE,
	/* more than CR_MAX_PERIODS rows that begin a period are due; the caller raises 54000 */
	CR_TOO_MANY_PERIODS,
	/*
	 * A version of the account's plan, or of the scheduled plan, is missing.  The stored
	 * data is damaged, and the caller raises UC008.
	 */
	CR_PLAN_MISSING
} CrFold;

typedef struct CrBuckets
{
	int64_t monthly;
	int64_t granted;
	int64_t purchased;
} CrBuckets;

/* One immutable version of a plan. */
typedef struct CrPlanVersion
{
	const char *plan;
	int32_t version;
	CrTime effective_from;
	int64_t monthly_credits;
	CrCycle cycle;
	int64_t rollover_limit;
	int64_t low_balance_threshold;
	CrTime created_at; /* when the version was defined, by the ledger's clock */
} CrPlanVersion;

/*
 * What an account has besides its credits: its plan and period, cycle, time zone, status
 * and overdraft limit.  A history row that changes one of these fields stores all of
 * them.
 */
typedef struct CrFacts
{
	const char *plan;			/* NULL: no plan */
	int32_t plan_version;		/* 0 without a plan */
	const char *scheduled_plan; /* NULL: nothing is scheduled; "": no plan from then on */
	CrLocal cycle_anchor;
	const char *time_zone;
	CrStatus status;
	int64_t overdraft_limit;
	int64_t period_granted; /* credits that the plan granted in this period */
	CrTime period_start;
	int32_t period_share; /* of a full period; allowances are multiplied by it */
	CrCycle cycle;		  /* of the plan, or of the last one; CR_NO_CYCLE: never had a plan */
	/*
	 * What was left at the last boundary: the monthly balance, minus what the bucket owed.
	 * It rises by what comes back later.  At most last_limit of it rolls over.
	 */
	int64_t last_left;
	int64_t last_limit;
	bool last_undone;	   /* that boundary was undone: all that was left rolls over */
	int64_t low_threshold; /* the account's own; CR_NO_THRESHOLD: the plan's holds */
} CrFacts;

#define CR_NO_THRESHOLD	  INT64_C(-1)

/*
 * An allocation says how many credits came from one source.  The source is the seq of a
 * grant, or one of the following numbers.
 */
#define CR_FROM_MONTHLY	  INT64_C(0)
#define CR_FROM_PURCHASED INT64_C(-1)
/* monthly credits of the period before the row's own, and of an older one */
#define CR_FROM_LAST	  INT64_C(-2)
#define CR_FROM_OLDER	  INT64_C(-3)
/* a late capture: credits that expired when the hold ended */
#define CR_FROM_EXPIRED	  INT64_C(-4)
/* a revocation: credits that the purchased bucket owes now; that had been forfeited when the
 * account was closed; and that a paid grant had when it ended */
#define CR_FROM_OWED	  INT64_C(-5)
#define CR_FROM_FORFEITED INT64_C(-6)
#define CR_FROM_ENDED	  INT64_C(-7)
/* a transfer: how many credits were bought so lately that a chargeback can still come */
#define CR_RECENT		  INT64_C(-8)
/* a revocation: how much of the payment is revoked in all, as the caller said */
#define CR_TOTAL		  INT64_C(-9)

typedef struct CrPart
{
	int64_t source;
	int64_t credits;
} CrPart;

typedef struct CrGrant
{
	int64_t seq; /* number of the history row that opened the grant */
	CrTime ends_at;
	int64_t amount;
	int64_t left; /* does not include credits that are held */
	bool closed;  /* the grant has ended: it takes no credits back */
	bool paid;	  /* it has a payment, which can be revoked */
	/* of a paid grant: credits that ended unused, and that no revocation has used */
	int64_t expired;
	/*
	 * Of a paid grant: what its revocation took from purchased credits, also from forfeited
	 * ones, because the grant did not have it.  What comes back to the grant pays this first.
	 */
	int64_t elsewhere;
	bool changed; /* the grant was changed since it was read */
	bool is_new;  /* the grant was opened, not read */
} CrGrant;

typedef enum CrHoldState
{
	CR_HOLD_OPEN,
	CR_HOLD_CAPTURED,
	CR_HOLD_RELEASED,
	CR_HOLD_EXPIRED, /* the hold can still be captured late, once */
	CR_HOLD_SETTLED	 /* the hold was captured late */
} CrHoldState;

/*
 * A hold, and how many credits of each source it still holds.  When a hold expires, it
 * gives its credits back.  Some may expire, because their period or grant has ended.  From
 * then on, monthly and parts say what expired, and given_back says the rest.
 */
typedef struct CrHold
{
	int64_t seq; /* number of the history row that opened the hold */
	CrTime ends_at;
	int64_t period; /* number of the period from which the monthly credits came */
	int64_t amount;
	int64_t monthly;
	int64_t purchased;
	int64_t given_back; /* 0 unless the hold has expired */
	/* how many credits came from each grant, in the order in which they were taken */
	int n_parts;
	CrPart *parts;
	CrHoldState state;
	bool changed; /* the hold was changed since it was read */
	bool is_new;  /* the hold was opened, not read */
} CrHold;

/*
 * The grants of an account that have not ended, and those paid grants that have ended and
 * that a rule needs; and its holds.  Applying what is due needs those open holds that end up
 * to that time, and of the others the one that ends first.  The caller reads
 * them from their tables, and stores those that are changed or new.  The lists use memory
 * from the caller's alloc function.  That memory must live as long as the lists.
 */
typedef struct CrLots
{
	void *(*alloc)(void *ctx, size_t size);
	void *ctx;
	CrGrant *grants; /* in the order of spending: by their ends, then by age */
	int n_grants;
	int room_grants;
	CrHold *holds; /* oldest first */
	int n_holds;
	int room_holds;
	CrPart *parts; /* the allocations of the row that is being made */
	int n_parts;
	int room_parts;
} CrLots;

/*
 * The anchor, time zone and cycle from which the end of the period was worked out, if they
 * are others than the account's own now.
 */
typedef struct CrEndFrom
{
	bool differs;
	CrLocal anchor;
	const char *zone; /* "": the end is no boundary of any cycle */
	CrCycle cycle;
} CrEndFrom;

typedef struct CrAccount
{
	const char *user_id;
	CrBuckets balance; /* does not include credits that are held */
	CrBuckets held;
	/*
	 * Credits that the bucket could not give.  New credits of the bucket first pay what is
	 * owed.  Only the rest is added to the balance.  The monthly bucket owes what a plan
	 * change, a closing or an undo should have taken and could not; a reset clears it.
	 */
	int64_t owed_monthly;
	int64_t owed_purchased;
	CrFacts facts;
	int64_t period;		  /* number of the period; a period is known by it */
	CrTime next_reset_at; /* the period's end; CR_NEVER: the period is open-ended */
	CrEndFrom end_from;
	/* boundaries that make no row were passed since the last row: the next row has facts */
	bool is_ahead;
	CrTime next_event_at; /* no event comes before this time */
	CrTime effective_at;  /* time of the last history row */
	int64_t closed_seq;	  /* number of the last row that closed the account; 0: none */
	/* purchased credits that were lost by closing, and that no revocation has used */
	int64_t forfeited;
	/*
	 * What the account has been charged, since it was last closed, for the time before: what
	 * it owed then, and what revocations of older payments took.  What comes back from that
	 * time gives this back.  The monthly part lapses at a reset, like what is owed.
	 */
	int64_t charged_monthly;
	int64_t charged_purchased;
	/* charged_monthly and closed_seq at the last boundary */
	int64_t last_charged;
	int64_t last_closed_seq;
	int64_t plan_threshold; /* of the plan's version; 0: no plan */
	CrLevel level;			/* the lowest one since the account recovered */
	int32_t flags;			/* see cr_flags(); after the last row */
	int64_t history_seq;	/* number of the last history row; 0: there is none */
	uint8_t history_hash[CR_HASH_LEN];
	CrLots *lots; /* NULL: grants and holds were not read; see cr_has_lots() */
} CrAccount;

/*
 * One history row.  The core fills the first part.  The ledger fills the second part:
 * the row's number, its actor and reason, the hash and so on.
 */
typedef struct CrRow
{
	/* filled by the core */
	CrKind kind;
	CrTime effective_at;
	int64_t period;		  /* number of the period in which the account is after the row */
	CrTime next_reset_at; /* CR_NEVER: there is none */
	int64_t amount;
	CrBuckets delta;
	/* balance, held and owed_*: as they are after the row */
	CrBuckets balance;
	CrBuckets held;
	int64_t owed_monthly;
	int64_t owed_purchased;
	int64_t expired;	  /* credits that came to their end unspent */
	int64_t forfeited;	  /* credits that were lost in another way */
	int32_t skipped;	  /* how many earlier missed boundaries this reset row includes */
	int32_t plan_version; /* 0: none */
	bool has_ref_seq;
	int64_t ref_seq; /* number of the earlier row that this row is about */
	bool has_ends_at;
	CrTime ends_at;
	/* how many credits came from each grant; for a capture: from every source */
	int n_allocations;
	const CrPart *allocations;
	CrCrossing crossed;
	bool has_facts;
	CrFacts facts;

	/* filled by the ledger */
	const char *user_id;
	int64_t seq;
	CrTime created_at;
	const char *actor;
	/* the pointers from here on may be NULL */
	const char *spender;
	const char *payment_ref;
	const char *idempotency_key;
	const uint8_t *request_digest; /* CR_HASH_LEN bytes */
	const uint8_t *run_id;		   /* CR_UUID_LEN bytes */
	const char *reason;
	const char *metadata;	  /* the jsonb's text */
	const uint8_t *text_salt; /* text_salt_len bytes */
	size_t text_salt_len;
	/* stored instead of the text, once the text has been erased */
	const uint8_t *reason_digest;
	const uint8_t *metadata_digest;
	uint8_t hash[CR_HASH_LEN];
	/* what is wrong with this stored row; NULL: nothing was found */
	const char *malformed;
} CrRow;

/*
 * What the core needs from its caller.  local_to_utc and utc_to_local convert times.
 * They are called only for zones for which knows_zone returns true.  plan_at returns the
 * version of a plan that is in force at the time "at".  plan_version returns the version
 * whose number is "version".  Both return NULL if there is no such version.  The plan
 * versions that they return must stay valid for the whole call.  emit gets each row that
 * cr_fold_due() makes.
 */
typedef struct CrEnv
{
	void *ctx;
	CrTime (*local_to_utc)(void *ctx, const char *zone, CrLocal local);
	CrLocal (*utc_to_local)(void *ctx, const char *zone, CrTime utc);
	bool (*knows_zone)(void *ctx, const char *zone); /* NULL: all are known */
	const CrPlanVersion *(*plan_at)(void *ctx, const char *plan, CrTime at);
	const CrPlanVersion *(*plan_version)(void *ctx, const char *plan, int32_t version);
	void (*emit)(void *ctx, const CrRow *row); /* may be NULL */
} CrEnv;

/*
 * How many credits a row spent, and how many of them were refunded since.  The row spent
 * the monthly credits first, then the credits of the parts, then the purchased credits.
 * For a capture, parts lists all sources, and monthly and purchased are 0.
 */
typedef struct CrSpent
{
	int64_t seq;
	int64_t amount;
	int64_t period; /* number of the period from which the monthly credits came */
	int64_t refunded;
	int64_t monthly;
	/*
	 * Includes credits that this row spent although the bucket did not have them.  The
	 * bucket has owed them since then.
	 */
	int64_t purchased;
	int n_parts;
	const CrPart *parts;
} CrSpent;

/* names.c: the names under which values are stored and hashed */
extern const char *cr_kind_name(CrKind kind);
extern bool cr_kind_parse(const char *name, CrKind *kind);
extern const char *cr_status_name(CrStatus status);
extern bool cr_status_parse(const char *name, CrStatus *status);
extern bool cr_bucket_parse(const char *name, CrBucket *bucket);
extern const char *cr_hold_state_name(CrHoldState state);
extern bool cr_hold_state_parse(const char *name, CrHoldState *state);
extern const char *cr_level_name(CrLevel level);
extern bool cr_level_parse(const char *name, CrLevel *level);
extern const char *cr_crossing_name(CrCrossing crossing);
extern bool cr_crossing_parse(const char *name, CrCrossing *crossing);

/*
 * lots.c: the grants and holds of an account.  cr_has_lots() returns true if the account's
 * row shows granted or held credits.  Every rule then needs acc->lots.  A rule that opens
 * or closes a grant or hold, or gives credits back to one, always needs acc->lots.
 */
extern bool cr_has_lots(const CrAccount *acc);
extern bool cr_is_silent(const CrAccount *acc);
extern CrTime cr_next_event(const CrAccount *acc);
extern CrTime cr_valid_until(const CrAccount *acc);
extern CrGrant *cr_lots_add_grant(CrLots *lots, int64_t seq, CrTime ends_at);
extern CrHold *cr_lots_add_hold(CrLots *lots, int64_t seq, int n_parts);
extern CrGrant *cr_find_grant(const CrAccount *acc, int64_t seq);
extern CrHold *cr_find_hold(const CrAccount *acc, int64_t seq);
extern int64_t cr_hold_left(const CrHold *hold);
extern int64_t cr_hold_has(const CrAccount *acc, const CrHold *hold);
extern bool cr_hold_fits(const CrHold *hold);

/*
 * cycle.c: the cycles, when a period ends, and which share of the allowance it gives.
 * A full period is from one boundary to the next.
 *
 *	cr_same_length		have both cycles the same length?  (calendar and anniversary: a month)
 *	cr_cycle_has_anchor	false: the account's cycle_anchor does not matter
 *	cr_next_boundary	the first boundary strictly after a time; CR_NEVER: there is none
 *	cr_boundary_at		the last boundary at or before a time
 *	cr_next_period		the period that starts at the end of a period that was made from the
 *						same cycle, zone and anchor: it is full, and ends at the first
 *						boundary that is at least half a full period after the start
 *	cr_changed_period	the period that starts at any other end: to the first boundary, with
 *						its share of the full period that contains the start
 *	cr_restart_end		the end of a period that is restarted now, one full period after now;
 *						*anchor becomes now in local time
 *	cr_share_of			a share of an allowance, rounded down
 */
extern const char *const cr_cycle_choices; /* all names, for an error message */
extern const char *cr_cycle_name(CrCycle cycle);
extern bool cr_cycle_parse(const char *name, CrCycle *cycle);
extern bool cr_cycle_has_anchor(CrCycle cycle);
extern bool cr_same_length(CrCycle a, CrCycle b);
extern bool cr_knows_zone(const CrEnv *env, const char *zone);
extern CrTime cr_next_boundary(const CrEnv *env, CrCycle cycle, const char *zone,
							   CrLocal anchor, CrTime after);
extern CrTime cr_boundary_at(const CrEnv *env, CrCycle cycle, const char *zone, CrLocal anchor,
							 CrTime at);
extern CrPeriod cr_next_period(const CrEnv *env, CrCycle cycle, const char *zone,
							   CrLocal anchor, CrTime start);
extern CrPeriod cr_changed_period(const CrEnv *env, CrCycle cycle, const char *zone,
								  CrLocal anchor, CrTime start);
extern CrTime cr_restart_end(const CrEnv *env, CrCycle cycle, const char *zone, CrTime at,
							 CrLocal *anchor);
extern int64_t cr_share_of(int64_t credits, int32_t share);

/* buckets.c: sums, spending, purchases and corrections */
extern int64_t cr_bucket_balance(const CrAccount *acc, CrBucket bucket);
extern int64_t cr_held(const CrAccount *acc);
extern int64_t cr_owed(const CrAccount *acc);
extern int64_t cr_missing(const CrAccount *acc, int64_t amount);
extern CrVerdict cr_deduct(CrAccount *acc, CrTime at, int64_t amount, CrRow *row);
extern CrVerdict cr_purchase(CrAccount *acc, CrTime at, int64_t amount, CrRow *row);
extern CrVerdict cr_adjust(CrAccount *acc, CrTime at, CrBucket bucket, int64_t delta,
						   CrRow *row);

/* levels.c: when an account is low or empty, and when it has recovered */
extern int64_t cr_available(const CrAccount *acc);
extern bool cr_is_low(const CrAccount *acc);
#define CR_ALL_FLAGS 31 /* the sum of all flags, see cr_flags() */
extern const char *cr_flag_name(int32_t flag);

/*
 * account_rules.c and plan_rules.c: the account itself, its plan and its cycle.
 */
extern void cr_account_init(CrAccount *acc, const char *user_id);
extern CrVerdict cr_open(CrAccount *acc, const CrEnv *env, CrTime at,
						 const CrPlanVersion *plan, CrLocal anchor, const char *zone,
						 CrRow *row);
extern CrVerdict cr_set_overdraft(CrAccount *acc, CrTime at, int64_t limit, CrRow *row);
extern CrVerdict cr_set_low_threshold(CrAccount *acc, CrTime at, int64_t threshold,
									  CrRow *row);
extern CrVerdict cr_set_status(CrAccount *acc, CrTime at, CrStatus status, CrRow *row);
extern CrVerdict cr_repair_clock(CrAccount *acc, CrTime at, CrRow *row);
extern CrVerdict cr_close(CrAccount *acc, CrTime at, int64_t seq, CrRow *row);
extern void cr_archive(CrAccount *acc, CrTime at, int64_t upto, CrRow *row);

extern int64_t cr_allowance(const CrAccount *acc, const CrPlanVersion *plan);
extern CrVerdict cr_set_plan(CrAccount *acc, const CrEnv *env, CrTime at,
							 const CrPlanVersion *plan, CrRow *row);
extern CrVerdict cr_restart(CrAccount *acc, const CrEnv *env, CrTime at,
							const CrPlanVersion *plan, bool keep_anchor, CrRow *row);
extern CrVerdict cr_schedule_plan(CrAccount *acc, CrTime at, const char *plan, CrRow *row);
extern CrVerdict cr_set_cycle(CrAccount *acc, const CrEnv *env, CrTime at, CrLocal anchor,
							  const char *zone, CrRow *row);

/*
 * grant_rules.c, chargeback_rules.c and transfer_rules.c.  CrPaid is a payment that is
 * revoked or reinstated.
 */
typedef struct CrPaid
{
	int64_t seq; /* number of the history row that the payment made */
	int64_t amount;
	int64_t revoked; /* how much of it is revoked */
	CrGrant *grant;	 /* NULL: it is a purchase */
} CrPaid;

extern CrVerdict cr_grant(CrAccount *acc, CrTime at, int64_t seq, int64_t amount,
						  CrTime ends_at, bool paid, CrRow *row);
extern CrVerdict cr_revoke(CrAccount *acc, CrTime at, int64_t amount, const CrPaid *paid,
						   int64_t total, CrRow *row);
extern CrVerdict cr_reinstate(CrAccount *acc, CrTime at, int64_t amount, const CrPaid *paid,
							  CrRow *row);
extern CrVerdict cr_transfer_out(CrAccount *acc, CrTime at, int64_t amount, int64_t recent,
								 CrRow *row);
extern CrVerdict cr_transfer_in(CrAccount *acc, CrTime at, int64_t amount, CrRow *row);

/* hold_rules.c: setting credits aside, and spending them or giving them back */
extern CrVerdict cr_hold(CrAccount *acc, CrTime at, int64_t seq, int64_t amount,
						 CrTime ends_at, CrRow *row);

/* What a capture is to do. */
typedef struct CrCapture
{
	int64_t amount; /* 0: it spends nothing, and only closes the hold */
	bool keep_open; /* the hold stays open with what it still has */
	bool owes;		/* the purchased bucket owes what hold and balance do not have */
} CrCapture;

extern CrVerdict cr_capture(CrAccount *acc, CrTime at, CrHold *hold, const CrCapture *capture,
							CrRow *row);
extern CrVerdict cr_release(CrAccount *acc, CrTime at, CrHold *hold, CrRow *row);
extern void cr_apply_hold_end(CrAccount *acc, CrHold *hold, CrRow *row);

/* refund_rules.c: giving credits that were spent back to their sources */
extern bool cr_spent(CrSpent *spent, const CrRow *row);
extern bool cr_spent_fits(const CrRow *row);
extern CrVerdict cr_refund(CrAccount *acc, CrTime at, const CrSpent *spent, int64_t amount,
						   CrRow *row);

/*
 * undo_rules.c: taking back what a row of a bulk run did.  regrant: after a reset is undone,
 * the version of the plan whose allowance is granted instead; NULL: none.  CR_UNCHANGED: it is
 * granted already, and the reset still counts as not undone.  adjusted: for an import, what
 * cr_monthly_adjusted() says of the rows since then, up to the last of an earlier period, in all.
 */
extern bool cr_undone_fits(const CrRow *target);
extern CrVerdict cr_undo(CrAccount *acc, CrTime at, const CrRow *target, bool is_undone,
						 const CrPlanVersion *regrant, int64_t adjusted, CrRow *row);

/* import_rules.c: bringing an account in from another system */
typedef struct CrImport
{
	const CrPlanVersion *plan; /* NULL: none */
	CrLocal anchor;
	const char *zone;
	CrTime period_start;
	CrTime next_reset_at; /* CR_NEVER: the period is open-ended */
	int64_t monthly;
	int64_t purchased;
	CrPart parts[2]; /* the allocations of its row */
} CrImport;

extern bool cr_can_import(const CrAccount *acc);
extern CrVerdict cr_imported(CrAccount *acc, CrTime at, int64_t amount, CrRow *row);
extern int64_t cr_brought(const CrRow *import, int64_t source);
extern int64_t cr_monthly_adjusted(const CrRow *before, const CrRow *row);
extern CrVerdict cr_import(CrAccount *acc, CrTime at, CrImport *import, CrRow *row);

/*
 * due.c: applying the events that are due.  A caller applies them before it calls any
 * other rule.
 */
extern bool cr_is_due(const CrAccount *acc, CrTime upto);
extern bool cr_waits_for_zone(const CrAccount *acc, const CrEnv *env, CrTime upto);
extern CrTime cr_waiting_time(const CrAccount *acc);
extern CrFold cr_fold_due(CrAccount *acc, const CrEnv *env, CrTime upto);
extern void cr_apply_grant_end(CrAccount *acc, CrGrant *grant, CrRow *row);
extern void cr_apply_plan_change(CrAccount *acc, CrTime at, const CrPlanVersion *plan,
								 CrRow *row);
extern void cr_apply_boundary(CrAccount *acc, CrTime at, const CrPlanVersion *plan,
							  CrPeriod period, int32_t skipped, CrRow *row);

/* row.c: what is in rows */
extern int64_t cr_part_of(const CrRow *row, int64_t source);
extern bool cr_text_equal(const char *a, const char *b);
extern bool cr_facts_equal(const CrFacts *a, const CrFacts *b);

/*
 * replay.c: checking stored rows.  If the row follows from the state before it,
 * cr_replay() changes the account to the next state and returns NULL; otherwise it
 * returns what is wrong with the row.
 */
typedef struct CrReplayed
{
	const CrRow *target; /* the row that a refund or undo refers to; NULL: there is none */
	/* how many credits of it were refunded before, or how often it was undone before */
	int64_t used;
	int64_t adjusted;	/* the undo of an import: see cr_undo() */
	const CrPaid *paid; /* the payment that the row revokes or reinstates; NULL: none */
} CrReplayed;

extern const char *cr_replay(CrAccount *acc, const CrEnv *env, const CrRow *row,
							 const CrReplayed *about);
extern const char *cr_compare_head(const CrAccount *stored, const CrAccount *expected);

/* chain.c: the bytes that are hashed */
typedef void (*CrSha256)(const void *data, size_t len, uint8_t out[CR_HASH_LEN]);

typedef struct CrBuf
{
	uint8_t *data;
	size_t len;
	size_t cap; /* bytes that do not fit are not written, but counted in len */
} CrBuf;

/* One row of the audit log, which records what an administrator did. */
typedef struct CrAuditRow
{
	int64_t seq;
	CrTime created_at;
	const char *action;
	const char *subject;
	const char *actor;
	/* the pointers from here on may be NULL */
	const char *client_addr;
	const char *application;
	const char *before; /* the jsonb's text */
	const char *after;
	uint8_t hash[CR_HASH_LEN];
} CrAuditRow;

/*
 * An anchor is a digest of all histories at one moment.  root is the root of a Merkle tree.
 * The leaves of the tree are the newest row of each user at that moment, and the newest
 * row of the audit log.  A witness, another machine or person, keeps the anchor's text
 * outside the database.
 */
typedef struct CrAnchor
{
	int64_t anchor_no;
	CrTime created_at;
	int64_t accounts;  /* how many users are in the tree */
	int64_t changed;   /* how many of these users have new rows since the previous anchor */
	int64_t audit_seq; /* number of the audit log's newest row; 0: the log is empty */
	uint8_t audit_hash[CR_HASH_LEN];
	uint8_t root[CR_HASH_LEN];
	uint8_t changed_root[CR_HASH_LEN]; /* root of a tree of the changed users alone */
	uint8_t previous_hash[CR_HASH_LEN];
	uint8_t hash[CR_HASH_LEN];
} CrAnchor;

extern void cr_chain_genesis(CrSha256 sha, const char *user_id, CrBuf *buf,
							 uint8_t out[CR_HASH_LEN]);
extern void cr_chain_encode(CrBuf *buf, CrSha256 sha, const uint8_t prev[CR_HASH_LEN],
							const CrRow *row, const uint8_t *reason_digest,
							const uint8_t *metadata_digest);
extern void cr_audit_encode(CrBuf *buf, const uint8_t prev[CR_HASH_LEN],
							const CrAuditRow *row);
extern void cr_leaf_encode(CrBuf *buf, const char *user_id, int64_t seq,
						   const uint8_t hash[CR_HASH_LEN]);
extern void cr_anchor_encode(CrBuf *buf, const CrAnchor *anchor);
extern void cr_facts_encode(CrBuf *buf, const CrFacts *facts);
extern void cr_buf_raw(CrBuf *buf, const void *data, size_t len);
extern void cr_buf_bytes(CrBuf *buf, const void *data, size_t len);
extern void cr_buf_text(CrBuf *buf, const char *text);
extern void cr_buf_int(CrBuf *buf, int64_t value);
extern void cr_buf_time(CrBuf *buf, CrTime value);
extern void cr_buf_null(CrBuf *buf);

/*
 * merkle_tree.c: the Merkle tree of RFC 6962, built leaf by leaf.  The caller allocates
 * the array "nodes".  Room for d + 1 hashes is enough if the largest number of leaves
 * has d binary digits.  CR_TREE_NODES is enough for 2^63 - 1 leaves.
 */
#define CR_TREE_NODES 64

typedef struct CrTree
{
	uint64_t count; /* how many leaves were added so far */
	uint8_t (*nodes)[CR_HASH_LEN];
} CrTree;

extern void cr_tree_add(CrTree *tree, CrSha256 sha, const uint8_t leaf[CR_HASH_LEN]);
extern void cr_tree_root(const CrTree *tree, CrSha256 sha, uint8_t out[CR_HASH_LEN]);

#endif
