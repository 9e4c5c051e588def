/*
 * json.h
 *		Building flat JSON objects: as text for the DETAIL of errors, as jsonb for
 *		answers.
 */
#ifndef CREDITS_BASE_JSON_H
#define CREDITS_BASE_JSON_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "core/core.h"

/* A flat JSON object, written as text. */
extern void json_begin(StringInfo buf);
extern void json_text(StringInfo buf, const char *key, const char *value);
extern void json_int(StringInfo buf, const char *key, int64 value);
extern void json_bool(StringInfo buf, const char *key, bool value);
extern void json_time(StringInfo buf, const char *key, CrTime value);
extern char *json_end(StringInfo buf);

/* A flat jsonb object that is being built.  Its keys are constants. */
#define OBJECT_PAIRS 32

typedef struct Object
{
	int count;
	struct
	{
		const char *key;
		uint32 key_len;
		uint32 type; /* one of JENTRY_IS... */
		const void *value;
		uint32 value_len;
	} pairs[OBJECT_PAIRS];
} Object;

extern void object_begin(Object *object);
extern void object_text(Object *object, const char *key, const char *value);
extern void object_int(Object *object, const char *key, int64 value);
extern void object_bool(Object *object, const char *key, bool value);
extern void object_json(Object *object, const char *key, const char *json);
extern void object_empty_array(Object *object, const char *key);
extern void object_time(Object *object, const char *key, CrTime value);
extern Datum object_end(Object *object);

#endif
