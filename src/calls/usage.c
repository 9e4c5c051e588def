/*
 * usage.c
 *		credits_usage and credits_my_usage: what a user spent, by day, hour, kind, reason
 *		or spender.
 *
 * They use the snapshot of the statement, write nothing and lock no row, so they work on
 * a hot standby.
 *
 * The rows are read from the newest one back to the first one before the wanted times, so
 * a call reads what has happened since then, not the whole history.  Times only fall on
 * that way, but for a clock that ran ahead: its rows can be later than the rows after
 * them.  Such a row counts as if it had been written at the time of the earliest row after
 * it, or now.  Therefore the reading may end at the first row that is too early.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/settings.h"
#include "base/sums.h"
#include "calls/current_user_id.h"
#include "calls/usage_groups.h"
#include "ledger/request.h"
#include "live/counted.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/archive_partitions.h"
#include "tables/find.h"
#include "tables/rows.h"

PG_FUNCTION_INFO_V1(credits_usage);
PG_FUNCTION_INFO_V1(credits_my_usage);

typedef struct Reader
{
	UsageGroups *groups;
	const char *user_id;
	CrTime at;		   /* the time of the last row that was read */
	int64 seq;		   /* its number; 0: no row was read */
	Archived archived; /* opened when it is needed */
	bool has_archived;
	MemoryContext row_memory;
} Reader;

static int64
number(TupleTableSlot *slot, AttrNumber attno)
{
	bool isnull;
	Datum value = slot_getattr(slot, attno, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

static char *
name_of(TupleTableSlot *slot, AttrNumber attno)
{
	bool isnull;
	Datum value = slot_getattr(slot, attno, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static void
open_archived(Reader *reader)
{
	if (!reader->has_archived)
		archived_open(&reader->archived, GetActiveSnapshot());
	reader->has_archived = true;
}

/* The monthly and the granted credits among those that a capture spent. */
static void
add_parts(Usage *usage, TupleTableSlot *slot)
{
	bool isnull;
	Datum value = slot_getattr(slot, HIST_ALLOCATIONS, &isnull);
	const CrPart *parts;
	int count;

	if (isnull)
		return;
	parts = parts_from_array(value, &count);
	for (int i = 0; i < count; i++)
	{
		if (parts[i].source > 0)
			sum_add(&usage->granted_spent, parts[i].credits);
		else if (parts[i].source != CR_FROM_PURCHASED)
			sum_add(&usage->monthly_spent, parts[i].credits);
	}
}

static Usage
usage_of_row(TupleTableSlot *slot, const char *kind)
{
	Usage usage = {.rows = 1};
	int64 amount = number(slot, HIST_AMOUNT);

	sum_add(&usage.delta, number(slot, HIST_MONTHLY_DELTA));
	sum_add(&usage.delta, number(slot, HIST_GRANTED_DELTA));
	sum_add(&usage.delta, number(slot, HIST_PURCHASED_DELTA));
	if (strcmp(kind, "deduct") == 0)
	{
		usage.operations = 1;
		usage.spent = amount;
		sum_subtract(&usage.monthly_spent, number(slot, HIST_MONTHLY_DELTA));
		sum_subtract(&usage.granted_spent, number(slot, HIST_GRANTED_DELTA));
	}
	else if (strcmp(kind, "capture") == 0)
	{
		usage.operations = 1;
		usage.spent = amount;
		add_parts(&usage, slot);
	}
	else if (strcmp(kind, "refund") == 0)
		usage.refunded = amount;
	else if (strcmp(kind, "purchase") == 0)
		usage.purchased = amount;
	else if (strcmp(kind, "grant") == 0)
		usage.granted = amount;
	return usage;
}

/* A text of one row, which may be archived.  NULL: it has none, or the row is gone. */
static char *
text_of_row(Reader *reader, int64 seq, AttrNumber attno)
{
	Lookup lookup;
	char *result = NULL;
	bool found;

	lookup_begin(&lookup, TABLE_HISTORY, INDEX_HISTORY, GetActiveSnapshot());
	lookup_text_key(&lookup, 1, reader->user_id);
	lookup_key(&lookup, 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(seq));
	found = lookup_next(&lookup, ForwardScanDirection);
	if (found)
		result = name_of(lookup.slot, attno);
	lookup_end(&lookup);
	if (!found)
	{
		CrRow row;

		open_archived(reader);
		if (archived_row(&reader->archived, reader->user_id, seq, &row))
			result = unconstify(char *, attno == HIST_REASON ? row.reason : row.spender);
	}
	return result;
}

/* The name of a row's group.  A refund belongs to what it gives back. */
static const char *
group_of_row(Reader *reader, TupleTableSlot *slot, const char *kind)
{
	AttrNumber attno;

	if (reader->groups->by == USAGE_KIND)
		return kind;
	if (reader->groups->by != USAGE_REASON && reader->groups->by != USAGE_SPENDER)
		return NULL;
	attno = reader->groups->by == USAGE_REASON ? HIST_REASON : HIST_SPENDER;
	if (strcmp(kind, "refund") == 0)
		return text_of_row(reader, number(slot, HIST_REF_SEQ), attno);
	return name_of(slot, attno);
}

static void
add_row(Reader *reader, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(reader->row_memory);
	char *kind = name_of(slot, HIST_KIND);
	Usage usage = usage_of_row(slot, kind ? kind : "");

	usage_add(reader->groups, reader->at, group_of_row(reader, slot, kind ? kind : ""),
			  &usage);
	MemoryContextSwitchTo(old);
	MemoryContextReset(reader->row_memory);
}

/* Reads rows backwards.  False: the first row that is too early was read. */
static bool
read_back(Reader *reader, Lookup *lookup)
{
	while (lookup_next(lookup, BackwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		reader->at = Min(reader->at, number(lookup->slot, HIST_EFFECTIVE_AT));
		reader->seq = number(lookup->slot, HIST_SEQ);
		if (reader->at < reader->groups->from)
			return false;
		if (reader->at < reader->groups->to)
			add_row(reader, lookup->slot);
	}
	return true;
}

/*
 * The rows of a partition are those of one year of created_at.  That is the order of seq,
 * except if the clock went back over the end of a year.  Then a partition has rows that
 * are later than some of the partition after it, so each is read for itself.
 */
static void
read_archived(Reader *reader)
{
	CrTime at = reader->at;

	open_archived(reader);
	for (int i = reader->archived.n_parts - 1; i >= 0; i--)
	{
		Lookup *rows = &reader->archived.parts[i].rows;

		lookup_again(rows);
		lookup_text_key(rows, 1, reader->user_id);
		reader->at = at;
		(void) read_back(reader, rows);
	}
}

static void
read_history(Reader *reader)
{
	Lookup lookup;
	bool more;

	reader->row_memory = AllocSetContextCreate(CurrentMemoryContext, "credits usage row",
											   ALLOCSET_DEFAULT_SIZES);
	reader->at = reader->groups->now;
	lookup_begin(&lookup, TABLE_HISTORY, INDEX_HISTORY, GetActiveSnapshot());
	lookup_text_key(&lookup, 1, reader->user_id);
	more = read_back(reader, &lookup);
	lookup_end(&lookup);
	if (more && reader->seq > 1)
		read_archived(reader);
	if (reader->has_archived)
		archived_close(&reader->archived);
	MemoryContextDelete(reader->row_memory);
}

/* first_arg: the argument by; the others follow. */
static void
usage(FunctionCallInfo fcinfo, const char *user_id, int first_arg)
{
	UsageGroups groups = {.by = usage_by(fcinfo, first_arg, false)};
	Reader reader = {.groups = &groups, .user_id = user_id};
	CrAccount acc;
	bool found;

	usage_window(&groups, fcinfo, first_arg + 1);
	found = find_account(user_id, GetActiveSnapshot(), &acc);
	if (!found && settings_default_plan() == NULL)
		error_account_not_found(user_id);
	usage_start(&groups, found ? acc.facts.time_zone : NULL);
	if (found)
		read_history(&reader);
	usage_put(&groups, fcinfo);
}

COUNTED_FUNCTION(credits_usage, CALL_USAGE)
{
	store_attach(fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	usage(fcinfo, arg_name(fcinfo, 0, "user_id"), 1);
	return (Datum) 0;
}

COUNTED_FUNCTION(credits_my_usage, CALL_MY_USAGE)
{
	char *user_id = current_user_id();

	InitMaterializedSRF(fcinfo, 0);
	if (user_id == NULL)
		return (Datum) 0;
	store_attach(fcinfo);
	usage(fcinfo, user_id, 0);
	return (Datum) 0;
}
