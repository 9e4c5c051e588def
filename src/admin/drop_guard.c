/*
 * drop_guard.c
 *		The event trigger that refuses a DROP which would destroy the ledger.
 *
 * The tables belong to the extension.  So PostgreSQL drops them together with the
 * extension, and the extension together with its schema, without asking.  This trigger
 * refuses such a statement while there are accounts, unless credits.allow_drop is on.  It
 * runs before the statement, when PostgreSQL has not even checked whether the caller may
 * drop the object.  If the caller may not, the trigger leaves the refusal to PostgreSQL,
 * so the caller learns nothing here.
 *
 * DROP DATABASE fires no event trigger.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/dependency.h"
#include "catalog/pg_event_trigger.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "commands/user.h"
#include "common/int.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "admin/drop_guard.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/settings.h"
#include "store/columns.h"
#include "store/relations.h"

PG_FUNCTION_INFO_V1(credits_drop_guard);

static Oid
extension_owner(Oid extension)
{
	Relation rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	Oid owner = InvalidOid;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return owner;
}

static Oid
schema_owner(Oid schema)
{
	HeapTuple tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(schema));
	Oid owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

static bool
names(const DropStmt *drop, const char *name)
{
	ListCell *cell;

	foreach(cell, drop->objects)
	{
		if (name && strcmp(strVal(lfirst(cell)), name) == 0)
			return true;
	}
	return false;
}

static bool
drops_extension(const DropStmt *drop, Oid extension)
{
	return OidIsValid(extension) && names(drop, get_extension_name(extension)) &&
		compat_owns_extension(extension, GetUserId());
}

/*
 * DROP OWNED drops objects of the owner even if others depend on them.  It drops objects
 * of others in a schema of the owner only with CASCADE.
 */
static bool
drops_owned(const DropOwnedStmt *drop, Oid extension, Oid schema)
{
	bool found = false;
	ListCell *cell;

	foreach(cell, roleSpecsToIds(drop->roles))
	{
		Oid role = lfirst_oid(cell);

		if (!has_privs_of_role(GetUserId(), role))
			return false;
		found |= role == extension_owner(extension) ||
			(drop->behavior == DROP_CASCADE && role == schema_owner(schema));
	}
	return found;
}

/* Would the statement drop the extension, and may the caller run it? */
static bool
drops_ledger(const Node *statement, Oid extension, Oid schema)
{
	const DropStmt *drop = (const DropStmt *) statement;

	if (IsA(statement, DropOwnedStmt))
		return drops_owned((const DropOwnedStmt *) statement, extension, schema);
	if (!IsA(statement, DropStmt))
		return false;
	if (drop->removeType == OBJECT_EXTENSION)
		return drops_extension(drop, extension) ||
			(drop->behavior == DROP_CASCADE &&
			 drops_extension(drop, getExtensionOfObject(NamespaceRelationId, schema)));
	return drop->removeType == OBJECT_SCHEMA && drop->behavior == DROP_CASCADE &&
		names(drop, get_namespace_name(schema)) && compat_owns_schema(schema, GetUserId());
}

typedef struct Loss
{
	int64 accounts;
	int64 purchased;
	int64 history_rows;
} Loss;

/* Adds to a sum.  A sum that is too large stays at the largest number. */
static void
add(int64 *sum, TupleTableSlot *slot, AttrNumber attno)
{
	bool isnull;

	if (pg_add_s64_overflow(*sum, DatumGetInt64(slot_getattr(slot, attno, &isnull)), sum))
		*sum = PG_INT64_MAX;
}

/*
 * Counts accounts, purchased credits and history rows, as the latest snapshot sees them.
 * History rows are counted by the accounts' heads, not one by one.
 */
static void
count_ledger(Loss *loss)
{
	Relation rel = table_open(store_table(TABLE_ACCOUNT), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);

	memset(loss, 0, sizeof(*loss));
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		loss->accounts++;
		add(&loss->purchased, slot, ACC_PURCHASED);
		add(&loss->purchased, slot, ACC_HELD_PURCHASED);
		add(&loss->history_rows, slot, ACC_HISTORY_SEQ);
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
}

/*
 * If there seem to be no accounts, it looks again under the lock that the DROP itself
 * will take, because another transaction may be opening an account.
 */
Datum
credits_drop_guard(PG_FUNCTION_ARGS)
{
	EventTriggerData *data = (EventTriggerData *) fcinfo->context;
	Oid function = fcinfo->flinfo->fn_oid;
	Loss loss;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo) || strcmp(data->event, "ddl_command_start") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("credits_drop_guard must be fired on ddl_command_start")));
	if (settings_allow_drop() ||
		!drops_ledger(data->parsetree, getExtensionOfObject(ProcedureRelationId, function),
					  get_func_namespace(function)))
		PG_RETURN_NULL();
	store_attach(fcinfo);
	count_ledger(&loss);
	if (loss.accounts == 0)
	{
		LockRelationOid(store_table(TABLE_ACCOUNT), AccessExclusiveLock);
		count_ledger(&loss);
	}
	if (loss.accounts > 0)
		error_drop_refused(loss.accounts, loss.purchased, loss.history_rows);
	PG_RETURN_NULL();
}

/* Does the event trigger fire for our tags and no others? */
static bool
has_our_tags(HeapTuple tuple)
{
	static const char *const tags[] = {"DROP EXTENSION", "DROP SCHEMA", "DROP OWNED"};
	bool isnull;
	Datum value = SysCacheGetAttr(EVENTTRIGGERNAME, tuple, Anum_pg_event_trigger_evttags,
								  &isnull);
	Datum *items;
	int count;

	if (isnull)
		return false;
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &items,
					  NULL, &count);
	for (size_t i = 0; i < lengthof(tags); i++)
	{
		int j = 0;

		while (j < count && strcmp(TextDatumGetCString(items[j]), tags[i]) != 0)
			j++;
		if (j == count)
			return false;
	}
	return count == (int) lengthof(tags);
}

static bool
is_whole(HeapTuple tuple)
{
	Form_pg_event_trigger form = (Form_pg_event_trigger) GETSTRUCT(tuple);
	FmgrInfo function;

	if (strcmp(NameStr(form->evtevent), "ddl_command_start") != 0 || !has_our_tags(tuple))
		return false;
	fmgr_info(form->evtfoid, &function);
	return function.fn_addr == credits_drop_guard;
}

DropGuardState
drop_guard_state(void)
{
	HeapTuple tuple = SearchSysCache1(EVENTTRIGGERNAME, CStringGetDatum(DROP_GUARD_NAME));
	Form_pg_event_trigger form;
	DropGuardState state = DROP_GUARD_WHOLE;

	if (!HeapTupleIsValid(tuple))
		return DROP_GUARD_MISSING;
	form = (Form_pg_event_trigger) GETSTRUCT(tuple);
	if (getExtensionOfObject(EventTriggerRelationId, form->oid) != store_extension())
		state = DROP_GUARD_NOT_MEMBER;
	else if (!is_whole(tuple))
		state = DROP_GUARD_ALTERED;
	else if (form->evtenabled != TRIGGER_FIRES_ALWAYS)
		state = DROP_GUARD_NOT_ALWAYS;
	ReleaseSysCache(tuple);
	return state;
}

/* What is wrong with the event trigger, in words.  NULL: nothing. */
const char *
drop_guard_problem(void)
{
	switch (drop_guard_state())
	{
		case DROP_GUARD_WHOLE:
			break;
		case DROP_GUARD_MISSING:
			return "the event trigger is missing";
		case DROP_GUARD_NOT_MEMBER:
			return "the event trigger does not belong to the extension";
		case DROP_GUARD_ALTERED:
			return "the event trigger was altered";
		case DROP_GUARD_NOT_ALWAYS:
			return "the event trigger is not ENABLE ALWAYS";
	}
	return NULL;
}
