/*
 * guards.c
 *		The guards: triggers that keep the tables append-only, and their repair.
 *
 * A guard is BEFORE STATEMENT and ENABLE ALWAYS.  It refuses the statements of every
 * role, also of superusers and the owner, and also under session_replication_role =
 * replica.  The ledger's own writes fire no statement triggers.  The apply worker of
 * logical replication may do everything, because what it applies has passed a guard on
 * the publisher.  An event trigger protects against DROP (drop_guard.c).
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "admin/drop_guard.h"
#include "admin/guards.h"
#include "admin/roles.h"
#include "base/errors.h"
#include "base/json.h"
#include "store/columns.h"
#include "store/own_sql.h"
#include "store/relations.h"
#include "store/writer.h"
#include "tables/archive_partitions.h"
#include "tables/audit_log.h"

#define GUARD_TYPE \
	(TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE | TRIGGER_TYPE_TRUNCATE)

PG_FUNCTION_INFO_V1(credits_guard);
PG_FUNCTION_INFO_V1(credits_repair_guards);

Datum
credits_guard(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(data->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(data->tg_event) ||
		TRIGGER_FIRED_BY_INSERT(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("credits_guard must be fired by BEFORE UPDATE, DELETE or TRUNCATE FOR EACH STATEMENT")));
	if (!IsLogicalWorker())
		error_append_only(RelationGetRelationName(data->tg_relation),
						  TRIGGER_FIRED_BY_UPDATE(data->tg_event)		? "UPDATE"
							  : TRIGGER_FIRED_BY_DELETE(data->tg_event) ? "DELETE"
																		: "TRUNCATE");
	return PointerGetDatum(NULL);
}

static const Trigger *
find_guard(Relation rel)
{
	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
	{
		if (strcmp(rel->trigdesc->triggers[i].tgname, GUARD_NAME) == 0)
			return &rel->trigdesc->triggers[i];
	}
	return NULL;
}

/* Does the trigger call this library's guard, without a condition? */
static bool
is_whole(const Trigger *guard)
{
	FmgrInfo function;

	if (guard->tgtype != GUARD_TYPE || guard->tgqual != NULL || guard->tgnattr != 0)
		return false;
	fmgr_info(guard->tgfoid, &function);
	return function.fn_addr == credits_guard;
}

/* What is wrong with a table's guard.  NULL: nothing. */
static const char *
guard_problem(Oid relid)
{
	Relation rel = table_open(relid, AccessShareLock);
	const Trigger *guard = find_guard(rel);
	const char *problem = NULL;

	if (guard == NULL)
		problem = "the guard trigger is missing";
	else if (!is_whole(guard))
		problem = "the guard trigger was altered";
	else if (guard->tgenabled != TRIGGER_FIRES_ALWAYS)
		problem = "the guard trigger is not ENABLE ALWAYS";
	table_close(rel, AccessShareLock);
	return problem;
}

/*
 * What else could bypass the guard or hide rows.  A statement on a parent fires only the
 * parent's triggers.  Rows of a child show in the parent.  Row security hides rows from
 * an auditor.
 */
static const char *
exposure_problem(Oid relid, bool is_parent, bool is_partition)
{
	Relation rel = table_open(relid, AccessShareLock);
	bool row_security = rel->rd_rel->relrowsecurity;

	table_close(rel, AccessShareLock);
	if (row_security)
		return "row security is on, which hides rows from auditors";
	if (!is_partition && (get_rel_relispartition(relid) || has_superclass(relid)))
		return "the table is a child or partition, so its guard can be bypassed";
	if (!is_parent && find_inheritance_children(relid, NoLock) != NIL)
		return "the table has a child, whose rows show in it";
	return NULL;
}

/* All tables, the archive, and the archive's partitions in the extension's schema. */
static List *
guarded_tables(void)
{
	List *list = NIL;
	ListCell *cell;

	for (int table = 0; table < TABLE_COUNT; table++)
		list = lappend_oid(list, store_table(table));
	list = lappend_oid(list, archive_parent());
	foreach(cell, archive_partitions())
	{
		if (get_rel_namespace(lfirst_oid(cell)) == store_schema())
			list = lappend_oid(list, lfirst_oid(cell));
	}
	return list;
}

/* Reports everything that is wrong with the guards, or could bypass them. */
void
guards_check(GuardReport report, void *ctx)
{
	const char *problem = drop_guard_problem();
	List *partitions = archive_partitions();
	ListCell *cell;

	if (problem)
		report(ctx, DROP_GUARD_NAME, problem);
	foreach(cell, guarded_tables())
	{
		Oid relid = lfirst_oid(cell);

		problem = guard_problem(relid);
		if (problem)
			report(ctx, get_rel_name(relid), problem);
		problem = exposure_problem(relid, relid == archive_parent(),
								   list_member_oid(partitions, relid));
		if (problem)
			report(ctx, get_rel_name(relid), problem);
	}
}

/* Removes guards with another name.  They would also refuse the ledger's own writes. */
static void
drop_renamed_guards(Oid relid, const char *table)
{
	Relation rel = table_open(relid, AccessShareLock);
	List *names = NIL;
	ListCell *cell;

	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
	{
		const Trigger *trigger = &rel->trigdesc->triggers[i];
		FmgrInfo function;

		fmgr_info(trigger->tgfoid, &function);
		if (function.fn_addr == credits_guard && strcmp(trigger->tgname, GUARD_NAME) != 0)
			names = lappend(names, pstrdup(trigger->tgname));
	}
	table_close(rel, AccessShareLock);
	foreach(cell, names)
		own_sql_execute(
			psprintf("DROP TRIGGER %s ON %s", quote_identifier(lfirst(cell)), table));
}

static void
put_guard_back(Oid relid)
{
	const char *schema = quote_identifier(store_schema_name());
	const char *name = quote_identifier(get_rel_name(relid));

	drop_renamed_guards(relid, psprintf("%s.%s", schema, name));
	own_sql_execute(psprintf("DROP TRIGGER IF EXISTS " GUARD_NAME " ON %s.%s", schema, name));
	own_sql_execute(psprintf("CREATE TRIGGER " GUARD_NAME
							 " BEFORE UPDATE OR DELETE OR TRUNCATE "
							 "ON %s.%s FOR EACH STATEMENT EXECUTE FUNCTION %s.credits_guard()",
							 schema, name, schema));
	own_sql_execute(
		psprintf("ALTER TABLE %s.%s ENABLE ALWAYS TRIGGER " GUARD_NAME, schema, name));
}

/* Repairs the event trigger step by step.  True if there was something to repair. */
static bool
put_drop_guard_back(void)
{
	const char *extension = quote_identifier(get_extension_name(store_extension()));
	bool mended = false;

	for (;; mended = true)
	{
		DropGuardState state = drop_guard_state();

		if (state == DROP_GUARD_WHOLE)
			return mended;
		if (!superuser())
		{
			ereport(WARNING,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("the event trigger " DROP_GUARD_NAME " was not repaired"),
					 errhint("Only a superuser can repair it.")));
			return mended;
		}
		switch (state)
		{
			case DROP_GUARD_WHOLE:
				break;
			case DROP_GUARD_MISSING:
				own_sql_execute(psprintf("CREATE EVENT TRIGGER " DROP_GUARD_NAME
										 " ON ddl_command_start "
										 "WHEN TAG IN (" DROP_GUARD_TAGS ") "
										 "EXECUTE FUNCTION %s." DROP_GUARD_NAME "()",
										 quote_identifier(store_schema_name())));
				break;
			case DROP_GUARD_NOT_MEMBER:
				own_sql_execute(
					psprintf("ALTER EXTENSION %s ADD EVENT TRIGGER " DROP_GUARD_NAME,
							 extension));
				break;
			case DROP_GUARD_ALTERED:
				own_sql_execute(
					psprintf("ALTER EXTENSION %s DROP EVENT TRIGGER " DROP_GUARD_NAME,
							 extension));
				own_sql_execute("DROP EVENT TRIGGER " DROP_GUARD_NAME);
				break;
			case DROP_GUARD_NOT_ALWAYS:
				own_sql_execute("ALTER EVENT TRIGGER " DROP_GUARD_NAME " ENABLE ALWAYS");
				break;
		}
	}
}

/* Inheritance is reported and not repaired.  The role that made it should undo it. */
Datum
credits_repair_guards(PG_FUNCTION_ARGS)
{
	Object object;
	OwnSql own;
	List *broken = NIL;
	ListCell *cell;
	int repaired = 0;

	store_attach(fcinfo);
	writer_check_allowed("credits_repair_guards()");
	roles_check_owner("credits_repair_guards()");
	foreach(cell, guarded_tables())
	{
		if (guard_problem(lfirst_oid(cell)) != NULL)
			broken = lappend_oid(broken, lfirst_oid(cell));
	}
	if (broken != NIL || drop_guard_state() != DROP_GUARD_WHOLE)
		audit_lock_with_tables(broken);
	own_sql_begin(&own);
	SPI_connect();
	foreach(cell, broken)
	{
		if (guard_problem(lfirst_oid(cell)) == NULL)
			continue; /* another transaction has repaired it meanwhile */
		put_guard_back(lfirst_oid(cell));
		repaired++;
	}
	if (put_drop_guard_back())
		repaired++;
	SPI_finish();
	own_sql_end(&own);

	object_begin(&object);
	object_bool(&object, "ok", true);
	object_int(&object, "repaired", repaired);
	if (repaired > 0)
	{
		Object after;

		object_begin(&after);
		object_int(&after, "repaired", repaired);
		audit_append("repair_guards", "guards", (Datum) 0, object_end(&after));
	}
	return object_end(&object);
}
