/*
 * guards.h
 *		The triggers that keep the tables append-only.
 */
#ifndef CREDITS_GUARDS_H
#define CREDITS_GUARDS_H

#include "store.h"

extern const char *guard_problem(StoreTable table);
extern const char *exposure_problem(StoreTable table);

#endif
