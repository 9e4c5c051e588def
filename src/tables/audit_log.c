/*
 * audit_log.c
 *		The audit log: administrative acts, append-only, in one hash chain.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/errors.h"
#include "store/columns.h"
#include "store/early_release.h"
#include "store/locks.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "store/slots.h"
#include "store/writer.h"
#include "tables/audit_log.h"
#include "tables/rows.h"

/* The text of a jsonb, as the chain hashes it.  NULL if there is no jsonb. */
char *
jsonb_text(Datum value)
{
	Jsonb *jsonb;

	if (value == (Datum) 0)
		return NULL;
	jsonb = DatumGetJsonbP(value);
	return JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
}

void
audit_from_slot(CrAuditRow *row, TupleTableSlot *slot)
{
	bool isnull;
	Datum value;
	bytea *hash;

	memset(row, 0, sizeof(*row));
	row->seq = DatumGetInt64(slot_getattr(slot, AUDIT_SEQ, &isnull));
	row->created_at = DatumGetTimestampTz(slot_getattr(slot, AUDIT_CREATED_AT, &isnull));
	row->action = slot_text(slot, AUDIT_ACTION);
	row->subject = slot_text(slot, AUDIT_SUBJECT);
	row->actor = slot_text(slot, AUDIT_ACTOR);
	row->client_addr = slot_text(slot, AUDIT_CLIENT_ADDR);
	row->application = slot_text(slot, AUDIT_APPLICATION);
	value = slot_getattr(slot, AUDIT_BEFORE, &isnull);
	row->before = isnull ? NULL : jsonb_text(value);
	value = slot_getattr(slot, AUDIT_AFTER, &isnull);
	row->after = isnull ? NULL : jsonb_text(value);
	hash = DatumGetByteaPP(slot_getattr(slot, AUDIT_HASH, &isnull));
	if (VARSIZE_ANY_EXHDR(hash) == CR_HASH_LEN)
		memcpy(row->hash, VARDATA_ANY(hash), CR_HASH_LEN);
}

/* The head of the chain: seq and hash of the last row, or 0 and the genesis hash. */
void
audit_head(Snapshot snapshot, int64 *seq, uint8_t hash[CR_HASH_LEN])
{
	Lookup lookup;
	CrAuditRow row;

	lookup_begin(&lookup, TABLE_AUDIT_LOG, INDEX_AUDIT_LOG, snapshot);
	if (lookup_next(&lookup, BackwardScanDirection))
	{
		audit_from_slot(&row, lookup.slot);
		*seq = row.seq;
		memcpy(hash, row.hash, CR_HASH_LEN);
	}
	else
	{
		*seq = 0;
		audit_genesis_hash(hash);
	}
	lookup_end(&lookup);
}

/*
 * The hash of a row of the log, or the genesis hash for 0.  False: there is no such row.
 */
bool
audit_row_hash(Snapshot snapshot, int64 seq, uint8_t hash[CR_HASH_LEN])
{
	Lookup lookup;
	CrAuditRow row;
	bool found;

	if (seq == 0)
	{
		audit_genesis_hash(hash);
		return true;
	}
	lookup_begin(&lookup, TABLE_AUDIT_LOG, INDEX_AUDIT_LOG, snapshot);
	lookup_key(&lookup, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(seq));
	found = lookup_next(&lookup, ForwardScanDirection);
	if (found)
	{
		audit_from_slot(&row, lookup.slot);
		memcpy(hash, row.hash, CR_HASH_LEN);
	}
	lookup_end(&lookup);
	return found;
}

/* The caller's network address.  NULL for a local socket or a worker. */
static char *
client_addr(void)
{
	LOCAL_FCINFO(fcinfo, 0);
	Datum addr;

	InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
	addr = inet_client_addr(fcinfo);
	return fcinfo->isnull ? NULL
						  : TextDatumGetCString(DirectFunctionCall1(network_host, addr));
}

/* The newest row of one of two actions, done by any role.  False: there is none. */
bool
audit_newest(const char *action, const char *other, CrAuditRow *row)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	Lookup lookup;
	bool found = false;

	lookup_begin(&lookup, TABLE_AUDIT_LOG, INDEX_AUDIT_LOG, snapshot);
	while (!found && lookup_next(&lookup, BackwardScanDirection))
	{
		const char *found_action = slot_text(lookup.slot, AUDIT_ACTION);

		found = strcmp(found_action, action) == 0 || strcmp(found_action, other) == 0;
		if (found)
			audit_from_slot(row, lookup.slot);
	}
	lookup_end(&lookup);
	UnregisterSnapshot(snapshot);
	return found;
}

/* Does the snapshot see this action on this subject? */
bool
audit_has(const char *action, const char *subject, Snapshot snapshot)
{
	Lookup lookup;
	bool found = false;

	lookup_begin(&lookup, TABLE_AUDIT_LOG, INDEX_AUDIT_LOG, snapshot);
	while (!found && lookup_next(&lookup, ForwardScanDirection))
	{
		CrAuditRow row;

		audit_from_slot(&row, lookup.slot);
		found = strcmp(row.action, action) == 0 && strcmp(row.subject, subject) == 0;
	}
	lookup_end(&lookup);
	return found;
}

/*
 * Locks the chain's head and the log's table, to the end of the transaction.  Take these
 * locks before any lock that others may want.  A call that already has an account, a plan
 * or a table locked only tries them.  If it does not get them, it releases what it has.
 */
void
audit_lock(void)
{
	LockRelationOid(store_table(TABLE_AUDIT_LOG), RowExclusiveLock);
	lock_name(LOCK_AUDIT_LOG, "", ExclusiveLock);
}

bool
audit_try_lock(void)
{
	if (!try_lock_name(LOCK_AUDIT_LOG, "", ExclusiveLock))
		return false;
	if (ConditionalLockRelationOid(store_table(TABLE_AUDIT_LOG), RowExclusiveLock))
		return true;
	unlock_name(LOCK_AUDIT_LOG, "", ExclusiveLock);
	return false;
}

void
audit_unlock(void)
{
	UnlockRelationOid(store_table(TABLE_AUDIT_LOG), RowExclusiveLock);
	unlock_name(LOCK_AUDIT_LOG, "", ExclusiveLock);
}

void
audit_error_in_use(void)
{
	error_in_use("audit log", "credit_audit_log", lock_name_holders(LOCK_AUDIT_LOG, ""));
}

/*
 * Locks tables with access exclusive locks, and the log, for DDL that the log will
 * record.  It takes all of these locks or none, because each of them makes all other
 * sessions wait.  It never queues for a lock, because all other sessions would queue
 * behind it.
 */
void
audit_lock_with_tables(List *relids)
{
	TimestampTz deadline = lock_deadline();

	for (;;)
	{
		int got = 0;

		while (got < list_length(relids) &&
			   ConditionalLockRelationOid(list_nth_oid(relids, got), AccessExclusiveLock))
			got++;
		if (got == list_length(relids) && audit_try_lock())
			return;
		for (int i = 0; i < got; i++)
			UnlockRelationOid(list_nth_oid(relids, i), AccessExclusiveLock);
		if (lock_pause(deadline))
			continue;
		if (got == list_length(relids))
			audit_error_in_use();
		error_in_use("table", get_rel_name(list_nth_oid(relids, got)),
					 lock_relation_holders(list_nth_oid(relids, got)));
	}
}

/*
 * Appends a row: the role, the action, the subject, the client, and the jsonb before and
 * after (0: none).  The chain's head stays locked to the end of the transaction.  A
 * caller that has an account locked must have locked the head before.
 */
void
audit_append(const char *action, const char *subject, Datum before, Datum after)
{
	Writer *writer;
	CrAuditRow row = {0};
	uint8_t head[CR_HASH_LEN];
	bytea *hash = palloc(VARHDRSZ + CR_HASH_LEN);

	commit_is_administrative();
	audit_lock();
	audit_head(SnapshotSelf, &row.seq, head);
	row.seq++;
	row.created_at = clock_now();
	row.action = action;
	row.subject = subject;
	row.actor = GetUserNameFromId(GetOuterUserId(), false);
	row.client_addr = client_addr();
	row.application = application_name && application_name[0] ? application_name : NULL;
	row.before = jsonb_text(before);
	row.after = jsonb_text(after);
	audit_hash(head, &row, row.hash);
	SET_VARSIZE(hash, VARHDRSZ + CR_HASH_LEN);
	memcpy(VARDATA(hash), row.hash, CR_HASH_LEN);

	writer = writer_begin(TABLE_AUDIT_LOG, CurrentMemoryContext);
	writer_clear(writer);
	slot_set(writer->slot, AUDIT_SEQ, Int64GetDatum(row.seq));
	slot_set(writer->slot, AUDIT_CREATED_AT, TimestampTzGetDatum(row.created_at));
	slot_set_text(writer->slot, AUDIT_ACTION, row.action);
	slot_set_text(writer->slot, AUDIT_SUBJECT, row.subject);
	slot_set_text(writer->slot, AUDIT_ACTOR, row.actor);
	slot_set(writer->slot, AUDIT_HASH, PointerGetDatum(hash));
	slot_set_text(writer->slot, AUDIT_CLIENT_ADDR, row.client_addr);
	slot_set_text(writer->slot, AUDIT_APPLICATION, row.application);
	if (before != (Datum) 0)
		slot_set(writer->slot, AUDIT_BEFORE, before);
	if (after != (Datum) 0)
		slot_set(writer->slot, AUDIT_AFTER, after);
	writer_insert(writer);
	writer_end(writer);
}
