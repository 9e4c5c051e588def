/*
 * lists.h
 *		An account's grants and holds: from their tables and back.
 */
#ifndef CREDITS_LISTS_H
#define CREDITS_LISTS_H

#include "postgres.h"

#include "store.h"
#include "writer.h"

extern CrOpen *lists_make(void);
extern void lists_load(CrAccount *acc, Snapshot snapshot);
extern CrHold *lists_find_hold(CrAccount *acc, int64 seq, Snapshot snapshot);
extern void lists_save(const CrAccount *acc, Writer **grants, Writer **holds,
					   MemoryContext memory);
extern const char *grant_read(CrGrant *grant, TupleTableSlot *slot);
extern const char *hold_read(CrHold *hold, TupleTableSlot *slot);

#endif
