/*
 * anchor.c
 *		credits_anchor and credits_verify_anchor.  An external witness keeps what
 *		credits_anchor returns, and gives it to credits_verify_anchor later.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/digest.h"
#include "base/errors.h"
#include "base/json.h"
#include "ledger/request.h"
#include "store/columns.h"
#include "store/early_release.h"
#include "store/locks.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "store/writer.h"
#include "tables/anchor_rows.h"
#include "tables/audit_log.h"
#include "tables/rows.h"
#include "verify/anchor_check.h"
#include "verify/findings.h"

PG_FUNCTION_INFO_V1(credits_anchor);
PG_FUNCTION_INFO_V1(credits_verify_anchor);

/* Reads the head of every account, in the order of users. */
typedef struct HeadWalk
{
	Lookup rows;
	StringInfoData user_id; /* next_head sets user_id and head */
	Leaf head;
} HeadWalk;

static bool
next_head(HeadWalk *walk, int64 anchor_no)
{
	const char *complaint;

	if (!lookup_next(&walk->rows, ForwardScanDirection))
		return false;
	resetStringInfo(&walk->user_id);
	appendStringInfoString(&walk->user_id, slot_text(walk->rows.slot, ACC_USER_ID));
	complaint = head_read(&walk->head, walk->rows.slot);
	if (complaint)
		error_corrupted("credit_account", complaint);
	walk->head.anchor_no = anchor_no;
	return true;
}

static bool
same_row(const Leaf *a, const Leaf *b)
{
	return a->seq == b->seq && memcmp(a->hash, b->hash, CR_HASH_LEN) == 0;
}

/*
 * Writes the leaves, and sets the anchor's counts and roots.  It reads accounts and old
 * leaves side by side, both in the order of users.  If a user's account is gone, the
 * user's newest leaf stays in the tree, so the tree always follows from the leaves alone.
 * Verification reports that the account is gone, and anchoring continues.  Returns how many
 * accounts are gone.
 */
static int64
grow_tree(CrAnchor *anchor, Snapshot snapshot)
{
	HeadWalk heads;
	LeafWalk leaves;
	CrTree tree;
	CrTree changed;
	Writer *writer = writer_begin(TABLE_ANCHOR_LEAF, CurrentMemoryContext);
	MemoryContext row_memory = AllocSetContextCreate(CurrentMemoryContext,
													 "credits anchor row",
													 ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	int64 gone = 0;
	bool has_head;
	bool has_leaf;

	tree_begin(&tree, PG_INT64_MAX);
	tree_begin(&changed, PG_INT64_MAX);
	initStringInfo(&heads.user_id);
	lookup_begin(&heads.rows, TABLE_ACCOUNT, INDEX_ACCOUNT, snapshot);
	leaf_walk_begin(&leaves, snapshot);
	old = MemoryContextSwitchTo(row_memory);
	has_head = next_head(&heads, anchor->anchor_no);
	has_leaf = leaf_walk_next(&leaves);
	while (has_head || has_leaf)
	{
		int order = !has_head ? 1
			: !has_leaf		  ? -1
							  : strcmp(heads.user_id.data, leaves.user_id.data);

		CHECK_FOR_INTERRUPTS();
		if (order > 0)
		{
			tree_add(&tree, leaves.user_id.data, leaves.leaf.seq, leaves.leaf.hash);
			gone++;
		}
		else
		{
			tree_add(&tree, heads.user_id.data, heads.head.seq, heads.head.hash);
			if (order < 0 || !same_row(&heads.head, &leaves.leaf))
			{
				tree_add(&changed, heads.user_id.data, heads.head.seq, heads.head.hash);
				leaf_insert(writer, heads.user_id.data, &heads.head);
			}
		}
		if (order <= 0)
			has_head = next_head(&heads, anchor->anchor_no);
		if (order >= 0)
			has_leaf = leaf_walk_next(&leaves);
		MemoryContextReset(row_memory);
	}
	MemoryContextSwitchTo(old);
	leaf_walk_end(&leaves);
	lookup_end(&heads.rows);
	writer_end(writer);
	MemoryContextDelete(row_memory);

	anchor->accounts = (int64) tree.count;
	anchor->changed = (int64) changed.count;
	tree_root(&changed, anchor->changed_root);
	tree_add(&tree, NULL, anchor->audit_seq, anchor->audit_hash);
	tree_root(&tree, anchor->root);
	return gone;
}

static Datum
receipt(const CrAnchor *anchor)
{
	Object object;

	object_begin(&object);
	object_bool(&object, "ok", true);
	object_int(&object, "anchor_no", anchor->anchor_no);
	object_time(&object, "created_at", anchor->created_at);
	object_int(&object, "accounts", anchor->accounts);
	object_int(&object, "changed", anchor->changed);
	object_int(&object, "audit_seq", anchor->audit_seq);
	object_text(&object, "root", hash_text(anchor->root));
	object_text(&object, "hash", hash_text(anchor->hash));
	object_text(&object, "anchor", anchor_text(anchor));
	return object_end(&object);
}

/*
 * Only one anchor is made at a time, to the end of the transaction, because the next
 * anchor is chained to this one.  Everything is read in one snapshot, which is taken
 * under the lock at every isolation level.  A witness must never get an anchor that a
 * crash then loses, or an anchor of calls that a crash loses.  So the commit is
 * synchronous whatever synchronous_commit is set to, and it flushes everything that was
 * committed before.
 */
Datum
credits_anchor(PG_FUNCTION_ARGS)
{
	CrAnchor anchor = {0};
	CrAnchor last;
	Snapshot snapshot;
	int64 gone;

	store_attach(fcinfo);
	writer_check_allowed("credits_anchor()");
	commit_is_administrative();
	ForceSyncCommit();
	lock_name(LOCK_ANCHOR, "", ExclusiveLock);
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());

	if (anchors_newest(snapshot, &last))
		memcpy(anchor.previous_hash, last.hash, CR_HASH_LEN);
	else
	{
		last.anchor_no = 0;
		anchor_genesis_hash(anchor.previous_hash);
	}
	anchor.anchor_no = last.anchor_no + 1;
	anchor.created_at = clock_now();
	audit_head(snapshot, &anchor.audit_seq, anchor.audit_hash);
	gone = grow_tree(&anchor, snapshot);
	anchor_hash(&anchor, anchor.hash);
	anchor_insert(&anchor);
	UnregisterSnapshot(snapshot);
	if (gone > 0)
		ereport(WARNING,
				(errmsg_plural(INT64_FORMAT " account of earlier anchors is missing",
							   INT64_FORMAT " accounts of earlier anchors are missing",
							   (unsigned long) gone, gone),
				 errhint("credits_verify_anchor() lists them.")));
	return receipt(&anchor);
}

Datum
credits_verify_anchor(PG_FUNCTION_ARGS)
{
	Findings findings;
	CrAnchor kept;
	char *text;

	store_attach(fcinfo);
	text = arg_optional_text(fcinfo, 0);
	if (text && !anchor_parse(text, &kept))
		error_bad_value("anchor", text, "the whole text that credits_anchor() returned");
	InitMaterializedSRF(fcinfo, 0);
	findings_to_store(&findings, ((ReturnSetInfo *) fcinfo->resultinfo)->setResult);
	verify_anchors(&findings, text ? &kept : NULL);
	return (Datum) 0;
}
