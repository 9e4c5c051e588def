/*
 * subtransaction.c
 *		Trying something in a subtransaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/resowner.h"

#include "base/compat.h"
#include "base/subtransaction.h"

/*
 * Calls act in a subtransaction, in the caller's memory.  NULL: it came to its end, and
 * said itself whether it stays.  On an error nothing of it stays, and the error is
 * returned, in the caller's memory.
 *
 * The subtransaction ends before the error is copied.  The other way round, which is
 * the usual one, a copy that finds no memory is an error inside the subtransaction,
 * which nobody ends then: not even the client's statement, after which its session is
 * in a failed transaction.
 */
ErrorData *
subtransaction_try(SubtransactionAct act, void *arg)
{
	MemoryContext memory = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile failure = NULL;

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
