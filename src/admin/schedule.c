/*
 * schedule.c
 *		Scheduling the sweep with pg_cron.
 *
 * pg_cron is not required: any scheduler may CALL credits_run_reset().  pg_cron's
 * functions exist only in its own database.  In another database, the error says exactly
 * what to run in that one.
 *
 * pg_cron stores a job's database and role by name.  If one of them is renamed, the job
 * fails, and it is no longer found by the name that we would give it.  So the audit log
 * has the job's id, together with the cluster's identifier: in another cluster, the id
 * belongs to another job.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "base/json.h"
#include "base/subtransaction.h"
#include "ledger/request.h"
#include "store/own_sql.h"
#include "store/relations.h"
#include "store/writer.h"
#include "tables/audit_log.h"

#define DEFAULT_SCHEDULE "*/5 * * * *"

PG_FUNCTION_INFO_V1(credits_schedule_reset);
PG_FUNCTION_INFO_V1(credits_unschedule_reset);

/* A name for each database, because one pg_cron serves all databases. */
static char *
job_name(void)
{
	return psprintf("credits_reset:%s", get_database_name(MyDatabaseId));
}

static char *
sweep_command(void)
{
	return psprintf("CALL %s.credits_run_reset()", quote_identifier(store_schema_name()));
}

static void
require_cron(const char *statement)
{
	if (OidIsValid(get_extension_oid("pg_cron", true)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("pg_cron is not in this database"),
			 errhint("In pg_cron's own database (the setting cron.database_name), run: %s", statement)));
}

/* Runs a statement as the caller, so the job belongs to the caller. */
static int64
run(const char *statement)
{
	int64 result = 0;
	bool isnull = true;
	OwnSql own;

	own_sql_begin(&own);
	SPI_connect();
	if (SPI_execute(statement, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not execute: %s", statement);
	if (SPI_processed > 0)
	{
		Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		result = isnull ? 0 : DatumGetInt64(value);
	}
	SPI_finish();
	own_sql_end(&own);
	return result;
}

static char *
this_cluster(void)
{
	return psprintf(UINT64_FORMAT, GetSystemIdentifier());
}

/* The job that was scheduled last and was not unscheduled since.  0: none. */
static int64
remembered_job(void)
{
	CrAuditRow row;
	Jsonb *after;
	JsonbValue buffer;
	JsonbValue *value;
	char *cluster = this_cluster();

	if (!audit_newest("schedule_reset", "unschedule_reset", &row) ||
		strcmp(row.action, "schedule_reset") != 0 || row.after == NULL)
		return 0;
	after = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(row.after)));
	if (!JB_ROOT_IS_OBJECT(after))
		return 0;
	value = getKeyJsonValueFromContainer(&after->root, "system_identifier", 17, &buffer);
	if (value == NULL || value->type != jbvString ||
		value->val.string.len != (int) strlen(cluster) ||
		memcmp(value->val.string.val, cluster, strlen(cluster)) != 0)
		return 0;
	value = getKeyJsonValueFromContainer(&after->root, "job_id", 6, &buffer);
	if (value == NULL || value->type != jbvNumeric)
		return 0;
	return DatumGetInt64(
		DirectFunctionCall1(numeric_int8, NumericGetDatum(value->val.numeric)));
}

/* Conditions for a job of the caller under the current name. */
static char *
named_job(void)
{
	return psprintf("j.jobname::pg_catalog.text OPERATOR(pg_catalog.=) %s::pg_catalog.text "
					"AND j.username::pg_catalog.text OPERATOR(pg_catalog.=) "
					"CURRENT_USER::pg_catalog.text",
					quote_literal_cstr(job_name()));
}

/*
 * Conditions for a job that the caller may remove.  A role that bypasses row security
 * sees all jobs, but only a superuser may remove a job of another role.
 */
static const char *
own_job(void)
{
	return superuser()
		? "true"
		: "j.username::pg_catalog.text OPERATOR(pg_catalog.=) CURRENT_USER::pg_catalog.text";
}

/* Conditions for the remembered job, if it is still one of ours. */
static char *
same_job(int64 job)
{
	return psprintf("j.jobid OPERATOR(pg_catalog.=) " INT64_FORMAT "::pg_catalog.int8 AND "
					"pg_catalog.strpos(j.command::pg_catalog.text, 'credits_run_reset') "
					"OPERATOR(pg_catalog.>) 0 AND %s",
					job, own_job());
}

static void
unschedule(int64 job)
{
	(void) run(psprintf("SELECT 1::pg_catalog.int8 FROM cron.unschedule(" INT64_FORMAT
						"::pg_catalog.int8)",
						job));
}

/* Removes the caller's jobs that meet a condition.  Returns how many. */
static int
unschedule_where(const char *condition)
{
	int removed = 0;
	int64 job;

	while (
		(job = run(psprintf("SELECT j.jobid::pg_catalog.int8 FROM cron.job j WHERE %s LIMIT 1",
							condition))) > 0)
	{
		unschedule(job);
		removed++;
	}
	return removed;
}

static bool
try_unschedule(void *job)
{
	unschedule(*(int64 *) job);
	return true;
}

/*
 * The remembered job may be invisible: pg_cron shows and allows a role only the jobs
 * under the role's current name.  Then this only gives a warning.
 */
static int
unschedule_hidden(int64 job)
{
	ErrorData *failure;

	if (superuser() ||
		run(psprintf(
			"SELECT pg_catalog.count(*) FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) " INT64_FORMAT
			"::pg_catalog.int8 AND %s",
			job, own_job())) > 0)
		return 0;
	failure = subtransaction_try(try_unschedule, &job);
	if (failure == NULL)
		return 1;
	if (failure->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE)
		ereport(WARNING,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("pg_cron's job " INT64_FORMAT " is stored under another role name and was not removed", job),
				 errhint("As a superuser, run: SELECT cron.unschedule(" INT64_FORMAT ");", job)));
	else if (ERRCODE_TO_CATEGORY(failure->sqlerrcode) ==
			 ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION))
		ReThrowError(failure);
	return 0; /* the job is gone */
}

Datum
credits_schedule_reset(PG_FUNCTION_ARGS)
{
	char *schedule;
	int64 job;
	int64 last_job;
	Object object, logged;
	Datum result;

	store_attach(fcinfo);
	schedule = arg_optional_name(fcinfo, 0, "schedule");
	if (schedule == NULL)
		schedule = DEFAULT_SCHEDULE;
	writer_check_allowed("credits_schedule_reset()");
	require_cron(psprintf("SELECT cron.schedule_in_database(%s, %s, %s, %s);",
						  quote_literal_cstr(job_name()), quote_literal_cstr(schedule),
						  quote_literal_cstr(sweep_command()),
						  quote_literal_cstr(get_database_name(MyDatabaseId))));
	last_job = remembered_job();
	if (last_job > 0 &&
		unschedule_where(psprintf("%s AND NOT (%s)", same_job(last_job), named_job())) == 0)
		(void) unschedule_hidden(last_job);
	job = run(psprintf("SELECT cron.schedule(%s, %s, %s)", quote_literal_cstr(job_name()),
					   quote_literal_cstr(schedule), quote_literal_cstr(sweep_command())));

	object_begin(&object);
	object_bool(&object, "ok", true);
	object_int(&object, "job_id", job);
	object_text(&object, "job_name", job_name());
	object_text(&object, "schedule", schedule);
	object_text(&object, "command", sweep_command());
	result = object_end(&object);
	logged = object;
	object_text(&logged, "system_identifier", this_cluster());
	audit_append("schedule_reset", job_name(), (Datum) 0, object_end(&logged));
	return result;
}

Datum
credits_unschedule_reset(PG_FUNCTION_ARGS)
{
	char *name;
	int removed;
	int64 last_job;
	Object object;
	Datum result;

	store_attach(fcinfo);
	name = quote_literal_cstr(job_name());
	writer_check_allowed("credits_unschedule_reset()");
	require_cron(psprintf("SELECT cron.unschedule(%s);", name));
	last_job = remembered_job();
	removed = unschedule_where(named_job());
	if (last_job > 0)
	{
		int others = unschedule_where(same_job(last_job));

		removed += others;
		if (removed == 0)
			removed += unschedule_hidden(last_job);
	}

	object_begin(&object);
	object_bool(&object, "ok", true);
	object_text(&object, "job_name", job_name());
	object_int(&object, "removed", removed);
	result = object_end(&object);
	if (removed > 0)
		audit_append("unschedule_reset", job_name(), result, (Datum) 0);
	return result;
}
