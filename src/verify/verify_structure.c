/*
 * verify_structure.c
 *		Verifying everything that does not belong to one account: guards, plans, rows
 *		without an account, the audit log's chain and anchors.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "admin/drop_guard.h"
#include "admin/guards.h"
#include "base/clock.h"
#include "base/compat.h"
#include "base/digest.h"
#include "base/settings.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/archive_partitions.h"
#include "tables/audit_log.h"
#include "tables/checkpoint.h"
#include "tables/plan_versions.h"
#include "tables/rows.h"
#include "verify/anchor_check.h"
#include "verify/archive_check.h"
#include "verify/filter.h"
#include "verify/findings.h"
#include "verify/judge_lots.h"
#include "verify/verify_structure.h"

PG_FUNCTION_INFO_V1(credits_verify_structure);

/* What the audit log says was defined: the facts of the plans, as texts. */
static List *
defined_plans(void)
{
	List *defined = NIL;
	Lookup lookup;

	lookup_begin(&lookup, TABLE_AUDIT_LOG, INDEX_AUDIT_LOG, GetActiveSnapshot());
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		CrAuditRow row;

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
	ListCell *cell;

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
report_guard(void *findings, const char *object, const char *problem)
{
	findings_report(findings, object, NULL, 0, problem);
}

/*
 * Versions must have no gaps, each must be in force later than the one before it, and the
 * audit log must have exactly these versions.
 */
static void
verify_plans(Findings *findings)
{
	Lookup lookup;
	CrPlanVersion last = {0};
	List *defined = defined_plans();
	ListCell *cell;

	lookup_begin(&lookup, TABLE_PLAN, INDEX_PLAN, GetActiveSnapshot());
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		CrPlanVersion plan;
		const char *problem;
		bool same;

		problem = plan_read(&plan, lookup.slot);
		if (problem)
		{
			findings_report(findings, "credit_plan", plan.plan, plan.version, problem);
			continue;
		}
		same = last.plan != NULL && strcmp(plan.plan, last.plan) == 0;
		if (plan.version != (same ? last.version + 1 : 1))
			findings_report(findings, "credit_plan", plan.plan, plan.version,
							"the versions have a gap");
		if (same && plan.effective_from <= last.effective_from)
			findings_report(findings, "credit_plan", plan.plan, plan.version,
							"effective_from does not increase");
		if (!take_defined(&defined, jsonb_text(plan_facts(&plan))))
			findings_report(findings, "credit_plan", plan.plan, plan.version,
							"the audit log does not define it so");
		last = plan;
	}
	lookup_end(&lookup);
	foreach(cell, defined)
		findings_report(findings, "credit_plan", NULL, 0,
						psprintf("a version that the audit log defines is missing: %s",
								 (char *) lfirst(cell)));
}

static bool
has_purchase(const Checkpoint *ckpt, const Payment *payment)
{
	for (int i = 0; i < checkpoint_purchases(ckpt); i++)
	{
		if (ckpt->purchases.values[i * PURCHASE_NUMBERS] == payment->seq)
			return strcmp(ckpt->payment_refs[i], payment->payment_ref) == 0;
	}
	return false;
}

static bool
payment_has_row(const Payment *payment, Lookup *rows)
{
	CrRow row;
	Checkpoint ckpt;

	lookup_again(rows);
	lookup_text_key(rows, 1, payment->user_id);
	lookup_key(rows, 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(payment->seq));
	if (!lookup_next(rows, ForwardScanDirection))
		return checkpoint_usable(payment->user_id, GetActiveSnapshot(), &ckpt) &&
			has_purchase(&ckpt, payment);
	row_read(&row, rows->slot);
	return row.malformed == NULL && row.payment_ref != NULL &&
		strcmp(row.payment_ref, payment->payment_ref) == 0;
}

/*
 * Checks that payments have their history row: at most limit payments after a reference
 * (NULL: from the first), and of these a sample.  Returns the reference of the last one,
 * or NULL if there are no more.
 */
char *
verify_payments(Findings *findings, const char *after, int64 limit, const Share *share)
{
	Lookup payments;
	Lookup rows;
	int64 count = 0;
	char *last = NULL;
	MemoryContext row_memory = AllocSetContextCreate(CurrentMemoryContext,
													 "credits verify row",
													 ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;

	lookup_begin(&payments, TABLE_PAYMENT, INDEX_PAYMENT, GetActiveSnapshot());
	lookup_after_key(&payments, 1, after);
	lookup_begin(&rows, TABLE_HISTORY, INDEX_HISTORY, GetActiveSnapshot());
	while (lookup_next(&payments, ForwardScanDirection))
	{
		char *ref = slot_text(payments.slot, PAY_PAYMENT_REF);
		Payment payment;

		CHECK_FOR_INTERRUPTS();
		if (++count == limit)
			last = ref;
		MemoryContextSwitchTo(row_memory);
		if (share_has(share, share_hash(share, ref, strlen(ref))) &&
			(payment_read(&payment, payments.slot) != NULL ||
			 !payment_has_row(&payment, &rows)))
			findings_report(findings, "credit_payment", payment.user_id, payment.seq,
							psprintf("payment \"%s\" has no history row", ref));
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_memory);
		if (last)
			break;
		pfree(ref);
	}
	lookup_end(&rows);
	lookup_end(&payments);
	MemoryContextDelete(row_memory);
	return last;
}

/* Counts all rows that the statement sees, without an index. */
static int64
count_payments(void)
{
	Relation rel = table_open(store_table(TABLE_PAYMENT), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	int64 count = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		count++;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	return count;
}

/* Copies the user of the next account.  False: there are no more. */
static bool
next_account(Lookup *accounts, StringInfo user_id)
{
	resetStringInfo(user_id);
	if (!lookup_next(accounts, ForwardScanDirection))
		return false;
	appendStringInfoString(user_id, slot_text(accounts->slot, ACC_USER_ID));
	return true;
}

/*
 * Checks that every history belongs to an account, for the users after one user and up to
 * another (NULL: from the first, to the last).  It goes through both tables in the order
 * of users.  It reads the accounts one by one.  In the history it goes from one user to
 * the next by a new search in the index.
 */
void
verify_orphans(Findings *findings, const char *after, const char *upto)
{
	Lookup accounts;
	Lookup rows;
	StringInfoData account;
	StringInfoData user_id;
	bool more;
	MemoryContext row_memory = AllocSetContextCreate(CurrentMemoryContext,
													 "credits verify row",
													 ALLOCSET_DEFAULT_SIZES);

	initStringInfo(&account);
	initStringInfo(&user_id);
	lookup_begin(&accounts, TABLE_ACCOUNT, INDEX_ACCOUNT, GetActiveSnapshot());
	lookup_after_key(&accounts, 1, after);
	lookup_upto_key(&accounts, 1, upto);
	lookup_begin(&rows, TABLE_HISTORY, INDEX_HISTORY, GetActiveSnapshot());
	more = next_account(&accounts, &account);
	for (;;)
	{
		MemoryContext old = MemoryContextSwitchTo(row_memory);
		bool found;

		CHECK_FOR_INTERRUPTS();
		lookup_again(&rows);
		lookup_after_key(&rows, 1, after);
		lookup_upto_key(&rows, 1, upto);
		found = lookup_next(&rows, ForwardScanDirection);
		if (found)
		{
			resetStringInfo(&user_id);
			appendStringInfoString(&user_id, slot_text(rows.slot, HIST_USER_ID));
			after = user_id.data;
			while (more && strcmp(account.data, user_id.data) < 0)
				more = next_account(&accounts, &account);
			if (!more || strcmp(account.data, user_id.data) != 0)
				findings_report(findings, "credit_history", user_id.data, 0,
								"the history has no account");
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_memory);
		if (!found)
			break;
	}
	lookup_end(&rows);
	lookup_end(&accounts);
	MemoryContextDelete(row_memory);
}

static void
verify_audit_log(Findings *findings)
{
	Lookup lookup;
	MemoryContext row_memory = AllocSetContextCreate(CurrentMemoryContext,
													 "credits verify row",
													 ALLOCSET_DEFAULT_SIZES);
	uint8_t head[CR_HASH_LEN];
	uint8_t hash[CR_HASH_LEN];
	int64 seq = 0;

	audit_genesis_hash(head);
	lookup_begin(&lookup, TABLE_AUDIT_LOG, INDEX_AUDIT_LOG, GetActiveSnapshot());
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		CrAuditRow row;
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
			findings_report(findings, "credit_audit_log", NULL, row.seq, problem);
			break;
		}
	}
	lookup_end(&lookup);
	MemoryContextDelete(row_memory);
}

/*
 * The setting may be stored for the database or for a role (ALTER DATABASE, ALTER ROLE).
 * Those commands accept any value, because the plan could be defined later.
 */
static void
verify_default_plan(Findings *findings, const char *name, const char *whose)
{
	Plans plans;

	plans_init(&plans, GetActiveSnapshot());
	plans.lenient = true;
	if (plans_in_force(&plans, name, clock_statement()) == NULL)
		findings_report(findings, "credits.default_plan", NULL, 0,
						psprintf("plan \"%s\" %s does not exist, or is not in force", name,
								 whose));
}

/* The settings that are stored for this database or for all databases. */
static void
verify_stored_settings(Findings *findings)
{
	static const char prefix[] = "credits.default_plan=";
	Relation rel = table_open(DbRoleSettingRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple tuple;

	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Form_pg_db_role_setting form = (Form_pg_db_role_setting) GETSTRUCT(tuple);
		bool isnull;
		Datum config = heap_getattr(tuple, Anum_pg_db_role_setting_setconfig,
									RelationGetDescr(rel), &isnull);
		Datum *items;
		int count;

		if (isnull || (OidIsValid(form->setdatabase) && form->setdatabase != MyDatabaseId))
			continue;
		deconstruct_array(DatumGetArrayTypeP(config), TEXTOID, -1, false, TYPALIGN_INT, &items,
						  NULL, &count);
		for (int i = 0; i < count; i++)
		{
			char *item = TextDatumGetCString(items[i]);
			char *role;

			if (strncmp(item, prefix, strlen(prefix)) != 0 || item[strlen(prefix)] == '\0')
				continue;
			role = OidIsValid(form->setrole) ? GetUserNameFromId(form->setrole, true) : NULL;
			verify_default_plan(findings, item + strlen(prefix),
								role ? psprintf("set for the role \"%s\"", role)
									 : "set for the database");
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

static void
verify_settings(Findings *findings)
{
	int64 before = findings->count;

	verify_stored_settings(findings);
	if (findings->count == before && settings_default_plan())
		verify_default_plan(findings, settings_default_plan(), "of the session");
}

/* Checks everything that does not grow with the number of accounts. */
void
verify_base(Findings *findings)
{
	guards_check(report_guard, findings);
	verify_plans(findings);
	verify_audit_log(findings);
	verify_settings(findings);
}

/*
 * known: the totals of verifying all accounts in this snapshot, or NULL.  Each purchase
 * was found with a payment of its own.  So if there are as many payments as purchases,
 * every payment has its purchase.  That verification read the history without an index.
 * So if it met a row without an account, and the index does not find that row, that is a
 * problem, too.
 */
void
verify_structure(Findings *findings, const Totals *known)
{
	Share all = {.shares = 1, .sample = 1};
	int64 before;

	verify_base(findings);
	verify_lot_orphans(findings);
	verify_archive(findings);
	verify_anchors(findings, NULL);
	before = findings->count;
	if (known == NULL || known->purchases != count_payments())
	{
		(void) verify_payments(findings, NULL, PG_INT64_MAX, &all);
		if (known && known->bad == 0 && !known->orphans && findings->count == before)
			findings_report(findings, "credit_payment", NULL, 0,
							"there are payments that its index does not find");
	}
	before = findings->count;
	if (known == NULL || known->orphans)
	{
		verify_orphans(findings, NULL, NULL);
		if (known && findings->count == before)
			findings_report(findings, "credit_history", NULL, 0,
							"there are rows that its index does not find");
	}
}

Datum
credits_verify_structure(PG_FUNCTION_ARGS)
{
	Findings findings;

	store_attach(fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	findings_to_store(&findings, ((ReturnSetInfo *) fcinfo->resultinfo)->setResult);
	verify_structure(&findings, NULL);
	return (Datum) 0;
}
