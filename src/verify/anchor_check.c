/*
 * anchor_check.c
 *		Verifying anchors and their leaves, and that each history continues from its
 *		leaves.
 *
 * The anchors are read first and kept in memory.  Then all leaves are read once, in the
 * order of users.  Each leaf is looked up in the history and put into the tree of its own
 * anchor.  Each user's newest leaf is put into the newest anchor's tree.  If a witness
 * kept an anchor, each user's newest leaf up to that anchor is put into the kept anchor's
 * tree.  So memory grows with the number of anchors and not with the number of leaves,
 * and the roots of all anchors are verified: an anchor's tree follows from its own leaves
 * and the leaves before.
 *
 * Anchors and leaves never change, so ranges of users may be read one after another, each
 * in a snapshot of its own.  What is anchored meanwhile is left to the next verification.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/digest.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/anchor_rows.h"
#include "tables/archive_partitions.h"
#include "tables/audit_log.h"
#include "tables/checkpoint.h"
#include "tables/rows.h"
#include "verify/anchor_check.h"
#include "verify/findings.h"

/* An anchor, and what was computed from its leaves so far. */
typedef struct Checked
{
	CrAnchor anchor;
	int64 leaves;
	int64 users; /* users whose first leaf belongs to this anchor */
	/* of the anchor's own leaves; holds at most as many as there should be */
	CrTree tree;
} Checked;

struct AnchorCheck
{
	Checked *anchors; /* in the order of their numbers */
	int64 count;
	int64 room;
	CrTree newest;	   /* of every user's newest leaf */
	CrAnchor kept;	   /* an anchor that a witness kept; anchor_no 0: none */
	bool kept_is_here; /* an anchor with its number is stored */
	CrTree kept_tree;  /* of every user's newest leaf up to the kept anchor */
	/* a leaf without an anchor was reported; one report is enough */
	bool has_stray;
	MemoryContext memory;
	MemoryContext row_memory; /* reset after each leaf */

	/* the current user, while leaves are read */
	StringInfoData user_id;
	Leaf last;		/* the leaf before; anchor_no 0: none yet */
	Leaf last_kept; /* the newest leaf up to the kept anchor */
	bool has_problem;
};

static bool
same_hash(const uint8_t a[CR_HASH_LEN], const uint8_t b[CR_HASH_LEN])
{
	return memcmp(a, b, CR_HASH_LEN) == 0;
}

/*
 * A stored anchor, found by its number, or NULL.  Usually there are no gaps in the
 * numbers.
 */
static Checked *
find_anchor(const AnchorCheck *check, int64 anchor_no)
{
	int64 low = 0;
	int64 high = check->count;

	if (anchor_no >= 1 && anchor_no <= check->count &&
		check->anchors[anchor_no - 1].anchor.anchor_no == anchor_no)
		return &check->anchors[anchor_no - 1];
	while (low < high)
	{
		int64 middle = low + (high - low) / 2;

		if (check->anchors[middle].anchor.anchor_no < anchor_no)
			low = middle + 1;
		else
			high = middle;
	}
	return low < check->count && check->anchors[low].anchor.anchor_no == anchor_no
		? &check->anchors[low]
		: NULL;
}

/*
 * What is wrong with an anchor.  before: the anchor before it.  NULL: this is the first.
 */
static const char *
anchor_problem(const CrAnchor *anchor, const CrAnchor *before)
{
	uint8_t hash[CR_HASH_LEN];
	int64 expected = before ? before->anchor_no + 1 : 1;

	if (anchor->anchor_no != expected)
		return psprintf("anchor " INT64_FORMAT " is missing", expected);
	if (before)
		memcpy(hash, before->hash, CR_HASH_LEN);
	else
		anchor_genesis_hash(hash);
	if (!same_hash(hash, anchor->previous_hash))
		return "previous_hash is not the hash of the anchor before";
	anchor_hash(anchor, hash);
	if (!same_hash(hash, anchor->hash))
		return "hash does not fit the anchor";
	if (before && anchor->audit_seq < before->audit_seq)
		return "the audit log is shorter than in the anchor before";
	return NULL;
}

static void
keep_anchor(AnchorCheck *check, const CrAnchor *anchor)
{
	MemoryContext old = MemoryContextSwitchTo(check->memory);
	Checked *added;

	if (check->count == check->room)
	{
		check->room *= 2;
		check->anchors = repalloc_huge(check->anchors, sizeof(Checked) * check->room);
	}
	added = &check->anchors[check->count++];
	memset(added, 0, sizeof(*added));
	added->anchor = *anchor;
	tree_begin(&added->tree, anchor->changed);
	MemoryContextSwitchTo(old);
}

/*
 * Checks the chain of anchors, and the audit log's row of each anchor.  Each of the two
 * checks stops at its first problem.
 */
static void
read_anchors(AnchorCheck *check, Findings *findings)
{
	Lookup lookup;
	bool bad_chain = false;
	bool bad_audit = false;
	MemoryContext old;

	lookup_begin(&lookup, TABLE_ANCHOR, INDEX_ANCHOR, GetActiveSnapshot());
	old = MemoryContextSwitchTo(check->row_memory);
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		CrAnchor anchor;
		uint8_t hash[CR_HASH_LEN];
		const char *problem = anchor_read(&anchor, lookup.slot);

		CHECK_FOR_INTERRUPTS();
		if (problem == NULL)
			problem = anchor_problem(&anchor,
									 check->count == 0
										 ? NULL
										 : &check->anchors[check->count - 1].anchor);
		if (problem && !bad_chain)
		{
			bad_chain = true;
			findings_report(findings, "credit_anchor", NULL, anchor.anchor_no, problem);
		}
		if (!bad_audit)
		{
			bad_audit = true;
			if (!audit_row_hash(GetActiveSnapshot(), anchor.audit_seq, hash))
				findings_report(findings, "credit_audit_log", NULL, anchor.audit_seq,
								psprintf("the row that anchor " INT64_FORMAT " has is missing",
										 anchor.anchor_no));
			else if (!same_hash(hash, anchor.audit_hash))
				findings_report(findings, "credit_audit_log", NULL, anchor.audit_seq,
								psprintf("it is not the row that anchor " INT64_FORMAT " has",
										 anchor.anchor_no));
			else
				bad_audit = false;
		}
		keep_anchor(check, &anchor);
		MemoryContextReset(check->row_memory);
	}
	MemoryContextSwitchTo(old);
	lookup_end(&lookup);
}

/* Is the anchor that a witness kept the same as the stored one? */
static void
compare_kept(AnchorCheck *check, Findings *findings)
{
	int64 anchor_no = check->kept.anchor_no;
	Checked *stored = find_anchor(check, anchor_no);
	int64 newest = check->count == 0 ? 0 : check->anchors[check->count - 1].anchor.anchor_no;

	check->kept_is_here = stored != NULL;
	if (stored == NULL)
		findings_report(findings, "credit_anchor", NULL, anchor_no,
						newest < anchor_no
							? psprintf("the anchor is not here, the newest is " INT64_FORMAT
									   ": the database was rolled back to before it",
									   newest)
							: "the anchor is not here, but later ones are");
	else if (!same_hash(stored->anchor.hash, check->kept.hash))
		findings_report(
			findings, "credit_anchor", NULL, anchor_no,
			"it is another anchor than the one kept outside: the database was forked or rewritten");
	if (stored)
		memcpy(check->kept.audit_hash, stored->anchor.audit_hash, CR_HASH_LEN);
}

/*
 * kept: the anchor that a witness kept, or NULL.  The result is in the current memory
 * context.
 */
AnchorCheck *
anchor_check_begin(Findings *findings, const CrAnchor *kept)
{
	AnchorCheck *check = palloc0(sizeof(AnchorCheck));

	check->memory = CurrentMemoryContext;
	check->row_memory = AllocSetContextCreate(CurrentMemoryContext, "credits verify row",
											  ALLOCSET_DEFAULT_SIZES);
	check->room = 64;
	check->anchors = palloc(sizeof(Checked) * check->room);
	initStringInfo(&check->user_id);
	tree_begin(&check->newest, PG_INT64_MAX);
	tree_begin(&check->kept_tree, PG_INT64_MAX);
	read_anchors(check, findings);
	if (kept)
	{
		check->kept = *kept;
		compare_kept(check, findings);
	}
	return check;
}

/*
 * What is wrong with a leaf and its history row, and in which object.  If the anchor is
 * not among those that were read, it may have been made since, because this can be a
 * later snapshot.
 */
static const char *
leaf_problem(const AnchorCheck *check, const Leaf *leaf, const Checked *anchor, Lookup *rows,
			 Archived *archived, const char **object)
{
	uint8_t hash[CR_HASH_LEN];
	Checkpoint ckpt;
	CrRow row;

	*object = "credit_anchor_leaf";
	if (anchor == NULL && !check->has_stray)
		return psprintf("there is no anchor " INT64_FORMAT, leaf->anchor_no);
	if (check->last.anchor_no != 0 && leaf->seq <= check->last.seq)
		return psprintf("anchor " INT64_FORMAT
						" has not a later row than anchor " INT64_FORMAT,
						leaf->anchor_no, check->last.anchor_no);

	*object = "credit_history";
	lookup_again(rows);
	lookup_text_key(rows, 1, check->user_id.data);
	lookup_key(rows, 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(leaf->seq));
	if (lookup_next(rows, ForwardScanDirection))
		row_hash_read(hash, rows->slot);
	else if (!checkpoint_usable(check->user_id.data, rows->snapshot, &ckpt) ||
			 leaf->seq > ckpt.acc.history_seq)
		return psprintf("the row that anchor " INT64_FORMAT " has is missing",
						leaf->anchor_no);
	else if (leaf->seq == ckpt.acc.history_seq)
	{
		*object = "credit_checkpoint";
		memcpy(hash, ckpt.acc.history_hash, CR_HASH_LEN);
	}
	else if (archived_row(archived, check->user_id.data, leaf->seq, &row))
	{
		*object = ARCHIVE_NAME;
		memcpy(hash, row.hash, CR_HASH_LEN);
	}
	else
		return NULL; /* exported and dropped */
	if (!same_hash(hash, leaf->hash))
		return psprintf("it is not the row that anchor " INT64_FORMAT " has", leaf->anchor_no);
	return NULL;
}

static void
report(AnchorCheck *check, Findings *findings, const char *object, int64 seq,
	   const char *problem)
{
	if (problem && !check->has_problem)
	{
		check->has_problem = true;
		findings_report(findings, object, check->user_id.data, seq, problem);
	}
}

/* All leaves of a user have been read.  Puts the user's newest leaf into the trees. */
static void
end_user(AnchorCheck *check, Findings *findings, Lookup *accounts)
{
	const Leaf *last = &check->last;
	Leaf head;

	if (last->anchor_no == 0)
		return;
	tree_add(&check->newest, check->user_id.data, last->seq, last->hash);
	if (check->last_kept.anchor_no != 0)
		tree_add(&check->kept_tree, check->user_id.data, check->last_kept.seq,
				 check->last_kept.hash);

	lookup_again(accounts);
	lookup_text_key(accounts, 1, check->user_id.data);
	if (!lookup_next(accounts, ForwardScanDirection))
		report(check, findings, "credit_account", last->seq,
			   psprintf("the account that anchor " INT64_FORMAT " has is missing",
						last->anchor_no));
	else if (head_read(&head, accounts->slot) || head.seq < last->seq ||
			 (head.seq == last->seq && !same_hash(head.hash, last->hash)))
		report(check, findings, "credit_account", last->seq,
			   psprintf("the account has fewer rows than in anchor " INT64_FORMAT,
						last->anchor_no));
}

static void
check_leaf(AnchorCheck *check, Findings *findings, TupleTableSlot *slot, Lookup *rows,
		   Lookup *accounts, Archived *archived)
{
	char *user_id = slot_text(slot, LEAF_USER_ID);
	Leaf leaf;
	const char *object;
	const char *problem = leaf_read(&leaf, slot);
	Checked *anchor = find_anchor(check, leaf.anchor_no);
	bool first = check->last.anchor_no == 0 || strcmp(user_id, check->user_id.data) != 0;

	if (first)
	{
		end_user(check, findings, accounts);
		resetStringInfo(&check->user_id);
		appendStringInfoString(&check->user_id, user_id);
		check->last.anchor_no = 0;
		check->last_kept.anchor_no = 0;
		check->has_problem = false;
	}
	if (problem)
		report(check, findings, "credit_anchor_leaf", leaf.seq, problem);
	problem = leaf_problem(check, &leaf, anchor, rows, archived, &object);
	report(check, findings, object, leaf.seq, problem);
	if (anchor == NULL)
		check->has_stray = true;
	else
	{
		if (first)
			anchor->users++;
		if (anchor->leaves++ < anchor->anchor.changed)
			tree_add(&anchor->tree, user_id, leaf.seq, leaf.hash);
	}
	check->last = leaf;
	if (leaf.anchor_no <= check->kept.anchor_no)
		check->last_kept = leaf;
}

/* Was the anchor made after the anchors were read? */
static bool
is_later_anchor(const AnchorCheck *check, Lookup *anchors, TupleTableSlot *slot)
{
	Leaf leaf;

	(void) leaf_read(&leaf, slot);
	if (check->count > 0 &&
		leaf.anchor_no <= check->anchors[check->count - 1].anchor.anchor_no)
		return false;
	lookup_again(anchors);
	lookup_key(anchors, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(leaf.anchor_no));
	return lookup_next(anchors, ForwardScanDirection);
}

/*
 * Checks the leaves of the users after one user and up to another.  NULL: from the first,
 * to the last.  The caller gives one range after another.
 */
void
anchor_check_users(AnchorCheck *check, Findings *findings, const char *after, const char *upto)
{
	Snapshot snapshot = GetActiveSnapshot();
	Lookup leaves;
	Lookup rows;
	Lookup accounts;
	Lookup anchors;
	Archived archived;
	MemoryContext old;

	archived_open(&archived, snapshot);
	lookup_begin(&leaves, TABLE_ANCHOR_LEAF, INDEX_ANCHOR_LEAF, snapshot);
	lookup_after_key(&leaves, 1, after);
	lookup_upto_key(&leaves, 1, upto);
	lookup_begin(&rows, TABLE_HISTORY, INDEX_HISTORY, snapshot);
	lookup_begin(&accounts, TABLE_ACCOUNT, INDEX_ACCOUNT, snapshot);
	lookup_begin(&anchors, TABLE_ANCHOR, INDEX_ANCHOR, snapshot);
	check->last.anchor_no = 0;
	old = MemoryContextSwitchTo(check->row_memory);
	while (lookup_next(&leaves, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		if (!is_later_anchor(check, &anchors, leaves.slot))
			check_leaf(check, findings, leaves.slot, &rows, &accounts, &archived);
		MemoryContextReset(check->row_memory);
	}
	end_user(check, findings, &accounts);
	MemoryContextSwitchTo(old);
	MemoryContextReset(check->row_memory);
	lookup_end(&anchors);
	lookup_end(&accounts);
	lookup_end(&rows);
	lookup_end(&leaves);
	archived_close(&archived);
}

/* Does a tree, together with the audit log's leaf, give the anchor's root? */
static bool
has_root(CrTree *tree, const CrAnchor *anchor)
{
	uint8_t root[CR_HASH_LEN];

	tree_add(tree, NULL, anchor->audit_seq, anchor->audit_hash);
	tree_root(tree, root);
	return same_hash(root, anchor->root);
}

/* All leaves have been read.  Checks the counts and the roots. */
void
anchor_check_end(AnchorCheck *check, Findings *findings)
{
	int64 users = 0;

	for (int64 i = 0; i < check->count; i++)
	{
		Checked *checked = &check->anchors[i];
		const char *problem = NULL;
		uint8_t root[CR_HASH_LEN];

		tree_root(&checked->tree, root);
		users += checked->users;
		if (checked->leaves != checked->anchor.changed)
			problem = psprintf("it has " INT64_FORMAT " leaves instead of " INT64_FORMAT,
							   checked->leaves, checked->anchor.changed);
		else if (!same_hash(root, checked->anchor.changed_root))
			problem = "its leaves do not give its changed_root";
		else if (users != checked->anchor.accounts)
		{
			problem = psprintf("up to it " INT64_FORMAT
							   " users have leaves instead of " INT64_FORMAT,
							   users, checked->anchor.accounts);
			users = checked->anchor.accounts; /* report this once only */
		}
		else if (i == check->count - 1 && !has_root(&check->newest, &checked->anchor))
			problem = "the leaves do not give its root";
		if (problem)
			findings_report(findings, "credit_anchor", NULL, checked->anchor.anchor_no,
							problem);
	}
	if (check->kept_is_here && !has_root(&check->kept_tree, &check->kept))
		findings_report(findings, "credit_anchor", NULL, check->kept.anchor_no,
						"the leaves do not give the root that was kept outside");
}

/* Checks everything in one snapshot. */
void
verify_anchors(Findings *findings, const CrAnchor *kept)
{
	AnchorCheck *check = anchor_check_begin(findings, kept);

	anchor_check_users(check, findings, NULL, NULL);
	anchor_check_end(check, findings);
}
