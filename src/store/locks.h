/*
 * locks.h
 *		Locks on things that have no row to lock.
 *
 * They are advisory locks in a class of their own, so they never conflict with advisory
 * locks of users.  They last to the end of the transaction, except the lock of a bulk
 * run, which no call waits for.
 *
 * A call takes locks in this order:
 *
 * - a payment
 * - accounts in the order of their users; the turn comes before its account
 * - a user without an account
 * - plans
 * - the newest anchor
 *
 * A call that has any of these locks does not wait for the audit log.  It only tries that
 * lock.  LOCK_ROLES is taken before the audit log.
 *
 * No call waits unless it must.  A call that has one of many accounts locked, or a lock
 * that others want, only tries the next lock.  If it does not get it, it releases what it
 * has, and then waits.  An exclusive lock that conflicts with shared locks of other calls
 * is never queued for, because those calls would queue behind it.  It is tried until a
 * deadline.
 *
 * The locks on a payment and on a user without an account are released when the call has
 * inserted its row, so a transaction of a million calls does not need a million locks.
 * The next call for the same name finds the row and waits for the transaction that
 * inserted it.
 */
#ifndef CREDITS_STORE_LOCKS_H
#define CREDITS_STORE_LOCKS_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* The longest time that a call waits while other calls wait for it. */
#define LOCK_LIMIT_MS 10000

typedef enum LockClass
{
	LOCK_PAYMENT = 0x6301, /* a payment_ref */
	LOCK_OPENING,		   /* a user without an account */
	LOCK_PLAN,			   /* a plan's versions; exclusive for defining one */
	LOCK_SWEEP,			   /* held by the one sweep that runs */
	LOCK_AUDIT_LOG,		   /* the head of the audit log's chain */
	LOCK_ANCHOR,		   /* the newest anchor */
	LOCK_TURN,			   /* the next place at an account that many calls want */
	LOCK_RUN,			   /* the id of a bulk run that is running */
	LOCK_ROLES			   /* changing the presets of roles */
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
extern void lock_limit_waits(void (*act)(void *arg), void *arg);

#endif
