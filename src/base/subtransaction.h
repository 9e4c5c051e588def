/*
 * subtransaction.h
 *		Running a function in a subtransaction.
 */
#ifndef CREDITS_BASE_SUBTRANSACTION_H
#define CREDITS_BASE_SUBTRANSACTION_H

#include "postgres.h"

/*
 * The function to run.  If it returns true, its work stays.  If it returns false, its
 * work is undone, and the locks that it took are released.
 */
typedef bool (*SubtransactionAct)(void *arg);

extern ErrorData *subtransaction_try(SubtransactionAct act, void *arg);

#endif
