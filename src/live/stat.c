/*
 * stat.c
 *		What the views pg_stat_credits and pg_stat_credits_calls show.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "live/counters.h"

PG_FUNCTION_INFO_V1(credits_stat);
PG_FUNCTION_INFO_V1(credits_stat_calls);
PG_FUNCTION_INFO_V1(credits_stat_reset);

typedef void (*ShowDatabase)(ReturnSetInfo *rsinfo, const Counted *counted);

/* Shows every database that has a place; a place of a database that is gone is freed. */
static void
show_databases(FunctionCallInfo fcinfo, ShowDatabase show)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Counted *counted = palloc(sizeof(Counted));

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < counters_databases(); i++)
	{
		if (!counters_read(i, counted))
			continue;
		if (SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(counted->database)))
			show(rsinfo, counted);
		else
			counters_free(counted->database);
	}
}

static void
show_totals(ReturnSetInfo *rsinfo, const Counted *counted)
{
	Datum values[TOTAL_COUNT + 2];
	bool nulls[TOTAL_COUNT + 2] = {0};

	values[0] = ObjectIdGetDatum(counted->database);
	for (int i = 0; i < TOTAL_COUNT; i++)
		values[i + 1] = i == TOTAL_WAIT_TIME
			? Float8GetDatum((double) counted->numbers[COUNTED_TOTAL(i)] / 1000)
			: Int64GetDatum((int64) counted->numbers[COUNTED_TOTAL(i)]);
	values[TOTAL_COUNT + 1] = TimestampTzGetDatum(counted->stats_reset);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* The times of calls that were shorter than each bound, so that the last is the count. */
static Datum
histogram(const uint64 *buckets, int64 *calls)
{
	Datum sums[TIME_BUCKETS];
	int64 sum = 0;

	for (int i = 0; i < TIME_BUCKETS; i++)
	{
		sum += (int64) buckets[i];
		sums[i] = Int64GetDatum(sum);
	}
	*calls = sum;
	return PointerGetDatum(construct_array(sums, TIME_BUCKETS, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static void
show_calls(ReturnSetInfo *rsinfo, const Counted *counted)
{
	for (int i = 0; i < CALL_COUNT * RESULT_COUNT; i++)
	{
		int call = i / RESULT_COUNT;
		int result = i % RESULT_COUNT;
		Datum values[6];
		bool nulls[6] = {0};
		int64 calls;

		values[5] = histogram(&counted->numbers[COUNTED_BUCKET(call, result, 0)], &calls);
		if (calls == 0)
			continue;
		values[0] = ObjectIdGetDatum(counted->database);
		values[1] = CStringGetTextDatum(counted_call_names[call]);
		values[2] = CStringGetTextDatum(counted_result_name(result));
		values[3] = Int64GetDatum(calls);
		values[4] = Float8GetDatum((double) counted->numbers[COUNTED_TIME(call, result)] /
								   1000);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

Datum
credits_stat(PG_FUNCTION_ARGS)
{
	show_databases(fcinfo, show_totals);
	return (Datum) 0;
}

Datum
credits_stat_calls(PG_FUNCTION_ARGS)
{
	show_databases(fcinfo, show_calls);
	return (Datum) 0;
}

Datum
credits_stat_reset(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	counters_reset(MyDatabaseId);
	PG_RETURN_VOID();
}
