/*
 * judge_lots.c
 *		What verification knows about an account's grants, holds, refunds and chargebacks
 *		while it reads the account's history.
 *
 * The core's lists have the open grants and holds, as they follow from the rows so far.
 * If something is no longer open but later rows can refer to it, it has a mark: how much
 * of a row was refunded, how much of a purchase was revoked, and what happened to a hold.
 * At the end, the tables must agree with the lists and the marks.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/sums.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/archive_partitions.h"
#include "tables/checkpoint.h"
#include "tables/find.h"
#include "tables/lot_rows.h"
#include "tables/rows.h"
#include "verify/findings.h"
#include "verify/judge_lots.h"

typedef struct Mark
{
	int64 seq; /* of the row */
	int64 sum; /* refunded or revoked so far */
	bool is_payment;
	int64 reported; /* the highest total that was reported so far */
	Payment stored; /* as its row in credit_payment says */
	bool is_hold;
	CrHold hold; /* has its parts only if it expired */
} Mark;

void
judge_lots_begin(JudgeLots *book, Snapshot snapshot)
{
	memset(book, 0, sizeof(*book));
	book->snapshot = snapshot;
	book->memory = AllocSetContextCreate(CurrentMemoryContext, "credits verify account",
										 ALLOCSET_SMALL_SIZES);
}

void
judge_lots_end(JudgeLots *book)
{
	MemoryContextDelete(book->memory);
}

/* Starts another account, before its first row. */
void
judge_lots_start(JudgeLots *book, CrAccount *acc)
{
	MemoryContext old;

	MemoryContextReset(book->memory);
	book->marks = NULL;
	book->n_grants = book->n_holds = 0;
	book->collect = NULL;
	old = MemoryContextSwitchTo(book->memory);
	acc->lots = lots_make();
	MemoryContextSwitchTo(old);
}

static Mark *
find_mark(JudgeLots *book, int64 seq)
{
	return book->marks ? hash_search(book->marks, &seq, HASH_FIND, NULL) : NULL;
}

static Mark *
make_mark(JudgeLots *book, int64 seq)
{
	HASHCTL info = {.keysize = sizeof(int64), .entrysize = sizeof(Mark)};
	Mark *mark;
	bool found;

	info.hcxt = book->memory;
	if (book->marks == NULL)
		book->marks = hash_create("credits verify account", 64, &info,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	mark = hash_search(book->marks, &seq, HASH_ENTER, &found);
	if (!found)
	{
		memset(mark, 0, sizeof(*mark));
		mark->seq = seq;
	}
	return mark;
}

/* Undoing a reset changes holds that have expired. */
static void
add_expired_holds(JudgeLots *book, CrAccount *acc)
{
	HASH_SEQ_STATUS scan;
	Mark *mark;

	if (book->marks == NULL)
		return;
	hash_seq_init(&scan, book->marks);
	while ((mark = hash_seq_search(&scan)) != NULL)
	{
		if (mark->is_hold && mark->hold.state == CR_HOLD_EXPIRED)
			*cr_lots_add_hold(acc->lots, mark->seq, 0) = mark->hold;
	}
}

/* They were added after the open holds. */
static void
remove_expired_holds(JudgeLots *book, CrAccount *acc)
{
	CrLots *lots = acc->lots;

	while (lots->n_holds > 0 && lots->holds[lots->n_holds - 1].state == CR_HOLD_EXPIRED)
	{
		CrHold *hold = &lots->holds[--lots->n_holds];

		make_mark(book, hold->seq)->hold = *hold;
	}
}

/* Finds a row of the account.  The row may be malformed. */
static bool
find_judged(void *ctx, const char *user_id, int64 seq, CrRow *row)
{
	JudgeLots *book = ctx;

	return book->archived ? archived_row(book->archived, user_id, seq, row)
						  : find_row(user_id, seq, book->snapshot, row);
}

/*
 * Fills in what the core needs to replay the row: the row to which this one refers, how much
 * of it was refunded before, and the payment.  payment: as its row in credit_payment says.
 * NULL: the row has none.
 */
void
judge_lots_before(JudgeLots *book, CrAccount *acc, const CrRow *row, const Payment *payment,
				  CrReplayed *about)
{
	Mark *mark = row->has_ref_seq ? find_mark(book, row->ref_seq) : NULL;
	CrRow *target;

	memset(about, 0, sizeof(*about));
	about->used = mark ? mark->sum : 0;
	if ((row->kind == CR_KIND_CAPTURE || row->kind == CR_KIND_RELEASE) && mark &&
		mark->is_hold && cr_find_hold(acc, row->ref_seq) == NULL)
		*cr_lots_add_hold(acc->lots, mark->seq, 0) = mark->hold;
	if (row->kind == CR_KIND_UNDO)
		add_expired_holds(book, acc);
	if (!row->has_ref_seq || row->ref_seq >= row->seq)
		return;
	if (row->kind == CR_KIND_REVOKE || row->kind == CR_KIND_REINSTATE)
	{
		CrGrant *grant = cr_find_grant(acc, row->ref_seq);
		CrPaid *paid;

		if (payment == NULL || payment->seq != row->ref_seq ||
			payment->granted != (grant != NULL && grant->paid))
			return;
		paid = palloc(sizeof(CrPaid));
		*paid = (CrPaid){.seq = row->ref_seq,
						 .amount = payment->amount,
						 .revoked = about->used,
						 .grant = grant};
		about->paid = paid;
	}
	if (row->kind != CR_KIND_REFUND && row->kind != CR_KIND_UNDO)
		return;
	target = palloc(sizeof(CrRow));
	if (find_judged(book, acc->user_id, row->ref_seq, target) && !target->malformed)
		about->target = target;
	if (about->target && row->kind == CR_KIND_UNDO && target->kind == CR_KIND_IMPORT)
		about->adjusted = find_adjusted(acc->user_id, target->seq, row->seq - 1, row->period,
										find_judged, book);
}

/* Moves a hold that is closed from the list to its mark. */
static void
move_hold_to_mark(JudgeLots *book, CrAccount *acc, int64 seq)
{
	CrLots *lots = acc->lots;
	CrHold *hold = cr_find_hold(acc, seq);
	Mark *mark = make_mark(book, seq);
	int at = (int) (hold - lots->holds);

	if (hold->state == CR_HOLD_OPEN)
		return;
	mark->is_hold = true;
	mark->hold = *hold;
	if (cr_hold_left(hold) == 0)
	{
		mark->hold.parts = NULL;
		mark->hold.n_parts = 0;
		if (hold->parts)
			pfree(hold->parts);
	}
	memmove(hold, hold + 1, sizeof(CrHold) * (lots->n_holds - at - 1));
	lots->n_holds--;
}

/* Collects what a checkpoint needs from a row besides the lists and marks. */
static void
collect(JudgeLots *book, const CrRow *row)
{
	Checkpoint *ckpt = book->collect;
	MemoryContext old = MemoryContextSwitchTo(book->memory);
	uint8_t *digest;

	checkpoint_add_row(ckpt, row->created_at);
	if (row->payment_ref && (row->kind == CR_KIND_PURCHASE || row->kind == CR_KIND_GRANT))
		checkpoint_add_purchase(ckpt, row->seq, row->amount, row->kind == CR_KIND_GRANT,
								row->payment_ref);
	if (row->idempotency_key && row->idempotency_key[0] == '\0' && row->has_facts)
	{
		ckpt->opened_seq = row->seq;
		if (row->request_digest)
		{
			digest = palloc(CR_HASH_LEN);
			memcpy(digest, row->request_digest, CR_HASH_LEN);
			ckpt->opened_digest = digest;
		}
		ckpt->opened_plan = row->facts.plan ? pstrdup(row->facts.plan) : NULL;
		ckpt->opened_anchor = row->facts.cycle_anchor;
		ckpt->opened_zone = pstrdup(row->facts.time_zone);
	}
	MemoryContextSwitchTo(old);
}

/* The mark of a payment. */
static Mark *
payment_mark(JudgeLots *book, const Payment *payment)
{
	Mark *mark = make_mark(book, payment->seq);

	mark->is_payment = true;
	mark->stored = *payment;
	return mark;
}

/* Records what a row that revokes or reinstates a payment did. */
static void
count_payment(JudgeLots *book, const CrRow *row, const Payment *payment)
{
	Mark *mark = payment_mark(book, payment);

	mark->reported = Max(mark->reported, cr_part_of(row, CR_TOTAL));
	if (row->kind == CR_KIND_REVOKE)
		sum_add(&mark->sum, row->amount);
	else
		mark->sum -= row->amount;
}

/*
 * A revocation that notes a total revokes what this has more than the highest total before, up to
 * what is left.  paid: the payment as it was before the row, NULL: the row has none.
 */
const char *
judge_lots_check_total(JudgeLots *book, const CrRow *row, const CrPaid *paid)
{
	int64 total = paid && row->kind == CR_KIND_REVOKE ? cr_part_of(row, CR_TOTAL) : 0;
	Mark *mark = total > 0 ? find_mark(book, paid->seq) : NULL;
	int64 reported = mark ? mark->reported : 0;

	if (total == 0 ||
		(total > reported &&
		 row->amount == Min(total - reported, paid->amount - paid->revoked)))
		return NULL;
	return "amount is out of range";
}

/* Has anything happened to the payment since it was made? */
bool
judge_lots_has_changed(const Payment *payment)
{
	return payment && (payment->revoked != 0 || payment->reported != 0);
}

/* Records a row that was found good.  payment: see judge_lots_before(). */
void
judge_lots_after(JudgeLots *book, CrAccount *acc, const CrRow *row, const Payment *payment)
{
	if (book->collect)
		collect(book, row);
	if (judge_lots_has_changed(payment))
		(void) payment_mark(book, payment);
	switch (row->kind)
	{
		case CR_KIND_REFUND:
			sum_add(&make_mark(book, row->ref_seq)->sum, row->amount);
			break;
		case CR_KIND_REVOKE:
		case CR_KIND_REINSTATE:
			count_payment(book, row, payment);
			break;
		case CR_KIND_UNDO:
			remove_expired_holds(book, acc);
			make_mark(book, row->ref_seq)->sum++;
			break;
		case CR_KIND_GRANT:
			book->n_grants++;
			break;
		case CR_KIND_HOLD:
			book->n_holds++;
			break;
		case CR_KIND_HOLD_END:
		case CR_KIND_CAPTURE:
		case CR_KIND_RELEASE:
			move_hold_to_mark(book, acc, row->ref_seq);
			break;
		default:
			break;
	}
}

/* Records an archived payment.  numbers: what the checkpoint says of it. */
void
judge_lots_load_purchase(JudgeLots *book, const int64 *numbers, const Payment *payment)
{
	Mark *mark = payment_mark(book, payment);

	mark->sum = numbers[PURCHASE_REVOKED];
	mark->reported = numbers[PURCHASE_REPORTED];
}

/* Puts the grants and holds of a checkpoint into the lists, which are empty. */
void
judge_lots_load(JudgeLots *book, CrAccount *acc, const Checkpoint *ckpt)
{
	MemoryContext old = MemoryContextSwitchTo(book->memory);

	for (int i = 0; i < ckpt->grants.count; i += GRANT_NUMBERS)
	{
		const int64 *numbers = &ckpt->grants.values[i];
		CrGrant *grant = cr_lots_add_grant(acc->lots, numbers[0],
										   checkpoint_from_time(numbers[3]));

		grant->amount = numbers[1];
		grant->left = numbers[2];
		grant->closed = numbers[4] != 0;
		grant->paid = numbers[5] != 0;
		grant->expired = numbers[6];
		grant->elsewhere = numbers[7];
		book->n_grants++;
	}
	for (int i = 0; i < ckpt->holds.count; i += hold_length(&ckpt->holds, i))
	{
		const int64 *numbers = &ckpt->holds.values[i];
		bool is_open = numbers[5] != 0;
		int pairs = (int) numbers[HOLD_NUMBERS - 1];
		Mark *mark = is_open ? NULL : make_mark(book, numbers[0]);
		CrHold *hold = is_open ? cr_lots_add_hold(acc->lots, numbers[0], pairs) : &mark->hold;

		if (!is_open)
		{
			mark->is_hold = true;
			hold->n_parts = pairs;
			hold->parts = pairs > 0 ? palloc(sizeof(CrPart) * pairs) : NULL;
		}
		hold->seq = numbers[0];
		hold->amount = numbers[1];
		hold->monthly = numbers[2];
		hold->purchased = numbers[3];
		hold->period = numbers[4];
		hold->state = is_open ? CR_HOLD_OPEN : CR_HOLD_EXPIRED;
		hold->ends_at = is_open ? checkpoint_from_time(numbers[5]) : CR_NEVER;
		hold->given_back = numbers[6];
		for (int j = 0; j < pairs; j++)
		{
			hold->parts[j].source = numbers[HOLD_NUMBERS + 2 * j];
			hold->parts[j].credits = numbers[HOLD_NUMBERS + 2 * j + 1];
		}
		book->n_holds++;
	}
	MemoryContextSwitchTo(old);
}

static void
add_hold(Checkpoint *ckpt, const CrHold *hold)
{
	numbers_add(&ckpt->holds, hold->seq);
	numbers_add(&ckpt->holds, hold->amount);
	numbers_add(&ckpt->holds, hold->monthly);
	numbers_add(&ckpt->holds, hold->purchased);
	numbers_add(&ckpt->holds, hold->period);
	numbers_add(&ckpt->holds,
				hold->state == CR_HOLD_OPEN ? checkpoint_time(hold->ends_at) : 0);
	numbers_add(&ckpt->holds, hold->given_back);
	numbers_add(&ckpt->holds, hold->n_parts);
	for (int i = 0; i < hold->n_parts; i++)
	{
		numbers_add(&ckpt->holds, hold->parts[i].source);
		numbers_add(&ckpt->holds, hold->parts[i].credits);
	}
}

static int
compare_marks(const void *a, const void *b)
{
	int64 left = (*(Mark *const *) a)->seq;
	int64 right = (*(Mark *const *) b)->seq;

	return left < right ? -1 : left > right;
}

/*
 * Completes a checkpoint with the grants and holds that follow from the rows so far, and
 * with what was collected.  Grants that have ended and holds that are settled are left
 * out, because no later row can use them, except grants that were paid for.
 */
void
judge_lots_finish(JudgeLots *book, const CrAccount *acc, Checkpoint *ckpt)
{
	HASH_SEQ_STATUS scan;
	Mark *mark;
	Mark **expired = palloc(sizeof(Mark *) *
							(book->marks ? hash_get_num_entries(book->marks) + 1 : 1));
	int count = 0;

	ckpt->acc = *acc;
	ckpt->acc.lots = NULL;
	ckpt->acc.next_event_at = cr_next_event(acc);
	ckpt->grants.count = ckpt->holds.count = 0;
	for (int i = 0; i < acc->lots->n_grants; i++)
	{
		const CrGrant *grant = &acc->lots->grants[i];

		/* a grant that ends exactly now may still have its end to come */
		if (grant->ends_at < acc->effective_at && !grant->paid)
			continue;
		numbers_add(&ckpt->grants, grant->seq);
		numbers_add(&ckpt->grants, grant->amount);
		numbers_add(&ckpt->grants, grant->left);
		numbers_add(&ckpt->grants, checkpoint_time(grant->ends_at));
		numbers_add(&ckpt->grants, grant->closed);
		numbers_add(&ckpt->grants, grant->paid);
		numbers_add(&ckpt->grants, grant->expired);
		numbers_add(&ckpt->grants, grant->elsewhere);
	}
	if (book->marks)
	{
		hash_seq_init(&scan, book->marks);
		while ((mark = hash_seq_search(&scan)) != NULL)
		{
			if (mark->is_hold && mark->hold.state == CR_HOLD_EXPIRED)
				expired[count++] = mark;
		}
	}
	qsort(expired, count, sizeof(Mark *), compare_marks);
	for (int i = 0; i < count; i++)
		add_hold(ckpt, &expired[i]->hold);
	for (int i = 0; i < acc->lots->n_holds; i++)
	{
		if (acc->lots->holds[i].state == CR_HOLD_OPEN)
			add_hold(ckpt, &acc->lots->holds[i]);
	}
	for (int i = 0; i < ckpt->purchases.count; i += PURCHASE_NUMBERS)
	{
		int64 *numbers = &ckpt->purchases.values[i];

		mark = find_mark(book, numbers[PURCHASE_SEQ]);
		if (mark == NULL || !mark->is_payment)
			continue;
		numbers[PURCHASE_REVOKED] = mark->sum;
		numbers[PURCHASE_REPORTED] = mark->reported;
	}
}

static const char *
grant_problem(const CrAccount *acc, const CrGrant *stored)
{
	for (int i = 0; i < acc->lots->n_grants; i++)
	{
		const CrGrant *grant = &acc->lots->grants[i];

		if (grant->seq != stored->seq)
			continue;
		if (grant->amount != stored->amount || grant->ends_at != stored->ends_at ||
			grant->paid != stored->paid)
			return "it is not the grant that the history opened";
		if (grant->left != stored->left)
			return "remaining is not what the history gives";
		if (grant->expired != stored->expired || grant->elsewhere != stored->elsewhere)
			return "expired or elsewhere is not what the history gives";
		return grant->closed == stored->closed ? NULL : "closed is not what the history gives";
	}
	return "the history opened no such grant";
}

/* A part of which nothing is left may be missing. */
static bool
same_parts(const CrHold *a, const CrHold *b)
{
	int i = 0;
	int j = 0;

	for (;;)
	{
		while (i < a->n_parts && a->parts[i].credits == 0)
			i++;
		while (j < b->n_parts && b->parts[j].credits == 0)
			j++;
		if (i == a->n_parts || j == b->n_parts)
			return i == a->n_parts && j == b->n_parts;
		if (a->parts[i].source != b->parts[j].source ||
			a->parts[i].credits != b->parts[j].credits)
			return false;
		i++;
		j++;
	}
}

static const char *
hold_problem(JudgeLots *book, const CrAccount *acc, const CrHold *stored)
{
	const CrHold *hold = cr_find_hold(acc, stored->seq);
	Mark *mark = find_mark(book, stored->seq);

	if (hold == NULL && (mark == NULL || !mark->is_hold))
		return "the history opened no such hold";
	if (hold == NULL)
		hold = &mark->hold;
	if (hold->amount != stored->amount || hold->period != stored->period)
		return "it is not the hold that the history opened";
	if (hold->state != stored->state)
		return "state is not what the history gives";
	if (hold->monthly != stored->monthly || hold->purchased != stored->purchased ||
		hold->given_back != stored->given_back)
		return "what is held is not what the history gives";
	if (!same_parts(hold, stored))
		return "what is held is not what the history gives";
	if (stored->ends_at != (hold->state == CR_HOLD_OPEN ? hold->ends_at : CR_NEVER))
		return "it does not end when the history says";
	return NULL;
}

/*
 * Compares the account's rows in a table with the list.  False: they differ, and this was
 * reported.
 */
static bool
compare_table(JudgeLots *book, const CrAccount *acc, Findings *findings, StoreTable table,
			  StoreIndex index, int64 expected)
{
	Lookup lookup;
	int64 count = 0;
	int64 bad_seq = 0;
	const char *problem = NULL;

	lookup_begin(&lookup, table, index, book->snapshot);
	lookup_text_key(&lookup, 1, acc->user_id);
	while (problem == NULL && lookup_next(&lookup, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		count++;
		if (table == TABLE_GRANT)
		{
			CrGrant grant;

			problem = grant_read(&grant, lookup.slot);
			if (problem == NULL)
				problem = grant_problem(acc, &grant);
			bad_seq = grant.seq;
		}
		else
		{
			CrHold hold;

			problem = hold_read(&hold, lookup.slot);
			if (problem == NULL)
				problem = hold_problem(book, acc, &hold);
			bad_seq = hold.seq;
		}
	}
	lookup_end(&lookup);
	if (problem == NULL && count != expected)
		problem = "a row that the history opened is missing";
	if (problem)
		findings_report(findings, store_table_name(table), acc->user_id, bad_seq, problem);
	return problem == NULL;
}

/* Compares the tables after the last row.  False: they differ, and this was reported. */
bool
judge_lots_compare(JudgeLots *book, const CrAccount *acc, Findings *findings)
{
	MemoryContext old = MemoryContextSwitchTo(book->memory);
	bool good;

	good = compare_table(book, acc, findings, TABLE_GRANT, INDEX_GRANT, book->n_grants) &&
		compare_table(book, acc, findings, TABLE_HOLD, INDEX_HOLD, book->n_holds);
	if (good && book->marks)
	{
		HASH_SEQ_STATUS scan;
		Mark *mark;

		hash_seq_init(&scan, book->marks);
		while ((mark = hash_seq_search(&scan)) != NULL)
		{
			if (!mark->is_payment ||
				(mark->stored.revoked == mark->sum && mark->stored.reported == mark->reported))
				continue;
			findings_report(findings, "credit_payment", acc->user_id, mark->seq,
							"revoked or reported is not what the history gives");
			good = false;
			hash_seq_term(&scan);
			break;
		}
	}
	MemoryContextSwitchTo(old);
	return good;
}

/* Does the checkpoint have the grant or hold?  Then an archived row opened it. */
static bool
checkpoint_has(const char *user_id, int64 seq, CrKind kind)
{
	Checkpoint ckpt;
	bool found = false;

	if (!checkpoint_usable(user_id, GetActiveSnapshot(), &ckpt))
		return false;
	if (kind == CR_KIND_GRANT)
	{
		for (int i = 0; i < ckpt.grants.count && !found; i += GRANT_NUMBERS)
			found = ckpt.grants.values[i] == seq;
		return found;
	}
	for (int i = 0; i < ckpt.holds.count && !found; i += hold_length(&ckpt.holds, i))
		found = ckpt.holds.values[i] == seq;
	return found;
}

/* Finds grants or holds that no row of their account opened. */
static void
find_orphans(Findings *findings, StoreTable table, StoreIndex index, AttrNumber user_column,
			 AttrNumber seq_column, CrKind kind)
{
	Lookup lookup;
	MemoryContext old = CurrentMemoryContext;
	MemoryContext memory = AllocSetContextCreate(old, "credits verify row",
												 ALLOCSET_DEFAULT_SIZES);

	lookup_begin(&lookup, table, index, GetActiveSnapshot());
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		CrRow row;
		bool isnull;
		char *user_id = slot_text(lookup.slot, user_column);
		int64 seq = DatumGetInt64(slot_getattr(lookup.slot, seq_column, &isnull));

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(memory);
		if (find_row(user_id, seq, GetActiveSnapshot(), &row)
				? row.malformed || row.kind != kind
				: !checkpoint_has(user_id, seq, kind))
			findings_report(findings, store_table_name(table), user_id, seq,
							"no history row opened it");
		MemoryContextSwitchTo(old);
		pfree(user_id);
		MemoryContextReset(memory);
	}
	lookup_end(&lookup);
	MemoryContextDelete(memory);
}

void
verify_lot_orphans(Findings *findings)
{
	find_orphans(findings, TABLE_GRANT, INDEX_GRANT, GRANT_USER_ID, GRANT_SEQ, CR_KIND_GRANT);
	find_orphans(findings, TABLE_HOLD, INDEX_HOLD, HOLD_USER_ID, HOLD_SEQ, CR_KIND_HOLD);
}
