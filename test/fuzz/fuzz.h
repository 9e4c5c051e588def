/*
 * fuzz.h
 *		What the targets of libFuzzer share: its input, read from front to back.
 *
 * The tests' own world, calendar and checks (test/unit) are used as they are.  They
 * draw their random numbers from the input here, so what libFuzzer changes in it
 * changes what they choose.
 */
#ifndef CREDITS_FUZZ_H
#define CREDITS_FUZZ_H

#include <stdlib.h>

#include "../unit/unit.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* input.c */
extern void input_begin(const uint8_t *data, size_t size);
extern bool input_left(void);
extern int64_t input_amount(void);
extern const char *input_text(void);

/* Says what is wrong, and stops: libFuzzer keeps the input. */
#define REQUIRE(good, ...) \
	do { if (!(good)) { note(__VA_ARGS__); abort(); } } while (0)

#endif
