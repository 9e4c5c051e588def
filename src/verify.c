/*
 * verify.c
 *		Recomputing accounts from their histories.
 *
 * An account's rows are read in order and replayed through the core, so a row
 * that the rules could not have written is found even where its hash fits.
 * The first bad row of an account is reported; what comes after it is not
 * judged.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "digest.h"
#include "errors.h"
#include "plans.h"
#include "request.h"
#include "store.h"
#include "verify_structure.h"

PG_FUNCTION_INFO_V1(credits_verify);
PG_FUNCTION_INFO_V1(credits_verify_account);

/* A purchase is in the payment table, and only with what the row says. */
static const char *
payment_problem(Lookup *payments, const CrRow *row)
{
	Payment		payment;
	const char *problem = NULL;

	if (row->kind != CR_KIND_PURCHASE)
		return row->payment_ref ? "payment_ref is on a row that is no purchase" : NULL;
	if (row->payment_ref == NULL)
		return "a purchase has no payment_ref";

	lookup_begin(payments, TABLE_PAYMENT, INDEX_PAYMENT, GetActiveSnapshot());
	lookup_text_key(payments, 1, row->payment_ref);
	if (!lookup_next(payments, ForwardScanDirection))
		problem = "its payment is missing from credit_payment";
	else
	{
		problem = payment_read(&payment, payments->slot);
		if (problem)
			;
		else if (strcmp(payment.user_id, row->user_id) != 0 || payment.seq != row->seq ||
			payment.amount != row->amount)
			problem = "its payment in credit_payment says otherwise";
		else if (payment.revoked != 0)
			problem = "its payment was revoked without a history row";
	}
	lookup_end(payments);
	return problem;
}

static const char *
row_problem(CrAccount *acc, const CrEnv *env, const CrRow *row)
{
	uint8_t		hash[CR_HASH_LEN];
	const char *problem;
	Lookup		payments;

	if (row->malformed)
		return row->malformed;
	if (row->seq != acc->history_seq + 1)
		return "seq has a gap";
	row_hash(acc->history_hash, row, hash);
	if (memcmp(hash, row->hash, CR_HASH_LEN) != 0)
		return "hash does not fit the row and the hash before it";
	problem = cr_replay(acc, env, row);
	return problem ? problem : payment_problem(&payments, row);
}

/* The facts that the core took from a row move to memory that stays. */
static void
keep_facts(CrFacts *facts, MemoryContext memory)
{
	MemoryContext old = MemoryContextSwitchTo(memory);

	facts->plan = facts->plan ? pstrdup(facts->plan) : NULL;
	facts->scheduled_plan = facts->scheduled_plan ? pstrdup(facts->scheduled_plan) : NULL;
	facts->time_zone = pstrdup(facts->time_zone);
	MemoryContextSwitchTo(old);
}

static void
verify_account(FunctionCallInfo fcinfo, const CrAccount *stored)
{
	CrAccount	acc;
	Plans		plans;
	CrEnv		env;
	Lookup		rows;
	const char *problem = NULL;
	MemoryContext memory = CurrentMemoryContext;
	MemoryContext row_memory = AllocSetContextCreate(memory, "credits verify row",
													 ALLOCSET_DEFAULT_SIZES);

	plans_init(&plans, GetActiveSnapshot());
	plans.lenient = true;
	env = plans_env(&plans);
	cr_account_init(&acc, stored->user_id);
	genesis_hash(acc.user_id, acc.history_hash);

	lookup_begin(&rows, TABLE_HISTORY, INDEX_HISTORY, GetActiveSnapshot());
	lookup_text_key(&rows, 1, stored->user_id);
	while (problem == NULL && lookup_next(&rows, ForwardScanDirection))
	{
		CrRow		row;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(row_memory);
		row_read(&row, rows.slot);
		problem = row_problem(&acc, &env, &row);
		MemoryContextSwitchTo(memory);
		if (problem)
			verify_report(fcinfo, "credit_history", stored->user_id, row.seq, problem);
		else if (row.has_facts)
			keep_facts(&acc.facts, memory);
		MemoryContextReset(row_memory);
	}
	lookup_end(&rows);

	if (problem == NULL)
	{
		problem = cr_compare_head(stored, &acc);
		if (problem)
			verify_report(fcinfo, "credit_account", stored->user_id, stored->history_seq,
						  problem);
	}
	MemoryContextDelete(row_memory);
}

/* A stored account row, against its history. */
static void
verify_slot(FunctionCallInfo fcinfo, const char *user_id, TupleTableSlot *slot)
{
	CrAccount	stored;
	const char *problem;

	slot_getallattrs(slot);
	problem = account_read(&stored, slot->tts_values, slot->tts_isnull);
	if (problem)
		verify_report(fcinfo, "credit_account", user_id, stored.history_seq, problem);
	else
		verify_account(fcinfo, &stored);
}

Datum
credits_verify_account(PG_FUNCTION_ARGS)
{
	Lookup		lookup;
	char	   *user_id;

	if (PG_ARGISNULL(0))
		error_null("user_id");
	store_attach(fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	user_id = arg_optional_text(fcinfo, 0);
	lookup_begin(&lookup, TABLE_ACCOUNT, INDEX_ACCOUNT, GetActiveSnapshot());
	lookup_text_key(&lookup, 1, user_id);
	if (!lookup_next(&lookup, ForwardScanDirection))
		error_account_not_found(user_id);
	verify_slot(fcinfo, user_id, lookup.slot);
	lookup_end(&lookup);
	return (Datum) 0;
}

/*
 * All accounts, read below the executor: row security, which would hide some
 * from the auditor, has no say.
 */
Datum
credits_verify(PG_FUNCTION_ARGS)
{
	Lookup		lookup;
	MemoryContext memory;
	MemoryContext old;

	store_attach(fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	verify_structure(fcinfo);

	memory = AllocSetContextCreate(CurrentMemoryContext, "credits verify account",
								   ALLOCSET_DEFAULT_SIZES);
	lookup_begin(&lookup, TABLE_ACCOUNT, INDEX_ACCOUNT, GetActiveSnapshot());
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		old = MemoryContextSwitchTo(memory);
		verify_slot(fcinfo, slot_text(lookup.slot, ACC_USER_ID), lookup.slot);
		MemoryContextSwitchTo(old);
		MemoryContextReset(memory);
	}
	lookup_end(&lookup);
	MemoryContextDelete(memory);
	return (Datum) 0;
}
