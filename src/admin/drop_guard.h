/*
 * drop_guard.h
 *		The event trigger that refuses a DROP which would destroy the ledger.
 */
#ifndef CREDITS_ADMIN_DROP_GUARD_H
#define CREDITS_ADMIN_DROP_GUARD_H

#include "postgres.h"

#define DROP_GUARD_NAME "credits_drop_guard"
#define DROP_GUARD_TAGS "'DROP EXTENSION', 'DROP SCHEMA', 'DROP OWNED'"

/* The first problem of the event trigger that was found. */
typedef enum DropGuardState
{
	DROP_GUARD_WHOLE,
	DROP_GUARD_MISSING,
	DROP_GUARD_NOT_MEMBER, /* not a member of the extension: a dump would have it twice */
	DROP_GUARD_ALTERED,
	DROP_GUARD_NOT_ALWAYS
} DropGuardState;

extern DropGuardState drop_guard_state(void);
extern const char *drop_guard_problem(void);

#endif
