/*
 * subtransaction.c
 *		Running a function in a subtransaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/resowner.h"

#include "base/compat.h"
#include "base/subtransaction.h"

/*
 * Runs act in a subtransaction, in the caller's memory.  Returns NULL if act came to its
 * end.  Then act's result said whether its work stays.  On an error, all its work is
 * undone and the error is returned, in the caller's memory.
 *
 * The subtransaction ends before the error is copied.  The usual order is the other way
 * round.  But if memory for the copy is missing, that order raises an error inside the
 * subtransaction, and then no code ends the subtransaction.  After that statement the
 * client's session would still be in a failed transaction.
 */
ErrorData *
subtransaction_try(SubtransactionAct act, void *arg)
{
	MemoryContext memory = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile failure = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(memory);
	PG_TRY();
	{
		if (act(arg))
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(memory);
		CurrentResourceOwner = owner;
		failure = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(memory);
	CurrentResourceOwner = owner;
	return failure;
}
