/*
 * core.h
 *		The rules of the ledger, without tables, locks and clocks.
 *
 * A rule is a function that is given an account's state, a time and what to do.
 * It either returns CR_OK, and then the account is the new state and the row is the
 * history row that records the change; or it refuses with another verdict, and then
 * the account is as it was.  The core never throws and includes no PostgreSQL
 * header.  Therefore the same rules are unit-tested and fuzzed without a server, and
 * verification replays a history through them.
 *
 * An account has three buckets.  The monthly bucket is filled with its plan's
 * allowance at each boundary between two periods.  Granted credits end, each grant
 * at its own time.  Purchased credits do not end.  A deduction spends monthly credits
 * first, then granted, then purchased ones.  A hold sets credits aside until it is
 * captured, which spends them, or released, which gives them back.
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

/* Where a plan's periods have their boundaries.  cycle.c has the rest. */
typedef enum CrCycle
{
	CR_CALENDAR,	/* at 00:00 on the 1st of a month */
	CR_ANNIVERSARY, /* a number of months after the account's anchor */
	CR_CYCLE_COUNT
} CrCycle;

typedef enum CrStatus
{
	CR_ACTIVE,
	CR_FROZEN, /* nothing can be spent */
	CR_CLOSED  /* nothing can be spent or granted, only purchased */
} CrStatus;

typedef enum CrBucket
{
	CR_MONTHLY,
	CR_GRANTED,
	CR_PURCHASED
} CrBucket;

/* What a history row records. */
typedef enum CrKind
{
	CR_KIND_OPEN,
	CR_KIND_DEDUCT,
	CR_KIND_PURCHASE,
	CR_KIND_ADJUST,
	CR_KIND_SET_PLAN,	   /* a call: another plan from now on */
	CR_KIND_SCHEDULE_PLAN, /* a call: another plan from the next boundary on */
	CR_KIND_PLAN_CHANGE,   /* an event: that boundary has come */
	CR_KIND_RESET,		   /* an event: a period ended and the next began */
	CR_KIND_FREEZE,
	CR_KIND_UNFREEZE,
	CR_KIND_CLOCK_REPAIR,
	CR_KIND_SET_OVERDRAFT,
	CR_KIND_SET_CYCLE, /* another anchor or time zone */
	CR_KIND_IMPORTED,  /* a row of another system's history */
	CR_KIND_IMPORT,	   /* what the account had in that system */
	CR_KIND_TRANSFER_OUT,
	CR_KIND_TRANSFER_IN,
	CR_KIND_GRANT,	   /* from here on, a kind is about grants, holds or earlier rows */
	CR_KIND_GRANT_END, /* an event: what was left of a grant has expired */
	CR_KIND_HOLD,
	CR_KIND_HOLD_END, /* an event: a hold's time is over */
	CR_KIND_CAPTURE,
	CR_KIND_RELEASE,
	CR_KIND_REFUND,
	CR_KIND_REVOKE, /* a purchase whose payer took the payment back */
	CR_KIND_UNDO,	/* takes back what a row of a bulk run did */
	CR_KIND_CLOSE,
	CR_KIND_ARCHIVE, /* older rows were archived and left a checkpoint */
	CR_KIND_COUNT
} CrKind;

/* What a rule answers: CR_OK, or why it refused, with the SQLSTATE that a caller gets. */
typedef enum CrVerdict
{
	CR_OK,
	CR_INSUFFICIENT,	/* UC001 */
	CR_IS_FROZEN,		/* UC004 */
	CR_IS_CLOSED,		/* UC004 */
	CR_OVER_CAP,		/* 22003: the account would have more than CR_MAX_CREDITS */
	CR_NO_PERIOD,		/* 22023: there is no boundary to schedule a change for */
	CR_NOT_AHEAD,		/* 22023: the account's clock is not ahead */
	CR_GRANT_UPWARDS,	/* 22023: only a grant can give granted credits */
	CR_ENDS_TOO_SOON,	/* 22023: the end is not after now */
	CR_HOLD_CLOSED,		/* UC006 */
	CR_MORE_THAN_SPENT, /* UC010 */
	CR_NOT_UNDOABLE,	/* the period or grant has ended, or it was undone before */
	CR_HAS_HOLDS,		/* 55000: holds are open */
	CR_ZONE_UNKNOWN		/* UC012: the server does not know the account's zone */
} CrVerdict;

/* The result of applying what is due. */
typedef enum CrFold
{
	CR_FOLDED,		   /* everything is applied */
	CR_WAITS_FOR_ZONE, /* the next reset waits, and so does what is due after it */
	CR_PLAN_MISSING	   /* the plan has no version; the plan table excludes that */
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
	CrTime created_at; /* what the clock said when it was defined */
} CrPlanVersion;

/*
 * What an account has besides sums and times.  A row that changes one of these
 * fields has all of them.
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
	int64_t period_granted; /* by the plan, in this period */
} CrFacts;

/*
 * An allocation: how many credits came from one source.  The source is the seq of
 * a grant, or one of these.
 */
#define CR_FROM_MONTHLY	  INT64_C(0)
#define CR_FROM_PURCHASED INT64_C(-1)
#define CR_FROM_CLOSED	  INT64_C(-2) /* monthly credits of a period that had ended */

typedef struct CrPart
{
	int64_t source;
	int64_t credits;
} CrPart;

typedef struct CrGrant
{
	int64_t seq; /* of the row that opened it */
	CrTime ends_at;
	int64_t amount;
	int64_t left; /* does not include what is held */
	bool closed;  /* it has ended: it takes no credits back */
	bool changed; /* since it was read */
	bool is_new;  /* it was opened, not read */
} CrGrant;

typedef enum CrHoldState
{
	CR_HOLD_OPEN,
	CR_HOLD_CAPTURED,
	CR_HOLD_RELEASED,
	CR_HOLD_EXPIRED, /* it can still be captured late, once */
	CR_HOLD_SETTLED	 /* it was captured late */
} CrHoldState;

/*
 * A hold, and what it still has of each source.  One that has expired keeps the
 * figures that it had then, although it gave the credits back.
 */
typedef struct CrHold
{
	int64_t seq; /* of the row that opened it */
	CrTime ends_at;
	CrTime period_start; /* of the period that the monthly credits are of */
	int64_t amount;
	int64_t monthly;
	int64_t purchased;
	int n_parts; /* of grants, in the order in which they were taken */
	CrPart *parts;
	CrHoldState state;
	bool changed; /* since it was read */
	bool is_new;  /* it was opened, not read */
} CrHold;

/*
 * The grants of an account that have not ended, and its holds.  The caller reads
 * them, and stores those that are changed or new.  The lists take memory by the
 * caller's alloc; it must last as long as they do.
 */
typedef struct CrLots
{
	void *(*alloc)(void *ctx, size_t size);
	void *ctx;
	CrGrant *grants; /* as they are spent: by their ends, then by age */
	int n_grants;
	int room_grants;
	CrHold *holds; /* oldest first */
	int n_holds;
	int room_holds;
	CrPart *parts; /* the allocations of the row that is being made */
	int n_parts;
	int room_parts;
} CrLots;

typedef struct CrAccount
{
	const char *user_id;
	CrBuckets balance; /* does not include what is held */
	CrBuckets held;
	int64_t owed_monthly; /* paid first from what comes into the bucket */
	int64_t owed_purchased;
	CrFacts facts;
	CrTime period_start;
	CrTime next_reset_at; /* CR_NEVER: the period is open-ended */
	CrTime next_event_at; /* no event comes before that */
	CrTime effective_at;  /* of the last history row */
	int64_t history_seq;  /* 0: there is no row yet */
	uint8_t history_hash[CR_HASH_LEN];
	CrLots *lots; /* NULL: not read; see cr_has_lots() */
} CrAccount;

/*
 * One history row.  The core fills the first part.  The ledger fills the second: the
 * row's number, who did it and why, and the hash.
 */
typedef struct CrRow
{
	/* filled by the core */
	CrKind kind;
	CrTime effective_at;
	CrTime period_start;
	CrTime next_reset_at; /* CR_NEVER: none */
	int64_t amount;
	CrBuckets delta;
	CrBuckets balance; /* this and the next ones: after the row */
	CrBuckets held;
	int64_t owed_monthly;
	int64_t owed_purchased;
	int64_t expired;	  /* credits that came to their end unspent */
	int64_t forfeited;	  /* credits that were lost in another way */
	int32_t skipped;	  /* boundaries before this one that the row stands for */
	int32_t plan_version; /* 0: none */
	bool has_ref_seq;
	int64_t ref_seq; /* of the earlier row that this one is about */
	bool has_ends_at;
	CrTime ends_at;
	int n_allocations; /* of grants; in a capture's row, of every source */
	const CrPart *allocations;
	bool has_facts;
	CrFacts facts;

	/* filled by the ledger */
	const char *user_id;
	int64_t seq;
	CrTime created_at;
	const char *actor;
	const char *spender; /* these may be NULL from here on */
	const char *payment_ref;
	const char *idempotency_key;
	const uint8_t *request_digest; /* CR_HASH_LEN bytes */
	const uint8_t *run_id;		   /* CR_UUID_LEN bytes */
	const char *reason;
	const char *metadata;	  /* the jsonb's text */
	const uint8_t *text_salt; /* text_salt_len bytes */
	size_t text_salt_len;
	const uint8_t *reason_digest; /* stored only once the text is erased */
	const uint8_t *metadata_digest;
	uint8_t hash[CR_HASH_LEN];
	const char *malformed; /* why a stored row cannot be one; NULL: it can */
} CrRow;

/*
 * What the core needs from its caller.  local_to_utc and utc_to_local convert times;
 * they are called only for zones that knows_zone knows.  plan_at gives the version of
 * a plan that is in force at a time, plan_version a certain version; NULL if there is
 * none.  These pointers must stay valid for the whole call.  emit gets each row that
 * cr_fold_due() makes.
 */
typedef struct CrEnv
{
	void *ctx;
	CrTime (*local_to_utc)(void *ctx, const char *zone, CrLocal local);
	CrLocal (*utc_to_local)(void *ctx, const char *zone, CrTime utc);
	bool (*knows_zone)(void *ctx, const char *zone); /* NULL: it knows all */
	const CrPlanVersion *(*plan_at)(void *ctx, const char *plan, CrTime at);
	const CrPlanVersion *(*plan_version)(void *ctx, const char *plan, int32_t version);
	void (*emit)(void *ctx, const CrRow *row); /* may be NULL */
} CrEnv;

/*
 * What a row spent, and how much of that was refunded since.  It spent the monthly
 * credits first, then those of the parts, then the purchased ones.  Of a capture,
 * the parts have everything.
 */
typedef struct CrSpent
{
	int64_t seq;
	int64_t amount;
	CrTime period_start; /* of the period that the monthly credits are of */
	int64_t refunded;
	int64_t monthly;
	int64_t purchased; /* includes what was owed */
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

/*
 * lots.c: the grants and holds of an account.  A rule needs acc->lots if
 * cr_has_lots() says so, and also to open or close a grant or hold or to give credits
 * back to one.
 */
extern bool cr_has_lots(const CrAccount *acc);
extern CrTime cr_next_event(const CrAccount *acc);
extern CrGrant *cr_lots_add_grant(CrLots *lots, int64_t seq, CrTime ends_at);
extern CrHold *cr_lots_add_hold(CrLots *lots, int64_t seq, int n_parts);
extern CrHold *cr_find_hold(const CrAccount *acc, int64_t seq);
extern int64_t cr_hold_left(const CrHold *hold);
extern bool cr_hold_fits(const CrHold *hold);

/* cycle.c: the cycles, and when a period ends */
extern const char *const cr_cycle_choices; /* all of them, for an error message */
extern const char *cr_cycle_name(CrCycle cycle);
extern bool cr_cycle_parse(const char *name, CrCycle *cycle);
extern bool cr_knows_zone(const CrEnv *env, const char *zone);
extern CrTime cr_next_boundary(const CrEnv *env, CrCycle cycle, const char *zone,
							   CrLocal anchor, CrTime after);
extern CrTime cr_boundary_before(const CrEnv *env, CrCycle cycle, const char *zone,
								 CrLocal anchor, CrTime at);
extern CrTime cr_period_end(const CrEnv *env, CrCycle old_cycle, CrCycle new_cycle,
							const char *zone, CrLocal anchor, CrTime start);
extern CrTime cr_first_period_end(const CrEnv *env, CrCycle cycle, const char *zone,
								  CrLocal anchor, CrTime start);
extern CrTime cr_stretch(const CrEnv *env, CrCycle cycle, const char *zone, CrLocal anchor,
						 CrTime end);

/* buckets.c: sums, spending, purchases and corrections */
extern int64_t cr_available(const CrAccount *acc);
extern int64_t cr_bucket_balance(const CrAccount *acc, CrBucket bucket);
extern int64_t cr_held(const CrAccount *acc);
extern int64_t cr_owed(const CrAccount *acc);
extern bool cr_is_low(const CrAccount *acc, const CrPlanVersion *plan);
extern CrVerdict cr_deduct(CrAccount *acc, CrTime at, int64_t amount, CrRow *row);
extern CrVerdict cr_purchase(CrAccount *acc, CrTime at, int64_t amount, CrRow *row);
extern CrVerdict cr_adjust(CrAccount *acc, CrTime at, CrBucket bucket, int64_t delta,
						   CrRow *row);

/*
 * account_rules.c and plan_rules.c: the account itself, its plan and its cycle.
 * These rules work out the end of the period.  Their twins named cr_apply_ are given
 * it, because an end that is stored is final.
 */
extern void cr_account_init(CrAccount *acc, const char *user_id);
extern CrVerdict cr_open(CrAccount *acc, const CrEnv *env, CrTime at,
						 const CrPlanVersion *plan, CrLocal anchor, const char *zone,
						 CrRow *row);
extern CrVerdict cr_apply_open(CrAccount *acc, CrTime at, const CrPlanVersion *plan,
							   CrLocal anchor, const char *zone, CrTime next_reset_at,
							   CrRow *row);
extern CrVerdict cr_set_overdraft(CrAccount *acc, CrTime at, int64_t limit, CrRow *row);
extern CrVerdict cr_set_status(CrAccount *acc, CrTime at, CrStatus status, CrRow *row);
extern CrVerdict cr_repair_clock(CrAccount *acc, CrTime at, CrRow *row);
extern CrVerdict cr_close(CrAccount *acc, CrTime at, CrRow *row);
extern void cr_archive(CrAccount *acc, CrTime at, int64_t upto, CrRow *row);

extern CrVerdict cr_set_plan(CrAccount *acc, const CrEnv *env, CrTime at,
							 const CrPlanVersion *plan, CrRow *row);
extern CrVerdict cr_apply_plan(CrAccount *acc, CrTime at, const CrPlanVersion *plan,
							   CrTime next_reset_at, CrRow *row);
extern CrTime cr_end_with_plan(const CrAccount *acc, const CrEnv *env, CrTime at,
							   const CrPlanVersion *plan);
extern CrVerdict cr_schedule_plan(CrAccount *acc, CrTime at, const char *plan, CrRow *row);
extern CrVerdict cr_set_cycle(CrAccount *acc, const CrEnv *env, CrTime at, CrLocal anchor,
							  const char *zone, CrRow *row);
extern CrVerdict cr_apply_cycle(CrAccount *acc, CrTime at, CrLocal anchor, const char *zone,
								CrTime next_reset_at, CrRow *row);

/* grant_rules.c, chargeback_rules.c and transfer_rules.c */
extern CrVerdict cr_grant(CrAccount *acc, CrTime at, int64_t seq, int64_t amount,
						  CrTime ends_at, CrRow *row);
extern CrVerdict cr_revoke(CrAccount *acc, CrTime at, int64_t amount, int64_t purchase,
						   CrRow *row);
extern CrVerdict cr_transfer_out(CrAccount *acc, CrTime at, int64_t amount, CrRow *row);
extern CrVerdict cr_transfer_in(CrAccount *acc, CrTime at, int64_t amount, CrRow *row);

/* hold_rules.c: setting credits aside, spending them, giving them back */
extern CrVerdict cr_hold(CrAccount *acc, CrTime at, int64_t seq, int64_t amount,
						 CrTime ends_at, CrRow *row);
extern CrVerdict cr_capture(CrAccount *acc, CrTime at, CrHold *hold, int64_t amount,
							bool keep_open, CrRow *row);
extern CrVerdict cr_release(CrAccount *acc, CrTime at, CrHold *hold, CrRow *row);
extern void cr_apply_hold_end(CrAccount *acc, CrHold *hold, CrRow *row);

/* refund_rules.c: giving back what was spent, to where it came from */
extern bool cr_spent(CrSpent *spent, const CrRow *row);
extern bool cr_spent_fits(const CrRow *row);
extern CrVerdict cr_refund(CrAccount *acc, CrTime at, const CrSpent *spent, int64_t amount,
						   CrRow *row);

/* undo_rules.c: taking back what a row of a bulk run did */
typedef struct CrRegrant
{
	const CrPlanVersion *plan; /* the version that grants anew */
	CrTime next_reset_at;	   /* is later than before if it has another cycle */
} CrRegrant;

extern bool cr_undone_fits(const CrRow *target);
extern int64_t cr_expired_by_last(const CrRow *reset, const CrPlanVersion *before);
extern CrVerdict cr_undo(CrAccount *acc, CrTime at, const CrRow *target, bool is_undone,
						 int64_t expired, const CrRegrant *regrant, CrRow *row);

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
} CrImport;

extern bool cr_can_import(const CrAccount *acc);
extern CrVerdict cr_imported(CrAccount *acc, CrTime at, int64_t amount, CrRow *row);
extern CrVerdict cr_import(CrAccount *acc, CrTime at, const CrImport *import, CrRow *row);

/*
 * due.c: what time does to an account.  A caller applies what is due before it asks a
 * rule for anything.
 */
extern bool cr_is_due(const CrAccount *acc, CrTime upto);
extern bool cr_waits_for_zone(const CrAccount *acc, const CrEnv *env, CrTime upto);
extern CrTime cr_waiting_time(const CrAccount *acc);
extern CrFold cr_fold_due(CrAccount *acc, const CrEnv *env, CrTime upto);
extern void cr_apply_grant_end(CrAccount *acc, CrGrant *grant, CrRow *row);
extern void cr_apply_plan_change(CrAccount *acc, CrTime at, const CrPlanVersion *plan,
								 CrRow *row);
extern void cr_apply_boundary(CrAccount *acc, CrTime at, const CrPlanVersion *plan,
							  CrTime next_reset_at, int32_t skipped, CrRow *row);

/* row.c: comparing what is in rows */
extern bool cr_text_equal(const char *a, const char *b);
extern bool cr_facts_equal(const CrFacts *a, const CrFacts *b);

/*
 * replay.c: checking stored rows.  If the row follows from the state before it,
 * cr_replay() makes the account the next state and returns NULL; otherwise it returns
 * what is wrong with the row.  target: the row that a refund or undo refers to, NULL
 * if there is none.  used: how much of that row was refunded before, or how often it
 * was undone before.
 */
extern const char *cr_replay(CrAccount *acc, const CrEnv *env, const CrRow *row,
							 const CrRow *target, int64_t used);
extern const char *cr_compare_head(const CrAccount *stored, const CrAccount *expected);

/* chain.c: the bytes that are hashed */
typedef void (*CrSha256)(const void *data, size_t len, uint8_t out[CR_HASH_LEN]);

typedef struct CrBuf
{
	uint8_t *data;
	size_t len;
	size_t cap; /* what does not fit is not written, but counted in len */
} CrBuf;

/* One row of the audit log: something that an administrator did. */
typedef struct CrAuditRow
{
	int64_t seq;
	CrTime created_at;
	const char *action;
	const char *subject;
	const char *actor;
	const char *client_addr; /* these may be NULL from here on */
	const char *application;
	const char *before; /* the jsonb's text */
	const char *after;
	uint8_t hash[CR_HASH_LEN];
} CrAuditRow;

/*
 * An anchor: a digest of all histories at one moment.  It is the root of a tree whose
 * leaves are each user's newest row at that moment, and the audit log's.
 */
typedef struct CrAnchor
{
	int64_t anchor_no;
	CrTime created_at;
	int64_t accounts;  /* users in the tree */
	int64_t changed;   /* users of these with new rows since the anchor before */
	int64_t audit_seq; /* of the audit log's newest row; 0: it has none */
	uint8_t audit_hash[CR_HASH_LEN];
	uint8_t root[CR_HASH_LEN];
	uint8_t changed_root[CR_HASH_LEN]; /* of a tree of the changed users alone */
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
 * merkle_tree.c: the Merkle tree of RFC 6962, built leaf by leaf.  The caller gives
 * nodes room for one hash more than the number of leaves has binary digits.
 */
#define CR_TREE_NODES 64

typedef struct CrTree
{
	uint64_t count; /* of the leaves so far */
	uint8_t (*nodes)[CR_HASH_LEN];
} CrTree;

extern void cr_tree_add(CrTree *tree, CrSha256 sha, const uint8_t leaf[CR_HASH_LEN]);
extern void cr_tree_root(const CrTree *tree, CrSha256 sha, uint8_t out[CR_HASH_LEN]);

#endif
