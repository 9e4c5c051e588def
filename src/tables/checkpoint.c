/*
 * checkpoint.c
 *		Checkpoints replace archived rows: as table rows, and their digest.
 *
 * A checkpoint is in no chain itself.  But the archive row that was written with it has
 * its digest, and that row is in the account's chain.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/digest.h"
#include "base/errors.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "store/slots.h"
#include "store/writer.h"
#include "tables/archive_partitions.h"
#include "tables/checkpoint.h"
#include "tables/rows.h"

#define USECS_TO_2000 INT64CONST(946684800000000)

/*
 * Times in these arrays are microseconds since 1970, as in all formats that leave the
 * database.
 */
int64
checkpoint_time(CrTime at)
{
	return at + USECS_TO_2000;
}

CrTime
checkpoint_from_time(int64 value)
{
	return value - USECS_TO_2000;
}

void
numbers_add(Numbers *numbers, int64 value)
{
	if (numbers->count == numbers->room)
	{
		numbers->room = Max(numbers->room * 2, 16);
		numbers->values = numbers->values
			? repalloc(numbers->values, sizeof(int64) * numbers->room)
			: palloc(sizeof(int64) * numbers->room);
	}
	numbers->values[numbers->count++] = value;
}

int
checkpoint_purchases(const Checkpoint *ckpt)
{
	return ckpt->purchases.count / PURCHASE_NUMBERS;
}

void
checkpoint_add_purchase(Checkpoint *ckpt, int64 seq, int64 amount, bool granted,
						const char *payment_ref)
{
	int at = checkpoint_purchases(ckpt);

	if (at >= ckpt->room_refs)
	{
		ckpt->room_refs = Max(at * 2, 8);
		ckpt->payment_refs = ckpt->payment_refs
			? repalloc(ckpt->payment_refs, sizeof(char *) * ckpt->room_refs)
			: palloc(sizeof(char *) * ckpt->room_refs);
	}
	ckpt->payment_refs[at] = pstrdup(payment_ref);
	numbers_add(&ckpt->purchases, seq);
	numbers_add(&ckpt->purchases, amount);
	for (int i = PURCHASE_REVOKED; i < PURCHASE_GRANTED; i++)
		numbers_add(&ckpt->purchases, 0);
	numbers_add(&ckpt->purchases, granted);
}

/* Counts one more row in the partition of its year. */
void
checkpoint_add_row(Checkpoint *ckpt, CrTime created_at)
{
	int year = archive_year_of(created_at);
	int at = 0;

	while (at < ckpt->archived.count && ckpt->archived.values[at] < year)
		at += ARCHIVED_NUMBERS;
	if (at == ckpt->archived.count || ckpt->archived.values[at] != year)
	{
		numbers_add(&ckpt->archived, 0);
		numbers_add(&ckpt->archived, 0);
		memmove(&ckpt->archived.values[at + ARCHIVED_NUMBERS], &ckpt->archived.values[at],
				sizeof(int64) * (ckpt->archived.count - ARCHIVED_NUMBERS - at));
		ckpt->archived.values[at] = year;
		ckpt->archived.values[at + 1] = 0;
	}
	ckpt->archived.values[at + 1]++;
}

/*
 * Reads an array of items with a fixed count of numbers each.  Returns what is wrong with
 * it, or NULL.
 */
static const char *
read_numbers(Numbers *numbers, TupleTableSlot *slot, AttrNumber attno, int each)
{
	ArrayType *array;

	if (slot->tts_isnull[attno - 1])
		return NULL;
	array = DatumGetArrayTypePCopy(slot->tts_values[attno - 1]);
	if (ARR_NDIM(array) != 1 || ARR_HASNULL(array) || ARR_ELEMTYPE(array) != INT8OID)
		return "an array is not a plain one";
	numbers->count = numbers->room = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	numbers->values = palloc(sizeof(int64) * numbers->count);
	memcpy(numbers->values, ARR_DATA_PTR(array), sizeof(int64) * numbers->count);
	return numbers->count % each == 0 ? NULL : "an array has a wrong count of numbers";
}

/* The same for holds: each hold says how many pairs it has. */
static const char *
holds_problem(const Numbers *holds)
{
	int at = 0;

	while (at < holds->count)
	{
		if (holds->count - at < HOLD_NUMBERS || holds->values[at + HOLD_NUMBERS - 1] < 0 ||
			holds->values[at + HOLD_NUMBERS - 1] > (holds->count - at - HOLD_NUMBERS) / 2)
			return "holds has a wrong count of numbers";
		at += hold_length(holds, at);
	}
	return NULL;
}

static const char *
read_refs(Checkpoint *ckpt, TupleTableSlot *slot)
{
	Datum *items = NULL;
	bool *nulls = NULL;
	int count = 0;

	if (!slot->tts_isnull[CKPT_PAYMENT_REFS - 1])
		deconstruct_array(DatumGetArrayTypeP(slot->tts_values[CKPT_PAYMENT_REFS - 1]), TEXTOID,
						  -1, false, TYPALIGN_INT, &items, &nulls, &count);
	if (count != checkpoint_purchases(ckpt))
		return "there are not as many payment_refs as purchases";
	ckpt->payment_refs = palloc(sizeof(char *) * Max(count, 1));
	ckpt->room_refs = count;
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			return "a payment_ref is NULL";
		ckpt->payment_refs[i] = TextDatumGetCString(items[i]);
	}
	return NULL;
}

/* Reads a stored checkpoint.  Returns what is wrong with it.  NULL: it can be read. */
const char *
checkpoint_read(Checkpoint *ckpt, TupleTableSlot *slot)
{
	const char *problem;
	bytea *digest;

	slot_getallattrs(slot);
	memset(ckpt, 0, sizeof(*ckpt));
	problem = account_read(&ckpt->acc, slot->tts_values, slot->tts_isnull);
	if (problem == NULL)
		problem = read_numbers(&ckpt->grants, slot, CKPT_GRANTS, GRANT_NUMBERS);
	if (problem == NULL)
		problem = read_numbers(&ckpt->holds, slot, CKPT_HOLDS, 1);
	if (problem == NULL)
		problem = holds_problem(&ckpt->holds);
	if (problem == NULL)
		problem = read_numbers(&ckpt->purchases, slot, CKPT_PURCHASES, PURCHASE_NUMBERS);
	if (problem == NULL)
		problem = read_refs(ckpt, slot);
	if (problem == NULL)
		problem = read_numbers(&ckpt->archived, slot, CKPT_ARCHIVED, ARCHIVED_NUMBERS);
	if (problem)
		return problem;
	if (slot->tts_isnull[CKPT_OPENED_SEQ - 1])
		return NULL;
	ckpt->opened_seq = DatumGetInt64(slot->tts_values[CKPT_OPENED_SEQ - 1]);
	if (slot->tts_isnull[CKPT_OPENED_ANCHOR - 1] || slot->tts_isnull[CKPT_OPENED_ZONE - 1])
		return "the opening row's facts are incomplete";
	if (!slot->tts_isnull[CKPT_OPENED_DIGEST - 1])
	{
		digest = DatumGetByteaPCopy(slot->tts_values[CKPT_OPENED_DIGEST - 1]);
		if (VARSIZE_ANY_EXHDR(digest) != CR_HASH_LEN)
			return "a digest or hash has a wrong length";
		ckpt->opened_digest = (const uint8_t *) VARDATA_ANY(digest);
	}
	ckpt->opened_plan = slot_text(slot, CKPT_OPENED_PLAN);
	ckpt->opened_anchor = DatumGetTimestamp(slot->tts_values[CKPT_OPENED_ANCHOR - 1]);
	ckpt->opened_zone = slot_text(slot, CKPT_OPENED_ZONE);
	return NULL;
}

static bool
look_up(const char *user_id, Snapshot snapshot, Checkpoint *ckpt, const char **problem)
{
	Lookup lookup;
	bool found;

	*problem = NULL;
	lookup_begin(&lookup, TABLE_CHECKPOINT, INDEX_CHECKPOINT, snapshot);
	lookup_text_key(&lookup, 1, user_id);
	found = lookup_next(&lookup, ForwardScanDirection);
	if (found)
		*problem = checkpoint_read(ckpt, lookup.slot);
	lookup_end(&lookup);
	return found;
}

/*
 * For verification: does the user have a checkpoint that can be read?  If a checkpoint
 * cannot be read, the verification of its account reports that.
 */
bool
checkpoint_usable(const char *user_id, Snapshot snapshot, Checkpoint *ckpt)
{
	const char *problem;

	return look_up(user_id, snapshot, ckpt, &problem) && problem == NULL;
}

/*
 * Finds the user's checkpoint.  False if there is none.  Raises UC008 if it cannot be
 * read.
 */
bool
checkpoint_find(const char *user_id, Snapshot snapshot, Checkpoint *ckpt)
{
	const char *problem;
	bool found = look_up(user_id, snapshot, ckpt, &problem);

	if (problem)
		error_corrupted("credit_checkpoint", problem);
	return found;
}

/* If the user had a row of that number, was it archived? */
bool
checkpoint_covers(const char *user_id, int64 seq, Snapshot snapshot)
{
	Checkpoint ckpt;

	return seq >= 1 && checkpoint_find(user_id, snapshot, &ckpt) &&
		seq <= ckpt.acc.history_seq;
}

static void
set_numbers(TupleTableSlot *slot, AttrNumber attno, const Numbers *numbers)
{
	Datum *items = palloc(sizeof(Datum) * Max(numbers->count, 1));

	for (int i = 0; i < numbers->count; i++)
		items[i] = Int64GetDatum(numbers->values[i]);
	if (numbers->count > 0)
		slot_set(slot, attno,
				 PointerGetDatum(construct_array(items, numbers->count, INT8OID, 8,
												 FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
	else
		slot_set_null(slot, attno);
}

static void
to_slot(const Checkpoint *ckpt, TupleTableSlot *slot)
{
	int count = checkpoint_purchases(ckpt);
	Datum *refs = palloc(sizeof(Datum) * Max(count, 1));

	account_to_slot(&ckpt->acc, slot);
	set_numbers(slot, CKPT_GRANTS, &ckpt->grants);
	set_numbers(slot, CKPT_HOLDS, &ckpt->holds);
	set_numbers(slot, CKPT_PURCHASES, &ckpt->purchases);
	for (int i = 0; i < count; i++)
		refs[i] = CStringGetTextDatum(ckpt->payment_refs[i]);
	if (count > 0)
		slot_set(slot, CKPT_PAYMENT_REFS,
				 PointerGetDatum(
					 construct_array(refs, count, TEXTOID, -1, false, TYPALIGN_INT)));
	else
		slot_set_null(slot, CKPT_PAYMENT_REFS);
	set_numbers(slot, CKPT_ARCHIVED, &ckpt->archived);
	slot_set_digest(slot, CKPT_OPENED_DIGEST, ckpt->opened_digest);
	slot_set_text(slot, CKPT_OPENED_PLAN, ckpt->opened_plan);
	slot_set_null(slot, CKPT_OPENED_SEQ);
	slot_set_null(slot, CKPT_OPENED_ANCHOR);
	slot_set_null(slot, CKPT_OPENED_ZONE);
	if (ckpt->opened_seq == 0)
		return;
	slot_set_int(slot, CKPT_OPENED_SEQ, ckpt->opened_seq);
	slot_set(slot, CKPT_OPENED_ANCHOR, TimestampGetDatum(ckpt->opened_anchor));
	slot_set_text(slot, CKPT_OPENED_ZONE, ckpt->opened_zone);
}

/* Saves a checkpoint.  The user's account is locked. */
void
checkpoint_save(Writer *writer, const Checkpoint *ckpt)
{
	Lookup lookup;

	lookup_begin(&lookup, TABLE_CHECKPOINT, INDEX_CHECKPOINT, SnapshotSelf);
	lookup_text_key(&lookup, 1, ckpt->acc.user_id);
	if (lookup_next(&lookup, ForwardScanDirection))
	{
		writer_copy(writer, lookup.slot);
		to_slot(ckpt, writer->slot);
		writer_update(writer, lookup.slot);
	}
	else
	{
		writer_clear(writer);
		to_slot(ckpt, writer->slot);
		writer_insert(writer);
	}
	lookup_end(&lookup);
}

static void
put_numbers(CrBuf *buf, const Numbers *numbers)
{
	uint8_t *bytes = palloc(sizeof(int64) * Max(numbers->count, 1));

	for (int i = 0; i < numbers->count; i++)
	{
		uint64 value = pg_hton64((uint64) numbers->values[i]);

		memcpy(bytes + sizeof(int64) * i, &value, sizeof(int64));
	}
	if (numbers->count == 0)
		cr_buf_null(buf);
	else
		cr_buf_bytes(buf, bytes, sizeof(int64) * numbers->count);
	pfree(bytes);
}

static void
put_time(CrBuf *buf, CrTime at)
{
	if (at == CR_NEVER)
		cr_buf_null(buf);
	else
		cr_buf_time(buf, at);
}

static void
put_count(CrBuf *buf, int64 value)
{
	if (value == 0)
		cr_buf_null(buf);
	else
		cr_buf_int(buf, value);
}

static void
put_end_from(CrBuf *buf, const CrEndFrom *from)
{
	if (from->differs)
		cr_buf_time(buf, from->anchor);
	else
		cr_buf_null(buf);
	cr_buf_text(buf, from->differs ? from->zone : NULL);
	cr_buf_text(buf, from->differs ? cr_cycle_name(from->cycle) : NULL);
}

static void
encode(CrBuf *buf, const Checkpoint *ckpt)
{
	const CrAccount *acc = &ckpt->acc;
	uint8_t facts[CR_HASH_LEN];

	buf->len = 0;
	cr_facts_encode(buf, &acc->facts);
	if (buf->len > buf->cap)
		return;
	sha256(buf->data, buf->len, facts);
	buf->len = 0;
	cr_buf_raw(buf, "credits-c1", 10);
	cr_buf_text(buf, acc->user_id);
	cr_buf_int(buf, acc->history_seq);
	cr_buf_bytes(buf, acc->history_hash, CR_HASH_LEN);
	cr_buf_int(buf, acc->balance.monthly);
	cr_buf_int(buf, acc->balance.granted);
	cr_buf_int(buf, acc->balance.purchased);
	cr_buf_int(buf, acc->held.monthly);
	cr_buf_int(buf, acc->held.granted);
	cr_buf_int(buf, acc->held.purchased);
	cr_buf_int(buf, acc->owed_monthly);
	cr_buf_int(buf, acc->owed_purchased);
	cr_buf_int(buf, acc->period);
	cr_buf_time(buf, acc->effective_at);
	put_time(buf, acc->next_reset_at);
	put_time(buf, acc->next_event_at);
	cr_buf_bytes(buf, facts, CR_HASH_LEN);
	put_end_from(buf, &acc->end_from);
	put_count(buf, acc->closed_seq);
	put_count(buf, acc->forfeited);
	put_count(buf, acc->charged_monthly);
	put_count(buf, acc->charged_purchased);
	put_count(buf, acc->last_charged);
	put_count(buf, acc->last_closed_seq);
	cr_buf_int(buf, acc->plan_threshold);
	cr_buf_text(buf, acc->level == CR_LEVEL_OK ? NULL : cr_level_name(acc->level));
	put_count(buf, acc->flags);
	put_numbers(buf, &ckpt->grants);
	put_numbers(buf, &ckpt->holds);
	put_numbers(buf, &ckpt->purchases);
	for (int i = 0; i < checkpoint_purchases(ckpt); i++)
		cr_buf_text(buf, ckpt->payment_refs[i]);
	put_numbers(buf, &ckpt->archived);
	if (ckpt->opened_seq == 0)
	{
		cr_buf_null(buf);
		return;
	}
	cr_buf_int(buf, ckpt->opened_seq);
	if (ckpt->opened_digest)
		cr_buf_bytes(buf, ckpt->opened_digest, CR_HASH_LEN);
	else
		cr_buf_null(buf);
	cr_buf_text(buf, ckpt->opened_plan);
	cr_buf_time(buf, ckpt->opened_anchor);
	cr_buf_text(buf, ckpt->opened_zone);
}

/* The format is in docs/audit-format.md. */
void
checkpoint_digest(const Checkpoint *ckpt, uint8_t out[CR_HASH_LEN])
{
	CrBuf buf = {.data = palloc(CHAIN_BUFFER_SIZE), .cap = CHAIN_BUFFER_SIZE};

	for (;;)
	{
		encode(&buf, ckpt);
		if (buf.len <= buf.cap)
			break;
		buf.cap = buf.len;
		buf.data = palloc(buf.cap);
	}
	sha256(buf.data, buf.len, out);
}
