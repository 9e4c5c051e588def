/*
 * lot_rows.h
 *		An account's grants and holds: reading them from their tables and writing them
 *		back.
 */
#ifndef CREDITS_TABLES_LOT_ROWS_H
#define CREDITS_TABLES_LOT_ROWS_H

#include "postgres.h"

#include "core/core.h"
#include "store/writer.h"

extern bool find_grant(const char *user_id, int64 seq, Snapshot snapshot, CrGrant *grant);
extern CrLots *lots_make(void);
extern void lots_load(CrAccount *acc, CrTime upto, Snapshot snapshot);
extern CrHold *lots_find_hold(CrAccount *acc, int64 seq, Snapshot snapshot);
extern void lots_load_parts(CrAccount *acc, const CrPart *parts, int n_parts,
							Snapshot snapshot);
extern void lots_load_expired(CrAccount *acc, int64 boundary, Snapshot snapshot);
extern void lots_save(const CrAccount *acc, Writer **grants, Writer **holds,
					  MemoryContext memory);
extern const char *grant_read(CrGrant *grant, TupleTableSlot *slot);
extern const char *hold_read(CrHold *hold, TupleTableSlot *slot);

#endif
