/*
 * table_code.c
 *		Code in the database that runs when a table is written: a DBA's triggers, CHECK
 *		constraints and defaults.  Also finds out whether any of these functions is not
 *		PostgreSQL's own.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "rewrite/rewriteHandler.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "store/table_code.h"

static void
refuse_trigger(Relation rel, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("trigger \"%s\" of table \"%s\" would not fire",
					name, RelationGetRelationName(rel)),
			 errhint("Only AFTER ... FOR EACH ROW triggers are supported on the ledger's tables.")));
}

/* Are there triggers to fire?  A trigger that the ledger cannot fire is an error. */
bool
code_has_triggers(Relation rel)
{
	TriggerDesc *triggers = rel->trigdesc;
	bool found = false;

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
	{
		Trigger *trigger = &triggers->triggers[i];

		if (trigger->tgenabled == TRIGGER_DISABLED)
			continue;
		if (TRIGGER_FOR_ROW(trigger->tgtype) && TRIGGER_FOR_AFTER(trigger->tgtype) &&
			trigger->tgoldtable == NULL && trigger->tgnewtable == NULL)
			found = true;
		else if (strcmp(trigger->tgname, "credits_guard") != 0 ||
				 TRIGGER_FOR_INSERT(trigger->tgtype))
			refuse_trigger(rel, trigger->tgname);
	}
	return found;
}

/*
 * Compiles the table's CHECK constraints.  This takes several times as long as a whole
 * call, and ExecConstraints would do it for every statement.
 */
ExprState **
code_checks(Relation rel)
{
	TupleConstr *constraints = RelationGetDescr(rel)->constr;
	int count = constraints ? constraints->num_check : 0;
	ExprState **checks;

	if (count == 0)
		return NULL;
	checks = palloc0(sizeof(ExprState *) * count);
	for (int i = 0; i < count; i++)
	{
		Node *node = compat_check_expr(rel, &constraints->check[i]);

		if (node)
			checks[i] = ExecInitExpr(expression_planner((Expr *) node), NULL);
	}
	return checks;
}

/*
 * The expression that INSERT uses for a column that it does not name.  NULL: the value is
 * NULL.
 */
static Node *
default_of(Relation rel, AttrNumber attno)
{
	Form_pg_attribute column = TupleDescAttr(RelationGetDescr(rel), attno - 1);
	Node *node = build_column_default(rel, attno);

	if (node == NULL && get_typtype(column->atttypid) == TYPTYPE_DOMAIN)
		/* a domain may forbid NULL */
		node = coerce_to_domain((Node *) makeConst(column->atttypid, -1, column->attcollation,
												   column->attlen, (Datum) 0, true,
												   column->attbyval),
								InvalidOid, -1, column->atttypid, COERCION_IMPLICIT,
								COERCE_IMPLICIT_CAST, -1, false);
	return node;
}

/*
 * Compiles the defaults of columns that a DBA has added.  The extension's own columns
 * have no defaults.  is_foreign: a default can change although the table does not, so the
 * caller must not keep the result.
 */
ExprState **
code_defaults(Relation rel, int ours, bool *is_foreign)
{
	TupleDesc desc = RelationGetDescr(rel);
	ExprState **defaults;

	if (desc->natts == ours)
		return NULL;
	defaults = palloc0(sizeof(ExprState *) * desc->natts);
	for (int i = ours; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		Node *node = NULL;

		if (!column->attisdropped && column->attgenerated == '\0')
			node = default_of(rel, (AttrNumber) (i + 1));
		if (node && !column->atthasdef)
			*is_foreign = true; /* a default of a domain */
		if (node)
			defaults[i] = ExecInitExpr(expression_planner((Expr *) node), NULL);
	}
	return defaults;
}

static bool
is_foreign_function(Oid function, void *context)
{
	(void) context;
	return function >= FirstNormalObjectId;
}

static bool
has_foreign_code(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, CoerceToDomain) ||
		check_functions_in_node(node, is_foreign_function, context))
		return true;
	return expression_tree_walker(node, has_foreign_code, context);
}

/*
 * Does writing the table run functions that are not PostgreSQL's own?  Compiling an
 * expression checks the right to call its functions, and can inline their bodies under
 * the caller's search_path.  Then the result is valid for this caller alone and is not
 * kept for the next one.
 */
bool
code_is_foreign(const ResultRelInfo *rri)
{
	TupleConstr *constraints = RelationGetDescr(rri->ri_RelationDesc)->constr;

	for (int i = 0; constraints && i < constraints->num_check; i++)
	{
		if (has_foreign_code(stringToNode(constraints->check[i].ccbin), NULL))
			return true;
	}
	for (int i = 0; constraints && i < constraints->num_defval; i++)
	{
		if (has_foreign_code(stringToNode(constraints->defval[i].adbin), NULL))
			return true;
	}
	for (int i = 0; i < rri->ri_NumIndices; i++)
	{
		IndexInfo *info = rri->ri_IndexRelationInfo[i];

		if (has_foreign_code((Node *) info->ii_Expressions, NULL) ||
			has_foreign_code((Node *) info->ii_Predicate, NULL))
			return true;
	}
	return false;
}

/*
 * Fires everything that is deferred to the commit: a DBA's triggers, foreign keys and
 * unique constraints.  A run that commits batch by batch calls this before the commit.
 * Here an error belongs to a known account and happens in the account's subtransaction.
 * At the commit it would end the whole run.
 */
void
code_fire_deferred(void)
{
	ConstraintsSetStmt *all_immediate = makeNode(ConstraintsSetStmt);

	AfterTriggerSetState(all_immediate);
}
