/*
 * event_rows.c
 *		Events that consumers take from the queue credit_event.
 *
 * A history row is an event if its kind, or what it crossed, is one that credits.events
 * names.  The event is written in the transaction of the row, so that one is committed only
 * with the other.
 */
#include "postgres.h"

#include "base/event_kinds.h"
#include "store/slots.h"
#include "tables/event_rows.h"

static int
kind_of(const CrRow *row)
{
	switch (row->kind)
	{
		case CR_KIND_PURCHASE:
			return EVENT_PURCHASE;
		case CR_KIND_GRANT:
			return row->payment_ref ? EVENT_PURCHASE : -1;
		case CR_KIND_REVOKE:
			return EVENT_REVOKE;
		case CR_KIND_REINSTATE:
			return EVENT_REINSTATE;
		case CR_KIND_REFUND:
			return EVENT_REFUND;
		case CR_KIND_RESET:
		case CR_KIND_RESTART:
			return EVENT_RESET;
		case CR_KIND_HOLD_END:
			return EVENT_HOLD_EXPIRED;
		case CR_KIND_SET_PLAN:
		case CR_KIND_PLAN_CHANGE:
			return EVENT_PLAN_CHANGE;
		case CR_KIND_FREEZE:
			return EVENT_FREEZE;
		case CR_KIND_UNFREEZE:
			return EVENT_UNFREEZE;
		case CR_KIND_CLOSE:
			return EVENT_CLOSE;
		default:
			return -1;
	}
}

static int
crossed_by(const CrRow *row)
{
	switch (row->crossed)
	{
		case CR_CROSSED_LOW:
			return EVENT_LOW;
		case CR_CROSSED_EMPTY:
			return EVENT_EMPTY;
		case CR_CROSSED_RECOVERED:
			return EVENT_RECOVERED;
		default:
			return -1;
	}
}

/* The kinds of events that a row is, as bits; at most two. */
int
events_of_row(const CrRow *row)
{
	int kind = kind_of(row);
	int crossed = crossed_by(row);

	return (kind >= 0 ? EVENT_BIT(kind) : 0) | (crossed >= 0 ? EVENT_BIT(crossed) : 0);
}

/* Writes the event of a row that is numbered. */
void
event_write(Writer *writer, const CrRow *row, int kind)
{
	TupleTableSlot *slot = writer->slot;

	writer_clear(writer);
	slot_set_int(slot, EVENT_SEQ, row->seq);
	slot_set_int(slot, EVENT_AMOUNT, row->amount);
	slot_set_int(slot, EVENT_AVAILABLE,
				 row->balance.monthly + row->balance.granted + row->balance.purchased);
	slot_set_time(slot, EVENT_CREATED_AT, row->created_at);
	slot_set_time(slot, EVENT_EFFECTIVE_AT, row->effective_at);
	slot_set_text(slot, EVENT_USER_ID, row->user_id);
	slot_set_text(slot, EVENT_KIND, event_kind_name(kind));
	slot_set_time(slot, EVENT_ENDS_AT, row->has_ends_at ? row->ends_at : CR_NEVER);
	writer_insert(writer);
}
