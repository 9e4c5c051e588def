/*
 * anchor_rows.h
 *		Anchors and their leaves as table rows, and an anchor as the text that a witness
 *		keeps.
 */
#ifndef CREDITS_TABLES_ANCHOR_ROWS_H
#define CREDITS_TABLES_ANCHOR_ROWS_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "core/core.h"
#include "store/lookup.h"
#include "store/writer.h"

/* A leaf: the history row that was its user's newest when the anchor was made. */
typedef struct Leaf
{
	int64 anchor_no;
	int64 seq;
	uint8_t hash[CR_HASH_LEN];
} Leaf;

/* Reads the newest leaf of each user, in the order of users. */
typedef struct LeafWalk
{
	Lookup rows;			  /* at the first leaf of the next user */
	Lookup newest;			  /* the leaves of one user, newest first */
	MemoryContext key_memory; /* has the key that rows is read with */
	bool more;
	StringInfoData user_id; /* leaf_walk_next sets user_id and leaf */
	Leaf leaf;
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
