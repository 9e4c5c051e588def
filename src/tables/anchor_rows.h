/*
 * anchor_rows.h
 *		Anchors and their leaves: as rows, and as the text that a witness keeps.
 */
#ifndef CREDITS_TABLES_ANCHOR_ROWS_H
#define CREDITS_TABLES_ANCHOR_ROWS_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "core/core.h"
#include "store/lookup.h"
#include "store/writer.h"

/* A history row that an anchor found to be its user's newest. */
typedef struct Leaf
{
	int64		anchor_no;
	int64		seq;
	uint8_t		hash[CR_HASH_LEN];
} Leaf;

/* Each user's newest leaf, in the order of users. */
typedef struct LeafWalk
{
	Lookup		rows;			/* at the next user's first leaf */
	Lookup		newest;			/* of one user, backwards */
	MemoryContext key_memory;	/* of the key that rows is being read with */
	bool		more;
	StringInfoData user_id;		/* what leaf_walk_next found */
	Leaf		leaf;
} LeafWalk;

extern const char *anchor_read(CrAnchor *anchor, TupleTableSlot *slot);
extern const char *leaf_read(Leaf *leaf, TupleTableSlot *slot);
extern const char *head_read(Leaf *leaf, TupleTableSlot *slot);
extern void row_hash_read(uint8_t hash[CR_HASH_LEN], TupleTableSlot *slot);
extern bool anchors_newest(Snapshot snapshot, CrAnchor *anchor);
extern void anchor_insert(const CrAnchor *anchor);
extern void leaf_insert(Writer *writer, const char *user_id, const Leaf *leaf);

extern void leaf_walk_begin(LeafWalk *walk, Snapshot snapshot);
extern bool leaf_walk_next(LeafWalk *walk);
extern void leaf_walk_end(LeafWalk *walk);

extern void tree_begin(CrTree *tree, int64 leaves);
extern void tree_add(CrTree *tree, const char *user_id, int64 seq,
					 const uint8_t hash[CR_HASH_LEN]);
extern void tree_root(const CrTree *tree, uint8_t out[CR_HASH_LEN]);

extern char *hash_text(const uint8_t hash[CR_HASH_LEN]);
extern char *anchor_text(const CrAnchor *anchor);
extern bool anchor_parse(const char *text, CrAnchor *anchor);

#endif
