/*
 * deduct_many.c
 *		credits_deduct_many: many deductions in one call.
 *
 * Accounts are locked in the order of the bytes of their users, so batches never deadlock
 * each other.  An account is locked, brought up to date and written once, even if it has
 * many items.  The items of one user are done in the order of the batch.  Each sees what
 * the items before it did, and their keys.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/digest.h"
#include "base/errors.h"
#include "ledger/books.h"
#include "ledger/ledger.h"
#include "ledger/receipt.h"
#include "ledger/request.h"
#include "live/counted.h"
#include "store/locks.h"
#include "store/relations.h"
#include "store/writer.h"

#define MAX_ITEMS 100000

PG_FUNCTION_INFO_V1(credits_deduct_many);

typedef struct BatchItem
{
	Request request;
	int64 amount;
	int number;				 /* its place in the batch, from 1 */
	int row;				 /* index in the ledger's rows; -1: none */
	struct BatchItem *first; /* the item of this batch that it repeats */
	Datum receipt;
} BatchItem;

typedef struct Batch
{
	BatchItem *items;
	int count;
	bool all_or_nothing;
	Books books;
	MemoryContext memory; /* has the receipts */
} Batch;

/* One array argument.  It has as many elements as there are items, or it is NULL. */
typedef struct ArrayArg
{
	Datum *values;
	bool *nulls;
} ArrayArg;

static ArrayArg
arg_array(FunctionCallInfo fcinfo, int arg, const char *name, Oid type, int *count)
{
	ArrayArg column = {0};
	ArrayType *array;
	int16 length;
	bool by_value;
	char align;
	int found;

	if (PG_ARGISNULL(arg))
		return column;
	array = check_array(PG_GETARG_ARRAYTYPE_P(arg), name);
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(array, type, length, by_value, align, &column.values, &column.nulls,
					  &found);
	if (*count >= 0)
		check_as_many(found, name, *count);
	*count = found;
	return column;
}

static char *
element_text(const ArrayArg *column, int i)
{
	return column->values == NULL || column->nulls[i] ? NULL
													  : TextDatumGetCString(column->values[i]);
}

static char *
element_name(const ArrayArg *column, int i, const char *name)
{
	char *text = element_text(column, i);

	if (text && (text[0] == '\0' || strlen(text) > CR_MAX_NAME))
		error_bad_length(name, CR_MAX_NAME);
	return text;
}

static void
read_items(Batch *batch, FunctionCallInfo fcinfo)
{
	int count = -1;
	ArrayArg users, amounts, reasons, keys, metadata, spenders;

	if (PG_ARGISNULL(0))
		error_null("user_ids");
	if (PG_ARGISNULL(1))
		error_null("amounts");
	users = arg_array(fcinfo, 0, "user_ids", TEXTOID, &count);
	amounts = arg_array(fcinfo, 1, "amounts", INT8OID, &count);
	reasons = arg_array(fcinfo, 2, "reasons", TEXTOID, &count);
	keys = arg_array(fcinfo, 3, "idempotency_keys", TEXTOID, &count);
	metadata = arg_array(fcinfo, 4, "metadata", JSONBOID, &count);
	batch->all_or_nothing = !PG_ARGISNULL(5) && PG_GETARG_BOOL(5);
	spenders = arg_array(fcinfo, 6, "spenders", TEXTOID, &count);
	if (count > MAX_ITEMS)
		error_bad_value("user_ids", psprintf("%d elements", count),
						psprintf("at most %d elements", MAX_ITEMS));

	batch->count = count;
	batch->items = palloc0(sizeof(BatchItem) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		BatchItem *item = &batch->items[i];
		Request *request = &item->request;

		item->number = i + 1;
		request->function = "credits_deduct_many()";
		request->kind = CR_KIND_DEDUCT;
		request->user_id = element_name(&users, i, "user_ids");
		if (request->user_id == NULL)
			error_null("user_ids");
		if (amounts.nulls[i])
			error_null("amounts");
		item->amount = check_amount(DatumGetInt64(amounts.values[i]), "amounts");
		request->reason = element_text(&reasons, i);
		request->idempotency_key = element_name(&keys, i, "idempotency_keys");
		if (metadata.values && !metadata.nulls[i])
			request_set_metadata(request, metadata.values[i]);
		request->spender = element_name(&spenders, i, "spenders");
		if (request->idempotency_key)
			request_seal(request, item->amount, NULL, NULL);
	}
}

/*
 * In the order of the bytes of the users.  Items of one user stay in the order of the
 * batch.
 */
static int
compare_items(const void *a, const void *b)
{
	const BatchItem *left = *(BatchItem *const *) a;
	const BatchItem *right = *(BatchItem *const *) b;
	int order = strcmp(left->request.user_id, right->request.user_id);

	return order != 0 ? order : left->number - right->number;
}

/*
 * The item is refused.  If the batch is all or nothing, this raises the error.  Otherwise
 * the refusal is the item's answer.
 */
static void
refuse(Batch *batch, BatchItem *item, const Ledger *ledger, CrVerdict verdict)
{
	MemoryContext old = MemoryContextSwitchTo(batch->memory);
	StringInfoData buf;

	if (batch->all_or_nothing)
		error_refused(verdict, &ledger->acc, item->amount);
	refusal_begin(&buf);
	if (verdict == CR_IS_FROZEN || verdict == CR_IS_CLOSED)
		frozen_numbers(&buf, &ledger->acc);
	else if (verdict == CR_ZONE_UNKNOWN)
		zone_unknown_numbers(&buf, &ledger->acc);
	else
		insufficient_numbers(&buf, &ledger->acc, item->amount);
	item->receipt = refusal_end(&buf);
	MemoryContextSwitchTo(old);
}

static void
refuse_unknown(Batch *batch, BatchItem *item)
{
	MemoryContext old = MemoryContextSwitchTo(batch->memory);
	StringInfoData buf;

	if (batch->all_or_nothing)
		error_account_not_found(item->request.user_id);
	refusal_begin(&buf);
	not_found_numbers(&buf, item->request.user_id);
	item->receipt = refusal_end(&buf);
	MemoryContextSwitchTo(old);
}

static void
refuse_conflict(Batch *batch, BatchItem *item, int64 seq, CrKind kind)
{
	MemoryContext old = MemoryContextSwitchTo(batch->memory);
	StringInfoData buf;

	if (batch->all_or_nothing)
		error_key_conflict(item->request.idempotency_key, seq, cr_kind_name(kind));
	refusal_begin(&buf);
	conflict_numbers(&buf, item->request.idempotency_key, seq, cr_kind_name(kind));
	item->receipt = refusal_end(&buf);
	MemoryContextSwitchTo(old);
}

typedef struct KeyEntry
{
	char key[CR_MAX_NAME + 1];
	BatchItem *item;
} KeyEntry;

/*
 * If the key was used before, in the ledger or in this batch, gives the receipt of that
 * use.
 */
static bool
replay(Batch *batch, BatchItem *item, Ledger *ledger, HTAB *keys)
{
	const Request *request = &item->request;
	KeyEntry *entry = hash_search(keys, request->idempotency_key, HASH_FIND, NULL);
	MemoryContext old;
	CrRow row;

	if (entry)
	{
		if (!digest_is(entry->item->request.digest, request->digest))
			refuse_conflict(batch, item, ledger->acc.history_seq + entry->item->row + 1,
							CR_KIND_DEDUCT);
		else
			item->first = entry->item;
		return true;
	}
	if (ledger->is_new ||
		!books_find_key(ledger->books, request->user_id, request->idempotency_key, &row))
		return false;
	if (!digest_is(row.request_digest, request->digest))
	{
		refuse_conflict(batch, item, row.seq, row.kind);
		return true;
	}
	old = MemoryContextSwitchTo(batch->memory);
	item->receipt = receipt_from_row(&row, true);
	MemoryContextSwitchTo(old);
	return true;
}

/* Decides one item, in memory. */
static void
decide(Batch *batch, BatchItem *item, Ledger *ledger, HTAB *keys)
{
	const char *key = item->request.idempotency_key;
	CrVerdict verdict;
	CrRow row;

	ledger->request = &item->request;
	if (key && replay(batch, item, ledger, keys))
		return;
	verdict = ledger_apply_ready(ledger)
		? cr_deduct(&ledger->acc, ledger->now, item->amount, &row)
		: CR_ZONE_UNKNOWN;
	if (verdict != CR_OK)
	{
		refuse(batch, item, ledger, verdict);
		return;
	}
	item->row = ledger_push(ledger, &row);
	if (key)
		((KeyEntry *) hash_search(keys, key, HASH_ENTER, NULL))->item = item;
}

/* The usual case: the user has one item, which is neither a replay nor refused. */
static bool
do_one_unlocked(Batch *batch, BatchItem *item, Ledger *ledger)
{
	MemoryContext old;

	item->row = ledger_deduct_unlocked(ledger, item->amount);
	if (item->row < 0)
		return false;
	old = MemoryContextSwitchTo(batch->memory);
	item->receipt = receipt_from_row(&ledger->rows[item->row], false);
	MemoryContextSwitchTo(old);
	return true;
}

/* Does all items of one user, with one lock and one write. */
static void
do_user(Batch *batch, BatchItem **items, int count)
{
	HASHCTL info = {.keysize = CR_MAX_NAME + 1, .entrysize = sizeof(KeyEntry)};
	HTAB *keys;
	Ledger ledger;
	bool any = false;
	MemoryContext old;

	ledger_prepare(&ledger, &items[0]->request, &batch->books, NULL);
	if (count == 1 && do_one_unlocked(batch, items[0], &ledger))
		return;
	if (!ledger_lock(&ledger))
	{
		for (int i = 0; i < count; i++)
			refuse_unknown(batch, items[i]);
		return;
	}
	info.hcxt = CurrentMemoryContext;
	keys = hash_create("credits batch", count, &info, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		decide(batch, items[i], &ledger, keys);
		any |= items[i]->row >= 0;
	}

	/* if all items are refused or replayed, event rows are not written either */
	if (any)
		(void) ledger_write(&ledger);
	old = MemoryContextSwitchTo(batch->memory);
	for (int i = 0; i < count; i++)
	{
		BatchItem *item = items[i];

		if (item->row >= 0)
			item->receipt = receipt_from_row(&ledger.rows[item->row], false);
		else if (item->first)
			item->receipt = receipt_from_row(&ledger.rows[item->first->row], true);
	}
	MemoryContextSwitchTo(old);
	ledger_end(&ledger);
}

/* The items in the order of users, and how far the batch has come. */
typedef struct Turns
{
	Batch *batch;
	BatchItem **order;
	int at;
	MemoryContext memory; /* of the current user */
} Turns;

static void
do_next_user(Turns *turns)
{
	BatchItem **items = &turns->order[turns->at];
	int rest = turns->batch->count - turns->at;
	int count = 1;
	MemoryContext old = MemoryContextSwitchTo(turns->memory);

	while (count < rest &&
		   strcmp(items[0]->request.user_id, items[count]->request.user_id) == 0)
		count++;
	do_user(turns->batch, items, count);
	MemoryContextSwitchTo(old);
	MemoryContextReset(turns->memory);
	turns->at += count;
}

static void
do_other_users(void *arg)
{
	Turns *turns = arg;

	while (turns->at < turns->batch->count)
		do_next_user(turns);
}

/* While the call has an account locked, it limits its wait for the next. */
static void
do_batch(Batch *batch)
{
	Turns turns = {.batch = batch};

	turns.order = palloc(sizeof(BatchItem *) * Max(batch->count, 1));
	turns.memory = AllocSetContextCreate(CurrentMemoryContext, "credits batch user",
										 ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < batch->count; i++)
	{
		turns.order[i] = &batch->items[i];
		turns.order[i]->row = -1;
	}
	qsort(turns.order, batch->count, sizeof(BatchItem *), compare_items);
	books_open(&batch->books, true);
	if (batch->count > 0)
		do_next_user(&turns);
	lock_limit_waits(do_other_users, &turns);
	books_close(&batch->books);
	MemoryContextDelete(turns.memory);
}

COUNTED_FUNCTION(credits_deduct_many, CALL_DEDUCT_MANY)
{
	FuncCallContext *call;
	Datum *receipts;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;
		MemoryContext work;
		Batch batch = {0};

		call = SRF_FIRSTCALL_INIT();
		work = AllocSetContextCreate(CurrentMemoryContext, "credits batch",
									 ALLOCSET_DEFAULT_SIZES);
		old = MemoryContextSwitchTo(work);
		batch.memory = call->multi_call_memory_ctx;
		store_attach(fcinfo);
		writer_check_allowed("credits_deduct_many()");
		read_items(&batch, fcinfo);
		do_batch(&batch);

		call->max_calls = batch.count;
		receipts = MemoryContextAlloc(batch.memory, sizeof(Datum) * Max(batch.count, 1));
		for (int i = 0; i < batch.count; i++)
			receipts[i] = batch.items[i].receipt;
		call->user_fctx = receipts;
		MemoryContextSwitchTo(old);
		MemoryContextDelete(work);
	}
	call = SRF_PERCALL_SETUP();
	receipts = call->user_fctx;
	if (call->call_cntr < call->max_calls)
	{
		Datum receipt = receipts[call->call_cntr];

		SRF_RETURN_NEXT(call, receipt); /* this macro increments call_cntr first */
	}
	SRF_RETURN_DONE(call);
}
