/*
 * statements.c
 *		Statements that the notifications have to know of.
 *
 * After COMMIT PREPARED those who listen must read anew, because nobody knows what the
 * prepared transaction has done to accounts.
 *
 * Some statements need a database that has no sessions: DROP DATABASE, to rename a database
 * or to give it another tablespace, and CREATE DATABASE of its template.  PostgreSQL waits
 * for 5 seconds until all have ended.  So the database's worker is sent away before, and
 * called back after it.
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "tcop/utility.h"

#include "base/compat.h"
#include "live/rings.h"
#include "live/statements.h"

static ProcessUtility_hook_type next_utility; /* never NULL */

static bool
is_commit_prepared(const Node *statement)
{
	return IsA(statement, TransactionStmt) &&
		((const TransactionStmt *) statement)->kind == TRANS_STMT_COMMIT_PREPARED;
}

static DefElem *
find_option(List *options, const char *name)
{
	ListCell *cell;

	foreach(cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0 && option->arg)
			return option;
	}
	return NULL;
}

static const char *
template_of(const CreatedbStmt *statement)
{
	DefElem *option = find_option(statement->options, "template");

	return option ? defGetString(option) : "template1";
}

/* The database that must have no sessions for the statement; NULL: it is none of these. */
static const char *
emptied_database(const Node *statement)
{
	if (IsA(statement, DropdbStmt))
		return ((const DropdbStmt *) statement)->dbname;
	if (IsA(statement, CreatedbStmt))
		return template_of((const CreatedbStmt *) statement);
	if (IsA(statement, RenameStmt) &&
		((const RenameStmt *) statement)->renameType == OBJECT_DATABASE)
		return ((const RenameStmt *) statement)->subname;
	if (IsA(statement, AlterDatabaseStmt) &&
		find_option(((const AlterDatabaseStmt *) statement)->options, "tablespace"))
		return ((const AlterDatabaseStmt *) statement)->dbname;
	return NULL;
}

/*
 * The database that a statement needs without sessions; InvalidOid: there is none.  Only its
 * owner sends the worker away, because PostgreSQL refuses the statement to others.  (A role
 * that is not the owner can copy a template; then the worker's idle time is waited for.)
 */
static Oid
database_to_empty(const Node *statement)
{
	const char *name = emptied_database(statement);
	Oid database = name ? get_database_oid(name, true) : InvalidOid;

	if (!OidIsValid(database) || !compat_owns_database(database, GetUserId()))
		return InvalidOid;
	return database;
}

static void
at_utility(PlannedStmt *planned, const char *query, bool read_only_tree,
		   ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
		   DestReceiver *dest, QueryCompletion *completion)
{
	bool is_prepared = is_commit_prepared(planned->utilityStmt) && rings_are_wanted();
	Oid database = database_to_empty(planned->utilityStmt);

	if (!OidIsValid(database))
	{
		next_utility(planned, query, read_only_tree, context, params, environment, dest,
					 completion);
		if (is_prepared)
			rings_owe_resync();
		return;
	}
	rings_send_away(database);
	PG_TRY();
	{
		next_utility(planned, query, read_only_tree, context, params, environment, dest,
					 completion);
	}
	PG_FINALLY();
	{
		rings_call_back(database);
	}
	PG_END_TRY();
}

/* Called when the library is loaded. */
void
statements_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	next_utility = ProcessUtility_hook ? ProcessUtility_hook : standard_ProcessUtility;
	ProcessUtility_hook = at_utility;
}
