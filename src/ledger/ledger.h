/*
 * ledger.h
 *		Changing one account: lock the account, look up the key, apply what is due, let
 *		the core decide, append the rows.  There is no other way to change an account.
 *
 * Most calls give one command to the core:
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
 * A call that gives more than one command to the core does not use ledger_command, but
 * takes the steps of ledger_command itself.  ledger_replay finds a repeated call by its
 * key and gives the first receipt.  The steps are:
 *
 *		ledger_begin(&ledger, &request);
 *		if (!ledger_replay(&ledger, &receipt))
 *		{
 *			decide(&ledger, args, &row);
 *			receipt = ledger_append(&ledger, &row);
 *		}
 *		ledger_end(&ledger);
 *
 * The usual deduction does not lock the account before it decides.  The call uses
 * ledger_prepare and ledger_deduct_unlocked.  If ledger_deduct_unlocked returns -1, the
 * call uses ledger_lock and decides again.  The sweep (the bulk run that writes what is
 * due for accounts that no call touches) does not lock the account before it decides
 * either, if no other transaction has the account locked.  It calls ledger_read_at.  If
 * ledger_write then returns false, it calls ledger_lock_at and decides again.
 *
 * A call that is recorded in the audit log uses ledger_begin_audited instead of
 * ledger_begin.
 *
 * If the server no longer knows the account's time zone, a reset that is due has to wait,
 * and ledger_apply_due raises UC012.  Calls that give or return credits to the account
 * use ledger_apply_ready instead: they write their rows with a time just before the reset.
 *
 * A caller with several requests for one account sets ledger.request to each request in
 * turn, pushes the rows of each request, and calls ledger_write once.
 */
#ifndef CREDITS_LEDGER_LEDGER_H
#define CREDITS_LEDGER_LEDGER_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "portability/instr_time.h"

#include "core/core.h"
#include "ledger/books.h"
#include "ledger/request.h"
#include "tables/plan_versions.h"

typedef struct Ledger
{
	const Request *request;
	Books *books;
	Books own_books;
	/* the version of the account's row on which the call bases its decision */
	TupleTableSlot *version;
	bool is_locked; /* false: another transaction may write a newer version */
	/* this call did not get the account: another transaction has it locked, or opens it */
	bool is_busy;
	bool has_waited; /* the account was busy; busy_since is when that was seen */
	bool in_turn;	 /* and the call took its turn */
	instr_time busy_since;
	/* there is no account yet; the rows of this call open the account */
	bool is_new;
	CrAccount acc;
	CrAccount after_event; /* after the last row of an event; set if there is one */
	CrTime clock;		   /* read after the version */
	/* the account's time: clock, or the time of its last row if that is later */
	CrTime now;
	Plans *plans;
	Plans own_plans;
	CrEnv env;
	CrRow *rows;	 /* rows to append */
	Datum *metadata; /* the metadata of each row; 0: none */
	int n_rows;
	bool is_up_to_date; /* what was due has been applied */
	/*
	 * The reset and what is due after the reset were not applied, because the server does
	 * not know the account's time zone.
	 */
	bool is_waiting;
	int room; /* how many rows fit into the memory of rows */
} Ledger;

/* See ledger_command(). */
typedef void (*LedgerDecide)(Ledger *ledger, const void *args, CrRow *row);

extern Datum ledger_command(const Request *request, LedgerDecide decide, const void *args);
extern void ledger_check(const Ledger *ledger, CrVerdict verdict, int64 amount);
extern void ledger_begin(Ledger *ledger, const Request *request);
extern void ledger_begin_audited(Ledger *ledger, const Request *request);
extern void ledger_prepare(Ledger *ledger, const Request *request, Books *books, Plans *plans);
extern bool ledger_lock_at(Ledger *ledger, TupleTableSlot *slot);
extern void ledger_read_at(Ledger *ledger, TupleTableSlot *slot);
extern bool ledger_lock(Ledger *ledger);
extern bool ledger_replay(Ledger *ledger, Datum *receipt);
extern void ledger_apply_due(Ledger *ledger);
extern bool ledger_apply_ready(Ledger *ledger);
extern int64 ledger_next_seq(const Ledger *ledger);
extern int ledger_push(Ledger *ledger, const CrRow *row);
extern CrRow *ledger_push_as_is(Ledger *ledger, const CrRow *row);
extern void ledger_set_metadata(Ledger *ledger, CrRow *pushed, Datum metadata);
extern Datum ledger_append(Ledger *ledger, const CrRow *row);
extern int ledger_deduct_unlocked(Ledger *ledger, int64 amount);
extern bool ledger_write(Ledger *ledger);
extern void ledger_end(Ledger *ledger);

#endif
