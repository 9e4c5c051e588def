/*
 * receipt.h
 *		Receipts: what a call answers, built from the row that records it.
 */
#ifndef CREDITS_RECEIPT_H
#define CREDITS_RECEIPT_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "core/core.h"

/* A flat jsonb object under construction; keys are constants. */
#define OBJECT_PAIRS 32

typedef struct Object
{
	int			count;
	struct
	{
		const char *key;
		uint32		key_len;
		uint32		type;		/* JENTRY_IS... */
		const void *value;
		uint32		value_len;
	}			pairs[OBJECT_PAIRS];
} Object;

extern void object_begin(Object *object);
extern void object_text(Object *object, const char *key, const char *value);
extern void object_int(Object *object, const char *key, int64 value);
extern void object_bool(Object *object, const char *key, bool value);
extern void object_json(Object *object, const char *key, const char *json);
extern void object_time(Object *object, const char *key, CrTime value);
extern Datum object_end(Object *object);

extern Datum receipt_from_row(const CrRow *row, bool replayed);
extern Datum receipt_archived(const char *kind, const char *user_id, int64 seq, int64 amount,
							  const char *payment_ref);
extern void refusal_begin(StringInfo buf);
extern Datum refusal_end(StringInfo buf);
extern Datum receipt_refused(const CrAccount *acc, int64 required);

#endif
