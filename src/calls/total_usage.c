/*
 * total_usage.c
 *		credits_total_usage: what all users spent, by day, hour, kind, reason, spender or
 *		user.
 *
 * History rows are found by their time, and the table has no index on it: one would cost
 * each deduction more than these totals are worth (docs/reports/live-queries.md).  So the
 * call reads the whole history, unless a DBA has made such an index.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errors.h"
#include "calls/usage_groups.h"
#include "ledger/request.h"
#include "live/counted.h"
#include "store/own_sql.h"
#include "store/relations.h"

PG_FUNCTION_INFO_V1(credits_total_usage);

#define DEFAULT_TOP 100
#define MAX_TOP		100000
#define BATCH		1000
#define QUARTER		(CR_DAY / 96)

/* In an archived row, created_at is not further before effective_at than this. */
#define CLOCK_AHEAD (366 * CR_DAY)

/* clang-format off */

/* What a refund gives back was spent for this reason, or by this spender. */
#define OF_REFUNDED(column) \
	"CASE WHEN h.kind = 'refund' THEN" \
	" (SELECT o." column " FROM ONLY %1$s.credit_history o" \
	" WHERE o.user_id = h.user_id AND o.seq = h.ref_seq UNION ALL" \
	" SELECT o." column " FROM %1$s.credit_history_archive o" \
	" WHERE o.user_id = h.user_id AND o.seq = h.ref_seq LIMIT 1) ELSE h." column " END"

/* Times in a day or an hour that starts at the same time. */
#define BY_QUARTER "date_bin('15 minutes', h.effective_at, '0001-01-01 00:00:00+00')"
#define BY_START "($5)[width_bucket(h.effective_at, $5)]"

static const char *const keys[] = {
	[USAGE_KIND] = "h.kind",
	[USAGE_REASON] = OF_REFUNDED("reason"),
	[USAGE_SPENDER] = OF_REFUNDED("spender"),
	[USAGE_ALL] = "NULL::text",
	[USAGE_USER] = "h.user_id",
};

/* The credits of a capture that came from some of its sources. */
#define CAPTURED(sources) \
	"(SELECT sum(h.allocations[i * 2]) FROM generate_series(1, cardinality(h.allocations) / 2) i" \
	" WHERE h.allocations[i * 2 - 1] " sources ")"
#define SUM(expression) \
	" LEAST(GREATEST(COALESCE(sum(" expression "), 0), -9223372036854775807), 9223372036854775807)::int8"
#define SUM_OF(kind) SUM("CASE WHEN h.kind = '" kind "' THEN h.amount END")
#define COLUMNS \
	"user_id, kind, effective_at, ref_seq, reason, spender, amount," \
	" monthly_delta, granted_delta, purchased_delta, allocations"

/* The columns after the key are those of Usage, in their order. */
static const char query[] =
	"SELECT key, count(*), count(*) FILTER (WHERE h.kind IN ('deduct', 'capture')),"
	SUM("CASE WHEN h.kind IN ('deduct', 'capture') THEN h.amount END") " AS spent,"
	SUM("CASE h.kind WHEN 'deduct' THEN - h.monthly_delta"
		" WHEN 'capture' THEN " CAPTURED("= ANY ('{0,-2,-3,-4}')") " END") ","
	SUM("CASE h.kind WHEN 'deduct' THEN - h.granted_delta"
		" WHEN 'capture' THEN " CAPTURED("> 0") " END") ","
	SUM_OF("refund") "," SUM_OF("purchase") "," SUM_OF("grant") ","
	SUM("h.monthly_delta + h.granted_delta + h.purchased_delta")
	" FROM (SELECT h.*, %2$s AS key FROM ("
	"SELECT " COLUMNS " FROM ONLY %1$s.credit_history"
	" WHERE effective_at >= $1 AND effective_at < $2 UNION ALL"
	" SELECT " COLUMNS " FROM %1$s.credit_history_archive"
	" WHERE effective_at >= $1 AND effective_at < $2 AND created_at >= $4) h) h"
	" GROUP BY key%3$s";

static const char best[] =
	" ORDER BY spent DESC, key COLLATE \"C\" LIMIT $3";

/* clang-format on */

/*
 * Do all days or hours start at a quarter of an hour in UTC, as they do today in all
 * zones?  Then rows are added up by quarters, which is faster than to look for the start.
 */
static bool
start_at_quarters(const UsageGroups *groups)
{
	for (int i = 0; i < groups->count; i++)
	{
		if (groups->starts[i] % QUARTER != 0)
			return false;
	}
	return true;
}

static Datum
starts_array(const UsageGroups *groups)
{
	Datum *starts = palloc(sizeof(Datum) * groups->count);

	for (int i = 0; i < groups->count; i++)
		starts[i] = TimestampTzGetDatum(groups->starts[i]);
	return PointerGetDatum(construct_array(starts, groups->count, TIMESTAMPTZOID,
										   sizeof(TimestampTz), FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

static Portal
open_query(const UsageGroups *groups, int top)
{
	Oid types[5] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID,
					TIMESTAMPTZARRAYOID};
	const char *schema = quote_identifier(store_schema_name());
	bool is_times = groups->of_names == NULL;
	const char *key;
	Datum values[5];

	values[0] = TimestampTzGetDatum(groups->from);
	values[1] = TimestampTzGetDatum(groups->to);
	values[2] = Int64GetDatum(top);
	values[3] = TimestampTzGetDatum(groups->from - CLOCK_AHEAD);
	if (is_times)
		values[4] = starts_array(groups);
	key = is_times ? (start_at_quarters(groups) ? BY_QUARTER : BY_START)
				   : psprintf(keys[groups->by], schema);
	return own_sql_open(psprintf(query, schema, key, is_times ? "" : best), is_times ? 5 : 4,
						types, values, store_table(TABLE_HISTORY));
}

static int64
number(HeapTuple tuple, TupleDesc desc, int column)
{
	bool isnull;

	return DatumGetInt64(SPI_getbinval(tuple, desc, column, &isnull));
}

static void
add_row(UsageGroups *groups, HeapTuple tuple, TupleDesc desc)
{
	Usage usage = {
		.rows = number(tuple, desc, 2),
		.operations = number(tuple, desc, 3),
		.spent = number(tuple, desc, 4),
		.monthly_spent = number(tuple, desc, 5),
		.granted_spent = number(tuple, desc, 6),
		.refunded = number(tuple, desc, 7),
		.purchased = number(tuple, desc, 8),
		.granted = number(tuple, desc, 9),
		.delta = number(tuple, desc, 10),
	};

	if (groups->of_names)
		usage_add(groups, 0, SPI_getvalue(tuple, desc, 1), &usage);
	else
		usage_add(groups, Max(number(tuple, desc, 1), groups->from), NULL, &usage);
}

static void
read_totals(UsageGroups *groups, int top)
{
	Portal portal;
	uint64 count;

	SPI_connect();
	portal = open_query(groups, top);
	do
	{
		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, BATCH);
		count = SPI_processed;
		for (uint64 i = 0; i < count; i++)
			add_row(groups, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		SPI_freetuptable(SPI_tuptable);
	} while (count == BATCH);
	SPI_cursor_close(portal);
	SPI_finish();
}

COUNTED_FUNCTION(credits_total_usage, CALL_TOTAL_USAGE)
{
	UsageGroups groups = {0};
	int top;

	store_attach(fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	groups.by = usage_by(fcinfo, 0, true);
	usage_window(&groups, fcinfo, 1);
	top = arg_optional_count(fcinfo, 4, "top", DEFAULT_TOP, MAX_TOP);
	usage_start(&groups, NULL);
	if (groups.count > 0 || groups.of_names)
		read_totals(&groups, top);
	usage_put(&groups, fcinfo);
	return (Datum) 0;
}
