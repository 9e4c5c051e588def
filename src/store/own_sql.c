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
 * (test/t/041_architecture.pl).
 *
 * It is still the caller's session, which has temporary objects and what PL/pgSQL
 * has compiled.  No setting changes that, so nothing that a DBA wrote may run as
 * the owner in it.  A query is planned and run as the caller, and is only checked
 * with the owner's rights, like a view (own_sql_open).  DDL has no such way; where
 * it could meet a DBA's code, it is for the owner alone (archive.c).
 *
 * An error needs no own_sql_end: the end of the transaction or subtransaction
 * undoes both, the user and the settings.
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

static Oid
owner_of(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

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
	Oid			owner = owner_of(relid);

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

/* Values are known to the planner, as in SPI_cursor_open_with_args(). */
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
 * Opens a query that may read what the owner of a table may.  Its permissions are
 * checked as the owner's, as those of a view are (checkAsUser); everything else is
 * done as the caller: the planner evaluates functions in the conditions of indexes,
 * and they are not to run as anybody else.
 */
Portal
own_sql_open(const char *sql, int nargs, const Oid *types, const Datum *values, Oid relid)
{
	OwnSql		own;
	Query	   *query;
	PlannedStmt *plan;
	ParamListInfo params = constant_params(nargs, types, values);
	MemoryContext old;
	Portal		portal;

	own_sql_begin(&own);
	query = parse_analyze_fixedparams(linitial_node(RawStmt, pg_parse_query(sql)), sql,
									  types, nargs, NULL);
	setRuleCheckAsUser((Node *) query, owner_of(relid));
	plan = pg_plan_query(linitial_node(Query, pg_rewrite_query(query)), sql,
						 CURSOR_OPT_NO_SCROLL, params);
	portal = CreateNewPortal();
	portal->visible = false;
	old = MemoryContextSwitchTo(portal->portalContext);
	PortalDefineQuery(portal, NULL, pstrdup(sql), CMDTAG_SELECT,
					  list_make1(copyObject(plan)), NULL);
	params = copyParamList(params);
	MemoryContextSwitchTo(old);
	portal->cursorOptions = CURSOR_OPT_NO_SCROLL;
	PortalStart(portal, params, 0, GetActiveSnapshot());
	own_sql_end(&own);
	return portal;
}
