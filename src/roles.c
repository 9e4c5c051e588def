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
} Right;

/* EXECUTE */
static const Right routine_rights[] = {
	{"credits_deduct", APP},
	{"credits_try_deduct", APP},
	{"credits_add_purchased", BILLING},
	{"credits_open_account", BILLING | ADMIN},
	{"credits_set_plan", BILLING | ADMIN},
	{"credits_adjust", ADMIN},
	{"credits_define_plan", ADMIN},
	{"credits_freeze", ADMIN},
	{"credits_unfreeze", ADMIN},
	{"credits_repair_clock", ADMIN},
	{"credits_reset_due", ADMIN},
	{"credits_run_reset", ADMIN},
	{"credits_schedule_reset", ADMIN},
	{"credits_unschedule_reset", ADMIN},
	{"credits_balance", APP | BILLING | AUDITOR | SUPPORT | ADMIN},
	{"credits_account_state", AUDITOR | SUPPORT | ADMIN},
	{"credits_history", AUDITOR | SUPPORT | ADMIN},
	{"credits_verify", AUDITOR},
	{"credits_verify_account", AUDITOR},
	{"credits_verify_structure", AUDITOR},
	{"credits_current_user_id", END_USER},
	{"credits_my_balance", END_USER},
	{"credits_my_history", END_USER},
};

/* SELECT */
static const Right table_rights[] = {
	{"credit_plan", AUDITOR | ADMIN},
	{"credit_account", AUDITOR},
	{"credit_history", AUDITOR},
	{"credit_payment", AUDITOR},
	{"credit_reset_run", AUDITOR | ADMIN | MONITOR},
	{"credit_audit_log", AUDITOR | ADMIN},
	{"credit_role", AUDITOR | ADMIN},
	{"credit_balance", AUDITOR | SUPPORT | ADMIN},
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
	Oid			extension = getExtensionOfObject(RelationRelationId, store_table(TABLE_ROLE));
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
			!DatumGetBool(DirectFunctionCall3(has_table_privilege_id_id, role,
											  ObjectIdGetDatum(relid), select_right)))
			return false;
	}
	return true;
}

static void
execute(const char *command)
{
	if (SPI_execute(command, false, 0) < 0)
		elog(ERROR, "could not execute: %s", command);
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
			execute(psprintf("%s EXECUTE ON ROUTINE %s %s %s", verb,
							 format_procedure_qualified(find_routine(right->object)), to, quote_identifier(role)));
	}
	for (size_t i = 0; i < lengthof(table_rights); i++)
	{
		const Right *right = &table_rights[i];

		if ((right->presets & wanted) && !(right->presets & others))
			execute(psprintf("%s SELECT ON TABLE %s.%s %s %s", verb,
							 schema, right->object, to, quote_identifier(role)));
	}
}

/* Without USAGE on the schema no right in it is worth anything. */
static void
change_usage(const char *role, bool grant)
{
	execute(psprintf("%s USAGE ON SCHEMA %s %s %s", grant ? "GRANT" : "REVOKE",
					 quote_identifier(store_schema_name()), grant ? "TO" : "FROM",
					 quote_identifier(role)));
}

/* What credit_role says of a role. */
typedef struct Recorded
{
	int			presets;
	bool		granted_usage;	/* by a preset, not by somebody else */
} Recorded;

static Recorded
read_recorded(const char *role)
{
	Recorded	recorded = {0};
	Lookup		lookup;

	lookup_begin(&lookup, TABLE_ROLE, INDEX_ROLE, SnapshotSelf);
	lookup_text_key(&lookup, 1, role);
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		bool		isnull;

		recorded.presets |= preset_bit(slot_text(lookup.slot, ROLE_PRESET));
		recorded.granted_usage |=
			DatumGetBool(slot_getattr(lookup.slot, ROLE_GRANTED_USAGE, &isnull));
	}
	lookup_end(&lookup);
	return recorded;
}

static void
record_preset(const char *role, const char *preset, bool granted_usage)
{
	Writer	   *writer = writer_begin(TABLE_ROLE);
	Datum	   *values;

	writer_clear(writer);
	memset(writer->slot->tts_isnull, 0, sizeof(bool) * ROLE_NATTS);
	values = writer->slot->tts_values;
	values[ROLE_GRANTED_AT - 1] = TimestampTzGetDatum(clock_now());
	values[ROLE_ROLE_NAME - 1] = CStringGetTextDatum(role);
	values[ROLE_PRESET - 1] = CStringGetTextDatum(preset);
	values[ROLE_GRANTED_USAGE - 1] = BoolGetDatum(granted_usage);
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
		writer = writer_begin(TABLE_ROLE);
		writer_delete(writer, lookup.slot);
		writer_end(writer);
	}
	lookup_end(&lookup);
}

/*
 * The recorded presets that the role really has.  A role can lose its rights,
 * or be dropped and made anew, behind the record's back; what is recorded in
 * vain is forgotten.
 */
static int
forget_lost_presets(const char *role, Oid roleid, int recorded)
{
	int			kept = 0;

	for (size_t i = 0; i < lengthof(presets); i++)
	{
		if (!(recorded & presets[i].bit))
			continue;
		if (OidIsValid(roleid) && has_rights(roleid, presets[i].bit))
			kept |= presets[i].bit;
		else
			forget_preset(role, presets[i].name);
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
	recorded = read_recorded(role);
	roleid = get_role_oid(role, !grant && (recorded.presets & bit) != 0);
	had = forget_lost_presets(role, roleid, recorded.presets);

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
			record_preset(role, preset, recorded.granted_usage);
	}
	else
	{
		if (OidIsValid(roleid))
			change_rights(role, bit, had & ~bit, false);
		if (OidIsValid(roleid) && (had & ~bit) == 0 && recorded.granted_usage)
			change_usage(role, false);
		forget_preset(role, preset);
	}
	SPI_finish();

	changed = grant ? !(had & bit) : (recorded.presets & bit) != 0;
	if (changed)
	{
		Object		after;

		object_begin(&after);
		object_text(&after, "preset", preset);
		audit_append(grant ? "grant_role" : "revoke_role", role, (Datum) 0,
					 object_end(&after));
	}
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
