/*
 * request.c
 *		The request of a caller: its checked arguments and their digest.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/digest.h"
#include "base/errors.h"
#include "base/utc.h"
#include "ledger/request.h"
#include "store/relations.h"

/* A required name: 1 to 255 bytes. */
char *
arg_name(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		error_null(name);
	return arg_optional_name(fcinfo, arg, name);
}

char *
arg_optional_name(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		return NULL;
	return text_to_cstring(check_name(PG_GETARG_TEXT_PP(arg), name));
}

text *
check_name(text *value, const char *name)
{
	if (VARSIZE_ANY_EXHDR(value) < 1 || VARSIZE_ANY_EXHDR(value) > CR_MAX_NAME)
		error_bad_length(name, CR_MAX_NAME);
	return value;
}

char *
arg_optional_text(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

int64
arg_amount(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		error_null(name);
	return check_amount(PG_GETARG_INT64(arg), name);
}

/* A boolean argument; NULL is false. */
bool
arg_flag(FunctionCallInfo fcinfo, int arg)
{
	return !PG_ARGISNULL(arg) && PG_GETARG_BOOL(arg);
}

/* An amount of credits: 1 to 2^53 - 1. */
int64
check_amount(int64 amount, const char *name)
{
	if (amount < 1)
		error_too_small(name, amount, 1);
	if (amount > CR_MAX_CREDITS)
		error_out_of_range(name, amount, CR_MAX_CREDITS);
	return amount;
}

/* A time in the years that every client can show. */
CrTime
check_time(CrTime at, const char *name)
{
	if (!utc_is_ordinary(at))
		error_bad_value(name, "out of range", "a time in the years 1 to 9999");
	return at;
}

CrTime
arg_time(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		error_null(name);
	return check_time(PG_GETARG_TIMESTAMPTZ(arg), name);
}

/* An array with one dimension. */
ArrayType *
check_array(ArrayType *array, const char *name)
{
	if (ARR_NDIM(array) > 1)
		error_bad_value(name, "an array of arrays", "an array with one dimension");
	return array;
}

/* Checks that an array has as many elements as there are users. */
void
check_as_many(int found, const char *name, int users)
{
	if (found != users)
		error_bad_value(name, psprintf("%d elements", found),
						psprintf("as many elements as user_ids has, %d", users));
}

/* An optional number of credits: 0 to 2^53 - 1. */
int64
arg_optional_credits(FunctionCallInfo fcinfo, int arg, const char *name, int64 fallback)
{
	int64 credits;

	if (PG_ARGISNULL(arg))
		return fallback;
	credits = PG_GETARG_INT64(arg);
	if (credits < 0)
		error_too_small(name, credits, 0);
	if (credits > CR_MAX_CREDITS)
		error_out_of_range(name, credits, CR_MAX_CREDITS);
	return credits;
}

/* An optional int4 argument, from 1 to a limit. */
int32
arg_optional_count(FunctionCallInfo fcinfo, int arg, const char *name, int32 fallback,
				   int32 max)
{
	int32 count;

	if (PG_ARGISNULL(arg))
		return fallback;
	count = PG_GETARG_INT32(arg);
	if (count < 1 || count > max)
		error_bad_value(name, psprintf("%d", count), psprintf("a number from 1 to %d", max));
	return count;
}

/* Starts a request.  The first argument of every call about an account is the user. */
void
request_init(Request *request, FunctionCallInfo fcinfo, const char *function, CrKind kind)
{
	memset(request, 0, sizeof(*request));
	store_attach(fcinfo);
	request->function = function;
	request->kind = kind;
	request->user_id = arg_name(fcinfo, 0, "user_id");
}

void
request_metadata(Request *request, FunctionCallInfo fcinfo, int arg)
{
	if (!PG_ARGISNULL(arg))
		request_set_metadata(request, PG_GETARG_DATUM(arg));
}

/* Reads reason, idempotency_key and metadata, with which most calls end. */
void
request_tail(Request *request, FunctionCallInfo fcinfo, int first)
{
	request->reason = arg_optional_text(fcinfo, first);
	request->idempotency_key = arg_optional_name(fcinfo, first + 1, "idempotency_key");
	request_metadata(request, fcinfo, first + 2);
}

void
request_set_metadata(Request *request, Datum value)
{
	Jsonb *metadata = DatumGetJsonbP(value);

	request->metadata_datum = JsonbPGetDatum(metadata);
	request->metadata = JsonbToCString(NULL, &metadata->root, VARSIZE(metadata));
}

/*
 * Makes the digest of everything that must be the same when the call is repeated: kind,
 * user, amount and references, but not texts for people.  Only calls that can be replayed
 * need a digest.
 */
void
request_seal(Request *request, int64 amount, const char *first, const char *second)
{
	uint8_t bytes[2048]; /* six fields of at most 255 bytes */
	CrBuf buf = {.data = bytes, .cap = sizeof(bytes)};

	cr_buf_raw(&buf, "credits-r1", 10);
	cr_buf_text(&buf, cr_kind_name(request->kind));
	cr_buf_text(&buf, request->user_id);
	cr_buf_int(&buf, amount);
	cr_buf_text(&buf, request->payment_ref);
	cr_buf_text(&buf, first);
	cr_buf_text(&buf, second);
	Assert(buf.len <= buf.cap);
	sha256(buf.data, buf.len, request->digest);
	request->has_digest = true;
}
