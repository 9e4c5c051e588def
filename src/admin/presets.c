/*
 * presets.c
 *		The table that says which rights a preset has: which functions a role may call and
 *		which tables it may read.
 *
 * Granting a preset executes ordinary GRANTs.  A role has been granted a preset if its
 * own entries in the ACLs say so.  Rights that it has as a member of another role, or as
 * a superuser, do not count.
 *
 * The presets app and server read only users that they name, through functions that require
 * users.  Only auditor, support and admin may read the tables and views that show all
 * users.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/json.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "admin/presets.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/json.h"
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

/* clang-format off */
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
/* clang-format on */

typedef struct Right
{
	const char *object;
	int presets;
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
	{"credits_reinstate_purchase", BILLING | SERVER},
	{"credits_revoke_purchase", BILLING | SERVER},
	{"credits_set_overdraft", ADMIN},
	{"credits_set_low_threshold", APP | SERVER | ADMIN},
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
	{"credits_balances", APP | BILLING | SERVER | AUDITOR | SUPPORT | ADMIN},
	{"credits_quote", APP | BILLING | SERVER | AUDITOR | SUPPORT | ADMIN},
	{"credits_balance_at", SERVER | AUDITOR | SUPPORT | ADMIN},
	{"credits_explain", SERVER | AUDITOR | SUPPORT | ADMIN},
	{"credits_account_state", AUDITOR | SUPPORT | ADMIN},
	{"credits_now", AUDITOR | SUPPORT | ADMIN},
	{"credits_unknown_zones", AUDITOR | SUPPORT | ADMIN},
	{"credits_history", SERVER | AUDITOR | SUPPORT | ADMIN},
	{"credits_usage", SERVER | AUDITOR | SUPPORT | ADMIN},
	{"credits_total_usage", AUDITOR | SUPPORT | ADMIN},
	{"credits_verify", AUDITOR},
	{"credits_run_verify", AUDITOR},
	{"credits_verify_account", AUDITOR},
	{"credits_verify_structure", AUDITOR},
	{"credits_anchor", AUDITOR | ADMIN},
	{"credits_verify_anchor", AUDITOR},
	{"credits_roles", AUDITOR | ADMIN},
	{"credits_dump_customizations", AUDITOR | ADMIN},
	{"credits_take_events", SERVER | ADMIN},
	{"credits_stat", AUDITOR | ADMIN | MONITOR},
	{"credits_stat_calls", AUDITOR | ADMIN | MONITOR},
	{"credits_metrics", AUDITOR | ADMIN | MONITOR},
	{"credits_stat_reset", ADMIN},
	{"credits_current_user_id", END_USER},
	{"credits_my_balance", END_USER},
	{"credits_my_history", END_USER},
	{"credits_my_usage", END_USER},
	{"credits_my_explain", END_USER},
};

/* SELECT */
static const Right table_rights[] = {
	{"credit_plan", AUDITOR | ADMIN},
	{"credit_account", AUDITOR},
	{"credit_history", AUDITOR},
	{"credit_payment", AUDITOR | SUPPORT | ADMIN},
	{"credit_grant", AUDITOR},
	{"credit_hold", AUDITOR},
	{"credit_reset_run", AUDITOR | ADMIN | MONITOR},
	{"credit_audit_log", AUDITOR | ADMIN},
	{"credit_role", AUDITOR | ADMIN},
	{"credit_anchor", AUDITOR | ADMIN},
	{"credit_anchor_leaf", AUDITOR},
	{"credit_history_archive", AUDITOR},
	{"credit_checkpoint", AUDITOR},
	{"credit_event", AUDITOR | ADMIN},
	{"credit_balance", AUDITOR | SUPPORT | ADMIN},
	{"credit_usage_daily", AUDITOR | SUPPORT | ADMIN},
	{"credit_open_hold", AUDITOR | SUPPORT | ADMIN},
	{"credit_open_grant", AUDITOR | SUPPORT | ADMIN},
	{"pg_stat_credits", AUDITOR | ADMIN | MONITOR},
	{"pg_stat_credits_calls", AUDITOR | ADMIN | MONITOR},
};

/* The preset with this name.  0: there is none. */
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
	int bit = preset_find(name);

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

/* The one routine with this name that belongs to the extension. */
static Oid
find_routine(const char *name)
{
	CatCList *list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
	Oid extension = store_extension();
	Oid found = InvalidOid;

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

/* A copy of an object's ACL.  Releases the object's cache entry. */
static Acl *
acl_of(int cache, HeapTuple tuple, AttrNumber acl_column, Oid owner, ObjectType type)
{
	bool isnull;
	Datum acl = SysCacheGetAttr(cache, tuple, acl_column, &isnull);
	Acl *copy = isnull ? acldefault(type, owner) : DatumGetAclPCopy(acl);

	ReleaseSysCache(tuple);
	return copy;
}

static Acl *
routine_acl(Oid routine)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(routine));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", routine);
	return acl_of(PROCOID, tuple, Anum_pg_proc_proacl,
				  ((Form_pg_proc) GETSTRUCT(tuple))->proowner, OBJECT_FUNCTION);
}

static Acl *
table_acl(const char *table)
{
	HeapTuple tuple = SearchSysCache2(RELNAMENSP, CStringGetDatum(table),
									  ObjectIdGetDatum(store_schema()));

	if (!HeapTupleIsValid(tuple))
		error_corrupted(table, "it does not exist");
	return acl_of(RELNAMENSP, tuple, Anum_pg_class_relacl,
				  ((Form_pg_class) GETSTRUCT(tuple))->relowner, OBJECT_TABLE);
}

static Acl *
schema_acl(void)
{
	HeapTuple tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(store_schema()));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for schema %u", store_schema());
	return acl_of(NAMESPACEOID, tuple, Anum_pg_namespace_nspacl,
				  ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner, OBJECT_SCHEMA);
}

/* Does an ACL give a right to the role itself?  Frees the ACL. */
static bool
gives(Acl *acl, Oid role, AclMode right)
{
	const AclItem *items = ACL_DAT(acl);
	bool found = false;

	for (int i = 0; i < ACL_NUM(acl) && !found; i++)
		found = items[i].ai_grantee == role && (ACLITEM_GET_PRIVS(items[i]) & right);
	pfree(acl);
	return found;
}

/* How many of a preset's rights have been granted to the role itself. */
PresetShare
preset_share(int preset, Oid role)
{
	int has = 0;
	int all = 0;

	for (size_t i = 0; i < lengthof(routine_rights); i++)
	{
		if (!(routine_rights[i].presets & preset))
			continue;
		has += gives(routine_acl(find_routine(routine_rights[i].object)), role, ACL_EXECUTE);
		all++;
	}
	for (size_t i = 0; i < lengthof(table_rights); i++)
	{
		if (!(table_rights[i].presets & preset))
			continue;
		has += gives(table_acl(table_rights[i].object), role, ACL_SELECT);
		all++;
	}
	return has == all ? PRESET_ALL : has > 0 ? PRESET_SOME : PRESET_NONE;
}

/* The roles to which a role has granted a right, as a JSON array.  NULL: none. */
static char *
granted_by(const Acl *acl, Oid role, AclMode right)
{
	const AclItem *items = ACL_DAT(acl);
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < ACL_NUM(acl); i++)
	{
		if (items[i].ai_grantor != role || items[i].ai_grantee == role ||
			!(ACLITEM_GET_PRIVS(items[i]) & right))
			continue;
		appendStringInfoString(&names, names.len > 0 ? ", " : "[");
		escape_json(&names,
					items[i].ai_grantee == ACL_ID_PUBLIC
						? "PUBLIC"
						: GetUserNameFromId(items[i].ai_grantee, false));
	}
	if (names.len == 0)
		return NULL;
	appendStringInfoChar(&names, ']');
	return names.data;
}

/* PostgreSQL's own error does not say which roles these are, or which right it is. */
pg_noreturn static void
error_granted_on(const char *role, const char *right, const char *object, const char *others)
{
	StringInfoData buf;

	json_begin(&buf);
	json_text(&buf, "role", role);
	json_text(&buf, "right", right);
	json_text(&buf, "object", object);
	appendStringInfo(&buf, ", \"granted_to\": %s", others);
	ereport(ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("role \"%s\" has granted a right of this preset to others: %s", role, others),
			 errdetail("%s", json_end(&buf)),
			 errhint("First take the right from these roles: REVOKE GRANT OPTION FOR %s ON %s FROM %s CASCADE. Then call credits_revoke_role() again.",
					 right, object, quote_identifier(role))));
}

/*
 * Grants or revokes one right to an object.  acl: the object's ACL.  If a DBA gave the
 * role a grant option, the role may have granted the right to others.  They would lose
 * it, so revoking is then an error.
 */
static void
change(const char *right, AclMode mode, const char *object, const Acl *acl, const char *role,
	   bool grant)
{
	MemoryContext memory = CurrentMemoryContext;
	char *others = grant ? NULL : granted_by(acl, get_role_oid(role, false), mode);

	PG_TRY();
	{
		own_sql_execute(psprintf("%s %s ON %s %s %s", grant ? "GRANT" : "REVOKE", right,
								 object, grant ? "TO" : "FROM", quote_identifier(role)));
	}
	PG_CATCH();
	{
		if (others && geterrcode() == ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST)
		{
			MemoryContextSwitchTo(memory);
			FlushErrorState();
			error_granted_on(role, right, object, others);
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* Without USAGE on the schema, all rights in it are useless. */
void
presets_change_usage(const char *role, bool grant)
{
	change("USAGE", ACL_USAGE, psprintf("SCHEMA %s", quote_identifier(store_schema_name())),
		   schema_acl(), role, grant);
}

/* GRANTs or REVOKEs the rights that are in wanted and not in others. */
void
presets_change(const char *role, int wanted, int others, bool grant)
{
	const char *schema = quote_identifier(store_schema_name());

	for (size_t i = 0; i < lengthof(routine_rights); i++)
	{
		const Right *right = &routine_rights[i];
		Oid routine;

		if (!(right->presets & wanted) || (right->presets & others))
			continue;
		routine = find_routine(right->object);
		change("EXECUTE", ACL_EXECUTE,
			   psprintf("ROUTINE %s", format_procedure_qualified(routine)),
			   routine_acl(routine), role, grant);
	}
	for (size_t i = 0; i < lengthof(table_rights); i++)
	{
		const Right *right = &table_rights[i];

		if ((right->presets & wanted) && !(right->presets & others))
			change("SELECT", ACL_SELECT, psprintf("TABLE %s.%s", schema, right->object),
				   table_acl(right->object), role, grant);
	}
}
