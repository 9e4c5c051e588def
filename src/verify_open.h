/*
 * verify_open.h
 *		An account's grants, holds, refunds and chargebacks, as verification goes
 *		through its history.
 */
#ifndef CREDITS_VERIFY_OPEN_H
#define CREDITS_VERIFY_OPEN_H

#include "postgres.h"

#include "utils/hsearch.h"

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
} OpenBook;

extern void open_book_begin(OpenBook *book, Snapshot snapshot);
extern void open_book_start(OpenBook *book, CrAccount *acc);
extern const CrRow *open_book_before(OpenBook *book, CrAccount *acc, const CrRow *row,
									 int64 *used);
extern void open_book_after(OpenBook *book, CrAccount *acc, const CrRow *row,
							int64 revoked);
extern bool open_book_compare(OpenBook *book, const CrAccount *acc, Findings *findings);
extern void open_book_end(OpenBook *book);
extern void verify_open_orphans(Findings *findings);

#endif
