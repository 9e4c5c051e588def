/*
 * notices.h
 *		Notice before a grant or a hold ends: the events grant_ending and hold_ending.
 *
 * The sweep asks for the kinds of ends with notices_next, and finds the users by the index
 * of each kind.  notices_write then writes all notices of one user.
 */
#ifndef CREDITS_BULK_NOTICES_H
#define CREDITS_BULK_NOTICES_H

#include "postgres.h"

#include "ledger/books.h"
#include "store/columns.h"
#include "store/relations.h"
#include "tables/plan_versions.h"
#include "tables/run_record.h"

/* Ends of one kind. */
typedef struct Ends
{
	int event;
	StoreTable table;
	StoreIndex index;	/* those without a notice, by their time */
	StoreIndex of_user; /* all, by user and time */
	AttrNumber user_id;
	AttrNumber seq;
	AttrNumber ends_at;
	AttrNumber noticed;
} Ends;

typedef enum NoticesResult
{
	NOTICES_WRITTEN,
	NOTICES_NONE,
	NOTICES_BUSY /* another transaction has the account locked */
} NoticesResult;

extern const Ends *notices_next(const Ends *ends);
extern CrTime notices_upto(const Ends *ends, CrTime now);
extern NoticesResult notices_write(const Ends *ends, const char *user_id, Books *books,
								   RunCounts *counts);
extern bool notices_preview(const Ends *ends, TupleTableSlot *slot, Plans *plans, CrTime now);

#endif
