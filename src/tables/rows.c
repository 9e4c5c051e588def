/*
 * rows.c
 *		Converting table rows to the core's structs and back.
 *
 * Reading copies texts and digests into the current memory context, so the struct is
 * valid longer than the slot.  Verification looks at each row once, so it borrows instead
 * of copying: bytes stay in the slot's memory.  Texts need a NUL at their end, so they go
 * to an arena, which is used again for each row.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/digest.h"
#include "base/errors.h"
#include "store/columns.h"
#include "store/slots.h"
#include "tables/rows.h"

/* The columns of one row, from a slot or from arrays. */
typedef struct Columns
{
	const Datum *values;
	const bool *nulls;
	RowArena *arena; /* NULL: copy texts and bytes */
} Columns;

static Columns
columns_of(TupleTableSlot *slot, RowArena *arena)
{
	slot_getallattrs(slot);
	return (Columns){slot->tts_values, slot->tts_isnull, arena};
}

static int64
get_int(const Columns *c, AttrNumber attno)
{
	return DatumGetInt64(c->values[attno - 1]);
}

/*
 * Reads a number that is usually 0.  Then it is stored as NULL, which takes no room in
 * the row.
 */
static int64
get_count(const Columns *c, AttrNumber attno)
{
	return c->nulls[attno - 1] ? 0 : get_int(c, attno);
}

static CrTime
get_time(const Columns *c, AttrNumber attno)
{
	return c->nulls[attno - 1] ? CR_NEVER : DatumGetTimestampTz(c->values[attno - 1]);
}

/* A variable-length value in place, unless it is compressed or stored elsewhere. */
static inline struct varlena *
get_varlena(Datum value)
{
	struct varlena *found = (struct varlena *) DatumGetPointer(value);

	return VARATT_IS_COMPRESSED(found) || VARATT_IS_EXTERNAL(found)
		? PG_DETOAST_DATUM_PACKED(value)
		: found;
}

static char *
get_text(const Columns *c, AttrNumber attno)
{
	Datum value = c->values[attno - 1];
	RowArena *arena = c->arena;
	struct varlena *packed;
	size_t len;
	char *result;

	if (c->nulls[attno - 1])
		return NULL;
	if (arena == NULL)
		return TextDatumGetCString(value);
	packed = get_varlena(value);
	len = VARSIZE_ANY_EXHDR(packed);
	if (len < sizeof(arena->data) - arena->used)
	{
		result = arena->data + arena->used;
		arena->used += len + 1;
	}
	else
		result = palloc(len + 1);
	memcpy(result, VARDATA_ANY(packed), len);
	result[len] = '\0';
	return result;
}

/* Is one of the columns NULL although the table forbids it? */
static bool
any_null(const Columns *c, AttrNumber first, AttrNumber last, const char **complaint)
{
	for (AttrNumber i = first; i <= last; i++)
	{
		if (c->nulls[i - 1])
		{
			*complaint = "a column is NULL that must not be";
			return true;
		}
	}
	return false;
}

/* The bytes of a bytea.  NULL if it is null. */
static const uint8_t *
get_bytes(const Columns *c, AttrNumber attno, size_t *len)
{
	bytea *value;

	*len = 0;
	if (c->nulls[attno - 1])
		return NULL;
	value = c->arena ? get_varlena(c->values[attno - 1])
					 : DatumGetByteaPCopy(c->values[attno - 1]);
	*len = VARSIZE_ANY_EXHDR(value);
	return (const uint8_t *) VARDATA_ANY(value);
}

/*
 * A digest, or NULL.  Reading never raises an error because of a row's content, so that
 * verification can name the row.  Instead it keeps a complaint.
 */
static const uint8_t *
get_digest(const Columns *c, AttrNumber attno, const char **complaint)
{
	size_t len;
	const uint8_t *bytes = get_bytes(c, attno, &len);

	if (bytes == NULL || len == CR_HASH_LEN)
		return bytes;
	*complaint = "a digest or hash has a wrong length";
	return palloc0(CR_HASH_LEN);
}

static CrStatus
get_status(const Columns *c, AttrNumber attno, const char **complaint)
{
	CrStatus status = CR_FROZEN;

	if (!cr_status_parse(get_text(c, attno), &status))
		*complaint = "status is not known";
	return status;
}

/* NULL: ok. */
static CrLevel
get_level(const Columns *c, AttrNumber attno, const char **complaint)
{
	CrLevel level = CR_LEVEL_OK;

	if (!c->nulls[attno - 1] &&
		(!cr_level_parse(get_text(c, attno), &level) || level == CR_LEVEL_OK))
		*complaint = "level is not known";
	return level;
}

/* NULL: nothing. */
static CrCrossing
get_crossing(const Columns *c, AttrNumber attno, const char **complaint)
{
	CrCrossing crossing = CR_CROSSED_NOTHING;

	if (!c->nulls[attno - 1] &&
		(!cr_crossing_parse(get_text(c, attno), &crossing) || crossing == CR_CROSSED_NOTHING))
		*complaint = "crossed is not known";
	return crossing;
}

static int64
get_threshold(const Columns *c, AttrNumber attno)
{
	return c->nulls[attno - 1] ? CR_NO_THRESHOLD : get_int(c, attno);
}

/* A plan's version.  0 if there is none. */
static int32
get_version(const Columns *c, AttrNumber attno, const char **complaint)
{
	int32 version;

	if (c->nulls[attno - 1])
		return 0;
	version = DatumGetInt32(c->values[attno - 1]);
	if (version < 1)
		*complaint = "plan_version is not a version";
	return version;
}

/* The name of a cycle.  NULL: the account never had a plan. */
static CrCycle
get_cycle(const Columns *c, AttrNumber attno, const char **complaint)
{
	CrCycle cycle = CR_NO_CYCLE;

	if (!c->nulls[attno - 1] && !cr_cycle_parse(get_text(c, attno), &cycle))
		*complaint = "cycle is not known";
	return cycle;
}

/* What the end of an account's period was worked out from, if that has changed. */
static void
get_end_from(CrEndFrom *from, const Columns *c, const char **complaint)
{
	from->zone = get_text(c, ACC_END_ZONE);
	from->differs = from->zone != NULL;
	if (from->differs == c->nulls[ACC_END_ANCHOR - 1] ||
		from->differs == c->nulls[ACC_END_CYCLE - 1])
		*complaint = "end_anchor, end_zone and end_cycle do not go together";
	else if (from->differs)
	{
		from->anchor = DatumGetTimestamp(c->values[ACC_END_ANCHOR - 1]);
		from->cycle = get_cycle(c, ACC_END_CYCLE, complaint);
	}
}

/* A time.  If it is not NULL, it must be finite. */
static CrTime
get_moment(const Columns *c, AttrNumber attno, const char **complaint)
{
	CrTime at = get_time(c, attno);

	if (!c->nulls[attno - 1] && TIMESTAMP_NOT_FINITE(at))
		*complaint = "a time is infinite";
	return at;
}

char *
slot_text(TupleTableSlot *slot, AttrNumber attno)
{
	bool isnull;
	Datum value = slot_getattr(slot, attno, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static void
set_count(TupleTableSlot *slot, AttrNumber attno, int64 value)
{
	if (value != 0)
		slot_set_int(slot, attno, value);
}

/* Reads a stored account row.  Returns what is wrong with it.  NULL: it can be read. */
const char *
account_read(CrAccount *acc, const Datum *values, const bool *nulls)
{
	Columns c = {values, nulls, NULL};
	const char *complaint = NULL;

	memset(acc, 0, sizeof(*acc));
	if (any_null(&c, ACC_MONTHLY, ACC_HISTORY_HASH, &complaint))
		return complaint;
	acc->user_id = get_text(&c, ACC_USER_ID);
	acc->balance.monthly = get_int(&c, ACC_MONTHLY);
	acc->balance.granted = get_int(&c, ACC_GRANTED);
	acc->balance.purchased = get_int(&c, ACC_PURCHASED);
	acc->held.monthly = get_int(&c, ACC_HELD_MONTHLY);
	acc->held.granted = get_int(&c, ACC_HELD_GRANTED);
	acc->held.purchased = get_int(&c, ACC_HELD_PURCHASED);
	acc->owed_monthly = get_int(&c, ACC_OWED_MONTHLY);
	acc->owed_purchased = get_int(&c, ACC_OWED_PURCHASED);
	acc->facts.overdraft_limit = get_int(&c, ACC_OVERDRAFT_LIMIT);
	acc->facts.period_granted = get_int(&c, ACC_PERIOD_GRANTED);
	acc->facts.last_left = get_int(&c, ACC_LAST_LEFT);
	acc->period = get_int(&c, ACC_PERIOD);
	acc->facts.period_start = get_moment(&c, ACC_LAST_MONTHLY_RESET, &complaint);
	acc->effective_at = get_moment(&c, ACC_EFFECTIVE_AT, &complaint);
	acc->facts.cycle_anchor = DatumGetTimestamp(values[ACC_CYCLE_ANCHOR - 1]);
	acc->history_seq = get_int(&c, ACC_HISTORY_SEQ);
	acc->facts.period_share = DatumGetInt32(values[ACC_PERIOD_SHARE - 1]);
	acc->facts.time_zone = get_text(&c, ACC_TIME_ZONE);
	acc->facts.status = get_status(&c, ACC_STATUS, &complaint);
	memcpy(acc->history_hash, get_digest(&c, ACC_HISTORY_HASH, &complaint), CR_HASH_LEN);
	acc->next_reset_at = get_moment(&c, ACC_NEXT_RESET_AT, &complaint);
	acc->next_event_at = get_moment(&c, ACC_NEXT_EVENT_AT, &complaint);
	acc->facts.last_limit = get_int(&c, ACC_LAST_LIMIT);
	acc->facts.last_undone = DatumGetBool(values[ACC_LAST_UNDONE - 1]);
	acc->closed_seq = get_count(&c, ACC_CLOSED_SEQ);
	acc->forfeited = get_count(&c, ACC_FORFEITED);
	acc->charged_monthly = get_count(&c, ACC_CHARGED_MONTHLY);
	acc->charged_purchased = get_count(&c, ACC_CHARGED_PURCHASED);
	acc->last_charged = get_count(&c, ACC_LAST_CHARGED);
	acc->last_closed_seq = get_count(&c, ACC_LAST_CLOSED_SEQ);
	acc->plan_threshold = get_int(&c, ACC_PLAN_THRESHOLD);
	acc->flags = nulls[ACC_FLAGS - 1] ? 0 : DatumGetInt32(values[ACC_FLAGS - 1]);
	acc->facts.low_threshold = get_threshold(&c, ACC_LOW_THRESHOLD);
	acc->level = get_level(&c, ACC_LEVEL, &complaint);
	acc->facts.plan_version = get_version(&c, ACC_PLAN_VERSION, &complaint);
	acc->facts.plan = get_text(&c, ACC_PLAN);
	acc->facts.scheduled_plan = get_text(&c, ACC_SCHEDULED_PLAN);
	acc->facts.cycle = get_cycle(&c, ACC_CYCLE, &complaint);
	get_end_from(&acc->end_from, &c, &complaint);
	if ((acc->facts.plan == NULL) != (acc->facts.plan_version == 0))
		complaint = "plan without plan_version, or the other way round";
	return complaint;
}

void
account_from_values(CrAccount *acc, const Datum *values, const bool *nulls)
{
	const char *complaint = account_read(acc, values, nulls);

	if (complaint)
		error_corrupted("credit_account", complaint);
}

void
account_from_slot(CrAccount *acc, TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	account_from_values(acc, slot->tts_values, slot->tts_isnull);
}

/* 0 becomes NULL. */
static void
set_count_or_null(TupleTableSlot *slot, AttrNumber attno, int64 value)
{
	if (value != 0)
		slot_set_int(slot, attno, value);
	else
		slot_set_null(slot, attno);
}

static void
set_threshold(TupleTableSlot *slot, AttrNumber attno, int64 threshold)
{
	if (threshold != CR_NO_THRESHOLD)
		slot_set_int(slot, attno, threshold);
	else
		slot_set_null(slot, attno);
}

static void
set_cycle(TupleTableSlot *slot, AttrNumber attno, CrCycle cycle)
{
	slot_set_text(slot, attno, cycle == CR_NO_CYCLE ? NULL : cr_cycle_name(cycle));
}

static void
set_end_from(TupleTableSlot *slot, const CrEndFrom *from)
{
	if (from->differs)
	{
		slot_set(slot, ACC_END_ANCHOR, TimestampGetDatum(from->anchor));
		slot_set_text(slot, ACC_END_ZONE, from->zone);
		set_cycle(slot, ACC_END_CYCLE, from->cycle);
		return;
	}
	slot_set_null(slot, ACC_END_ANCHOR);
	slot_set_null(slot, ACC_END_ZONE);
	slot_set_null(slot, ACC_END_CYCLE);
}

/* Writes our columns to the slot.  Columns that a DBA added are not changed. */
void
account_to_slot(const CrAccount *acc, TupleTableSlot *slot)
{
	slot_set_int(slot, ACC_MONTHLY, acc->balance.monthly);
	slot_set_int(slot, ACC_GRANTED, acc->balance.granted);
	slot_set_int(slot, ACC_PURCHASED, acc->balance.purchased);
	slot_set_int(slot, ACC_HELD_MONTHLY, acc->held.monthly);
	slot_set_int(slot, ACC_HELD_GRANTED, acc->held.granted);
	slot_set_int(slot, ACC_HELD_PURCHASED, acc->held.purchased);
	slot_set_int(slot, ACC_OWED_MONTHLY, acc->owed_monthly);
	slot_set_int(slot, ACC_OWED_PURCHASED, acc->owed_purchased);
	slot_set_int(slot, ACC_OVERDRAFT_LIMIT, acc->facts.overdraft_limit);
	slot_set_int(slot, ACC_PERIOD_GRANTED, acc->facts.period_granted);
	slot_set_int(slot, ACC_LAST_LEFT, acc->facts.last_left);
	slot_set_int(slot, ACC_PERIOD, acc->period);
	slot_set_time(slot, ACC_LAST_MONTHLY_RESET, acc->facts.period_start);
	slot_set_time(slot, ACC_EFFECTIVE_AT, acc->effective_at);
	slot_set(slot, ACC_CYCLE_ANCHOR, TimestampGetDatum(acc->facts.cycle_anchor));
	slot_set_int(slot, ACC_HISTORY_SEQ, acc->history_seq);
	slot_set(slot, ACC_PERIOD_SHARE, Int32GetDatum(acc->facts.period_share));
	slot_set_text(slot, ACC_USER_ID, acc->user_id);
	slot_set_text(slot, ACC_TIME_ZONE, acc->facts.time_zone);
	slot_set_text(slot, ACC_STATUS, cr_status_name(acc->facts.status));
	slot_set_digest(slot, ACC_HISTORY_HASH, acc->history_hash);
	slot_set_time(slot, ACC_NEXT_RESET_AT, acc->next_reset_at);
	slot_set_time(slot, ACC_NEXT_EVENT_AT, acc->next_event_at);
	if (acc->facts.plan)
		slot_set(slot, ACC_PLAN_VERSION, Int32GetDatum(acc->facts.plan_version));
	else
		slot_set_null(slot, ACC_PLAN_VERSION);
	slot_set_text(slot, ACC_PLAN, acc->facts.plan);
	slot_set_text(slot, ACC_SCHEDULED_PLAN, acc->facts.scheduled_plan);
	slot_set_int(slot, ACC_LAST_LIMIT, acc->facts.last_limit);
	slot_set(slot, ACC_LAST_UNDONE, BoolGetDatum(acc->facts.last_undone));
	set_count_or_null(slot, ACC_CLOSED_SEQ, acc->closed_seq);
	set_count_or_null(slot, ACC_FORFEITED, acc->forfeited);
	set_count_or_null(slot, ACC_CHARGED_MONTHLY, acc->charged_monthly);
	set_count_or_null(slot, ACC_CHARGED_PURCHASED, acc->charged_purchased);
	set_count_or_null(slot, ACC_LAST_CHARGED, acc->last_charged);
	set_count_or_null(slot, ACC_LAST_CLOSED_SEQ, acc->last_closed_seq);
	slot_set_int(slot, ACC_PLAN_THRESHOLD, acc->plan_threshold);
	if (acc->flags != 0)
		slot_set(slot, ACC_FLAGS, Int32GetDatum(acc->flags));
	else
		slot_set_null(slot, ACC_FLAGS);
	set_threshold(slot, ACC_LOW_THRESHOLD, acc->facts.low_threshold);
	slot_set_text(slot, ACC_LEVEL,
				  acc->level == CR_LEVEL_OK ? NULL : cr_level_name(acc->level));
	set_cycle(slot, ACC_CYCLE, acc->facts.cycle);
	set_end_from(slot, &acc->end_from);
}

/*
 * Reads an int8[] that has a source and an amount in turn, without copying it.  If the
 * array is not such an array, returns NULL and sets pairs to -1.
 */
const CrPart *
parts_from_array(Datum value, int *pairs)
{
	ArrayType *array = DatumGetArrayTypePCopy(value);
	int count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	StaticAssertStmt(sizeof(CrPart) == 2 * sizeof(int64), "a part is two numbers");
	*pairs = -1;
	if (ARR_NDIM(array) != 1 || ARR_HASNULL(array) || ARR_ELEMTYPE(array) != INT8OID ||
		count % 2 != 0)
		return NULL;
	*pairs = count / 2;
	return (const CrPart *) ARR_DATA_PTR(array);
}

Datum
parts_to_array(const CrPart *parts, int pairs)
{
	Datum *items = palloc(sizeof(Datum) * pairs * 2);

	for (int i = 0; i < pairs; i++)
	{
		items[2 * i] = Int64GetDatum(parts[i].source);
		items[2 * i + 1] = Int64GetDatum(parts[i].credits);
	}
	return PointerGetDatum(
		construct_array(items, pairs * 2, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static void
get_allocations(CrRow *row, const Columns *c, const char **complaint)
{
	if (c->nulls[HIST_ALLOCATIONS - 1])
		return;
	row->allocations = parts_from_array(c->values[HIST_ALLOCATIONS - 1], &row->n_allocations);
	if (row->n_allocations < 0)
	{
		row->n_allocations = 0;
		*complaint = "allocations is not an array of pairs";
	}
}

/*
 * A row that changed facts has all of them, but plan and scheduled_plan may be NULL.
 * Other rows have none.
 */
static void
get_facts(CrRow *row, const Columns *c, const char **complaint)
{
	static const AttrNumber always[] = {HIST_CYCLE_ANCHOR,	  HIST_TIME_ZONE,
										HIST_OVERDRAFT_LIMIT, HIST_PERIOD_GRANTED,
										HIST_LAST_LEFT,		  HIST_PERIOD_START,
										HIST_PERIOD_SHARE,	  HIST_LAST_UNDONE};
	static const AttrNumber sometimes[] = {HIST_PLAN, HIST_SCHEDULED_PLAN, HIST_CYCLE,
										   HIST_LOW_THRESHOLD};

	row->has_facts = !c->nulls[HIST_STATUS - 1];
	for (size_t i = 0; i < lengthof(always); i++)
	{
		if (c->nulls[always[i] - 1] == row->has_facts)
			*complaint = "facts are incomplete";
	}
	for (size_t i = 0; i < lengthof(sometimes); i++)
	{
		if (!row->has_facts && !c->nulls[sometimes[i] - 1])
			*complaint = "facts are incomplete";
	}
	if (!row->has_facts || *complaint)
		return;
	row->facts.plan = get_text(c, HIST_PLAN);
	row->facts.plan_version = row->plan_version;
	row->facts.scheduled_plan = get_text(c, HIST_SCHEDULED_PLAN);
	row->facts.cycle_anchor = DatumGetTimestamp(c->values[HIST_CYCLE_ANCHOR - 1]);
	row->facts.time_zone = get_text(c, HIST_TIME_ZONE);
	row->facts.status = get_status(c, HIST_STATUS, complaint);
	row->facts.overdraft_limit = get_int(c, HIST_OVERDRAFT_LIMIT);
	row->facts.period_granted = get_int(c, HIST_PERIOD_GRANTED);
	row->facts.last_left = get_int(c, HIST_LAST_LEFT);
	row->facts.last_limit = get_int(c, HIST_LAST_LIMIT);
	row->facts.last_undone = DatumGetBool(c->values[HIST_LAST_UNDONE - 1]);
	row->facts.period_start = get_moment(c, HIST_PERIOD_START, complaint);
	row->facts.period_share = DatumGetInt32(c->values[HIST_PERIOD_SHARE - 1]);
	row->facts.cycle = get_cycle(c, HIST_CYCLE, complaint);
	row->facts.low_threshold = get_threshold(c, HIST_LOW_THRESHOLD);
}

/*
 * A text is stored with its salt and without its digest.  An erased text is stored as its
 * digest alone.  The salt has a fixed length.  Otherwise bytes could move between salt
 * and text.
 */
static void
get_texts(CrRow *row, const Columns *c, const char **complaint)
{
	row->reason = get_text(c, HIST_REASON);
	if (!c->nulls[HIST_METADATA - 1])
	{
		Jsonb *metadata = DatumGetJsonbP(c->values[HIST_METADATA - 1]);

		row->metadata = JsonbToCString(NULL, &metadata->root, VARSIZE(metadata));
	}
	row->text_salt = get_bytes(c, HIST_TEXT_SALT, &row->text_salt_len);
	row->reason_digest = get_digest(c, HIST_REASON_DIGEST, complaint);
	row->metadata_digest = get_digest(c, HIST_METADATA_DIGEST, complaint);
	if (row->text_salt_len != (row->reason || row->metadata ? SALT_LEN : 0) ||
		(row->text_salt != NULL) != (row->reason || row->metadata))
		*complaint = "text_salt does not go with the texts";
	if ((row->reason && row->reason_digest) || (row->metadata && row->metadata_digest))
		*complaint = "a text is stored beside its digest";
}

/*
 * Reads a stored row.  If no call could have written the row, it is marked malformed and
 * not refused, so that verification can name it.  With an arena, the row is valid until
 * the slot or the arena is used again.
 */
void
row_borrow(CrRow *row, TupleTableSlot *slot, RowArena *arena)
{
	Columns c = columns_of(slot, arena);
	const char *complaint = NULL;

	if (arena)
		arena->used = 0;

	memset(row, 0, sizeof(*row));
	row->kind = CR_KIND_COUNT;
	if (any_null(&c, HIST_SEQ, HIST_SKIPPED, &row->malformed) ||
		any_null(&c, HIST_USER_ID, HIST_HASH, &row->malformed))
		return;
	row->seq = get_int(&c, HIST_SEQ);
	row->created_at = get_moment(&c, HIST_CREATED_AT, &complaint);
	row->effective_at = get_moment(&c, HIST_EFFECTIVE_AT, &complaint);
	row->period = get_int(&c, HIST_PERIOD);
	row->amount = get_int(&c, HIST_AMOUNT);
	row->delta.monthly = get_int(&c, HIST_MONTHLY_DELTA);
	row->delta.granted = get_int(&c, HIST_GRANTED_DELTA);
	row->delta.purchased = get_int(&c, HIST_PURCHASED_DELTA);
	row->balance.monthly = get_int(&c, HIST_MONTHLY);
	row->balance.granted = get_int(&c, HIST_GRANTED);
	row->balance.purchased = get_int(&c, HIST_PURCHASED);
	row->held.monthly = get_count(&c, HIST_HELD_MONTHLY);
	row->held.granted = get_count(&c, HIST_HELD_GRANTED);
	row->held.purchased = get_count(&c, HIST_HELD_PURCHASED);
	row->owed_monthly = get_count(&c, HIST_OWED_MONTHLY);
	row->owed_purchased = get_count(&c, HIST_OWED_PURCHASED);
	row->expired = get_count(&c, HIST_EXPIRED);
	row->forfeited = get_count(&c, HIST_FORFEITED);
	row->skipped = DatumGetInt32(c.values[HIST_SKIPPED - 1]);
	row->crossed = get_crossing(&c, HIST_CROSSED, &complaint);
	row->plan_version = get_version(&c, HIST_PLAN_VERSION, &complaint);
	row->user_id = get_text(&c, HIST_USER_ID);
	if (!cr_kind_parse(get_text(&c, HIST_KIND), &row->kind))
		complaint = "kind is not known";
	row->actor = get_text(&c, HIST_ACTOR);
	memcpy(row->hash, get_digest(&c, HIST_HASH, &complaint), CR_HASH_LEN);
	row->next_reset_at = get_moment(&c, HIST_NEXT_RESET_AT, &complaint);
	row->has_ref_seq = !c.nulls[HIST_REF_SEQ - 1];
	row->ref_seq = row->has_ref_seq ? get_int(&c, HIST_REF_SEQ) : 0;
	row->has_ends_at = !c.nulls[HIST_ENDS_AT - 1];
	row->ends_at = get_moment(&c, HIST_ENDS_AT, &complaint);
	if (!c.nulls[HIST_RUN_ID - 1])
	{
		const uint8_t *run_id = DatumGetUUIDP(c.values[HIST_RUN_ID - 1])->data;

		row->run_id = arena ? run_id : memcpy(palloc(CR_UUID_LEN), run_id, CR_UUID_LEN);
	}
	row->idempotency_key = get_text(&c, HIST_IDEMPOTENCY_KEY);
	row->request_digest = get_digest(&c, HIST_REQUEST_DIGEST, &complaint);
	row->payment_ref = get_text(&c, HIST_PAYMENT_REF);
	row->spender = get_text(&c, HIST_SPENDER);
	get_allocations(row, &c, &complaint);
	get_facts(row, &c, &complaint);
	get_texts(row, &c, &complaint);
	row->malformed = complaint;
}

void
row_read(CrRow *row, TupleTableSlot *slot)
{
	row_borrow(row, slot, NULL);
}

/*
 * Reads a stored row, and raises UC008 if it is malformed.  Verification does not use
 * this.
 */
void
row_from_slot(CrRow *row, TupleTableSlot *slot)
{
	row_read(row, slot);
	if (row->malformed)
		error_corrupted("credit_history", row->malformed);
}

/*
 * Writes a row to an empty slot.  metadata: the jsonb whose text is row->metadata.  It is
 * not used if row->metadata is NULL.
 */
void
row_to_slot(const CrRow *row, TupleTableSlot *slot, Datum metadata)
{
	slot_set_int(slot, HIST_SEQ, row->seq);
	slot_set_time(slot, HIST_CREATED_AT, row->created_at);
	slot_set_time(slot, HIST_EFFECTIVE_AT, row->effective_at);
	slot_set_int(slot, HIST_PERIOD, row->period);
	slot_set_int(slot, HIST_AMOUNT, row->amount);
	slot_set_int(slot, HIST_MONTHLY_DELTA, row->delta.monthly);
	slot_set_int(slot, HIST_GRANTED_DELTA, row->delta.granted);
	slot_set_int(slot, HIST_PURCHASED_DELTA, row->delta.purchased);
	slot_set_int(slot, HIST_MONTHLY, row->balance.monthly);
	slot_set_int(slot, HIST_GRANTED, row->balance.granted);
	slot_set_int(slot, HIST_PURCHASED, row->balance.purchased);
	set_count(slot, HIST_HELD_MONTHLY, row->held.monthly);
	set_count(slot, HIST_HELD_GRANTED, row->held.granted);
	set_count(slot, HIST_HELD_PURCHASED, row->held.purchased);
	set_count(slot, HIST_OWED_MONTHLY, row->owed_monthly);
	set_count(slot, HIST_OWED_PURCHASED, row->owed_purchased);
	set_count(slot, HIST_EXPIRED, row->expired);
	set_count(slot, HIST_FORFEITED, row->forfeited);
	slot_set(slot, HIST_SKIPPED, Int32GetDatum(row->skipped));
	if (row->crossed != CR_CROSSED_NOTHING)
		slot_set_text(slot, HIST_CROSSED, cr_crossing_name(row->crossed));
	if (row->plan_version != 0)
		slot_set(slot, HIST_PLAN_VERSION, Int32GetDatum(row->plan_version));
	slot_set_text(slot, HIST_USER_ID, row->user_id);
	slot_set_text(slot, HIST_KIND, cr_kind_name(row->kind));
	slot_set_text(slot, HIST_ACTOR, row->actor);
	slot_set_digest(slot, HIST_HASH, row->hash);
	slot_set_time(slot, HIST_NEXT_RESET_AT, row->next_reset_at);
	if (row->has_ref_seq)
		slot_set_int(slot, HIST_REF_SEQ, row->ref_seq);
	if (row->has_ends_at)
		slot_set_time(slot, HIST_ENDS_AT, row->ends_at);
	if (row->run_id)
		slot_set(slot, HIST_RUN_ID, PointerGetDatum(row->run_id));
	slot_set_text(slot, HIST_IDEMPOTENCY_KEY, row->idempotency_key);
	slot_set_digest(slot, HIST_REQUEST_DIGEST, row->request_digest);
	slot_set_text(slot, HIST_PAYMENT_REF, row->payment_ref);
	slot_set_text(slot, HIST_SPENDER, row->spender);
	if (row->has_facts)
	{
		slot_set_text(slot, HIST_PLAN, row->facts.plan);
		slot_set_text(slot, HIST_SCHEDULED_PLAN, row->facts.scheduled_plan);
		slot_set(slot, HIST_CYCLE_ANCHOR, TimestampGetDatum(row->facts.cycle_anchor));
		slot_set_text(slot, HIST_TIME_ZONE, row->facts.time_zone);
		slot_set_text(slot, HIST_STATUS, cr_status_name(row->facts.status));
		slot_set_int(slot, HIST_OVERDRAFT_LIMIT, row->facts.overdraft_limit);
		slot_set_int(slot, HIST_PERIOD_GRANTED, row->facts.period_granted);
		slot_set_int(slot, HIST_LAST_LEFT, row->facts.last_left);
		slot_set_int(slot, HIST_LAST_LIMIT, row->facts.last_limit);
		slot_set(slot, HIST_LAST_UNDONE, BoolGetDatum(row->facts.last_undone));
		set_threshold(slot, HIST_LOW_THRESHOLD, row->facts.low_threshold);
		slot_set_time(slot, HIST_PERIOD_START, row->facts.period_start);
		slot_set(slot, HIST_PERIOD_SHARE, Int32GetDatum(row->facts.period_share));
		set_cycle(slot, HIST_CYCLE, row->facts.cycle);
	}
	if (row->n_allocations > 0)
		slot_set(slot, HIST_ALLOCATIONS, parts_to_array(row->allocations, row->n_allocations));
	if (row->text_salt)
		slot_set(slot, HIST_TEXT_SALT, bytes_datum(row->text_salt, row->text_salt_len));
	slot_set_text(slot, HIST_REASON, row->reason);
	if (row->metadata)
		slot_set(slot, HIST_METADATA, metadata);
	slot_set_digest(slot, HIST_REASON_DIGEST, row->reason_digest);
	slot_set_digest(slot, HIST_METADATA_DIGEST, row->metadata_digest);
}

/* In a copy of a stored row, replaces the texts by their digests. */
void
row_erase_texts(const CrRow *row, TupleTableSlot *slot)
{
	uint8_t digest[CR_HASH_LEN];

	slot_set_digest(slot, HIST_REASON_DIGEST,
					text_digest(row, row->reason, row->reason_digest, digest));
	slot_set_digest(slot, HIST_METADATA_DIGEST,
					text_digest(row, row->metadata, row->metadata_digest, digest));
	slot_set_null(slot, HIST_REASON);
	slot_set_null(slot, HIST_METADATA);
	slot_set_null(slot, HIST_TEXT_SALT);
}

/* Reads a stored payment.  Returns what is wrong with it.  NULL: it can be read. */
const char *
payment_read(Payment *payment, TupleTableSlot *slot)
{
	Columns c = columns_of(slot, NULL);
	const char *complaint = NULL;

	memset(payment, 0, sizeof(*payment));
	if (any_null(&c, PAY_AMOUNT, PAY_USER_ID, &complaint))
		return complaint;
	payment->amount = get_int(&c, PAY_AMOUNT);
	payment->revoked = get_int(&c, PAY_REVOKED);
	payment->seq = get_int(&c, PAY_SEQ);
	payment->payment_ref = get_text(&c, PAY_PAYMENT_REF);
	payment->paid_at = get_moment(&c, PAY_PAID_AT, &complaint);
	payment->granted = DatumGetBool(c.values[PAY_GRANTED - 1]);
	payment->user_id = get_text(&c, PAY_USER_ID);
	payment->reported = get_count(&c, PAY_REPORTED);
	return complaint;
}

/* Reads a stored plan version.  Returns what is wrong with it.  NULL: it can be read. */
const char *
plan_read(CrPlanVersion *plan, TupleTableSlot *slot)
{
	Columns c = columns_of(slot, NULL);
	const char *complaint = NULL;

	memset(plan, 0, sizeof(*plan));
	if (any_null(&c, PLAN_VERSION, PLAN_CYCLE, &complaint))
	{
		plan->plan = "";
		return complaint;
	}
	plan->plan = get_text(&c, PLAN_PLAN);
	plan->version = get_version(&c, PLAN_VERSION, &complaint);
	plan->effective_from = get_moment(&c, PLAN_EFFECTIVE_FROM, &complaint);
	plan->created_at = get_moment(&c, PLAN_CREATED_AT, &complaint);
	plan->monthly_credits = get_int(&c, PLAN_MONTHLY_CREDITS);
	plan->rollover_limit = get_int(&c, PLAN_ROLLOVER_LIMIT);
	plan->low_balance_threshold = get_int(&c, PLAN_LOW_BALANCE_THRESHOLD);
	if (!cr_cycle_parse(get_text(&c, PLAN_CYCLE), &plan->cycle))
		complaint = "cycle is not known";
	if (Min(Min(plan->monthly_credits, plan->rollover_limit), plan->low_balance_threshold) <
			0 ||
		Max(Max(plan->monthly_credits, plan->rollover_limit), plan->low_balance_threshold) >
			CR_MAX_CREDITS)
		complaint = "an amount is out of range";
	return complaint;
}
