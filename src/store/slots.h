/*
 * slots.h
 *		The values of a row that is about to be written, one column at a time.
 *
 * A column that is not set keeps what writer_clear() or writer_copy() gave it.
 */
#ifndef CREDITS_STORE_SLOTS_H
#define CREDITS_STORE_SLOTS_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "core/core.h"

static inline void
slot_set(TupleTableSlot *slot, AttrNumber attno, Datum value)
{
	slot->tts_values[attno - 1] = value;
	slot->tts_isnull[attno - 1] = false;
}

static inline void
slot_set_null(TupleTableSlot *slot, AttrNumber attno)
{
	slot->tts_values[attno - 1] = (Datum) 0;
	slot->tts_isnull[attno - 1] = true;
}

static inline void
slot_set_int(TupleTableSlot *slot, AttrNumber attno, int64 value)
{
	slot_set(slot, attno, Int64GetDatum(value));
}

/* NULL becomes NULL. */
static inline void
slot_set_text(TupleTableSlot *slot, AttrNumber attno, const char *value)
{
	if (value)
		slot_set(slot, attno, CStringGetTextDatum(value));
	else
		slot_set_null(slot, attno);
}

static inline Datum
bytes_datum(const uint8_t *bytes, size_t len)
{
	bytea *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), bytes, len);
	return PointerGetDatum(result);
}

/* CR_HASH_LEN bytes; NULL becomes NULL. */
static inline void
slot_set_digest(TupleTableSlot *slot, AttrNumber attno, const uint8_t *digest)
{
	if (digest)
		slot_set(slot, attno, bytes_datum(digest, CR_HASH_LEN));
	else
		slot_set_null(slot, attno);
}

/* CR_NEVER becomes NULL. */
static inline void
slot_set_time(TupleTableSlot *slot, AttrNumber attno, CrTime at)
{
	if (at == CR_NEVER)
		slot_set_null(slot, attno);
	else
		slot_set(slot, attno, TimestampTzGetDatum(at));
}

#endif
