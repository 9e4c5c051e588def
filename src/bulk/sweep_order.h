/*
 * sweep_order.h
 *		What a sweep looks for, and in which order it finds accounts.
 */
#ifndef CREDITS_BULK_SWEEP_ORDER_H
#define CREDITS_BULK_SWEEP_ORDER_H

#include "postgres.h"

#include "utils/hsearch.h"

#include "bulk/notices.h"
#include "core/core.h"
#include "store/lookup.h"

typedef struct SweepOrder
{
	const Ends *ends; /* whose notices are being written; NULL: what is due is applied */
	CrTime position;  /* next_event_at of the last account, or the last end */
	HTAB *passed;	  /* users that were locked or failed; they are not tried again */
	MemoryContext memory;
} SweepOrder;

extern void order_begin(SweepOrder *order);
extern bool order_next_phase(SweepOrder *order);
extern void order_pass(SweepOrder *order, const char *user_id);
extern bool order_has_passed(SweepOrder *order, const char *user_id);
extern void order_seek(SweepOrder *order, Lookup *lookup, Snapshot snapshot);
extern char *order_user(const SweepOrder *order, Lookup *lookup);
extern char *order_next(SweepOrder *order, Lookup *lookup);
extern bool order_any_left(SweepOrder *order);

#endif
