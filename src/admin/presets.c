/*
 * presets.c
 *		The table of presets: who may call what, and read what.
 *
 * Granting a preset is plain GRANTs of what the table says.  Whether a role has
 * been granted one is a matter of its own entries in the objects' ACLs: what it
 * may do by membership, or as a superuser, comes from elsewhere.
 *
 * app and server read one user at a time, by functions that insist on a user.
 * Only auditor, support and admin read what shows everybody.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "lib/stringinfo.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "admin/presets.h"
#include "base/errors.h"
#include "store/own_sql.h"
#include "store/relations.h"

enum
{
	APP = 1 << 0,
	BILLING = 1 << 1,
	SERVER = 1 << 2,
	AUDITOR = 1 << 3,
	SUPPORT = 1 << 4,
	ADMIN = 1 << 5,
	MONITOR = 1 << 6,
	END_USER = 1 << 7
};

static const struct
{
	const char *name;
	int			bit;
}			presets[] = {
	{"app", APP},
	{"billing", BILLING},
	{"server", SERVER},
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
	{"credits_deduct", APP | SERVER},
	{"credits_try_deduct", APP | SERVER},
	{"credits_deduct_many", APP | SERVER},
	{"credits_hold", APP | SERVER},
	{"credits_capture", APP | SERVER},
	{"credits_release", APP | SERVER},
	{"credits_add_purchased", BILLING | SERVER},
	{"credits_grant", BILLING | SERVER},
	{"credits_refund", BILLING | SERVER},
	{"credits_revoke_purchase", BILLING | SERVER},
	{"credits_set_overdraft", ADMIN},
	{"credits_open_account", APP | BILLING | SERVER | ADMIN},
	{"credits_set_plan", BILLING | SERVER | ADMIN},
	{"credits_set_cycle", BILLING | SERVER | ADMIN},
	{"credits_adjust", ADMIN},
	{"credits_define_plan", ADMIN},
	{"credits_freeze", ADMIN},
	{"credits_unfreeze", ADMIN},
	{"credits_repair_clock", ADMIN},
	{"credits_erase_user", ADMIN},
	{"credits_reset_due", ADMIN},
	{"credits_run_reset", ADMIN},
	{"credits_grant_many", ADMIN},
	{"credits_apply_plan", ADMIN},
	{"credits_undo_run", ADMIN},
	{"credits_import", ADMIN},
	{"credits_archive", ADMIN},
	{"credits_transfer", ADMIN},
	{"credits_close_account", ADMIN},
	{"credits_schedule_reset", ADMIN},
	{"credits_unschedule_reset", ADMIN},
	{"credits_balance", APP | BILLING | SERVER | AUDITOR | SUPPORT | ADMIN},
	{"credits_balance_at", SERVER | AUDITOR | SUPPORT | ADMIN},
	{"credits_explain", SERVER | AUDITOR | SUPPORT | ADMIN},
	{"credits_account_state", AUDITOR | SUPPORT | ADMIN},
	{"credits_now", AUDITOR | SUPPORT | ADMIN},
	{"credits_unknown_zones", AUDITOR | SUPPORT | ADMIN},
	{"credits_history", SERVER | AUDITOR | SUPPORT | ADMIN},
	{"credits_verify", AUDITOR},
	{"credits_run_verify", AUDITOR},
	{"credits_verify_account", AUDITOR},
	{"credits_verify_structure", AUDITOR},
	{"credits_anchor", AUDITOR | ADMIN},
	{"credits_verify_anchor", AUDITOR},
	{"credits_roles", AUDITOR | ADMIN},
	{"credits_dump_customizations", AUDITOR | ADMIN},
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
	{"credit_grant", AUDITOR},
	{"credit_hold", AUDITOR},
	{"credit_reset_run", AUDITOR | ADMIN | MONITOR},
	{"credit_audit_log", AUDITOR | ADMIN},
	{"credit_role", AUDITOR | ADMIN},
	{"credit_anchor", AUDITOR | ADMIN},
	{"credit_anchor_leaf", AUDITOR},
	{"credit_history_archive", AUDITOR},
	{"credit_checkpoint", AUDITOR},
	{"credit_balance", AUDITOR | SUPPORT | ADMIN},
	{"credit_usage_daily", AUDITOR | SUPPORT | ADMIN},
};

/* The preset of a name; 0: there is none such. */
int
preset_find(const char *name)
{
	for (size_t i = 0; i < lengthof(presets); i++)
	{
		if (strcmp(presets[i].name, name) == 0)
			return presets[i].bit;
	}
	return 0;
}

int
preset_bit(const char *name)
{
	StringInfoData names;
	int			bit = preset_find(name);

	if (bit != 0)
		return bit;
	initStringInfo(&names);
	for (size_t i = 0; i < lengthof(presets); i++)
	{
		if (i > 0)
			appendStringInfoString(&names, i + 1 < lengthof(presets) ? ", " : " or ");
		appendStringInfoString(&names, presets[i].name);
	}
	error_bad_value("preset", name, names.data);
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

/* Does an ACL give a right to the role itself?  NULL: the one that an object has at first. */
static bool
gives(Datum acl, bool isnull, ObjectType type, Oid owner, Oid role, AclMode right)
{
	Acl		   *list = isnull ? acldefault(type, owner) : DatumGetAclP(acl);
	const AclItem *items = ACL_DAT(list);

	for (int i = 0; i < ACL_NUM(list); i++)
	{
		if (items[i].ai_grantee == role && (ACLITEM_GET_PRIVS(items[i]) & right))
			return true;
	}
	return false;
}

static bool
may_execute(Oid routine, Oid role)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(routine));
	bool		isnull;
	Datum		acl;
	bool		found;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", routine);
	acl = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proacl, &isnull);
	found = gives(acl, isnull, OBJECT_FUNCTION, ((Form_pg_proc) GETSTRUCT(tuple))->proowner, role,
				  ACL_EXECUTE);
	ReleaseSysCache(tuple);
	return found;
}

static bool
may_select(const char *table, Oid role)
{
	HeapTuple	tuple = SearchSysCache2(RELNAMENSP, CStringGetDatum(table),
										ObjectIdGetDatum(store_schema()));
	bool		isnull;
	Datum		acl;
	bool		found;

	if (!HeapTupleIsValid(tuple))
		error_corrupted(table, "it does not exist");
	acl = SysCacheGetAttr(RELNAMENSP, tuple, Anum_pg_class_relacl, &isnull);
	found = gives(acl, isnull, OBJECT_TABLE, ((Form_pg_class) GETSTRUCT(tuple))->relowner, role,
				  ACL_SELECT);
	ReleaseSysCache(tuple);
	return found;
}

/* How much of a preset has been granted to the role itself. */
PresetShare
preset_share(int preset, Oid role)
{
	int			has = 0;
	int			all = 0;

	for (size_t i = 0; i < lengthof(routine_rights); i++)
	{
		if (!(routine_rights[i].presets & preset))
			continue;
		has += may_execute(find_routine(routine_rights[i].object), role);
		all++;
	}
	for (size_t i = 0; i < lengthof(table_rights); i++)
	{
		if (!(table_rights[i].presets & preset))
			continue;
		has += may_select(table_rights[i].object, role);
		all++;
	}
	return has == all ? PRESET_ALL : has > 0 ? PRESET_SOME : PRESET_NONE;
}

/* GRANTs or REVOKEs what is in wanted and not in others. */
void
presets_change(const char *role, int wanted, int others, bool grant)
{
	const char *schema = quote_identifier(store_schema_name());
	const char *verb = grant ? "GRANT" : "REVOKE";
	const char *to = grant ? "TO" : "FROM";

	for (size_t i = 0; i < lengthof(routine_rights); i++)
	{
		const Right *right = &routine_rights[i];

		if ((right->presets & wanted) && !(right->presets & others))
			own_sql_execute(psprintf("%s EXECUTE ON ROUTINE %s %s %s", verb,
									 format_procedure_qualified(find_routine(right->object)),
									 to, quote_identifier(role)));
	}
	for (size_t i = 0; i < lengthof(table_rights); i++)
	{
		const Right *right = &table_rights[i];

		if ((right->presets & wanted) && !(right->presets & others))
			own_sql_execute(psprintf("%s SELECT ON TABLE %s.%s %s %s", verb, schema,
									 right->object, to, quote_identifier(role)));
	}
}
