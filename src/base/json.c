/*
 * json.c
 *		Building flat JSON objects: as text for the DETAIL of errors, as jsonb for
 *		answers.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "base/json.h"
#include "base/utc.h"

static void
json_key(StringInfo buf, const char *key)
{
	char last = buf->data[buf->len - 1];

	if (last != '{' && last != '[')
		appendStringInfoString(buf, ", ");
	escape_json(buf, key);
	appendStringInfoString(buf, ": ");
}

void
json_begin(StringInfo buf)
{
	initStringInfo(buf);
	appendStringInfoChar(buf, '{');
}

void
json_text(StringInfo buf, const char *key, const char *value)
{
	json_key(buf, key);
	if (value)
		escape_json(buf, value);
	else
		appendStringInfoString(buf, "null");
}

void
json_int(StringInfo buf, const char *key, int64 value)
{
	json_key(buf, key);
	appendStringInfo(buf, INT64_FORMAT, value);
}

void
json_bool(StringInfo buf, const char *key, bool value)
{
	json_key(buf, key);
	appendStringInfoString(buf, value ? "true" : "false");
}

/* UTC, ISO 8601.  CR_NEVER becomes null. */
void
json_time(StringInfo buf, const char *key, CrTime value)
{
	char text[UTC_TEXT_SIZE];

	json_text(buf, key, value == CR_NEVER ? NULL : utc_text(value, text));
}

char *
json_end(StringInfo buf)
{
	appendStringInfoChar(buf, '}');
	return buf->data;
}

void
object_begin(Object *object)
{
	object->count = 0;
}

/*
 * Inserts a pair in the order of jsonb: shorter keys first, keys of equal length by their
 * bytes.
 */
static void
put(Object *object, const char *key, uint32 type, const void *value, size_t value_len)
{
	uint32 len = strlen(key);
	int at = object->count++;

	Assert(at < OBJECT_PAIRS && value_len <= JENTRY_OFFLENMASK / OBJECT_PAIRS);
	while (at > 0 &&
		   (object->pairs[at - 1].key_len > len ||
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
	Numeric numeric = int64_to_numeric(number);

	put(object, key, JENTRY_ISNUMERIC, numeric, VARSIZE_ANY(numeric));
}

void
object_bool(Object *object, const char *key, bool boolean)
{
	put(object, key, boolean ? JENTRY_ISBOOL_TRUE : JENTRY_ISBOOL_FALSE, NULL, 0);
}

/* Adds an array or an object, given as text. */
void
object_json(Object *object, const char *key, const char *json)
{
	Jsonb *jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));

	put(object, key, JENTRY_ISCONTAINER, &jsonb->root, VARSIZE(jsonb) - VARHDRSZ);
}

/* The same as object_json with "[]", but without parsing. */
void
object_empty_array(Object *object, const char *key)
{
	static const uint32 empty = JB_FARRAY;

	put(object, key, JENTRY_ISCONTAINER, &empty, sizeof(empty));
}

void
object_time(Object *object, const char *key, CrTime at)
{
	char *text = at == CR_NEVER ? NULL : utc_text(at, palloc(UTC_TEXT_SIZE));

	object_text(object, key, text);
}

/*
 * Makes an entry.  Most entries have the length of their value.  Some have the offset at
 * which the value ends.
 */
static void
set_entry(JEntry *entry, int i, uint32 type, uint32 len, uint32 end)
{
	*entry = type | (i % JB_OFFSET_STRIDE == 0 ? JENTRY_HAS_OFF | end : len);
}

/*
 * Makes the jsonb, as utils/jsonb.h describes it: the number of pairs, an entry for each
 * key and each value, the keys, the values.  Numbers and arrays are aligned, and the
 * padding before them counts as part of them.  The general way, through a tree of values,
 * takes several times as long.
 */
Datum
object_end(Object *object)
{
	int n = object->count;
	size_t head = offsetof(JsonbContainer, children) + sizeof(JEntry) * n * 2;
	size_t size = VARHDRSZ + head;
	Jsonb *jsonb;
	JEntry *entries;
	char *data;
	uint32 end = 0;

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
		uint32 start = end;

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
