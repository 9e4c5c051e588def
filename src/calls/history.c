/*
 * history.c
 *		credits_history and credits_my_history: pages of a user's history.
 *
 * They use the snapshot of the statement, write nothing and lock no row, so they work on
 * a hot standby.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/settings.h"
#include "calls/current_user_id.h"
#include "ledger/request.h"
#include "live/counted.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/find.h"

#define DEFAULT_PAGE 50
#define MAX_PAGE	 1000

PG_FUNCTION_INFO_V1(credits_history);
PG_FUNCTION_INFO_V1(credits_my_history);

/*
 * The source of a result column: the history column of the same name, or a sum of
 * several.
 */
typedef struct Source
{
	AttrNumber attno; /* 0: a sum */
	int n;
	AttrNumber sum[3];
} Source;

static Source
find_source(const char *name, TupleDesc history)
{
	Source source = {0};

	if (strcmp(name, "available") == 0)
		source = (Source){0, 3, {HIST_MONTHLY, HIST_GRANTED, HIST_PURCHASED}};
	else if (strcmp(name, "held") == 0)
		source = (Source){0, 3, {HIST_HELD_MONTHLY, HIST_HELD_GRANTED, HIST_HELD_PURCHASED}};
	else if (strcmp(name, "delta") == 0)
		source = (Source){0,
						  3,
						  {HIST_MONTHLY_DELTA, HIST_GRANTED_DELTA, HIST_PURCHASED_DELTA}};
	else if (strcmp(name, "owed") == 0)
		source = (Source){0, 1, {HIST_OWED_PURCHASED, 0, 0}};
	else
	{
		for (int i = 0; i < history->natts && source.attno == 0; i++)
		{
			if (strcmp(NameStr(TupleDescAttr(history, i)->attname), name) == 0)
				source.attno = (AttrNumber) (i + 1);
		}
		if (source.attno == 0)
			elog(ERROR, "credit_history has no column \"%s\"", name);
	}
	return source;
}

/*
 * Changes values that are shown differently from how they are stored: a count that is
 * NULL is 0.  The key of the row that opened an account is not a key of the caller, so it
 * is not shown.
 */
static void
show(AttrNumber attno, Datum *value, bool *isnull)
{
	if (*isnull && attno >= HIST_HELD_MONTHLY && attno <= HIST_FORFEITED)
	{
		*value = Int64GetDatum(0);
		*isnull = false;
	}
	if (attno == HIST_IDEMPOTENCY_KEY && !*isnull &&
		VARSIZE_ANY_EXHDR(DatumGetTextPP(*value)) == 0)
		*isnull = true;
}

/* Which rows of a history are wanted. */
typedef struct Filter
{
	bool is_any; /* all rows are wanted */
	bool has_kinds;
	bool kinds[CR_KIND_COUNT];
	bool has_from;
	bool has_to;
	bool has_ref_seq;
	TimestampTz from;
	TimestampTz to;
	int64 ref_seq;
	const char *reference; /* NULL: any */
} Filter;

static char *
all_kinds(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int kind = 0; kind < CR_KIND_COUNT; kind++)
		appendStringInfo(&list, "%s%s",
						 kind == 0						 ? ""
							 : kind == CR_KIND_COUNT - 1 ? " or "
														 : ", ",
						 cr_kind_name(kind));
	return list.data;
}

static void
filter_kinds(Filter *filter, FunctionCallInfo fcinfo, int arg)
{
	Datum *names;
	bool *nulls;
	int count;

	filter->has_kinds = !PG_ARGISNULL(arg);
	if (!filter->has_kinds)
		return;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(arg), TEXTOID, -1, false, TYPALIGN_INT, &names,
					  &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		char *name;
		CrKind kind;

		if (nulls[i])
			error_null("kinds");
		name = TextDatumGetCString(names[i]);
		if (!cr_kind_parse(name, &kind))
			error_bad_value("kinds", name, all_kinds());
		filter->kinds[kind] = true;
	}
}

/*
 * Reads the filter arguments: kinds, and in credits_history more.  End users can filter
 * by kinds only.
 */
static Filter
arg_filter(FunctionCallInfo fcinfo, int arg)
{
	Filter filter = {0};

	filter_kinds(&filter, fcinfo, arg);
	if (PG_NARGS() > arg + 1)
	{
		filter.has_from = !PG_ARGISNULL(arg + 1);
		filter.from = PG_GETARG_TIMESTAMPTZ(arg + 1);
		filter.has_to = !PG_ARGISNULL(arg + 2);
		filter.to = PG_GETARG_TIMESTAMPTZ(arg + 2);
		filter.reference = arg_optional_name(fcinfo, arg + 3, "reference");
		filter.has_ref_seq = !PG_ARGISNULL(arg + 4);
		filter.ref_seq = PG_GETARG_INT64(arg + 4);
	}
	filter.is_any = !filter.has_kinds && !filter.has_from && !filter.has_to &&
		!filter.has_ref_seq && filter.reference == NULL;
	return filter;
}

/* A value of the row that is not NULL. */
static bool
get(TupleTableSlot *slot, AttrNumber attno, Datum *value)
{
	bool isnull;

	*value = slot_getattr(slot, attno, &isnull);
	return !isnull;
}

static bool
is_text(TupleTableSlot *slot, AttrNumber attno, const char *wanted)
{
	Datum value;
	text *found;

	if (!get(slot, attno, &value))
		return false;
	found = DatumGetTextPP(value);
	return VARSIZE_ANY_EXHDR(found) == strlen(wanted) &&
		memcmp(VARDATA_ANY(found), wanted, strlen(wanted)) == 0;
}

static bool
is_of_kinds(const Filter *filter, TupleTableSlot *slot)
{
	char name[32];
	Datum value;
	CrKind kind;

	if (!get(slot, HIST_KIND, &value))
		return false;
	text_to_cstring_buffer(DatumGetTextPP(value), name, sizeof(name));
	return cr_kind_parse(name, &kind) && filter->kinds[kind];
}

/*
 * Is the row wanted?  A row outside the wanted times does not end the page: after a
 * clock_repair row, later rows can have earlier times.
 */
static bool
passes(const Filter *filter, TupleTableSlot *slot)
{
	Datum value;

	if (filter->is_any)
		return true;
	if ((filter->has_from || filter->has_to) &&
		(!get(slot, HIST_EFFECTIVE_AT, &value) ||
		 (filter->has_from && DatumGetTimestampTz(value) < filter->from) ||
		 (filter->has_to && DatumGetTimestampTz(value) >= filter->to)))
		return false;
	if (filter->has_kinds && !is_of_kinds(filter, slot))
		return false;
	if (filter->has_ref_seq &&
		(!get(slot, HIST_REF_SEQ, &value) || DatumGetInt64(value) != filter->ref_seq))
		return false;
	return filter->reference == NULL || is_text(slot, HIST_PAYMENT_REF, filter->reference) ||
		is_text(slot, HIST_IDEMPOTENCY_KEY, filter->reference);
}

static void
put_page(FunctionCallInfo fcinfo, const char *user_id, int64 before, int64 count,
		 const Filter *filter)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TupleDesc out = rsinfo->setDesc;
	Source *sources = palloc(sizeof(Source) * out->natts);
	Datum *values = palloc(sizeof(Datum) * out->natts);
	bool *nulls = palloc(sizeof(bool) * out->natts);
	Lookup lookup;

	lookup_begin(&lookup, TABLE_HISTORY, INDEX_HISTORY, GetActiveSnapshot());
	for (int i = 0; i < out->natts; i++)
		sources[i] = find_source(NameStr(TupleDescAttr(out, i)->attname),
								 RelationGetDescr(lookup.heap));
	lookup_text_key(&lookup, 1, user_id);
	lookup_key(&lookup, 2, BTLessStrategyNumber, F_INT8LT, Int64GetDatum(before));
	while (count > 0 && lookup_next(&lookup, BackwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		if (!passes(filter, lookup.slot))
			continue;
		count--;
		slot_getallattrs(lookup.slot);
		for (int i = 0; i < out->natts; i++)
		{
			const Source *source = &sources[i];

			if (source->attno > 0)
			{
				values[i] = lookup.slot->tts_values[source->attno - 1];
				nulls[i] = lookup.slot->tts_isnull[source->attno - 1];
				show(source->attno, &values[i], &nulls[i]);
				continue;
			}
			nulls[i] = false;
			values[i] = Int64GetDatum(0);
			for (int j = 0; j < source->n; j++)
			{
				if (!lookup.slot->tts_isnull[source->sum[j] - 1])
					values[i] = Int64GetDatum(
						DatumGetInt64(values[i]) +
						DatumGetInt64(lookup.slot->tts_values[source->sum[j] - 1]));
			}
		}
		tuplestore_putvalues(rsinfo->setResult, out, values, nulls);
	}
	lookup_end(&lookup);
}

static void
history(FunctionCallInfo fcinfo, const char *user_id, int first_arg)
{
	int64 before = PG_ARGISNULL(first_arg) ? PG_INT64_MAX : PG_GETARG_INT64(first_arg);
	int64 count = arg_optional_count(fcinfo, first_arg + 1, "page_size", DEFAULT_PAGE,
									 MAX_PAGE);
	Filter filter = arg_filter(fcinfo, first_arg + 2);
	CrAccount acc;

	if (!find_account(user_id, GetActiveSnapshot(), &acc))
	{
		if (settings_default_plan() == NULL)
			error_account_not_found(user_id);
		return;
	}
	put_page(fcinfo, user_id, before, count, &filter);
}

COUNTED_FUNCTION(credits_history, CALL_HISTORY)
{
	store_attach(fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	history(fcinfo, arg_name(fcinfo, 0, "user_id"), 1);
	return (Datum) 0;
}

COUNTED_FUNCTION(credits_my_history, CALL_MY_HISTORY)
{
	char *user_id = current_user_id();

	InitMaterializedSRF(fcinfo, 0);
	if (user_id == NULL)
		return (Datum) 0;
	store_attach(fcinfo);
	history(fcinfo, user_id, 0);
	return (Datum) 0;
}
