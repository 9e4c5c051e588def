/*
 * subtransaction.h
 *		Trying something in a subtransaction.
 */
#ifndef CREDITS_BASE_SUBTRANSACTION_H
#define CREDITS_BASE_SUBTRANSACTION_H

#include "postgres.h"

/* What is tried.  True: it stays.  False: it is undone, its locks included. */
typedef bool (*SubtransactionAct) (void *arg);

extern ErrorData *subtransaction_try(SubtransactionAct act, void *arg);

#endif
