/*
 * own_sql.c
 *		SQL that the extension runs itself.
 *
 * Such a statement can run code that is not ours: a DBA's event triggers, and functions
 * in a DBA's indexes.  The author wrote that code for the author's own settings, and it
 * may run as the tables' owner or as a superuser.  With the caller's search_path, an = in
 * that code could be an operator that the caller has made, and the caller could become
 * the owner.  So this file fixes all settings that decide what SQL means.  It is also the
 * only file that switches the user (test/t/041_architecture.pl).
 *
 * The session is still the caller's.  It can have the caller's temporary objects, and
 * PL/pgSQL functions that were compiled before.  No setting changes that, so no code of a
 * DBA may run as the owner in this session.  Therefore a query is planned and run as the
 * caller, and only its permissions are checked as the owner's, like those of a view
 * (own_sql_open).  This is not possible for DDL.  Where DDL could run a DBA's code, only
 * the owner may run it (archive.c).
 *
 * After an error, own_sql_end is not needed.  The end of the transaction or
 * subtransaction restores the user and the settings.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "parser/analyze.h"
#include "rewrite/rewriteDefine.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "store/own_sql.h"

static const struct
{
	const char *name;
	const char *value;
} pinned[] = {
	/* which objects a name means; temporary ones come last */
	{"search_path", "pg_catalog, pg_temp"},
	/* where a new table is stored */
	{"default_tablespace", ""},
	{"temp_tablespaces", ""},
	{"default_table_access_method", "heap"},
	/* how text is read as SQL, and how expressions and names are written as text */
	{"standard_conforming_strings", "on"},
	{"transform_null_equals", "off"},
	{"quote_all_identifiers", "off"},
	{"array_nulls", "on"},
	/* which rows a query sees, and whether the body of a function is checked */
	{"row_security", "on"},
	{"check_function_bodies", "on"},
};

static Oid
owner_of(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Begins to run SQL as the caller. */
void
own_sql_begin(OwnSql *own)
{
	GetUserIdAndSecContext(&own->user, &own->context);
	own->settings = NewGUCNestLevel();
	for (size_t i = 0; i < lengthof(pinned); i++)
	{
		/*
		 * The values are valid, so only memory can be missing.  PostgreSQL would report
		 * 22023.
		 */
		if (set_config_option(pinned[i].name, pinned[i].value, PGC_USERSET, PGC_S_SESSION,
							  GUC_ACTION_SAVE, true, DEBUG5, false) <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail("Setting \"%s\" could not be changed.", pinned[i].name)));
	}
}

/*
 * Begins to run SQL as a table's owner, because the caller has fewer rights.  Nothing
 * that runs now can leave anything for later (a deferred trigger, a prepared statement, a
 * temporary table) or change the user again.
 */
void
own_sql_begin_as_owner(OwnSql *own, Oid relid)
{
	Oid owner = owner_of(relid);

	own_sql_begin(own);
	SetUserIdAndSecContext(owner,
						   own->context | SECURITY_LOCAL_USERID_CHANGE |
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

/* The planner knows the values, as in SPI_cursor_open_with_args(). */
static ParamListInfo
constant_params(int nargs, const Oid *types, const Datum *values)
{
	ParamListInfo params = makeParamList(nargs);

	for (int i = 0; i < nargs; i++)
	{
		params->params[i].value = values[i];
		params->params[i].isnull = false;
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = types[i];
	}
	return params;
}

/*
 * Opens a query that may read what the owner of a table may read.  Permissions are
 * checked as the owner's, like those of a view (checkAsUser).  Everything else is done as
 * the caller.  The planner evaluates functions in the conditions of indexes, and these
 * must run as the caller, too.
 */
Portal
own_sql_open(const char *sql, int nargs, const Oid *types, const Datum *values, Oid relid)
{
	OwnSql own;
	Query *query;
	PlannedStmt *plan;
	ParamListInfo params = constant_params(nargs, types, values);
	MemoryContext old;
	Portal portal;

	own_sql_begin(&own);
	query = parse_analyze_fixedparams(linitial_node(RawStmt, pg_parse_query(sql)), sql, types,
									  nargs, NULL);
	setRuleCheckAsUser((Node *) query, owner_of(relid));
	plan = pg_plan_query(linitial_node(Query, pg_rewrite_query(query)), sql,
						 CURSOR_OPT_NO_SCROLL, params);
	portal = CreateNewPortal();
	portal->visible = false;
	old = MemoryContextSwitchTo(portal->portalContext);
	PortalDefineQuery(portal, NULL, pstrdup(sql), CMDTAG_SELECT, list_make1(copyObject(plan)),
					  NULL);
	params = copyParamList(params);
	MemoryContextSwitchTo(old);
	portal->cursorOptions = CURSOR_OPT_NO_SCROLL;
	PortalStart(portal, params, 0, GetActiveSnapshot());
	own_sql_end(&own);
	return portal;
}
