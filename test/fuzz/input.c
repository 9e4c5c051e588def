/*
 * input.c
 *		libFuzzer's input, in the place of the tests' random numbers and TAP.
 */
#include <stdarg.h>

#include "fuzz.h"

static const uint8_t *next;
static size_t left;
static uint32_t after_it;

void
input_begin(const uint8_t *data, size_t size)
{
	next = data;
	left = size;
	after_it = 0;
}

bool
input_left(void)
{
	return left > 0;
}

/* After its end come always the same bytes, and not the same byte always. */
static uint8_t
take_byte(void)
{
	if (left > 0)
	{
		left--;
		return *next++;
	}
	after_it = after_it * 1664525 + 1013904223;
	return (uint8_t) (after_it >> 24);
}

/* So many bytes as a number. */
static uint64_t
take(int bytes)
{
	uint64_t	value = 0;

	while (bytes-- > 0)
		value = value << 8 | take_byte();
	return value;
}

uint64_t
random_bits(void)
{
	return take(8);
}

/* As few bytes as the range needs. */
int64_t
random_between(int64_t low, int64_t high)
{
	uint64_t	range = (uint64_t) high - (uint64_t) low;
	int			bytes = 1;

	while (bytes < 8 && range >> (8 * bytes) != 0)
		bytes++;
	return range == UINT64_MAX ? (int64_t) take(8) :
		(int64_t) ((uint64_t) low + take(bytes) % (range + 1));
}

bool
one_in(int n)
{
	return random_between(1, n) == 1;
}

/* 1 to the largest amount, often small or at an edge. */
int64_t
input_amount(void)
{
	switch (random_between(0, 7))
	{
		case 0:
			return CR_MAX_CREDITS - random_between(0, 3);
		case 1:
			return random_between(1, CR_MAX_CREDITS);
		default:
			return random_between(1, 200);
	}
}

/* A text of up to 255 bytes, or NULL; good until the fifteenth after it. */
const char *
input_text(void)
{
	static char texts[16][256];
	static int	at = 0;
	char	   *text = texts[at++ % 16];
	int64_t		length = random_between(-1, 255);

	if (length < 0)
		return NULL;
	for (int64_t i = 0; i < length; i++)
	{
		text[i] = (char) take(1);
		if (text[i] == '\0')
			text[i] = 'a';
	}
	text[length] = '\0';
	return text;
}

void
note(const char *fmt, ...)
{
	va_list		args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

/* Of the tests' world only what checks takes these, and it is not used here. */
bool
ok(bool good, const char *fmt, ...)
{
	(void) fmt;
	REQUIRE(good, "a check of the tests failed");
	return good;
}

bool
same_text(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0;
}
