/*
 * lookup.h
 *		Reading the extension's tables by index.
 *
 * A caller begins a search with lookup_begin, and adds each condition with lookup_key or
 * with one of the functions for texts.  Each call of lookup_next then reads one row into
 * lookup->slot.  lookup_again begins another search with the same table, index and
 * snapshot.  The caller then adds the conditions again with new values, as many as in the
 * first search.
 */
#ifndef CREDITS_STORE_LOOKUP_H
#define CREDITS_STORE_LOOKUP_H

#include "postgres.h"

#include "access/sdir.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "nodes/lockoptions.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "store/columns.h"
#include "store/relations.h"

typedef struct Lookup
{
	Relation heap;
	Relation index;
	Snapshot snapshot;
	struct IndexScanDescData *scan; /* NULL until the first row is read */
	MemoryContext memory;			/* has the memory that the index scan allocates */
	bool positioned;				/* the scan was given the current keys */
	/* true: lookup_end closes heap and index; false: the caller closes them */
	bool owns_relations;
	TupleTableSlot *slot;
	ScanKeyData keys[3]; /* the conditions */
	int nkeys;
} Lookup;

extern void lookup_begin(Lookup *lookup, StoreTable table, StoreIndex index,
						 Snapshot snapshot);
extern void lookup_in(Lookup *lookup, Relation heap, Relation index, TupleTableSlot *slot,
					  Snapshot snapshot);
extern void lookup_again(Lookup *lookup);
extern void lookup_key(Lookup *lookup, AttrNumber index_column, StrategyNumber strategy,
					   RegProcedure operator_function, Datum value);
extern void lookup_text_key(Lookup *lookup, AttrNumber index_column, const char *value);
extern void lookup_after_key(Lookup *lookup, AttrNumber index_column, const char *value);
extern void lookup_upto_key(Lookup *lookup, AttrNumber index_column, const char *value);
extern bool lookup_next(Lookup *lookup, ScanDirection direction);
extern int64 lookup_count(Lookup *lookup, int64 most);
extern bool lookup_lock(Lookup *lookup, LockWaitPolicy wait);
extern void lookup_end(Lookup *lookup);
extern bool lookup_is_after_snapshot(const Lookup *lookup);

#endif
