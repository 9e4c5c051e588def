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
#include "utils/uuid.h"

#include "errors.h"
#include "receipt.h"
#include "utc.h"

static void
push_key(Object *object, const char *key)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, key);
	value.val.string.len = (int) strlen(key);
	pushJsonbValue(&object->state, WJB_KEY, &value);
}

void
object_begin(Object *object)
{
	object->state = NULL;
	pushJsonbValue(&object->state, WJB_BEGIN_OBJECT, NULL);
}

void
object_text(Object *object, const char *key, const char *text)
{
	JsonbValue	value;

	push_key(object, key);
	if (text)
	{
		value.type = jbvString;
		value.val.string.val = unconstify(char *, text);
		value.val.string.len = (int) strlen(text);
	}
	else
		value.type = jbvNull;
	pushJsonbValue(&object->state, WJB_VALUE, &value);
}

void
object_int(Object *object, const char *key, int64 number)
{
	JsonbValue	value;

	push_key(object, key);
	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(number);
	pushJsonbValue(&object->state, WJB_VALUE, &value);
}

void
object_bool(Object *object, const char *key, bool boolean)
{
	JsonbValue	value;

	push_key(object, key);
	value.type = jbvBool;
	value.val.boolean = boolean;
	pushJsonbValue(&object->state, WJB_VALUE, &value);
}

void
object_time(Object *object, const char *key, CrTime at)
{
	char	   *text = at == CR_NEVER ? NULL : utc_text(at, palloc(UTC_TEXT_SIZE));

	object_text(object, key, text);
}

void
object_uuid(Object *object, const char *key, const uint8_t *uuid)
{
	object_text(object, key,
				DatumGetCString(DirectFunctionCall1(uuid_out, PointerGetDatum(uuid))));
}

Datum
object_end(Object *object)
{
	JsonbValue *value = pushJsonbValue(&object->state, WJB_END_OBJECT, NULL);

	return JsonbPGetDatum(JsonbValueToJsonb(value));
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
	object_bool(&object, "replayed", replayed);
	object_int(&object, "available",
			   row->balance.monthly + row->balance.granted + row->balance.purchased);
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
		object_text(&object, "scheduled_plan", row->facts.scheduled_plan);
	object_int(&object, "purchased_delta", row->delta.purchased);
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
