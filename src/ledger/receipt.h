/*
 * receipt.h
 *		Receipts: what a call answers.  A receipt is made from the history row of the
 *		call.
 */
#ifndef CREDITS_LEDGER_RECEIPT_H
#define CREDITS_LEDGER_RECEIPT_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "core/core.h"

extern Datum receipt_from_row(const CrRow *row, bool replayed);
extern Datum receipt_archived(const char *kind, const char *user_id, int64 seq, int64 amount,
							  const char *payment_ref);
extern void refusal_begin(StringInfo buf);
extern Datum refusal_end(StringInfo buf);
extern Datum receipt_refused(const CrAccount *acc, int64 required);

#endif
