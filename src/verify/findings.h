/*
 * findings.h
 *		Findings: what verification finds, and how it gets to the caller.
 */
#ifndef CREDITS_VERIFY_FINDINGS_H
#define CREDITS_VERIFY_FINDINGS_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "storage/shm_mq.h"
#include "utils/tuplestore.h"

#include "tables/run_record.h"

/* Where findings go: store, sort or queue.  The other two are NULL. */
typedef struct Findings
{
	TupleTableSlot *slot;
	Tuplestorestate *store;		 /* the result of the SQL function */
	struct Tuplesortstate *sort; /* to be sorted first */
	shm_mq_handle *queue;		 /* from a worker to its leader */
	int64 count;
	Run *record; /* findings are also recorded there; NULL: not recorded */
} Findings;

extern void findings_to_store(Findings *findings, Tuplestorestate *store);
extern void findings_to_sort(Findings *findings);
extern void findings_to_queue(Findings *findings, shm_mq_handle *queue);
extern void findings_report(Findings *findings, const char *object, const char *user_id,
							int64 seq, const char *problem);
extern void findings_receive(Findings *findings, shm_mq_handle *queue);
extern void findings_move_sorted(Findings *from, Findings *to);
extern char *finding_json(TupleTableSlot *slot);

#endif
