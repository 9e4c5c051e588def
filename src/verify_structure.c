/*
 * verify_structure.c
 *		Verifying what is not about one account: guards, plans, rows without an
 *		account, the audit log's chain.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "audit.h"
#include "compat.h"
#include "digest.h"
#include "guards.h"
#include "plan.h"
#include "store.h"
#include "verify_structure.h"

PG_FUNCTION_INFO_V1(credits_verify_structure);

/* One result row of the verifying functions. */
void
verify_report(FunctionCallInfo fcinfo, const char *object, const char *user_id,
			  int64 seq, const char *problem)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[4];
	bool		nulls[4] = {0};

	values[0] = CStringGetTextDatum(object);
	nulls[1] = user_id == NULL;
	values[1] = user_id ? CStringGetTextDatum(user_id) : (Datum) 0;
	nulls[2] = seq == 0;
	values[2] = Int64GetDatum(seq);
	values[3] = CStringGetTextDatum(problem);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* What the audit log says was defined: the texts of the plans' facts. */
static List *
defined_plans(void)
{
	List	   *defined = NIL;
	Lookup		lookup;

	lookup_begin(&lookup, TABLE_AUDIT_LOG, INDEX_AUDIT_LOG, GetActiveSnapshot());
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		CrAuditRow	row;

		audit_from_slot(&row, lookup.slot);
		if (strcmp(row.action, "define_plan") == 0 && row.after)
			defined = lappend(defined, pstrdup(row.after));
	}
	lookup_end(&lookup);
	return defined;
}

static bool
take_defined(List **defined, const char *facts)
{
	ListCell   *cell;

	foreach(cell, *defined)
	{
		if (strcmp(lfirst(cell), facts) == 0)
		{
			*defined = foreach_delete_current(*defined, cell);
			return true;
		}
	}
	return false;
}

static void
verify_guards(FunctionCallInfo fcinfo)
{
	for (int table = 0; table < TABLE_COUNT; table++)
	{
		const char *problem = guard_problem(table);

		if (problem)
			verify_report(fcinfo, store_table_name(table), NULL, 0, problem);
		problem = exposure_problem(table);
		if (problem)
			verify_report(fcinfo, store_table_name(table), NULL, 0, problem);
	}
}

/*
 * Versions have no gaps, each is in force later than the one before it, and
 * the audit log has just these.
 */
static void
verify_plans(FunctionCallInfo fcinfo)
{
	Lookup		lookup;
	CrPlanVersion last = {0};
	List	   *defined = defined_plans();
	ListCell   *cell;

	lookup_begin(&lookup, TABLE_PLAN, INDEX_PLAN, GetActiveSnapshot());
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		CrPlanVersion plan;
		const char *problem;
		bool		same;

		problem = plan_read(&plan, lookup.slot);
		if (problem)
		{
			verify_report(fcinfo, "credit_plan", plan.plan, plan.version, problem);
			continue;
		}
		same = last.plan != NULL && strcmp(plan.plan, last.plan) == 0;
		if (plan.version != (same ? last.version + 1 : 1))
			verify_report(fcinfo, "credit_plan", plan.plan, plan.version,
						  "the versions have a gap");
		if (same && plan.effective_from <= last.effective_from)
			verify_report(fcinfo, "credit_plan", plan.plan, plan.version,
						  "effective_from does not increase");
		if (!take_defined(&defined, jsonb_text(plan_facts(&plan))))
			verify_report(fcinfo, "credit_plan", plan.plan, plan.version,
						  "the audit log does not define it so");
		last = plan;
	}
	lookup_end(&lookup);
	foreach(cell, defined)
		verify_report(fcinfo, "credit_plan", NULL, 0,
					  psprintf("a version that the audit log defines is missing: %s",
							   (char *) lfirst(cell)));
}

/* Every payment has its history row. */
static void
verify_payments(FunctionCallInfo fcinfo, MemoryContext row_memory)
{
	Lookup		lookup;

	lookup_begin(&lookup, TABLE_PAYMENT, INDEX_PAYMENT, GetActiveSnapshot());
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		Payment		payment;
		CrRow		row;
		MemoryContext old = MemoryContextSwitchTo(row_memory);

		CHECK_FOR_INTERRUPTS();
		if (payment_read(&payment, lookup.slot) != NULL ||
			!lookup_row(payment.user_id, payment.seq, GetActiveSnapshot(), &row) ||
			row.malformed || row.payment_ref == NULL || strcmp(row.payment_ref, payment.payment_ref) != 0)
			verify_report(fcinfo, "credit_payment", payment.user_id, payment.seq,
						  psprintf("payment \"%s\" has no history row",
								   payment.payment_ref ? payment.payment_ref : ""));
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_memory);
	}
	lookup_end(&lookup);
}

static bool
account_exists(const char *user_id)
{
	Lookup		lookup;
	bool		found;

	lookup_begin(&lookup, TABLE_ACCOUNT, INDEX_ACCOUNT, GetActiveSnapshot());
	lookup_text_key(&lookup, 1, user_id);
	found = lookup_next(&lookup, ForwardScanDirection);
	lookup_end(&lookup);
	return found;
}

/*
 * Every history belongs to an account.  The histories' users are found by
 * jumping from one to the next in the index.
 */
static void
verify_orphans(FunctionCallInfo fcinfo)
{
	char	   *user_id = NULL;

	for (;;)
	{
		Lookup		lookup;
		bool		found;
		char	   *last = user_id;

		CHECK_FOR_INTERRUPTS();
		lookup_begin(&lookup, TABLE_HISTORY, INDEX_HISTORY, GetActiveSnapshot());
		if (last)
			lookup_key(&lookup, 1, BTGreaterStrategyNumber, F_TEXT_GT,
					   CStringGetTextDatum(last));
		found = lookup_next(&lookup, ForwardScanDirection);
		if (found)
			user_id = slot_text(lookup.slot, HIST_USER_ID);
		lookup_end(&lookup);
		if (!found)
			break;
		if (!account_exists(user_id))
			verify_report(fcinfo, "credit_history", user_id, 0,
						  "the history has no account");
		if (last)
			pfree(last);
	}
}

static void
verify_audit_log(FunctionCallInfo fcinfo, MemoryContext row_memory)
{
	Lookup		lookup;
	uint8_t		head[CR_HASH_LEN];
	uint8_t		hash[CR_HASH_LEN];
	int64		seq = 0;

	audit_genesis_hash(head);
	lookup_begin(&lookup, TABLE_AUDIT_LOG, INDEX_AUDIT_LOG, GetActiveSnapshot());
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		CrAuditRow	row;
		MemoryContext old = MemoryContextSwitchTo(row_memory);
		const char *problem = NULL;

		CHECK_FOR_INTERRUPTS();
		audit_from_slot(&row, lookup.slot);
		audit_hash(head, &row, hash);
		if (row.seq != ++seq)
			problem = "seq has a gap";
		else if (memcmp(hash, row.hash, CR_HASH_LEN) != 0)
			problem = "hash does not fit the row and the hash before it";
		memcpy(head, row.hash, CR_HASH_LEN);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_memory);
		if (problem)
		{
			verify_report(fcinfo, "credit_audit_log", NULL, row.seq, problem);
			break;
		}
	}
	lookup_end(&lookup);
}

void
verify_structure(FunctionCallInfo fcinfo)
{
	MemoryContext row_memory = AllocSetContextCreate(CurrentMemoryContext,
													 "credits verify row",
													 ALLOCSET_DEFAULT_SIZES);

	verify_guards(fcinfo);
	verify_plans(fcinfo);
	verify_payments(fcinfo, row_memory);
	verify_orphans(fcinfo);
	verify_audit_log(fcinfo, row_memory);
	MemoryContextDelete(row_memory);
}

Datum
credits_verify_structure(PG_FUNCTION_ARGS)
{
	store_attach(fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	verify_structure(fcinfo);
	return (Datum) 0;
}
