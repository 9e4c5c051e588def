/*
 * ledger.h
 *		One account, locked: look up the key, apply what is due, let the core
 *		decide, append.  The only way to change an account.
 *
 * Most calls are one command:
 *
 *		static void
 *		decide(Ledger *ledger, const void *args, CrRow *row)
 *		{
 *			ledger_apply_due(ledger);
 *			ledger_check(ledger, cr_...(&ledger->acc, ledger->now, ..., row), amount);
 *		}
 *		...
 *		return ledger_command(&request, decide, &args);
 *
 * which is, for calls that need more than one command:
 *
 *		ledger_begin(&ledger, &request);
 *		if (!ledger_replay(&ledger, &receipt))
 *		{
 *			decide(&ledger, args, &row);
 *			receipt = ledger_append(&ledger, &row);
 *		}
 *		ledger_end(&ledger);
 *
 * The usual deduction needs no lock of its own: ledger_prepare,
 * ledger_deduct_unlocked, and if that gives -1, ledger_lock and all over.  Nor
 * does the sweep's usual account: ledger_read_at, and if ledger_write gives
 * false, ledger_lock_at and all over.
 *
 * An act that is in the audit log begins with ledger_begin_audited.
 *
 * If the server does not know the account's time zone any more, a reset that is due
 * waits, and ledger_apply_due is UC012.  Calls that give credits to the account, or
 * back to it, do not have to wait with it: they use ledger_apply_ready.
 *
 * Several requests of one account: set ledger.request to each in turn, push
 * their rows, and write once.
 */
#ifndef CREDITS_LEDGER_LEDGER_H
#define CREDITS_LEDGER_LEDGER_H

#include "postgres.h"

#include "executor/tuptable.h"

#include "core/core.h"
#include "ledger/books.h"
#include "ledger/request.h"
#include "tables/plan_versions.h"

typedef struct Ledger
{
	const Request *request;
	Books	   *books;
	Books		own_books;
	TupleTableSlot *version;	/* of the account, that is decided on */
	bool		is_locked;		/* else the version may turn out not to be the newest */
	bool		is_busy;		/* and not to be waited for: it is not locked */
	bool		is_new;			/* no account yet: what is appended opens it */
	CrAccount	acc;
	CrTime		clock;			/* the clock, read after the version */
	CrTime		now;			/* the account's time: never before its last row */
	Plans	   *plans;
	Plans		own_plans;
	CrEnv		env;
	CrRow	   *rows;			/* to be appended */
	Datum	   *metadata;		/* theirs, where they have any */
	int			n_rows;
	bool		is_up_to_date;	/* what was due is applied */
	bool		is_waiting;		/* but the reset, which waits for the account's time zone */
	int			room;
} Ledger;

/* See ledger_command(). */
typedef void (*LedgerDecide) (Ledger *ledger, const void *args, CrRow *row);

extern Datum ledger_command(const Request *request, LedgerDecide decide, const void *args);
extern void ledger_check(const Ledger *ledger, CrVerdict verdict, int64 amount);
extern void ledger_begin(Ledger *ledger, const Request *request);
extern void ledger_begin_audited(Ledger *ledger, const Request *request);
extern void ledger_prepare(Ledger *ledger, const Request *request, Books *books,
						   Plans *plans);
extern bool ledger_lock_at(Ledger *ledger, TupleTableSlot *slot);
extern void ledger_read_at(Ledger *ledger, TupleTableSlot *slot);
extern bool ledger_lock(Ledger *ledger);
extern bool ledger_replay(Ledger *ledger, Datum *receipt);
extern void ledger_apply_due(Ledger *ledger);
extern bool ledger_apply_ready(Ledger *ledger);
extern int64 ledger_next_seq(const Ledger *ledger);
extern int	ledger_push(Ledger *ledger, const CrRow *row);
extern CrRow *ledger_push_as_is(Ledger *ledger, const CrRow *row);
extern void ledger_set_metadata(Ledger *ledger, CrRow *pushed, Datum metadata);
extern Datum ledger_append(Ledger *ledger, const CrRow *row);
extern int	ledger_deduct_unlocked(Ledger *ledger, int64 amount);
extern bool ledger_write(Ledger *ledger);
extern void ledger_end(Ledger *ledger);

#endif
