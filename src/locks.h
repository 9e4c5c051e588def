/*
 * locks.h
 *		Locks on what has no row of its own to lock.
 *
 * They are in the advisory lock space under a class of their own, so that they
 * never meet a user's advisory locks, and transaction-level, but for a bulk run's,
 * which nobody waits for.  Order: a payment before accounts, accounts in user order
 * (the turn before its account), then an unopened user, then plans, the audit log
 * last.
 *
 * The locks on a payment and on an unopened user are let go when the call has
 * inserted its row, so that a transaction of a million calls does not need a
 * million locks: who comes next finds the row, and waits for its transaction.
 */
#ifndef CREDITS_LOCKS_H
#define CREDITS_LOCKS_H

#include "postgres.h"

#include "storage/lock.h"

typedef enum LockClass
{
	LOCK_PAYMENT = 0x6301,		/* a payment_ref */
	LOCK_OPENING,				/* a user who has no account yet */
	LOCK_PLAN,					/* a plan's versions: defining is exclusive */
	LOCK_SWEEP,					/* one runner */
	LOCK_AUDIT_LOG,				/* the head of the audit log's chain */
	LOCK_ANCHOR,				/* the newest anchor */
	LOCK_TURN,					/* who is next at an account that many want */
	LOCK_RUN					/* a bulk run that is at work, by its id */
} LockClass;

extern void lock_name(LockClass lock_class, const char *name, LOCKMODE mode);
extern void unlock_name(LockClass lock_class, const char *name, LOCKMODE mode);
extern void lock_for_session(LockClass lock_class, const char *name, LOCKMODE mode);
extern void unlock_for_session(LockClass lock_class, const char *name, LOCKMODE mode);
extern bool try_lock_name(LockClass lock_class, const char *name, LOCKMODE mode);

#endif
