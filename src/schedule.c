/*
 * schedule.c
 *		Having pg_cron run the sweep.
 *
 * pg_cron is not required: any scheduler may CALL credits_run_reset().  Its
 * functions exist only in its own database; elsewhere the error says exactly
 * what to run there.
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "audit.h"
#include "own_sql.h"
#include "receipt.h"
#include "request.h"
#include "store.h"
#include "writer.h"

#define DEFAULT_SCHEDULE "*/5 * * * *"

PG_FUNCTION_INFO_V1(credits_schedule_reset);
PG_FUNCTION_INFO_V1(credits_unschedule_reset);

/* One job a database, because one pg_cron serves all databases. */
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

/* Runs a statement as the caller, whose job it will be. */
static int64
run(const char *statement)
{
	int64		result = 0;
	bool		isnull = true;
	OwnSql		own;

	own_sql_begin(&own);
	SPI_connect();
	if (SPI_execute(statement, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not execute: %s", statement);
	if (SPI_processed > 0)
	{
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		result = isnull ? 0 : DatumGetInt64(value);
	}
	SPI_finish();
	own_sql_end(&own);
	return result;
}

Datum
credits_schedule_reset(PG_FUNCTION_ARGS)
{
	char	   *schedule;
	int64		job;
	Object		object;
	Datum		result;

	store_attach(fcinfo);
	schedule = arg_optional_name(fcinfo, 0, "schedule");
	if (schedule == NULL)
		schedule = DEFAULT_SCHEDULE;
	writer_check_allowed("credits_schedule_reset()");
	require_cron(psprintf("SELECT cron.schedule_in_database(%s, %s, %s, %s);",
						  quote_literal_cstr(job_name()), quote_literal_cstr(schedule),
						  quote_literal_cstr(sweep_command()),
						  quote_literal_cstr(get_database_name(MyDatabaseId))));
	job = run(psprintf("SELECT cron.schedule(%s, %s, %s)",
					   quote_literal_cstr(job_name()), quote_literal_cstr(schedule),
					   quote_literal_cstr(sweep_command())));

	object_begin(&object);
	object_bool(&object, "ok", true);
	object_int(&object, "job_id", job);
	object_text(&object, "job_name", job_name());
	object_text(&object, "schedule", schedule);
	object_text(&object, "command", sweep_command());
	result = object_end(&object);
	audit_append("schedule_reset", job_name(), (Datum) 0, result);
	return result;
}

Datum
credits_unschedule_reset(PG_FUNCTION_ARGS)
{
	char	   *name;
	int64		removed;
	Object		object;
	Datum		result;

	store_attach(fcinfo);
	name = quote_literal_cstr(job_name());
	writer_check_allowed("credits_unschedule_reset()");
	require_cron(psprintf("SELECT cron.unschedule(%s);", name));
	removed = run(psprintf("SELECT pg_catalog.count(*) FROM cron.job j WHERE "
						   "j.jobname::pg_catalog.text OPERATOR(pg_catalog.=) %s::pg_catalog.text "
						   "AND j.username::pg_catalog.text OPERATOR(pg_catalog.=) "
						   "CURRENT_USER::pg_catalog.text", name));
	if (removed > 0)
		(void) run(psprintf("SELECT 1::pg_catalog.int8 FROM cron.unschedule(%s)", name));

	object_begin(&object);
	object_bool(&object, "ok", true);
	object_text(&object, "job_name", job_name());
	object_int(&object, "removed", removed);
	result = object_end(&object);
	if (removed > 0)
		audit_append("unschedule_reset", job_name(), result, (Datum) 0);
	return result;
}
