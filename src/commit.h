/*
 * commit.h
 *		Early lock release.
 */
#ifndef CREDITS_COMMIT_H
#define CREDITS_COMMIT_H

extern void commit_init(void);
extern void commit_locks_account(void);
extern void commit_is_administrative(void);
extern bool commit_may_queue(void);

#endif
