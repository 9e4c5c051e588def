/*
 * roles.c
 *		Presets of rights: who may call what.
 *
 * The table below is the whole of it.  Granting a preset is plain GRANTs,
 * recorded in credit_role; taking it back revokes what no other preset of that
 * role still gives.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_proc.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "audit.h"
#include "compat.h"
#include "errors.h"
#include "locks.h"
#include "own_sql.h"
#include "receipt.h"
#include "request.h"
#include "roles.h"
#include "settings.h"
#include "store.h"
#include "writer.h"

PG_FUNCTION_INFO_V1(credits_grant_role);
PG_FUNCTION_INFO_V1(credits_revoke_role);

enum
{
	APP = 1 << 0,
	BILLING = 1 << 1,
	AUDITOR = 1 << 2,
	SUPPORT = 1 << 3,
	ADMIN = 1 << 4,
	MONITOR = 1 << 5,
	END_USER = 1 << 6
};

static const struct
{
	const char *name;
	int			bit;
}			presets[] = {
	{"app", APP},
	{"billing", BILLING},
	{"auditor", AUDITOR},
	{"support", SUPPORT},
	{"admin", ADMIN},
	{"monitor", MONITOR},
	{"end_user", END_USER},
};

typedef struct Right
{
	const char *object;
	int			presets;
	const char *columns;		/* of a table; NULL: all */
} Right;

/* EXECUTE */
static const Right routine_rights[] = {
	{"credits_deduct", APP, NULL},
	{"credits_try_deduct", APP, NULL},
	{"credits_deduct_many", APP, NULL},
	{"credits_hold", APP, NULL},
	{"credits_capture", APP, NULL},
	{"credits_release", APP, NULL},
	{"credits_add_purchased", BILLING, NULL},
	{"credits_grant", BILLING, NULL},
	{"credits_refund", BILLING, NULL},
	{"credits_revoke_purchase", BILLING, NULL},
	{"credits_set_overdraft", ADMIN, NULL},
	{"credits_open_account", BILLING | ADMIN, NULL},
	{"credits_set_plan", BILLING | ADMIN, NULL},
	{"credits_set_cycle", BILLING | ADMIN, NULL},
	{"credits_adjust", ADMIN, NULL},
	{"credits_define_plan", ADMIN, NULL},
	{"credits_freeze", ADMIN, NULL},
	{"credits_unfreeze", ADMIN, NULL},
	{"credits_repair_clock", ADMIN, NULL},
	{"credits_erase_user", ADMIN, NULL},
	{"credits_reset_due", ADMIN, NULL},
	{"credits_run_reset", ADMIN, NULL},
	{"credits_grant_many", ADMIN, NULL},
	{"credits_apply_plan", ADMIN, NULL},
	{"credits_undo_run", ADMIN, NULL},
	{"credits_import", ADMIN, NULL},
	{"credits_archive", ADMIN, NULL},
	{"credits_transfer", ADMIN, NULL},
	{"credits_close_account", ADMIN, NULL},
	{"credits_schedule_reset", ADMIN, NULL},
	{"credits_unschedule_reset", ADMIN, NULL},
	{"credits_balance", APP | BILLING | AUDITOR | SUPPORT | ADMIN, NULL},
	{"credits_balance_at", AUDITOR | SUPPORT | ADMIN, NULL},
	{"credits_explain", AUDITOR | SUPPORT | ADMIN, NULL},
	{"credits_account_state", AUDITOR | SUPPORT | ADMIN, NULL},
	{"credits_now", AUDITOR | SUPPORT | ADMIN, NULL},
	{"credits_history", AUDITOR | SUPPORT | ADMIN, NULL},
	{"credits_verify", AUDITOR, NULL},
	{"credits_run_verify", AUDITOR, NULL},
	{"credits_verify_account", AUDITOR, NULL},
	{"credits_verify_structure", AUDITOR, NULL},
	{"credits_anchor", AUDITOR | ADMIN, NULL},
	{"credits_verify_anchor", AUDITOR, NULL},
	{"credits_current_user_id", END_USER, NULL},
	{"credits_my_balance", END_USER, NULL},
	{"credits_my_history", END_USER, NULL},
};

/* SELECT */
static const Right table_rights[] = {
	{"credit_plan", AUDITOR | ADMIN, NULL},
	{"credit_account", AUDITOR, NULL},
	{"credit_history", AUDITOR, NULL},
	{"credit_payment", AUDITOR, NULL},
	{"credit_grant", AUDITOR, NULL},
	{"credit_hold", AUDITOR, NULL},
	{"credit_reset_run", AUDITOR | ADMIN, NULL},
	{"credit_reset_run", MONITOR, "started_at, finished_at, accounts, credits_granted, "
	"credits_expired, failures, run_id, kind, state, actor, history_rows, sample"},
	{"credit_audit_log", AUDITOR | ADMIN, NULL},
	{"credit_role", AUDITOR | ADMIN, NULL},
	{"credit_anchor", AUDITOR | ADMIN, NULL},
	{"credit_anchor_leaf", AUDITOR, NULL},
	{"credit_history_archive", AUDITOR, NULL},
	{"credit_checkpoint", AUDITOR, NULL},
	{"credit_balance", AUDITOR | SUPPORT | ADMIN, NULL},
	{"credit_usage_daily", AUDITOR | SUPPORT | ADMIN, NULL},
};

/* Only the tables' owner (or a superuser) may go on. */
void
roles_check_owner(const char *function)
{
	if (!cr_owns_relation(store_table(TABLE_ROLE), GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("only the extension's owner may call %s", function)));
}

static int
preset_bit(const char *name)
{
	for (size_t i = 0; i < lengthof(presets); i++)
	{
		if (strcmp(presets[i].name, name) == 0)
			return presets[i].bit;
	}
	error_bad_value("preset", name,
					"app, billing, auditor, support, admin, monitor or end_user");
}

/* The one routine of that name that belongs to the extension. */
static Oid
find_routine(const char *name)
{
	CatCList   *list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
	Oid			extension = store_extension();
	Oid			found = InvalidOid;

	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(&list->members[i]->tuple);

		if (proc->pronamespace == store_schema() &&
			getExtensionOfObject(ProcedureRelationId, proc->oid) == extension)
			found = proc->oid;
	}
	ReleaseSysCacheList(list);
	if (!OidIsValid(found))
		error_corrupted(name, "it does not exist");
	return found;
}

/* Does the role have every right of a preset? */
static bool
has_rights(Oid roleid, int preset)
{
	Datum		role = ObjectIdGetDatum(roleid);
	Datum		execute_right = CStringGetTextDatum("EXECUTE");
	Datum		select_right = CStringGetTextDatum("SELECT");

	for (size_t i = 0; i < lengthof(routine_rights); i++)
	{
		if ((routine_rights[i].presets & preset) &&
			!DatumGetBool(DirectFunctionCall3(has_function_privilege_id_id, role,
											  ObjectIdGetDatum(find_routine(routine_rights[i].object)),
											  execute_right)))
			return false;
	}
	for (size_t i = 0; i < lengthof(table_rights); i++)
	{
		Oid			relid = get_relname_relid(table_rights[i].object, store_schema());

		if ((table_rights[i].presets & preset) &&
			!DatumGetBool(DirectFunctionCall3(has_any_column_privilege_id_id, role,
											  ObjectIdGetDatum(relid), select_right)))
			return false;
	}
	return true;
}

/* GRANTs or REVOKEs what is in wanted and not in others. */
static void
change_rights(const char *role, int wanted, int others, bool grant)
{
	const char *schema = quote_identifier(store_schema_name());
	const char *verb = grant ? "GRANT" : "REVOKE";
	const char *to = grant ? "TO" : "FROM";

	for (size_t i = 0; i < lengthof(routine_rights); i++)
	{
		const Right *right = &routine_rights[i];

		if ((right->presets & wanted) && !(right->presets & others))
			own_sql_execute(psprintf("%s EXECUTE ON ROUTINE %s %s %s", verb,
							 format_procedure_qualified(find_routine(right->object)), to, quote_identifier(role)));
	}
	for (size_t i = 0; i < lengthof(table_rights); i++)
	{
		const Right *right = &table_rights[i];

		if ((right->presets & wanted) && !(right->presets & others))
			own_sql_execute(psprintf("%s SELECT %s ON TABLE %s.%s %s %s", verb,
							 right->columns ? psprintf("(%s)", right->columns) : "",
							 schema, right->object, to, quote_identifier(role)));
	}
}

/* Without USAGE on the schema no right in it is worth anything. */
static void
change_usage(const char *role, bool grant)
{
	own_sql_execute(psprintf("%s USAGE ON SCHEMA %s %s %s", grant ? "GRANT" : "REVOKE",
					 quote_identifier(store_schema_name()), grant ? "TO" : "FROM",
					 quote_identifier(role)));
}

/* What credit_role says of a role. */
typedef struct Recorded
{
	int			presets;
	int			of_another;		/* those of a role of this name that is no more */
	bool		granted_usage;	/* by a preset, not by somebody else */
} Recorded;

static Recorded
read_recorded(const char *role, Oid roleid)
{
	Recorded	recorded = {0};
	Lookup		lookup;

	lookup_begin(&lookup, TABLE_ROLE, INDEX_ROLE, SnapshotSelf);
	lookup_text_key(&lookup, 1, role);
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		bool		isnull;
		int			bit = preset_bit(slot_text(lookup.slot, ROLE_PRESET));

		recorded.presets |= bit;
		if (DatumGetObjectId(slot_getattr(lookup.slot, ROLE_ROLE_OID, &isnull)) != roleid)
			recorded.of_another |= bit;
		recorded.granted_usage |=
			DatumGetBool(slot_getattr(lookup.slot, ROLE_GRANTED_USAGE, &isnull));
	}
	lookup_end(&lookup);
	return recorded;
}

static void
record_preset(const char *role, Oid roleid, const char *preset, bool granted_usage)
{
	Writer	   *writer = writer_begin(TABLE_ROLE, CurrentMemoryContext);
	Datum	   *values;

	writer_clear(writer);
	memset(writer->slot->tts_isnull, 0, sizeof(bool) * ROLE_NATTS);
	values = writer->slot->tts_values;
	values[ROLE_GRANTED_AT - 1] = TimestampTzGetDatum(clock_now());
	values[ROLE_ROLE_NAME - 1] = CStringGetTextDatum(role);
	values[ROLE_PRESET - 1] = CStringGetTextDatum(preset);
	values[ROLE_GRANTED_USAGE - 1] = BoolGetDatum(granted_usage);
	values[ROLE_ROLE_OID - 1] = ObjectIdGetDatum(roleid);
	writer_insert(writer);
	writer_end(writer);
}

static void
forget_preset(const char *role, const char *preset)
{
	Lookup		lookup;
	Writer	   *writer;

	lookup_begin(&lookup, TABLE_ROLE, INDEX_ROLE, SnapshotSelf);
	lookup_text_key(&lookup, 1, role);
	lookup_text_key(&lookup, 2, preset);
	if (lookup_next(&lookup, ForwardScanDirection))
	{
		writer = writer_begin(TABLE_ROLE, CurrentMemoryContext);
		writer_delete(writer, lookup.slot);
		writer_end(writer);
	}
	lookup_end(&lookup);
}

static void
audit_role(const char *action, const char *role, const char *preset)
{
	Object		after;

	object_begin(&after);
	object_text(&after, "preset", preset);
	audit_append(action, role, (Datum) 0, object_end(&after));
}

/*
 * The recorded presets that the role has.  What is recorded of a role that was
 * dropped is forgotten, unless the role of that name now has the rights: then
 * it came with a restore.
 */
static int
forget_dropped_role(const char *role, Oid roleid, const Recorded *recorded)
{
	int			kept = recorded->presets;

	for (size_t i = 0; i < lengthof(presets); i++)
	{
		if (!(recorded->of_another & presets[i].bit) ||
			(OidIsValid(roleid) && has_rights(roleid, presets[i].bit)))
			continue;
		kept &= ~presets[i].bit;
		forget_preset(role, presets[i].name);
		audit_role("revoke_role", role, presets[i].name);
	}
	return kept;
}

static Datum
change_role(FunctionCallInfo fcinfo, const char *function, bool grant)
{
	char	   *role;
	char	   *preset;
	int			bit,
				had;
	bool		changed;
	Oid			roleid;
	Recorded	recorded;
	OwnSql		own;
	Object		object;

	store_attach(fcinfo);
	role = arg_name(fcinfo, 0, "role_name");
	preset = arg_name(fcinfo, 1, "preset");
	bit = preset_bit(preset);
	writer_check_allowed(function);
	roles_check_owner(function);

	/* One change at a time, so that nobody's rights are derived from a past. */
	lock_name(LOCK_AUDIT_LOG, "", ExclusiveLock);
	CommandCounterIncrement();
	roleid = get_role_oid(role, true);
	recorded = read_recorded(role, roleid);
	if (!OidIsValid(roleid) && (grant || recorded.presets == 0))
		roleid = get_role_oid(role, false); /* 42704 */
	had = forget_dropped_role(role, roleid, &recorded);

	own_sql_begin(&own);
	SPI_connect();
	if (grant)
	{
		if (!cr_has_schema_usage(store_schema(), roleid))
		{
			change_usage(role, true);
			recorded.granted_usage = true;
		}
		change_rights(role, bit, 0, true);
		if (!(had & bit))
			record_preset(role, roleid, preset, recorded.granted_usage);
	}
	else if (OidIsValid(roleid))
	{
		change_rights(role, bit, had & ~bit, false);
		if ((had & ~bit) == 0 && recorded.granted_usage)
			change_usage(role, false);
		forget_preset(role, preset);
	}
	SPI_finish();
	own_sql_end(&own);

	changed = ((had & bit) != 0) != grant;
	if (changed)
		audit_role(grant ? "grant_role" : "revoke_role", role, preset);
	else if (!grant)
		changed = (recorded.presets & bit) != 0;
	object_begin(&object);
	object_bool(&object, "ok", true);
	object_text(&object, "role", role);
	object_text(&object, "preset", preset);
	object_bool(&object, "changed", changed);
	return object_end(&object);
}

Datum
credits_grant_role(PG_FUNCTION_ARGS)
{
	return change_role(fcinfo, "credits_grant_role()", true);
}

Datum
credits_revoke_role(PG_FUNCTION_ARGS)
{
	return change_role(fcinfo, "credits_revoke_role()", false);
}
