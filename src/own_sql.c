/*
 * own_sql.c
 *		SQL that the extension runs itself.
 *
 * Such a statement can run code that is not ours: a DBA's event triggers, the
 * functions of a DBA's indexes.  That code was written for its author's settings,
 * and it may run as the tables' owner or as a superuser.  With the caller's
 * search_path an = in it could be an operator that the caller has made, and that
 * would be a way to become the owner.  So the settings that decide what a piece of
 * SQL means are fixed here, and the user is switched here and nowhere else
 * (test/t/041_architecture.pl).  It is still the caller's session, with his
 * temporary objects and what PL/pgSQL has compiled: no setting changes that, so
 * DDL that sets off event triggers is for the owner alone (archived.c).
 *
 * An error needs no own_sql_end: the end of the transaction or subtransaction
 * undoes both, the user and the settings.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/syscache.h"

#include "own_sql.h"

static const struct
{
	const char *name;
	const char *value;
}			pinned[] = {
	/* which objects a name means; temporary ones last */
	{"search_path", "pg_catalog, pg_temp"},
	/* where a new table goes */
	{"default_tablespace", ""},
	{"temp_tablespaces", ""},
	{"default_table_access_method", "heap"},
	/* how text is read as SQL, and what an expression or a name comes out as */
	{"standard_conforming_strings", "on"},
	{"transform_null_equals", "off"},
	{"quote_all_identifiers", "off"},
	{"array_nulls", "on"},
	/* which rows a query sees, and whether a function's body is looked at */
	{"row_security", "on"},
	{"check_function_bodies", "on"},
};

/* As the caller. */
void
own_sql_begin(OwnSql *own)
{
	GetUserIdAndSecContext(&own->user, &own->context);
	own->settings = NewGUCNestLevel();
	for (size_t i = 0; i < lengthof(pinned); i++)
	{
		/* The values are good, so what can fail is memory; PostgreSQL would call it 22023. */
		if (set_config_option(pinned[i].name, pinned[i].value, PGC_USERSET, PGC_S_SESSION,
							  GUC_ACTION_SAVE, true, DEBUG5, false) <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail("Setting \"%s\" could not be changed.", pinned[i].name)));
	}
}

/*
 * As a table's owner: the caller may do less.  Nothing that runs now can leave
 * anything for later (a deferred trigger, a prepared statement, a temporary
 * table) or change the user again.
 */
void
own_sql_begin_as_owner(OwnSql *own, Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	own_sql_begin(own);
	SetUserIdAndSecContext(owner, own->context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
}

void
own_sql_end(const OwnSql *own)
{
	SetUserIdAndSecContext(own->user, own->context);
	AtEOXact_GUC(true, own->settings);
}

void
own_sql_execute(const char *command)
{
	if (SPI_execute(command, false, 0) < 0)
		elog(ERROR, "could not execute: %s", command);
}
