/*
 * rows.h
 *		Converting table rows to the core's structs and back.
 */
#ifndef CREDITS_TABLES_ROWS_H
#define CREDITS_TABLES_ROWS_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "fmgr.h"

#include "core/core.h"

typedef struct Payment
{
	int64 amount;
	int64 revoked;
	int64 seq; /* of its history row */
	CrTime paid_at;
	bool granted; /* it paid for a grant */
	const char *payment_ref;
	const char *user_id;
	int64 reported; /* the highest total that was reported; 0: none */
} Payment;

typedef struct RowArena
{
	size_t used;
	/* the texts of one row; texts that do not fit are copied elsewhere */
	char data[4096];
} RowArena;

extern const CrPart *parts_from_array(Datum value, int *pairs);
extern Datum parts_to_array(const CrPart *parts, int pairs);
extern const char *account_read(CrAccount *acc, const Datum *values, const bool *nulls);
extern void account_from_slot(CrAccount *acc, TupleTableSlot *slot);
extern void account_to_slot(const CrAccount *acc, TupleTableSlot *slot);
extern void account_from_values(CrAccount *acc, const Datum *values, const bool *nulls);
extern void row_read(CrRow *row, TupleTableSlot *slot);
extern void row_borrow(CrRow *row, TupleTableSlot *slot, RowArena *arena);
extern void row_from_slot(CrRow *row, TupleTableSlot *slot);
extern void row_to_slot(const CrRow *row, TupleTableSlot *slot, Datum metadata);
extern void row_erase_texts(const CrRow *row, TupleTableSlot *slot);
extern const char *payment_read(Payment *payment, TupleTableSlot *slot);
extern const char *plan_read(CrPlanVersion *plan, TupleTableSlot *slot);
extern char *slot_text(TupleTableSlot *slot, AttrNumber attno);

#endif
