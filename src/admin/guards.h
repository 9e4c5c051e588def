/*
 * guards.h
 *		The guards: triggers that keep the tables append-only.
 */
#ifndef CREDITS_ADMIN_GUARDS_H
#define CREDITS_ADMIN_GUARDS_H

#include "postgres.h"

#define GUARD_NAME "credits_guard"

typedef void (*GuardReport)(void *ctx, const char *object, const char *problem);

extern void guards_check(GuardReport report, void *ctx);

#endif
