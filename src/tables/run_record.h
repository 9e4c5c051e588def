/*
 * run_record.h
 *		The record of a sweep, a bulk run or a verification: a row in credit_reset_run.
 */
#ifndef CREDITS_TABLES_RUN_RECORD_H
#define CREDITS_TABLES_RUN_RECORD_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "nodes/pg_list.h"

#include "base/json.h"
#include "core/core.h"

typedef enum RunState
{
	RUN_RUNNING,
	RUN_FINISHED, /* everything that was due is done */
	RUN_STOPPED	  /* a limit or another run ended it early */
} RunState;

typedef struct RunCounts
{
	int64 accounts;
	int64 granted;
	int64 expired;
	int64 skipped_locked;
	int64 noticed; /* accounts with ends that are about to come */
	int64 notices; /* events about such ends */
} RunCounts;

typedef struct Run
{
	uint8_t run_id[CR_UUID_LEN];
	const char *kind;
	CrTime started_at;
	CrTime finished_at;
	RunState state;
	RunCounts counts;
	int64 failures;
	bool has_notices;	/* the sweep writes notices, too */
	List *failed;		/* the first 100, as JSON objects */
	int64 history_rows; /* only of a verification */
	double sample;		/* only of a verification; else 0 */
	List *messages;		/* the same objects, each with its message */
	MemoryContext memory;
} Run;

extern void run_start(Run *run, const char *kind);
extern bool run_try_record(Run *run);
extern void run_record_finished(Run *run);
extern void run_finding(Run *run, TupleTableSlot *finding,
						char *(*as_json)(TupleTableSlot *) );
extern void run_add(Run *run, const RunCounts *counts);
extern void run_count_row(void *counts, const CrRow *row);
extern void run_failed(Run *run, const char *user_id, const ErrorData *error);
extern void run_failed_with(Run *run, const char *user_id, int sqlstate, const char *message);
extern bool run_is_fatal(int sqlstate, bool own_transactions);
extern int64 run_done(const Run *run);
extern void run_save(Run *run);
extern const char *run_kind(const uint8_t *run_id);
extern bool run_is_ours(const Run *run);
extern void run_lock(const Run *run);
extern void run_unlock(const Run *run);
extern void run_stop_killed(void);
extern void run_stop_others(void);
extern void run_finish(Run *run, RunState state);
extern Datum run_report(const Run *run, bool more, bool dry_run);
extern void run_report_to(const Run *run, bool more, bool dry_run, Object *object);
extern void run_report_failed(const Run *run, Object *object);
extern void run_init(Run *run, const char *kind);
extern char *run_text(const Run *run);

#endif
