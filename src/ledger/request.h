/*
 * request.h
 *		The request of a caller: its checked arguments and their digest.
 */
#ifndef CREDITS_LEDGER_REQUEST_H
#define CREDITS_LEDGER_REQUEST_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/array.h"

#include "core/core.h"

typedef struct Request
{
	const char *function; /* for messages; with its parentheses */
	CrKind kind;
	const char *user_id;
	const char *spender; /* from here on, each may be NULL */
	const char *payment_ref;
	const char *idempotency_key;
	const char *reason;
	const char *metadata; /* the text of metadata_datum */
	Datum metadata_datum;
	const uint8_t *run_id;
	bool has_digest;
	uint8_t digest[CR_HASH_LEN];
} Request;

extern char *arg_name(FunctionCallInfo fcinfo, int arg, const char *name);
extern char *arg_optional_name(FunctionCallInfo fcinfo, int arg, const char *name);
extern text *check_name(text *value, const char *name);
extern char *arg_optional_text(FunctionCallInfo fcinfo, int arg);
extern int64 check_amount(int64 amount, const char *name);
extern int64 arg_amount(FunctionCallInfo fcinfo, int arg, const char *name);
extern bool arg_flag(FunctionCallInfo fcinfo, int arg);
extern CrTime check_time(CrTime at, const char *name);
extern CrTime arg_time(FunctionCallInfo fcinfo, int arg, const char *name);
extern ArrayType *check_array(ArrayType *array, const char *name);
extern void check_as_many(int found, const char *name, int users);
extern int64 arg_optional_credits(FunctionCallInfo fcinfo, int arg, const char *name,
								  int64 fallback);
extern int32 arg_optional_count(FunctionCallInfo fcinfo, int arg, const char *name,
								int32 fallback, int32 max);
extern void request_init(Request *request, FunctionCallInfo fcinfo, const char *function,
						 CrKind kind);
extern void request_set_metadata(Request *request, Datum value);
extern void request_metadata(Request *request, FunctionCallInfo fcinfo, int arg);
extern void request_tail(Request *request, FunctionCallInfo fcinfo, int first);
extern void request_seal(Request *request, int64 amount, const char *first,
						 const char *second);

#endif
