/*
 * committed.h
 *		Counting what a transaction does to accounts, when it commits.
 */
#ifndef CREDITS_LIVE_COMMITTED_H
#define CREDITS_LIVE_COMMITTED_H

#include "postgres.h"

#include "core/core.h"

extern void committed_init(void);
extern void committed_row(const CrRow *row);

#endif
