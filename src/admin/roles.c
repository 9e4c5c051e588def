/*
 * roles.c
 *		Which role has which preset: credits_grant_role, credits_revoke_role,
 *		credits_roles.
 *
 * Granting a preset is recorded in credit_role.  Taking it back revokes the rights that
 * no other preset of the role still gives.
 * Without a record there is nothing to take back: then whatever rights the role has were
 * granted by other means, or their records are about no role, and it is not known which
 * other presets the role has.
 *
 * A record is about a role, which is an OID, because a role's name may change.  But OIDs
 * belong to one cluster.  A dump carries the records to another cluster.  There the
 * rights were granted again by name, and another role may have the OID.  So a record also
 * has the identifier of the cluster that its OID belongs to.  Each time, this file finds
 * out which role a record is about now:
 *
 * - If it was written in this cluster: the role with that OID, if there is one.  If that
 *   role has another name now, it must have some of the preset's rights.
 * - Otherwise: the role with that name, if it has all of the preset's rights.  Then it
 *   came with a dump.
 * - Otherwise: no role.  The role was dropped, is not in this cluster, or was renamed before the
 *   dump.
 *
 * A record gives no right.  So the worst result of a wrong guess is that a record is not
 * taken back.  Whenever a preset is granted or revoked, the records are updated with what
 * was found out.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "admin/presets.h"
#include "admin/roles.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/json.h"
#include "ledger/request.h"
#include "store/columns.h"
#include "store/locks.h"
#include "store/lookup.h"
#include "store/own_sql.h"
#include "store/relations.h"
#include "store/slots.h"
#include "store/writer.h"
#include "tables/audit_log.h"
#include "tables/rows.h"

PG_FUNCTION_INFO_V1(credits_grant_role);
PG_FUNCTION_INFO_V1(credits_revoke_role);
PG_FUNCTION_INFO_V1(credits_roles);

/* A row of credit_role, and the role that it is about now. */
typedef struct Record
{
	TimestampTz granted_at;
	int64 cluster;
	Oid role_oid;
	bool granted_usage; /* a preset gave it, not another role */
	const char *role_name;
	const char *preset;
	Oid holder; /* InvalidOid: no role */
	const char *holder_name;
} Record;

/* Raises an error unless the caller is the tables' owner or a superuser. */
void
roles_check_owner(const char *function)
{
	if (!compat_owns_relation(store_table(TABLE_ROLE), GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("only the extension's owner may call %s", function)));
}

static int64
this_cluster(void)
{
	return (int64) GetSystemIdentifier();
}

/* Finds the role that a record is about now, as the top of this file says. */
static void
find_holder(Record *record)
{
	int preset = preset_find(record->preset);
	const char *name = record->cluster == this_cluster()
		? GetUserNameFromId(record->role_oid, true)
		: NULL;
	Oid by_name;

	record->holder = InvalidOid;
	if (preset == 0)
		return; /* no record of ours */
	if (name &&
		(strcmp(name, record->role_name) == 0 ||
		 preset_share(preset, record->role_oid) != PRESET_NONE))
	{
		record->holder = record->role_oid;
		record->holder_name = name;
		return;
	}
	by_name = get_role_oid(record->role_name, true);
	if (OidIsValid(by_name) && preset_share(preset, by_name) == PRESET_ALL)
	{
		record->holder = by_name;
		record->holder_name = record->role_name;
	}
}

/* All records, with their roles. */
static List *
read_records(Snapshot snapshot)
{
	List *records = NIL;
	ListCell *cell;
	Lookup lookup;

	lookup_begin(&lookup, TABLE_ROLE, INDEX_ROLE, snapshot);
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		Record *record = palloc0(sizeof(Record));
		Datum *values = lookup.slot->tts_values;

		slot_getallattrs(lookup.slot);
		record->granted_at = DatumGetTimestampTz(values[ROLE_GRANTED_AT - 1]);
		record->cluster = DatumGetInt64(values[ROLE_SYSTEM_IDENTIFIER - 1]);
		record->role_oid = DatumGetObjectId(values[ROLE_ROLE_OID - 1]);
		record->granted_usage = DatumGetBool(values[ROLE_GRANTED_USAGE - 1]);
		record->role_name = slot_text(lookup.slot, ROLE_ROLE_NAME);
		record->preset = slot_text(lookup.slot, ROLE_PRESET);
		records = lappend(records, record);
	}
	lookup_end(&lookup);
	foreach(cell, records)
		find_holder(lfirst(cell));
	return records;
}

static void
write_record(const Record *record)
{
	Writer *writer = writer_begin(TABLE_ROLE, CurrentMemoryContext);
	TupleTableSlot *slot = writer->slot;

	writer_clear(writer);
	slot_set_time(slot, ROLE_GRANTED_AT, record->granted_at);
	slot_set_int(slot, ROLE_SYSTEM_IDENTIFIER, record->cluster);
	slot_set(slot, ROLE_ROLE_OID, ObjectIdGetDatum(record->role_oid));
	slot_set(slot, ROLE_GRANTED_USAGE, BoolGetDatum(record->granted_usage));
	slot_set_text(slot, ROLE_ROLE_NAME, record->role_name);
	slot_set_text(slot, ROLE_PRESET, record->preset);
	writer_insert(writer);
	writer_end(writer);
}

static void
remove_record(const Record *record)
{
	Lookup lookup;
	Writer *writer;

	lookup_begin(&lookup, TABLE_ROLE, INDEX_ROLE, SnapshotSelf);
	lookup_key(&lookup, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(record->cluster));
	lookup_key(&lookup, 2, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(record->role_oid));
	lookup_text_key(&lookup, 3, record->preset);
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
	Object after;

	object_begin(&after);
	object_text(&after, "preset", preset);
	audit_append(action, role, (Datum) 0, object_end(&after));
}

/* The record of a preset that the role has.  NULL: none. */
static Record *
held_by(List *records, Oid role, const char *preset)
{
	ListCell *cell;

	foreach(cell, records)
	{
		Record *record = lfirst(cell);

		if (OidIsValid(role) && record->holder == role && strcmp(record->preset, preset) == 0)
			return record;
	}
	return NULL;
}

static bool
is_settled(const Record *record)
{
	return !OidIsValid(record->holder) ||
		(record->holder == record->role_oid && record->cluster == this_cluster() &&
		 strcmp(record->role_name, record->holder_name) == 0);
}

/* Updates the records: each role under its current OID and name, once for each preset. */
static List *
settle(List *records)
{
	List *settled = NIL;
	ListCell *cell;

	foreach(cell, records)
	{
		if (is_settled(lfirst(cell)))
			settled = lappend(settled, lfirst(cell));
	}
	foreach(cell, records)
	{
		Record *record = lfirst(cell);

		if (is_settled(record))
			continue;
		remove_record(record);
		if (held_by(settled, record->holder, record->preset) != NULL)
			continue;
		record->cluster = this_cluster();
		record->role_oid = record->holder;
		record->role_name = record->holder_name;
		write_record(record);
		settled = lappend(settled, record);
	}
	return settled;
}

/* Removes the presets of a dropped role with this name. */
static bool
forget_dropped(List *records, const char *role)
{
	bool forgotten = false;
	ListCell *cell;

	foreach(cell, records)
	{
		const Record *record = lfirst(cell);

		if (OidIsValid(record->holder) || strcmp(record->role_name, role) != 0)
			continue;
		remove_record(record);
		audit_role("revoke_role", role, record->preset);
		forgotten = true;
	}
	return forgotten;
}

/* Raises 42704.  If the role was renamed, the error gives the new name. */
static void
error_no_role(const List *records, const char *role)
{
	ListCell *cell;
	const char *now = NULL;

	foreach(cell, records)
	{
		const Record *record = lfirst(cell);

		if (OidIsValid(record->holder) && strcmp(record->role_name, role) == 0)
			now = record->holder_name;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("role \"%s\" does not exist", role),
			 now ? errhint("It is now called \"%s\".", now) : 0));
}

/*
 * Grants the rights of a preset, or revokes those that no other preset of the role gives.
 * had: the bits of the role's presets.  usage: is USAGE on the schema ours to take back?
 */
static void
change_rights(const char *role, Oid roleid, int bit, int had, bool *usage, bool grant)
{
	OwnSql own;

	own_sql_begin(&own);
	SPI_connect();
	if (grant)
	{
		if (!compat_has_schema_usage(store_schema(), roleid))
		{
			presets_change_usage(role, true);
			*usage = true;
		}
		presets_change(role, bit, 0, true);
	}
	else if (had & bit)
	{
		presets_change(role, bit, had & ~bit, false);
		if ((had & ~bit) == 0 && *usage)
			presets_change_usage(role, false);
	}
	SPI_finish();
	own_sql_end(&own);
}

static Datum
change_role(FunctionCallInfo fcinfo, const char *function, bool grant)
{
	char *role;
	char *preset;
	int bit, had = 0;
	bool forgotten;
	bool usage = false;
	bool changed;
	Oid roleid;
	List *records;
	ListCell *cell;
	Object object;

	store_attach(fcinfo);
	role = arg_name(fcinfo, 0, "role_name");
	preset = arg_name(fcinfo, 1, "preset");
	bit = preset_bit(preset);
	writer_check_allowed(function);
	roles_check_owner(function);

	/*
	 * Only one change at a time, so that each change sees the rights after the one before
	 * it.
	 */
	lock_name(LOCK_ROLES, "", ExclusiveLock);
	CommandCounterIncrement();
	roleid = get_role_oid(role, true);
	records = read_records(SnapshotSelf);
	forgotten = forget_dropped(records, role);
	if (!OidIsValid(roleid) && (grant || !forgotten))
		error_no_role(records, role);
	records = settle(records);
	foreach(cell, records)
	{
		const Record *record = lfirst(cell);

		if (!OidIsValid(roleid) || record->holder != roleid)
			continue;
		had |= preset_find(record->preset);
		usage |= record->granted_usage;
	}

	change_rights(role, roleid, bit, had, &usage, grant);

	/* With the caller's settings: a DBA's triggers fire here. */
	if (grant && !(had & bit))
	{
		Record record = {.granted_at = clock_now(),
						 .cluster = this_cluster(),
						 .role_oid = roleid,
						 .granted_usage = usage,
						 .role_name = role,
						 .preset = preset};

		write_record(&record);
	}
	else if (!grant && (had & bit))
		remove_record(held_by(records, roleid, preset));

	changed = ((had & bit) != 0) != grant;
	if (changed)
		audit_role(grant ? "grant_role" : "revoke_role", role, preset);
	else if (!grant)
		changed = forgotten;
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

/* All roles with presets, by their current names. */
Datum
credits_roles(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell *cell;

	store_attach(fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	foreach(cell, read_records(GetActiveSnapshot()))
	{
		const Record *record = lfirst(cell);
		bool found = OidIsValid(record->holder);
		Datum values[] =
			{CStringGetTextDatum(found ? record->holder_name : record->role_name),
			 CStringGetTextDatum(record->preset), TimestampTzGetDatum(record->granted_at),
			 ObjectIdGetDatum(record->holder),
			 found
				 ? (Datum) 0
				 : CStringGetTextDatum(
					   "the role was dropped, is not in this cluster, or was renamed before the dump")};
		bool nulls[] = {false, false, false, !found, found};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
