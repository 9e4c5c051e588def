/*
 * find.h
 *		Finding one row: an account, a history row, a payment.
 */
#ifndef CREDITS_TABLES_FIND_H
#define CREDITS_TABLES_FIND_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "core/core.h"
#include "store/lookup.h"
#include "tables/rows.h"

/* To find many accounts, one after the other: begin, next for each, then lookup_end. */
extern void find_accounts_begin(Lookup *lookup, Snapshot snapshot);
extern bool find_accounts_next(Lookup *lookup, const char *user_id, CrAccount *acc);
extern bool find_account(const char *user_id, Snapshot snapshot, CrAccount *acc);
extern bool find_account_latest(const char *user_id);
extern bool find_row(const char *user_id, int64 seq, Snapshot snapshot, CrRow *row);

/* Finds a row by its number, in the history or in the archive. */
typedef bool (*FindRow)(void *ctx, const char *user_id, int64 seq, CrRow *row);

extern int64 find_adjusted(const char *user_id, int64 import_seq, int64 upto, int64 period,
						   FindRow find, void *ctx);
extern void referring_begin(Lookup *lookup, const char *user_id, int64 seq);
extern bool find_opened(const char *user_id, bool *busy);
extern int64 find_last_seq(const char *user_id, Snapshot snapshot);
extern int64 sum_payments_since(const char *user_id, CrTime since);
extern bool find_payment(const char *payment_ref, Payment *payment);
extern void note_absent_payment(const char *payment_ref);
extern void note_plan_read(const char *plan);

#endif
