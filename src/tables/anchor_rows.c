/*
 * anchor_rows.c
 *		Anchors and their leaves as table rows, and an anchor as the text that a witness
 *		keeps.
 *
 * An anchor has a leaf for each user whose newest history row has changed since the
 * anchor before.  Its tree has the newest leaf of every user.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/digest.h"
#include "base/utc.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "store/slots.h"
#include "store/writer.h"
#include "tables/anchor_rows.h"
#include "tables/rows.h"

#define TEXT_TAG	  "credits-anchor-1"
/* that many leaves of a user are read; then the rest is skipped */
#define NEARBY_LEAVES 8

/*
 * Reads the bytes of a hash.  If the value is not a hash, sets the complaint and gives
 * zeros.
 */
static void
get_hash(TupleTableSlot *slot, AttrNumber attno, uint8_t out[CR_HASH_LEN],
		 const char **complaint)
{
	bool isnull;
	Datum value = slot_getattr(slot, attno, &isnull);
	bytea *bytes = isnull ? NULL : DatumGetByteaPP(value);

	if (bytes && VARSIZE_ANY_EXHDR(bytes) == CR_HASH_LEN)
	{
		memcpy(out, VARDATA_ANY(bytes), CR_HASH_LEN);
		return;
	}
	memset(out, 0, CR_HASH_LEN);
	*complaint = "a hash is not 32 bytes";
}

static int64
get_int(TupleTableSlot *slot, AttrNumber attno)
{
	bool isnull;

	return DatumGetInt64(slot_getattr(slot, attno, &isnull));
}

/* Reads a row.  Returns what is wrong with it, or NULL. */
const char *
anchor_read(CrAnchor *anchor, TupleTableSlot *slot)
{
	const char *complaint = NULL;

	anchor->anchor_no = get_int(slot, ANCHOR_NO);
	anchor->created_at = get_int(slot, ANCHOR_CREATED_AT);
	anchor->accounts = get_int(slot, ANCHOR_ACCOUNTS);
	anchor->changed = get_int(slot, ANCHOR_CHANGED);
	anchor->audit_seq = get_int(slot, ANCHOR_AUDIT_SEQ);
	get_hash(slot, ANCHOR_AUDIT_HASH, anchor->audit_hash, &complaint);
	get_hash(slot, ANCHOR_ROOT, anchor->root, &complaint);
	get_hash(slot, ANCHOR_CHANGED_ROOT, anchor->changed_root, &complaint);
	get_hash(slot, ANCHOR_PREVIOUS_HASH, anchor->previous_hash, &complaint);
	get_hash(slot, ANCHOR_HASH, anchor->hash, &complaint);
	return complaint;
}

const char *
leaf_read(Leaf *leaf, TupleTableSlot *slot)
{
	const char *complaint = NULL;

	leaf->anchor_no = get_int(slot, LEAF_ANCHOR_NO);
	leaf->seq = get_int(slot, LEAF_SEQ);
	get_hash(slot, LEAF_HASH, leaf->hash, &complaint);
	return complaint;
}

/* Makes the leaf that the account would have now, from the head of its history. */
const char *
head_read(Leaf *leaf, TupleTableSlot *slot)
{
	const char *complaint = NULL;

	leaf->anchor_no = 0;
	leaf->seq = get_int(slot, ACC_HISTORY_SEQ);
	get_hash(slot, ACC_HISTORY_HASH, leaf->hash, &complaint);
	return complaint;
}

/* The hash of the history row in a slot.  Zeros if it has none. */
void
row_hash_read(uint8_t hash[CR_HASH_LEN], TupleTableSlot *slot)
{
	const char *complaint;

	get_hash(slot, HIST_HASH, hash, &complaint);
}

/* The newest anchor.  False if there is none. */
bool
anchors_newest(Snapshot snapshot, CrAnchor *anchor)
{
	Lookup lookup;
	bool found;

	lookup_begin(&lookup, TABLE_ANCHOR, INDEX_ANCHOR, snapshot);
	found = lookup_next(&lookup, BackwardScanDirection);
	if (found)
		(void) anchor_read(anchor, lookup.slot);
	lookup_end(&lookup);
	return found;
}

void
anchor_insert(const CrAnchor *anchor)
{
	Writer *writer = writer_begin(TABLE_ANCHOR, CurrentMemoryContext);
	TupleTableSlot *slot = writer->slot;

	writer_clear(writer);
	slot_set_int(slot, ANCHOR_NO, anchor->anchor_no);
	slot_set_int(slot, ANCHOR_CREATED_AT, anchor->created_at);
	slot_set_int(slot, ANCHOR_ACCOUNTS, anchor->accounts);
	slot_set_int(slot, ANCHOR_CHANGED, anchor->changed);
	slot_set_int(slot, ANCHOR_AUDIT_SEQ, anchor->audit_seq);
	slot_set_digest(slot, ANCHOR_AUDIT_HASH, anchor->audit_hash);
	slot_set_digest(slot, ANCHOR_ROOT, anchor->root);
	slot_set_digest(slot, ANCHOR_CHANGED_ROOT, anchor->changed_root);
	slot_set_digest(slot, ANCHOR_PREVIOUS_HASH, anchor->previous_hash);
	slot_set_digest(slot, ANCHOR_HASH, anchor->hash);
	writer_insert(writer);
	writer_end(writer);
}

/*
 * Inserts a leaf.  writer: the writer of leaves.  The leaf can be read after writer_end.
 */
void
leaf_insert(Writer *writer, const char *user_id, const Leaf *leaf)
{
	TupleTableSlot *slot = writer->slot;

	writer_clear(writer);
	slot_set_int(slot, LEAF_ANCHOR_NO, leaf->anchor_no);
	slot_set_int(slot, LEAF_SEQ, leaf->seq);
	slot_set_text(slot, LEAF_USER_ID, user_id);
	slot_set_digest(slot, LEAF_HASH, leaf->hash);
	writer_queue(writer);
}

/*
 * Positions the walk.  The key must last as long as rows are read with it, which is
 * longer than one call, so it has a memory context of its own.
 */
static void
walk_to_user_after(LeafWalk *walk, const char *user_id)
{
	MemoryContext old;

	MemoryContextReset(walk->key_memory);
	old = MemoryContextSwitchTo(walk->key_memory);
	lookup_again(&walk->rows);
	lookup_after_key(&walk->rows, 1, user_id);
	MemoryContextSwitchTo(old);
	walk->more = lookup_next(&walk->rows, ForwardScanDirection);
}

void
leaf_walk_begin(LeafWalk *walk, Snapshot snapshot)
{
	walk->key_memory = AllocSetContextCreate(CurrentMemoryContext, "credits leaf key",
											 ALLOCSET_SMALL_SIZES);
	initStringInfo(&walk->user_id);
	lookup_begin(&walk->rows, TABLE_ANCHOR_LEAF, INDEX_ANCHOR_LEAF, snapshot);
	lookup_begin(&walk->newest, TABLE_ANCHOR_LEAF, INDEX_ANCHOR_LEAF, snapshot);
	walk_to_user_after(walk, NULL);
}

static bool
is_of_user(const LeafWalk *walk)
{
	char *user_id = slot_text(walk->rows.slot, LEAF_USER_ID);
	bool same = strcmp(user_id, walk->user_id.data) == 0;

	pfree(user_id);
	return same;
}

/*
 * Finds the next user with leaves, and the newest of that user's leaves.  With an anchor
 * a day, a user can have thousands of leaves.  So after a few leaves, the rest is skipped
 * by a new search.
 */
bool
leaf_walk_next(LeafWalk *walk)
{
	int count = 0;
	bool same;

	if (!walk->more)
		return false;
	resetStringInfo(&walk->user_id);
	appendStringInfoString(&walk->user_id, slot_text(walk->rows.slot, LEAF_USER_ID));
	do
	{
		(void) leaf_read(&walk->leaf, walk->rows.slot);
		walk->more = lookup_next(&walk->rows, ForwardScanDirection);
		same = walk->more && is_of_user(walk);
	} while (same && ++count < NEARBY_LEAVES);
	if (same)
	{
		lookup_again(&walk->newest);
		lookup_text_key(&walk->newest, 1, walk->user_id.data);
		if (lookup_next(&walk->newest, BackwardScanDirection))
			(void) leaf_read(&walk->leaf, walk->newest.slot);
		walk_to_user_after(walk, walk->user_id.data);
	}
	return true;
}

void
leaf_walk_end(LeafWalk *walk)
{
	lookup_end(&walk->newest);
	lookup_end(&walk->rows);
	MemoryContextDelete(walk->key_memory);
	pfree(walk->user_id.data);
}

/* leaves: the largest number of leaves that will be added. */
void
tree_begin(CrTree *tree, int64 leaves)
{
	int digits = leaves > 0 ? pg_leftmost_one_pos64((uint64) leaves) + 1 : 0;

	tree->count = 0;
	tree->nodes = palloc((size_t) Min(digits + 1, CR_TREE_NODES) * CR_HASH_LEN);
}

/* Adds a leaf for a user's history row, or for the audit log's row (user_id NULL). */
void
tree_add(CrTree *tree, const char *user_id, int64 seq, const uint8_t hash[CR_HASH_LEN])
{
	uint8_t leaf[CR_HASH_LEN];

	leaf_hash(user_id, seq, hash, leaf);
	cr_tree_add(tree, sha256, leaf);
}

void
tree_root(const CrTree *tree, uint8_t out[CR_HASH_LEN])
{
	cr_tree_root(tree, sha256, out);
}

char *
hash_text(const uint8_t hash[CR_HASH_LEN])
{
	char *text = palloc(CR_HASH_LEN * 2 + 1);

	text[hex_encode((const char *) hash, CR_HASH_LEN, text)] = '\0';
	return text;
}

/*
 * The anchor as one line of ASCII: all values that the anchor's hash covers, and the
 * hash.
 */
char *
anchor_text(const CrAnchor *anchor)
{
	char at[UTC_TEXT_SIZE];

	return psprintf(TEXT_TAG " " INT64_FORMAT " %s " INT64_FORMAT " " INT64_FORMAT
							 " " INT64_FORMAT " %s %s %s %s",
					anchor->anchor_no, utc_text(anchor->created_at, at), anchor->accounts,
					anchor->changed, anchor->audit_seq, hash_text(anchor->root),
					hash_text(anchor->changed_root), hash_text(anchor->previous_hash),
					hash_text(anchor->hash));
}

static bool
parse_hash(const char *text, uint8_t out[CR_HASH_LEN])
{
	if (strlen(text) != CR_HASH_LEN * 2 || strspn(text, "0123456789abcdef") != CR_HASH_LEN * 2)
		return false;
	(void) hex_decode(text, CR_HASH_LEN * 2, (char *) out);
	return true;
}

/*
 * Reads an anchor from its text.  The text does not have audit_hash.  False if the text
 * is not what anchor_text gave.  The anchor's hash shows that.  Blanks around the text
 * are ignored.
 */
bool
anchor_parse(const char *text, CrAnchor *anchor)
{
	enum
	{
		TAG,
		NO,
		AT,
		ACCOUNTS,
		CHANGED,
		AUDIT_SEQ,
		ROOT,
		CHANGED_ROOT,
		PREVIOUS,
		HASH,
		WORDS
	};
	char *copy = pstrdup(text);
	char *word[WORDS];
	char *rest = NULL;
	int count = 0;
	uint8_t hash[CR_HASH_LEN];

	for (char *next = strtok_r(copy, " \t\r\n", &rest); next;
		 next = strtok_r(NULL, " \t\r\n", &rest))
	{
		if (count == WORDS)
			return false;
		word[count++] = next;
	}
	if (count != WORDS)
		return false;
	memset(anchor, 0, sizeof(*anchor));
	anchor->anchor_no = strtoll(word[NO], NULL, 10);
	anchor->accounts = strtoll(word[ACCOUNTS], NULL, 10);
	anchor->changed = strtoll(word[CHANGED], NULL, 10);
	anchor->audit_seq = strtoll(word[AUDIT_SEQ], NULL, 10);
	if (!utc_parse(word[AT], &anchor->created_at) || !parse_hash(word[ROOT], anchor->root) ||
		!parse_hash(word[CHANGED_ROOT], anchor->changed_root) ||
		!parse_hash(word[PREVIOUS], anchor->previous_hash) ||
		!parse_hash(word[HASH], anchor->hash))
		return false;
	anchor_hash(anchor, hash);
	return memcmp(hash, anchor->hash, CR_HASH_LEN) == 0 && strcmp(word[TAG], TEXT_TAG) == 0;
}
