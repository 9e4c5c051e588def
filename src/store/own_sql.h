/*
 * own_sql.h
 *		SQL that the extension runs itself.
 */
#ifndef CREDITS_STORE_OWN_SQL_H
#define CREDITS_STORE_OWN_SQL_H

#include "postgres.h"

#include "utils/portal.h"

typedef struct OwnSql
{
	Oid user; /* the current user and security context of the caller */
	int context;
	int settings; /* nest level of the settings to return to */
} OwnSql;

extern void own_sql_begin(OwnSql *own);
extern void own_sql_begin_as_owner(OwnSql *own, Oid relid);
extern void own_sql_end(const OwnSql *own);
extern void own_sql_execute(const char *command);
extern Portal own_sql_open(const char *sql, int nargs, const Oid *types, const Datum *values,
						   Oid relid);

#endif
