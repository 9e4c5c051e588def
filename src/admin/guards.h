/*
 * guards.h
 *		The guards: triggers that keep the tables append-only.
 */
#ifndef CREDITS_ADMIN_GUARDS_H
#define CREDITS_ADMIN_GUARDS_H

#include "postgres.h"

#include "nodes/pg_list.h"

#define GUARD_NAME "credits_guard"

extern const char *guard_problem(Oid relid);
extern const char *exposure_problem(Oid relid, bool is_parent, bool is_partition);
extern List *guarded_tables(void);

#endif
