/*
 * books.h
 *		The ledger's tables, open for one call or for many accounts of one.
 */
#ifndef CREDITS_LEDGER_BOOKS_H
#define CREDITS_LEDGER_BOOKS_H

#include "postgres.h"

#include "nodes/lockoptions.h"

#include "core/core.h"
#include "store/lookup.h"
#include "store/writer.h"

typedef enum BooksResult
{
	BOOKS_FOUND,
	BOOKS_NOT_FOUND,
	BOOKS_SKIPPED				/* locked by another, and not to be waited for */
} BooksResult;

/* What others seem to be doing with a version of an account that was read. */
typedef enum BooksState
{
	BOOKS_FREE,					/* nothing */
	BOOKS_BUSY,					/* one of them has it now */
	BOOKS_OLD,					/* there is a newer one, or is no longer */
	BOOKS_UNCLEAR				/* only its lock can tell */
} BooksState;

typedef struct Books
{
	MemoryContext memory;		/* what lasts until the books are closed */
	bool		many;			/* history rows are queued */
	bool		skips;			/* no account is waited for */
	Writer	   *account;
	Writer	   *history;
	Writer	   *grants;			/* NULL: not needed so far */
	Writer	   *holds;
	Snapshot	snapshot;		/* accounts are looked for in it */
	Lookup		accounts;
	Lookup		keys;
	bool		has_accounts;	/* which look-ups have begun */
	bool		has_keys;
} Books;

extern void books_open(Books *books, bool many);
extern void books_lock_tables(void);
extern void books_refresh(Books *books);
extern bool books_find(Books *books, const char *user_id);
extern BooksState books_state(const Books *books, TupleTableSlot *slot);
extern BooksResult books_lock(Books *books, TupleTableSlot *slot, LockWaitPolicy wait);
extern bool books_find_key(Books *books, const char *user_id, const char *key, CrRow *row);
extern void books_close(Books *books);

#endif
