/*
 * books.h
 *		The books: the ledger's tables, which are opened once for a call, even if the call
 *		has many accounts.
 *
 * For each account, the caller uses books_find to read it and books_lock to lock it.
 * books_state tells whether an account that was read may be used without a lock.
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
	/* another transaction has it locked, and the call must not wait */
	BOOKS_SKIPPED
} BooksResult;

/* What other transactions seem to do with an account version that was read. */
typedef enum BooksState
{
	BOOKS_FREE,	  /* no other transaction has it locked or has changed it */
	BOOKS_BUSY,	  /* another transaction has it locked or is changing it */
	BOOKS_OLD,	  /* there is a newer version, or the account is gone */
	BOOKS_UNCLEAR /* only locking the account can tell */
} BooksState;

typedef struct Books
{
	MemoryContext memory; /* lasts until books_close */
	bool many;			  /* history rows are queued and written together */
	bool skips;			  /* does not wait for accounts */
	Writer *account;
	Writer *history;
	Writer *grants; /* NULL: not needed so far */
	Writer *holds;
	Writer *events;
	Snapshot snapshot; /* accounts are searched in this snapshot */
	Lookup accounts;
	Lookup keys;
	bool has_accounts; /* the look-up of accounts has begun; has_keys: that of keys */
	bool has_keys;
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
