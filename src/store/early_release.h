/*
 * early_release.h
 *		Early lock release: a transaction releases its accounts before its commit is
 *		durable.
 */
#ifndef CREDITS_STORE_EARLY_RELEASE_H
#define CREDITS_STORE_EARLY_RELEASE_H

extern void commit_init(void);
extern void commit_locks_account(void);
extern void commit_is_administrative(void);
extern bool commit_may_take_turn(void);

#endif
