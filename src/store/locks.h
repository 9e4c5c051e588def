/*
 * locks.h
 *		Locks on what has no row of its own to lock.
 *
 * They are in the advisory lock space under a class of their own, so that they
 * never meet a user's advisory locks, and transaction-level, but for a bulk run's,
 * which nobody waits for.  Order: a payment before accounts, accounts in user
 * order (the turn before its account), then an unopened user, then plans, then the
 * newest anchor.  The audit log is only tried by whoever has any of these, but the
 * roles', which come before it.
 *
 * Nobody waits who need not: a call that holds one of many accounts, or keeps others
 * from something, only tries the next lock.  If it does not get it, it lets go of
 * what it holds, and waits then.  An exclusive lock that others want shared is never
 * queued for, since they would queue behind it: it is tried until a deadline.
 *
 * The locks on a payment and on an unopened user are let go when the call has
 * inserted its row, so that a transaction of a million calls does not need a
 * million locks: who comes next finds the row, and waits for its transaction.
 */
#ifndef CREDITS_STORE_LOCKS_H
#define CREDITS_STORE_LOCKS_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* The longest wait of a call that keeps others waiting meanwhile. */
#define LOCK_LIMIT_MS 10000

typedef enum LockClass
{
	LOCK_PAYMENT = 0x6301,		/* a payment_ref */
	LOCK_OPENING,				/* a user who has no account yet */
	LOCK_PLAN,					/* a plan's versions: defining is exclusive */
	LOCK_SWEEP,					/* one runner */
	LOCK_AUDIT_LOG,				/* the head of the audit log's chain */
	LOCK_ANCHOR,				/* the newest anchor */
	LOCK_TURN,					/* who is next at an account that many want */
	LOCK_RUN,					/* a bulk run that is at work, by its id */
	LOCK_ROLES					/* who changes a role's presets */
} LockClass;

extern void lock_name(LockClass lock_class, const char *name, LOCKMODE mode);
extern void unlock_name(LockClass lock_class, const char *name, LOCKMODE mode);
extern void lock_for_session(LockClass lock_class, const char *name, LOCKMODE mode);
extern void unlock_for_session(LockClass lock_class, const char *name, LOCKMODE mode);
extern bool try_lock_name(LockClass lock_class, const char *name, LOCKMODE mode);
extern bool lock_name_until(LockClass lock_class, const char *name, LOCKMODE mode,
							TimestampTz deadline);
extern TimestampTz lock_deadline(void);
extern bool lock_pause(TimestampTz deadline);
extern char *lock_name_holders(LockClass lock_class, const char *name);
extern char *lock_relation_holders(Oid relid);
extern void lock_limit_waits(void (*act) (void *arg), void *arg);

#endif
