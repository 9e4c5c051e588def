/*
 * utc.c
 *		Times as text, as receipts and DETAILs show them: UTC, ISO 8601.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/utc.h"

/* Is the time finite, and in the years 1 to 9999, which every client can show? */
bool
utc_is_ordinary(CrTime at)
{
	struct pg_tm tm;
	fsec_t fraction;

	return !TIMESTAMP_NOT_FINITE(at) &&
		timestamp2tm(at, NULL, &tm, &fraction, NULL, NULL) == 0 && tm.tm_year >= 1 &&
		tm.tm_year <= 9999;
}

static char *
put_number(char *out, int number, int width, char after)
{
	out = pg_ultostr_zeropad(out, (uint32) number, width);
	*out++ = after;
	return out;
}

/* "2026-11-01T00:00:00Z".  Has a fraction only if the time has one. */
char *
utc_text(CrTime at, char text[UTC_TEXT_SIZE])
{
	struct pg_tm tm;
	fsec_t fraction;
	char *out = text;

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

/* Reads a fixed number of digits. */
static bool
digits(const char **text, int count, int *number)
{
	*number = 0;
	for (; count > 0; count--, (*text)++)
	{
		if (**text < '0' || **text > '9')
			return false;
		*number = *number * 10 + (**text - '0');
	}
	return true;
}

static bool
skip(const char **text, char wanted)
{
	if (**text != wanted)
		return false;
	(*text)++;
	return true;
}

/* ".5": reads microseconds.  Further digits are ignored. */
static bool
fraction_of_second(const char **text, fsec_t *fraction)
{
	int scale = 100000;

	*fraction = 0;
	if (!skip(text, '.'))
		return true;
	if (**text < '0' || **text > '9')
		return false;
	for (; **text >= '0' && **text <= '9'; (*text)++, scale /= 10)
		*fraction += (**text - '0') * scale;
	return true;
}

/* "Z", "+01", "+0100", "+01:00", "+00:53:28": reads seconds east of UTC. */
static bool
offset_from_utc(const char **text, int *offset)
{
	bool west = **text == '-';
	int hours, minutes = 0, seconds = 0;

	*offset = 0;
	if (skip(text, 'Z') || skip(text, 'z'))
		return true;
	if (!west && **text != '+')
		return false;
	(*text)++;
	if (!digits(text, 2, &hours))
		return false;
	if (skip(text, ':') ? !digits(text, 2, &minutes)
						: **text != '\0' && !digits(text, 2, &minutes))
		return false;
	if (skip(text, ':') && !digits(text, 2, &seconds))
		return false;
	*offset = (hours * MINS_PER_HOUR + minutes) * SECS_PER_MINUTE + seconds;
	if (west)
		*offset = -*offset;
	return hours <= MAX_TZDISP_HOUR && minutes < MINS_PER_HOUR && seconds < SECS_PER_MINUTE;
}

/*
 * Reads a time in ISO 8601 or as PostgreSQL writes it.  DateStyle and TimeZone have no
 * influence.  With an offset, the time is an instant, otherwise a local time.  The years
 * are 1 to 9999.
 */
bool
utc_parse_iso(const char *text, CrTime *at, bool *is_instant)
{
	struct pg_tm tm = {0};
	fsec_t fraction = 0;
	int offset = 0;

	*is_instant = false;
	if (!digits(&text, 4, &tm.tm_year) || !skip(&text, '-') || !digits(&text, 2, &tm.tm_mon) ||
		!skip(&text, '-') || !digits(&text, 2, &tm.tm_mday))
		return false;
	if (*text != '\0')
	{
		if ((!skip(&text, 'T') && !skip(&text, 't') && !skip(&text, ' ')) ||
			!digits(&text, 2, &tm.tm_hour) || !skip(&text, ':') ||
			!digits(&text, 2, &tm.tm_min))
			return false;
		if (skip(&text, ':') &&
			(!digits(&text, 2, &tm.tm_sec) || !fraction_of_second(&text, &fraction)))
			return false;
		(void) skip(&text, ' ');
		*is_instant = *text != '\0';
		if (*is_instant && (!offset_from_utc(&text, &offset) || *text != '\0'))
			return false;
	}
	if (tm.tm_year < 1 || tm.tm_mon < 1 || tm.tm_mon > MONTHS_PER_YEAR || tm.tm_mday < 1 ||
		tm.tm_mday > day_tab[isleap(tm.tm_year)][tm.tm_mon - 1] ||
		tm.tm_hour >= HOURS_PER_DAY || tm.tm_min >= MINS_PER_HOUR ||
		tm.tm_sec >= SECS_PER_MINUTE)
		return false;
	if (tm2timestamp(&tm, fraction, NULL, at) != 0)
		return false;
	*at -= offset * USECS_PER_SEC;
	return utc_is_ordinary(*at);
}

/* Reads a time in the form that utc_text gives.  No other form is accepted. */
bool
utc_parse(const char *text, CrTime *at)
{
	struct pg_tm tm = {0};
	int fraction = 0;
	int utc = 0;
	char again[UTC_TEXT_SIZE];

	if (sscanf(text, "%d-%d-%dT%d:%d:%d.%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
			   &tm.tm_min, &tm.tm_sec, &fraction) < 6 ||
		tm.tm_year < 1 || tm.tm_mon < 1 || tm.tm_mon > MONTHS_PER_YEAR ||
		tm2timestamp(&tm, fraction, &utc, at) != 0 || !IS_VALID_TIMESTAMP(*at))
		return false;
	return strcmp(utc_text(*at, again), text) == 0;
}
