/*
 * clock.h
 *		The time that the ledger reads.
 */
#ifndef CREDITS_BASE_CLOCK_H
#define CREDITS_BASE_CLOCK_H

#include "core/core.h"

extern void clock_define(void);
extern CrTime clock_now(void);
extern CrTime clock_statement(void);

#endif
