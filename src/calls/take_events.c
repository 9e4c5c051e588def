/*
 * take_events.c
 *		credits_take_events: gives events to a consumer, and removes them from the queue.
 *
 * The events leave the queue when the consumer's transaction commits.  If it does not, they
 * are still there.  Events that another consumer is taking are passed over, so consumers do
 * not wait for each other.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/event_kinds.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "store/slots.h"
#include "store/writer.h"
#include "tables/rows.h"

PG_FUNCTION_INFO_V1(credits_take_events);

#define MOST_EVENTS 10000

/* The kinds that the caller wants, as bits. */
static int
wanted_kinds(FunctionCallInfo fcinfo)
{
	Datum *names;
	bool *nulls;
	int n;
	int wanted = 0;

	if (PG_ARGISNULL(1))
		return EVENT_BIT(EVENT_KIND_COUNT) - 1;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &names,
					  &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		const char *name = nulls[i] ? "" : TextDatumGetCString(names[i]);
		int kind = event_kind_find(name);

		if (kind < 0)
			error_bad_value("kinds", name, "kinds of events, as credits.events has them");
		wanted |= EVENT_BIT(kind);
	}
	return wanted;
}

static bool
is_wanted(TupleTableSlot *slot, int wanted)
{
	char *name = slot_text(slot, EVENT_KIND);
	int kind = event_kind_find(name);

	/* there may be millions that are not wanted */
	pfree(name);
	return kind >= 0 && (wanted & EVENT_BIT(kind)) != 0;
}

static void
give(ReturnSetInfo *rsinfo, TupleTableSlot *slot)
{
	static const AttrNumber columns[] = {
		EVENT_USER_ID,	 EVENT_SEQ,		   EVENT_KIND,		   EVENT_AMOUNT,
		EVENT_AVAILABLE, EVENT_CREATED_AT, EVENT_EFFECTIVE_AT, EVENT_ENDS_AT,
	};
	Datum values[lengthof(columns)];
	bool nulls[lengthof(columns)];

	for (size_t i = 0; i < lengthof(columns); i++)
		values[i] = slot_getattr(slot, columns[i], &nulls[i]);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
credits_take_events(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int64 most = PG_ARGISNULL(0) ? 100 : PG_GETARG_INT32(0);
	int wanted = wanted_kinds(fcinfo);
	Writer *writer;
	Lookup events;

	if (most < 1 || most > MOST_EVENTS)
		error_bad_value("max_events", psprintf(INT64_FORMAT, most),
						psprintf("1 to %d", MOST_EVENTS));
	store_attach(fcinfo);
	writer_check_allowed("credits_take_events()");
	InitMaterializedSRF(fcinfo, 0);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	writer = writer_begin(TABLE_EVENT, CurrentMemoryContext);
	lookup_begin(&events, TABLE_EVENT, INDEX_EVENT_ORDER, GetActiveSnapshot());
	while (most > 0 && lookup_next(&events, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		if (!is_wanted(events.slot, wanted) || !lookup_lock(&events, LockWaitSkip))
			continue;
		give(rsinfo, events.slot);
		writer_delete(writer, events.slot);
		most--;
	}
	lookup_end(&events);
	PopActiveSnapshot();
	writer_end(writer);
	return (Datum) 0;
}
