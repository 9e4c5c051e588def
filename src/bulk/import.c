/*
 * import.c
 *		credits_import: imports accounts from another system's tables, and their histories
 *		if that is wanted.
 *
 * A user is imported once.  The row of the import has the empty idempotency key, and a
 * digest of what the source says.  If a run is started again, it recognizes the row by
 * these.  What has become due by the moment of the import is applied before the account
 * is written.  So the account is as if it had been here before.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/digest.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/sums.h"
#include "base/utc.h"
#include "base/zone.h"
#include "bulk/bulk.h"
#include "ledger/books.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/checkpoint.h"
#include "tables/plan_versions.h"
#include "tables/rows.h"

PG_FUNCTION_INFO_V1(credits_import);

#define MAX_LISTED	  100
#define HISTORY_CHUNK 1000

typedef struct Sums
{
	int64 source;	  /* what the source says */
	int64 target;	  /* what was written, now or before */
	int64 due;		  /* how much was changed by what had become due */
	int64 difference; /* source + due - target: not a total, so never too large */
} Sums;

typedef struct Import
{
	Sums sums;
	Sums batch; /* of the current batch; undone with it */
	bool refresh;
	StringInfoData in_use; /* the first users that were skipped, as JSON */
	int listed;
	int good_len; /* length of in_use after the last batch that stays */
	int good_listed;
	Portal history;		  /* NULL: no histories are imported */
	SPITupleTable *chunk; /* the rows that were fetched from history */
	TupleDesc chunk_desc; /* kept for the whole run */
	uint64 chunk_rows;
	uint64 chunk_at;
	MemoryContext memory;
} Import;

/* What the source says about a user. */
typedef struct Source
{
	const char *plan;
	int64 monthly;
	int64 purchased;
	CrTime last_reset; /* CR_NEVER: the source does not say */
	CrLocal anchor;
	bool has_anchor;
	const char *zone;
	uint8_t digest[CR_HASH_LEN];
} Source;

static char *
get_text(const BulkItem *item, const char *name)
{
	bool isnull;
	Datum value = bulk_column(item, name, TEXTOID, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static int64
get_credits(const BulkItem *item, const char *name)
{
	bool isnull;
	int64 credits = DatumGetInt64(bulk_column(item, name, INT8OID, &isnull));

	if (isnull)
		return 0;
	if (credits < 0)
		error_too_small(name, credits, 0);
	if (credits > CR_MAX_CREDITS)
		error_out_of_range(name, credits, CR_MAX_CREDITS);
	return credits;
}

/* A timestamp is the account's local time.  A timestamptz is an instant. */
static void
read_anchor(Source *source, const BulkItem *item)
{
	bool is_instant = bulk_column_type(item, "cycle_anchor") == TIMESTAMPTZOID;
	bool isnull;

	source->anchor = DatumGetTimestamp(bulk_column(item, "cycle_anchor",
												   is_instant ? TIMESTAMPTZOID : TIMESTAMPOID,
												   &isnull));
	source->has_anchor = !isnull;
	if (isnull)
		return;
	if (is_instant && utc_is_ordinary(source->anchor))
		source->anchor = zone_utc_to_local(NULL, source->zone, source->anchor);
	(void) check_time(source->anchor, "cycle_anchor");
}

static void
read_source(Source *source, const BulkItem *item, CrTime now)
{
	char *zone = get_text(item, "time_zone");
	bool isnull;
	uint8_t bytes[2048];
	CrBuf buf = {.data = bytes, .cap = sizeof(bytes)};

	source->plan = get_text(item, "plan");
	source->monthly = get_credits(item, "monthly");
	source->purchased = get_credits(item, "purchased");
	source->zone = zone ? zone_canonical(zone) : "UTC";
	if (source->zone == NULL)
		error_bad_value("time_zone", zone, "a name in pg_timezone_names");
	source->last_reset = DatumGetTimestampTz(
		bulk_column(item, "last_reset", TIMESTAMPTZOID, &isnull));
	if (isnull)
		source->last_reset = CR_NEVER;
	else if (!utc_is_ordinary(source->last_reset) || source->last_reset > now)
		error_bad_value("last_reset", "out of range", "a time that is not in the future");
	read_anchor(source, item);
	if (source->plan && (source->plan[0] == '\0' || strlen(source->plan) > CR_MAX_NAME))
		error_bad_length("plan", CR_MAX_NAME);

	cr_buf_raw(&buf, "credits-i1", 10);
	cr_buf_text(&buf, item->user_id);
	cr_buf_text(&buf, source->plan);
	cr_buf_int(&buf, source->monthly);
	cr_buf_int(&buf, source->purchased);
	cr_buf_int(&buf, source->last_reset);
	cr_buf_int(&buf, source->has_anchor ? source->anchor : PG_INT64_MIN);
	cr_buf_text(&buf, source->zone);
	Assert(buf.len <= buf.cap);
	sha256(buf.data, buf.len, source->digest);
}

static void
count_source(Import *import, int64 credits)
{
	sum_add(&import->batch.source, credits);
	sum_add(&import->batch.difference, credits);
}

static void
count_target(Import *import, int64 credits)
{
	sum_add(&import->batch.target, credits);
	sum_subtract(&import->batch.difference, credits);
}

static void
count_due(Import *import, int64 credits)
{
	sum_add(&import->batch.due, credits);
	sum_add(&import->batch.difference, credits);
}

/*
 * Plans for the time before the import.  A plan that did not exist here then is used as
 * it is now.
 */
typedef struct Past
{
	Plans *plans;
	CrTime now;
} Past;

static const CrPlanVersion *
past_plan_at(void *ctx, const char *plan, CrTime at)
{
	Past *past = ctx;
	const CrPlanVersion *found = plans_in_force(past->plans, plan, at);

	return found ? found : plans_in_force(past->plans, plan, past->now);
}

static const CrPlanVersion *
past_plan_version(void *ctx, const char *plan, int32_t version)
{
	CrEnv env = plans_env(((Past *) ctx)->plans);

	return env.plan_version(env.ctx, plan, version);
}

/*
 * Makes the account as the source has it, and applies what has become due since its last
 * reset.  This changes the sums, but it is not in the history.
 */
static void
bring_up_to_date(Import *import, Ledger *ledger, const Source *source, CrTime at, CrImport *in)
{
	CrAccount there;
	Past past = {ledger->plans, at};
	CrEnv env = {.ctx = &past,
				 .local_to_utc = zone_local_to_utc,
				 .utc_to_local = zone_utc_to_local,
				 .knows_zone = zone_is_known,
				 .plan_at = past_plan_at,
				 .plan_version = past_plan_version};

	memset(in, 0, sizeof(*in));
	in->zone = source->zone;
	in->monthly = source->monthly;
	in->purchased = source->purchased;
	in->next_reset_at = CR_NEVER;
	in->period_start = source->last_reset == CR_NEVER ? at : source->last_reset;
	in->anchor = source->has_anchor ? source->anchor
									: zone_utc_to_local(NULL, source->zone, in->period_start);
	count_source(import, source->monthly + source->purchased);
	if (source->plan == NULL)
		return;
	in->plan = past_plan_at(&past, source->plan, in->period_start);
	if (in->plan == NULL)
		error_plan_not_found(source->plan);
	in->next_reset_at = cr_next_boundary(&env, in->plan->cycle, in->zone, in->anchor,
										 in->period_start);
	if (in->next_reset_at > at)
		return;

	cr_account_init(&there, ledger->acc.user_id);
	there.balance.monthly = in->monthly;
	there.balance.purchased = in->purchased;
	there.facts.plan = in->plan->plan;
	there.facts.plan_version = in->plan->version;
	there.facts.cycle = in->plan->cycle;
	there.facts.cycle_anchor = in->anchor;
	there.facts.time_zone = in->zone;
	there.facts.period_start = there.effective_at = in->period_start;
	there.next_reset_at = there.next_event_at = in->next_reset_at;
	switch (cr_fold_due(&there, &env, at))
	{
		case CR_FOLDED:
			break;
		case CR_TOO_MANY_PERIODS:
			error_too_many_periods(&there);
		default:
			error_plan_not_found(source->plan);
	}
	in->plan = env.plan_version(env.ctx, there.facts.plan, there.facts.plan_version);
	count_due(import, there.balance.monthly - in->monthly);
	in->monthly = there.balance.monthly;
	in->period_start = there.facts.period_start;
	in->next_reset_at = there.next_reset_at;
}

/*
 * Adds the rows of the other system's history after a time.  They moved credits in that
 * system only.
 */
static void
push_history(Bulk *bulk, Ledger *ledger, const BulkItem *item, CrTime since)
{
	ListCell *cell;

	foreach(cell, item->more)
	{
		BulkItem *old = lfirst(cell);
		bool isnull;
		CrTime at = DatumGetTimestampTz(
			bulk_column(old, "created_at", TIMESTAMPTZOID, &isnull));
		int64 amount;
		Datum metadata;
		CrRow row;
		CrRow *pushed;

		if (isnull)
			error_null("created_at");
		(void) check_time(at, "created_at");
		if (at <= since)
			continue;
		amount = DatumGetInt64(bulk_column(old, "amount", INT8OID, &isnull));
		if (isnull)
			amount = 0;
		if (amount < -CR_MAX_CREDITS || amount > CR_MAX_CREDITS)
			error_out_of_range("amount", amount, CR_MAX_CREDITS);
		(void) cr_imported(&ledger->acc, Max(Min(at, ledger->now), ledger->acc.effective_at),
						   amount, &row);
		row.reason = get_text(old, "reason");
		pushed = ledger_push_as_is(ledger, &row);
		metadata = bulk_column(old, "metadata", JSONBOID, &isnull);
		if (!isnull)
			ledger_set_metadata(ledger, pushed, metadata);
		bulk->batch.rows++;
	}
}

/* Does the row at which the look-up is have this kind? */
static bool
is_kind(Lookup *lookup, CrKind kind)
{
	return strcmp(slot_text(lookup->slot, HIST_KIND), cr_kind_name(kind)) == 0;
}

/* Begins to read an account's rows, newest first. */
static void
begin_backwards(Lookup *lookup, const Ledger *ledger)
{
	lookup_begin(lookup, TABLE_HISTORY, INDEX_HISTORY, SnapshotSelf);
	lookup_text_key(lookup, 1, ledger->acc.user_id);
}

/*
 * Finds the row by which an account was imported, unless the import was undone.  The
 * first import has the empty key.  A later import is found by reading the rows.
 */
static bool
find_import(const Ledger *ledger, CrRow *row)
{
	const char *user_id = ledger->acc.user_id;
	Lookup lookup;
	bool found = false;

	if (ledger->is_new)
		return false;
	if (books_find_key(ledger->books, user_id, "", row) && row->kind == CR_KIND_IMPORT &&
		!bulk_is_undone(user_id, row->seq))
		return true;
	begin_backwards(&lookup, ledger);
	while (!found && lookup_next(&lookup, BackwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		found = is_kind(&lookup, CR_KIND_IMPORT);
	}
	if (found)
		row_from_slot(row, lookup.slot);
	lookup_end(&lookup);
	return found && !bulk_is_undone(user_id, row->seq);
}

/* Has nothing changed the account since, except resets? */
static bool
is_untouched(const Ledger *ledger, const CrRow *import)
{
	Lookup lookup;
	bool untouched = true;

	for (int i = 0; i < ledger->n_rows; i++)
		untouched = untouched && ledger->rows[i].kind == CR_KIND_RESET;
	begin_backwards(&lookup, ledger);
	while (untouched && lookup_next(&lookup, BackwardScanDirection))
	{
		bool isnull;

		if (DatumGetInt64(slot_getattr(lookup.slot, HIST_SEQ, &isnull)) == import->seq)
			break;
		untouched = is_kind(&lookup, CR_KIND_RESET);
	}
	lookup_end(&lookup);
	return untouched;
}

/*
 * From when on is the other system's history still to be imported?  It has to come before
 * everything that is done here.  False if something was done here already.
 */
static bool
history_since(const Ledger *ledger, CrTime *since)
{
	Lookup lookup;
	bool may_come = true;

	*since = PG_INT64_MIN;
	if (ledger->is_new)
		return true;
	begin_backwards(&lookup, ledger);
	while (may_come && lookup_next(&lookup, BackwardScanDirection))
	{
		bool isnull;

		if (is_kind(&lookup, CR_KIND_IMPORTED))
		{
			*since = DatumGetTimestampTz(
				slot_getattr(lookup.slot, HIST_EFFECTIVE_AT, &isnull));
			break;
		}
		may_come = is_kind(&lookup, CR_KIND_IMPORT) || is_kind(&lookup, CR_KIND_UNDO) ||
			is_kind(&lookup, CR_KIND_RESET);
	}
	lookup_end(&lookup);
	return may_come;
}

static void
list_in_use(Import *import, const char *user_id)
{
	MemoryContext old;

	if (import->listed++ >= MAX_LISTED)
		return;
	old = MemoryContextSwitchTo(import->memory);
	if (import->in_use.len > 1)
		appendStringInfoString(&import->in_use, ", ");
	escape_json(&import->in_use, user_id);
	MemoryContextSwitchTo(old);
}

static bool
says_the_same(const Source *source, const CrRow *import)
{
	return digest_is(import->request_digest, source->digest);
}

/*
 * Was any of the account's history archived?  The row of the import may be archived, too,
 * and no other place says that the user was imported.
 */
static bool
is_archived(const Ledger *ledger)
{
	return !ledger->is_new && checkpoint_covers(ledger->acc.user_id, 1, SnapshotSelf);
}

static BulkOutcome
import_one(Bulk *bulk, Ledger *ledger, const BulkItem *item)
{
	Import *import = bulk->ctx;
	Source source;
	CrImport in;
	CrRow row;
	CrRow before;
	CrRow *pushed;
	CrTime since;
	bool again; /* the account exists already */

	read_source(&source, item, ledger->now);
	again = find_import(ledger, &before);
	if (again && says_the_same(&source, &before))
	{
		count_source(import, source.monthly + source.purchased);
		count_target(import, before.amount);
		count_due(import, before.amount - source.monthly - source.purchased);
		return BULK_ALREADY;
	}
	if (again && import->refresh && is_untouched(ledger, &before))
	{
		/* nothing was adjusted since */
		if (cr_undo(&ledger->acc, ledger->now, &before, false, NULL, 0, &row) != CR_OK)
			elog(ERROR, "could not undo an import");
		(void) ledger_push_as_is(ledger, &row);
		again = false;
	}
	if (again || !cr_can_import(&ledger->acc) || is_archived(ledger))
	{
		list_in_use(import, item->user_id);
		return BULK_SKIPPED;
	}
	if (item->more && history_since(ledger, &since))
		push_history(bulk, ledger, item, since);
	bring_up_to_date(import, ledger, &source, Max(ledger->now, ledger->acc.effective_at), &in);
	if (cr_import(&ledger->acc, Max(ledger->now, ledger->acc.effective_at), &in, &row) !=
		CR_OK)
		error_refused(CR_OVER_CAP, &ledger->acc, in.monthly + in.purchased);
	pushed = ledger_push_as_is(ledger, &row);
	if (ledger->is_new || !books_find_key(ledger->books, ledger->acc.user_id, "", &before))
		pushed->idempotency_key = "";
	pushed->request_digest = memcpy(palloc(CR_HASH_LEN), source.digest, CR_HASH_LEN);
	pushed->reason = bulk->reason;
	count_target(import, in.monthly + in.purchased);
	sum_add(&bulk->batch.run.granted, in.monthly + in.purchased);
	return BULK_DONE;
}

/* Fetches the next row of the history query.  False: there are no more. */
static bool
next_history(Import *import, BulkItem *row)
{
	bool isnull;
	Datum user_id;

	if (import->chunk && import->chunk_at == import->chunk_rows)
	{
		SPI_freetuptable(import->chunk);
		import->chunk = NULL;
	}
	if (import->chunk == NULL)
	{
		MemoryContext old = CurrentMemoryContext;

		SPI_cursor_fetch(import->history, true, HISTORY_CHUNK);
		MemoryContextSwitchTo(import->memory); /* SPI switches to its own memory context */
		import->chunk = SPI_tuptable;
		import->chunk_rows = SPI_processed;
		import->chunk_at = 0;
		if (import->chunk_desc == NULL)
			import->chunk_desc = CreateTupleDescCopy(import->chunk->tupdesc);
		MemoryContextSwitchTo(old);
	}
	if (import->chunk_rows == 0)
		return false;
	row->tuple = import->chunk->vals[import->chunk_at];
	row->desc = import->chunk->tupdesc;
	user_id = bulk_column(row, "user_id", TEXTOID, &isnull);
	if (isnull)
		error_null("user_id");
	row->user_id = TextDatumGetCString(user_id);
	return true;
}

/*
 * Gives each user of a batch its history rows.  Both queries are in the order of users.
 */
static void
attach_history(Bulk *bulk, BulkItem *items, int count)
{
	Import *import = bulk->ctx;
	int i = 0;
	BulkItem row;

	while (import->history && i < count && next_history(import, &row))
	{
		int order = strcmp(row.user_id, items[i].user_id);

		if (order > 0)
		{
			i++;
			continue;
		}
		if (order == 0)
		{
			BulkItem *kept = palloc0(sizeof(BulkItem));

			kept->user_id = items[i].user_id;
			kept->desc = import->chunk_desc;
			kept->tuple = heap_copytuple(row.tuple);
			items[i].more = lappend(items[i].more, kept);
		}
		import->chunk_at++; /* ignore a user that is not in the source */
	}
}

static void
add_sums(Bulk *bulk, bool good)
{
	Import *import = bulk->ctx;

	if (good)
	{
		sum_add(&import->sums.source, import->batch.source);
		sum_add(&import->sums.target, import->batch.target);
		sum_add(&import->sums.due, import->batch.due);
		sum_add(&import->sums.difference, import->batch.difference);
		import->good_len = import->in_use.len;
		import->good_listed = import->listed;
	}
	else
	{
		import->in_use.len = import->good_len;
		import->in_use.data[import->good_len] = '\0';
		import->listed = import->good_listed;
	}
	memset(&import->batch, 0, sizeof(import->batch));
}

static void
report(Bulk *bulk, Object *object)
{
	Import *import = bulk->ctx;
	const Sums *sums = &import->sums;

	object_int(object, "history_rows", bulk->counts.rows);
	object_int(object, "source_credits", sums->source);
	object_int(object, "target_credits", sums->target);
	object_int(object, "due_credits", sums->due);
	object_int(object, "difference", sums->difference);
	object_json(object, "in_use", psprintf("%s]", import->in_use.data));
}

Datum
credits_import(PG_FUNCTION_ARGS)
{
	Import import = {0};
	Bulk bulk = {.function = "credits_import()",
				 .kind = "import",
				 .row_kind = CR_KIND_IMPORT,
				 .decide = import_one,
				 .report = report,
				 .ctx = &import,
				 .settle = add_sums};
	char *history;
	Datum result;

	store_attach(fcinfo);
	if (PG_ARGISNULL(0))
		error_null("source");
	history = arg_optional_text(fcinfo, 1);
	import.refresh = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	bulk.reason = arg_optional_text(fcinfo, 3);
	bulk_arguments(&bulk, fcinfo, 4);
	import.memory = CurrentMemoryContext;
	initStringInfo(&import.in_use);
	appendStringInfoChar(&import.in_use, '[');
	import.good_len = import.in_use.len;
	if (history)
	{
		bulk.second_query = psprintf(
			"SELECT h.* FROM (%s\n) h ORDER BY h.user_id COLLATE pg_catalog.\"C\", h.created_at, h.id",
			history);
		bulk.second = &import.history;
		bulk.prepare = attach_history;
	}
	result =
		bulk_run(&bulk, fcinfo,
				 psprintf("SELECT s.* FROM (%s\n) s ORDER BY s.user_id COLLATE pg_catalog.\"C\"",
						  TextDatumGetCString(PG_GETARG_DATUM(0))),
				 0, NULL, NULL);
	return bulk_result(fcinfo, result);
}
