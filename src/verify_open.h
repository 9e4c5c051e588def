/*
 * verify_open.h
 *		An account's grants, holds, refunds and chargebacks, as verification goes
 *		through its history.
 */
#ifndef CREDITS_VERIFY_OPEN_H
#define CREDITS_VERIFY_OPEN_H

#include "postgres.h"

#include "utils/hsearch.h"

#include "archived.h"
#include "checkpoint.h"
#include "store.h"
#include "verify_findings.h"

/* Kept from one account to the next. */
typedef struct OpenBook
{
	Snapshot	snapshot;
	MemoryContext memory;		/* of the account at hand */
	HTAB	   *marks;			/* rows that later ones refer to; NULL: none yet */
	int64		n_grants;		/* of the account */
	int64		n_holds;
	Archived   *archived;		/* rows are looked for there; NULL: in the history */
	Checkpoint *collect;		/* gets what a checkpoint needs besides; NULL: none */
} OpenBook;

extern void open_book_begin(OpenBook *book, Snapshot snapshot);
extern void open_book_start(OpenBook *book, CrAccount *acc);
extern const CrRow *open_book_before(OpenBook *book, CrAccount *acc, const CrRow *row,
									 int64 *used);
extern void open_book_after(OpenBook *book, CrAccount *acc, const CrRow *row,
							int64 revoked);
extern void open_book_load(OpenBook *book, CrAccount *acc, const Checkpoint *ckpt);
extern void open_book_purchase(OpenBook *book, int64 seq, int64 revoked, int64 stored);
extern void open_book_finish(OpenBook *book, const CrAccount *acc, Checkpoint *ckpt);
extern bool open_book_compare(OpenBook *book, const CrAccount *acc, Findings *findings);
extern void open_book_end(OpenBook *book);
extern void verify_open_orphans(Findings *findings);

#endif
