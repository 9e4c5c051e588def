/*
 * utc.c
 *		Times as receipts and DETAILs show them.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "utc.h"

/* Finite, and in the years 1 to 9999, which any client can show. */
bool
utc_is_ordinary(CrTime at)
{
	struct pg_tm tm;
	fsec_t		fraction;

	return !TIMESTAMP_NOT_FINITE(at) &&
		timestamp2tm(at, NULL, &tm, &fraction, NULL, NULL) == 0 &&
		tm.tm_year >= 1 && tm.tm_year <= 9999;
}

/* "2026-11-01T00:00:00Z"; a fraction only if there is one. */
char *
utc_text(CrTime at, char out[UTC_TEXT_SIZE])
{
	struct pg_tm tm;
	fsec_t		fraction;
	int			length;

	if (timestamp2tm(at, NULL, &tm, &fraction, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	length = snprintf(out, UTC_TEXT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d",
					  tm.tm_year, tm.tm_mon, tm.tm_mday,
					  tm.tm_hour, tm.tm_min, tm.tm_sec);
	if (fraction != 0)
		length += snprintf(out + length, UTC_TEXT_SIZE - length, ".%06d", (int) fraction);
	snprintf(out + length, UTC_TEXT_SIZE - length, "Z");
	return out;
}
