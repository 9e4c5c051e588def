/*
 * audit_log.h
 *		The audit log: administrative acts, in one hash chain.
 */
#ifndef CREDITS_TABLES_AUDIT_LOG_H
#define CREDITS_TABLES_AUDIT_LOG_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "nodes/pg_list.h"
#include "utils/snapshot.h"

#include "base/compat.h"
#include "core/core.h"

extern void audit_lock(void);
extern bool audit_try_lock(void);
extern void audit_unlock(void);
extern void audit_lock_with_tables(List *relids);
pg_noreturn extern void audit_error_in_use(void);
extern void audit_append(const char *action, const char *subject, Datum before, Datum after);
extern bool audit_newest(const char *action, const char *other, CrAuditRow *row);
extern bool audit_has(const char *action, const char *subject, Snapshot snapshot);
extern void audit_head(Snapshot snapshot, int64 *seq, uint8_t hash[CR_HASH_LEN]);
extern bool audit_row_hash(Snapshot snapshot, int64 seq, uint8_t hash[CR_HASH_LEN]);
extern char *jsonb_text(Datum value);
extern void audit_from_slot(CrAuditRow *row, TupleTableSlot *slot);

#endif
