/*
 * findings.c
 *		Findings: what verification finds, and how it gets to the caller.
 *
 * Several processes find bad accounts in any order.  The caller gets them in the order of
 * users.  There can be as many findings as accounts, so they are sorted with at most
 * work_mem of memory.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplesort.h"

#include "base/compat.h"
#include "base/json.h"
#include "tables/rows.h"
#include "tables/run_record.h"
#include "verify/findings.h"

enum
{
	FOUND_OBJECT = 1,
	FOUND_USER_ID,
	FOUND_SEQ,
	FOUND_PROBLEM,
	FOUND_NATTS = FOUND_PROBLEM
};

static TupleDesc
found_desc(void)
{
	TupleDesc desc = CreateTemplateTupleDesc(FOUND_NATTS);

	TupleDescInitEntry(desc, FOUND_OBJECT, "object", TEXTOID, -1, 0);
	TupleDescInitEntry(desc, FOUND_USER_ID, "bad_user_id", TEXTOID, -1, 0);
	TupleDescInitEntry(desc, FOUND_SEQ, "bad_seq", INT8OID, -1, 0);
	TupleDescInitEntry(desc, FOUND_PROBLEM, "problem", TEXTOID, -1, 0);
	return desc;
}

static void
init(Findings *findings)
{
	memset(findings, 0, sizeof(*findings));
	findings->slot = MakeSingleTupleTableSlot(found_desc(), &TTSOpsVirtual);
}

void
findings_to_store(Findings *findings, Tuplestorestate *store)
{
	init(findings);
	findings->store = store;
}

void
findings_to_queue(Findings *findings, shm_mq_handle *queue)
{
	init(findings);
	findings->queue = queue;
}

/* Sorts by user.  An account has at most one finding, so the order is total. */
void
findings_to_sort(Findings *findings)
{
	AttrNumber column = FOUND_USER_ID;
	Oid less = TextLessOperator;
	Oid collation = C_COLLATION_OID;
	bool nulls_first = false;

	init(findings);
	findings->sort = tuplesort_begin_heap(findings->slot->tts_tupleDescriptor, 1, &column,
										  &less, &collation, &nulls_first, work_mem, NULL, 0);
}

/* A finding as one JSON object. */
char *
finding_json(TupleTableSlot *slot)
{
	StringInfoData buf;
	bool isnull;
	int64 seq = DatumGetInt64(slot_getattr(slot, FOUND_SEQ, &isnull));

	json_begin(&buf);
	json_text(&buf, "object", slot_text(slot, FOUND_OBJECT));
	json_text(&buf, "bad_user_id", slot_text(slot, FOUND_USER_ID));
	if (isnull)
		json_text(&buf, "bad_seq", NULL);
	else
		json_int(&buf, "bad_seq", seq);
	json_text(&buf, "problem", slot_text(slot, FOUND_PROBLEM));
	return json_end(&buf);
}

static void
put(Findings *findings, TupleTableSlot *slot)
{
	findings->count++;
	if (findings->record)
		run_finding(findings->record, slot, finding_json);
	if (findings->store)
		tuplestore_puttupleslot(findings->store, slot);
	else if (findings->sort)
		tuplesort_puttupleslot(findings->sort, slot);
	else
	{
		MinimalTuple tuple = ExecCopySlotMinimalTuple(slot);

		/* if the leader is gone, it will end this worker, too */
		(void) compat_mq_send(findings->queue, tuple->t_len, tuple);
		pfree(tuple);
	}
}

void
findings_report(Findings *findings, const char *object, const char *user_id, int64 seq,
				const char *problem)
{
	TupleTableSlot *slot = findings->slot;

	ExecClearTuple(slot);
	slot->tts_values[FOUND_OBJECT - 1] = CStringGetTextDatum(object);
	slot->tts_isnull[FOUND_OBJECT - 1] = false;
	slot->tts_values[FOUND_USER_ID - 1] = user_id ? CStringGetTextDatum(user_id) : (Datum) 0;
	slot->tts_isnull[FOUND_USER_ID - 1] = user_id == NULL;
	slot->tts_values[FOUND_SEQ - 1] = Int64GetDatum(seq);
	slot->tts_isnull[FOUND_SEQ - 1] = seq == 0;
	slot->tts_values[FOUND_PROBLEM - 1] = CStringGetTextDatum(problem);
	slot->tts_isnull[FOUND_PROBLEM - 1] = false;
	ExecStoreVirtualTuple(slot);
	put(findings, slot);
}

/* Receives everything that a worker sends, until the worker is done. */
void
findings_receive(Findings *findings, shm_mq_handle *queue)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(findings->slot->tts_tupleDescriptor,
													&TTSOpsMinimalTuple);
	Size len;
	void *data;

	while (shm_mq_receive(queue, &len, &data, false) == SHM_MQ_SUCCESS)
	{
		ExecStoreMinimalTuple((MinimalTuple) data, slot, false);
		put(findings, slot);
	}
	ExecDropSingleTupleTableSlot(slot);
}

void
findings_move_sorted(Findings *from, Findings *to)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(from->slot->tts_tupleDescriptor,
													&TTSOpsMinimalTuple);

	tuplesort_performsort(from->sort);
	while (tuplesort_gettupleslot(from->sort, true, false, slot, NULL))
		put(to, slot);
	tuplesort_end(from->sort);
	from->sort = NULL;
	ExecDropSingleTupleTableSlot(slot);
}
