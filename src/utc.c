/*
 * utc.c
 *		Times as receipts and DETAILs show them.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/datetime.h"
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

static char *
put_number(char *out, int number, int width, char after)
{
	out = pg_ultostr_zeropad(out, (uint32) number, width);
	*out++ = after;
	return out;
}

/* "2026-11-01T00:00:00Z"; a fraction only if there is one. */
char *
utc_text(CrTime at, char text[UTC_TEXT_SIZE])
{
	struct pg_tm tm;
	fsec_t		fraction;
	char	   *out = text;

	if (timestamp2tm(at, NULL, &tm, &fraction, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	if (tm.tm_year < 0)
		*out++ = '-';
	out = put_number(out, abs(tm.tm_year), 4, '-');
	out = put_number(out, tm.tm_mon, 2, '-');
	out = put_number(out, tm.tm_mday, 2, 'T');
	out = put_number(out, tm.tm_hour, 2, ':');
	out = put_number(out, tm.tm_min, 2, ':');
	out = put_number(out, tm.tm_sec, 2, fraction ? '.' : 'Z');
	if (fraction)
		out = put_number(out, fraction, 6, 'Z');
	*out = '\0';
	return text;
}

/* What utc_text gives for a time, and nothing else. */
bool
utc_parse(const char *text, CrTime *at)
{
	struct pg_tm tm = {0};
	int			fraction = 0;
	int			utc = 0;
	char		again[UTC_TEXT_SIZE];

	if (sscanf(text, "%d-%d-%dT%d:%d:%d.%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
			   &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &fraction) < 6 ||
		tm.tm_year < 1 || tm.tm_mon < 1 || tm.tm_mon > MONTHS_PER_YEAR ||
		tm2timestamp(&tm, fraction, &utc, at) != 0 || !IS_VALID_TIMESTAMP(*at))
		return false;
	return strcmp(utc_text(*at, again), text) == 0;
}
