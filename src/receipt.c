/*
 * receipt.c
 *		Receipts: what a call answers.
 *
 * A receipt is built from the history row alone, so that a replay gives the
 * very one that the first call gave.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/numeric.h"

#include "errors.h"
#include "receipt.h"
#include "utc.h"

void
object_begin(Object *object)
{
	object->count = 0;
}

/* A pair goes where jsonb has it: shorter keys first, then by their bytes. */
static void
put(Object *object, const char *key, uint32 type, const void *value, size_t value_len)
{
	uint32		len = strlen(key);
	int			at = object->count++;

	Assert(at < OBJECT_PAIRS && value_len <= JENTRY_OFFLENMASK / OBJECT_PAIRS);
	while (at > 0 && (object->pairs[at - 1].key_len > len ||
					  (object->pairs[at - 1].key_len == len &&
					   memcmp(object->pairs[at - 1].key, key, len) > 0)))
	{
		object->pairs[at] = object->pairs[at - 1];
		at--;
	}
	object->pairs[at].key = key;
	object->pairs[at].key_len = len;
	object->pairs[at].type = type;
	object->pairs[at].value = value;
	object->pairs[at].value_len = value_len;
}

void
object_text(Object *object, const char *key, const char *text)
{
	if (text)
		put(object, key, JENTRY_ISSTRING, text, strlen(text));
	else
		put(object, key, JENTRY_ISNULL, NULL, 0);
}

void
object_int(Object *object, const char *key, int64 number)
{
	Numeric		numeric = int64_to_numeric(number);

	put(object, key, JENTRY_ISNUMERIC, numeric, VARSIZE_ANY(numeric));
}

void
object_bool(Object *object, const char *key, bool boolean)
{
	put(object, key, boolean ? JENTRY_ISBOOL_TRUE : JENTRY_ISBOOL_FALSE, NULL, 0);
}

/* An array or an object, from its text. */
void
object_json(Object *object, const char *key, const char *json)
{
	Jsonb	   *jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));

	put(object, key, JENTRY_ISCONTAINER, &jsonb->root, VARSIZE(jsonb) - VARHDRSZ);
}

void
object_time(Object *object, const char *key, CrTime at)
{
	char	   *text = at == CR_NEVER ? NULL : utc_text(at, palloc(UTC_TEXT_SIZE));

	object_text(object, key, text);
}

/* An entry says how long its value is; every so often, where that ends. */
static void
set_entry(JEntry *entry, int i, uint32 type, uint32 len, uint32 end)
{
	*entry = type | (i % JB_OFFSET_STRIDE == 0 ? JENTRY_HAS_OFF | end : len);
}

/*
 * The jsonb, as utils/jsonb.h describes it: the number of pairs, an entry for
 * each key and each value, the keys, the values.  Numbers and arrays are aligned, with
 * the padding before them counted as theirs.  The general way, by a tree of
 * values, takes several times as long.
 */
Datum
object_end(Object *object)
{
	int			n = object->count;
	size_t		head = offsetof(JsonbContainer, children) + sizeof(JEntry) * n * 2;
	size_t		size = VARHDRSZ + head;
	Jsonb	   *jsonb;
	JEntry	   *entries;
	char	   *data;
	uint32		end = 0;

	for (int i = 0; i < n; i++)
		size += object->pairs[i].key_len + object->pairs[i].value_len + (ALIGNOF_INT - 1);
	jsonb = palloc0(size);
	jsonb->root.header = n | JB_FOBJECT;
	entries = jsonb->root.children;
	data = (char *) &jsonb->root + head;
	for (int i = 0; i < n; i++)
	{
		memcpy(data + end, object->pairs[i].key, object->pairs[i].key_len);
		end += object->pairs[i].key_len;
		set_entry(&entries[i], i, JENTRY_ISSTRING, object->pairs[i].key_len, end);
	}
	for (int i = 0; i < n; i++)
	{
		uint32		start = end;

		if (object->pairs[i].type == JENTRY_ISNUMERIC ||
			object->pairs[i].type == JENTRY_ISCONTAINER)
			end = INTALIGN(end);
		if (object->pairs[i].value_len > 0)
			memcpy(data + end, object->pairs[i].value, object->pairs[i].value_len);
		end += object->pairs[i].value_len;
		set_entry(&entries[n + i], n + i, object->pairs[i].type, end - start, end);
	}
	SET_VARSIZE(jsonb, VARHDRSZ + head + end);
	return JsonbPGetDatum(jsonb);
}

/*
 * The receipt of a call, from its history row.  The keys are in jsonb's own
 * order, shorter ones first, which spares sorting them.
 */
Datum
receipt_from_row(const CrRow *row, bool replayed)
{
	Object		object;

	object_begin(&object);
	object_bool(&object, "ok", true);
	object_int(&object, "seq", row->seq);
	object_int(&object, "held", row->held.monthly + row->held.granted + row->held.purchased);
	object_text(&object, "kind", cr_kind_name(row->kind));
	object_int(&object, "owed", row->owed_monthly + row->owed_purchased);
	if (row->has_facts)
		object_text(&object, "plan", row->facts.plan);
	object_int(&object, "amount", row->amount);
	if (row->has_facts)
		object_text(&object, "status", cr_status_name(row->facts.status));
	object_int(&object, "granted", row->balance.granted);
	object_int(&object, "monthly", row->balance.monthly);
	if (row->spender)
		object_text(&object, "spender", row->spender);
	object_text(&object, "user_id", row->user_id);
	if (row->has_ends_at)
		object_time(&object, "ends_at", row->ends_at);
	if (row->expired > 0)
		object_int(&object, "expired", row->expired);
	if (row->has_ref_seq)
		object_int(&object, "ref_seq", row->ref_seq);
	object_bool(&object, "replayed", replayed);
	object_int(&object, "available",
			   row->balance.monthly + row->balance.granted + row->balance.purchased);
	if (row->forfeited > 0)
		object_int(&object, "forfeited", row->forfeited);
	object_int(&object, "purchased", row->balance.purchased);
	if (row->has_facts)
		object_text(&object, "time_zone", row->facts.time_zone);
	object_time(&object, "created_at", row->created_at);
	if (row->payment_ref)
		object_text(&object, "payment_ref", row->payment_ref);
	object_time(&object, "effective_at", row->effective_at);
	object_int(&object, "granted_delta", row->delta.granted);
	object_int(&object, "monthly_delta", row->delta.monthly);
	object_time(&object, "next_reset_at", row->next_reset_at);
	if (row->has_facts)
	{
		object_text(&object, "scheduled_plan", row->facts.scheduled_plan);
		object_int(&object, "overdraft_limit", row->facts.overdraft_limit);
	}
	object_int(&object, "purchased_delta", row->delta.purchased);
	return object_end(&object);
}

/*
 * What is left to answer where the row itself was archived; payment_ref may be
 * NULL.
 */
Datum
receipt_archived(const char *kind, const char *user_id, int64 seq, int64 amount,
				 const char *payment_ref)
{
	Object		object;

	object_begin(&object);
	object_bool(&object, "ok", true);
	object_int(&object, "seq", seq);
	object_text(&object, "kind", kind);
	object_int(&object, "amount", amount);
	object_text(&object, "user_id", user_id);
	object_bool(&object, "archived", true);
	object_bool(&object, "replayed", true);
	if (payment_ref)
		object_text(&object, "payment_ref", payment_ref);
	return object_end(&object);
}

/* An answer that refuses: {"ok": false, and then what the DETAIL would say. */
void
refusal_begin(StringInfo buf)
{
	json_begin(buf);
	json_bool(buf, "ok", false);
}

Datum
refusal_end(StringInfo buf)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json_end(buf)));
}

/* What credits_try_deduct answers instead of UC001. */
Datum
receipt_refused(const CrAccount *acc, int64 required)
{
	StringInfoData buf;

	refusal_begin(&buf);
	insufficient_numbers(&buf, acc, required);
	return refusal_end(&buf);
}
