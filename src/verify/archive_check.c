/*
 * archive_check.c
 *		Verifying the archive as a whole: every checkpoint has an account, all archived
 *		rows have a checkpoint, and no partition is missing except those that were dropped
 *		on purpose.
 */
#include "postgres.h"

#include "access/table.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/archive_partitions.h"
#include "tables/audit_log.h"
#include "tables/checkpoint.h"
#include "tables/rows.h"
#include "verify/archive_check.h"
#include "verify/findings.h"

/*
 * Each year for which a checkpoint has rows must have its partition, or the partition was
 * dropped.
 */
static void
verify_years(Findings *findings, const Numbers *years)
{
	for (int i = 0; i < years->count; i++)
	{
		int year = (int) years->values[i];

		if (OidIsValid(archive_partition(year)) ||
			audit_has("drop_archive", archive_name(year), GetActiveSnapshot()))
			continue;
		findings_report(findings, archive_name(year), NULL, 0,
						"the partition is missing, but credits_drop_archive did not drop it");
	}
}

static void
add_years(Numbers *years, const Numbers *archived)
{
	for (int i = 0; i < archived->count; i += ARCHIVED_NUMBERS)
	{
		bool known = false;

		for (int j = 0; j < years->count && !known; j++)
			known = years->values[j] == archived->values[i];
		if (!known)
			numbers_add(years, archived->values[i]);
	}
}

static bool
has_user(Lookup *lookup, const char *user_id)
{
	lookup_again(lookup);
	lookup_text_key(lookup, 1, user_id);
	return lookup_next(lookup, ForwardScanDirection);
}

/*
 * Checks that each checkpoint has an account.  What is wrong in a checkpoint is reported
 * by the verification of its account.
 */
static void
verify_checkpoints(Findings *findings, MemoryContext row_memory)
{
	Lookup lookup;
	Lookup accounts;
	Numbers years = {0};
	MemoryContext old = CurrentMemoryContext;

	numbers_add(&years, 0); /* so that its memory is allocated in this context */
	years.count = 0;
	lookup_begin(&lookup, TABLE_CHECKPOINT, INDEX_CHECKPOINT, GetActiveSnapshot());
	lookup_begin(&accounts, TABLE_ACCOUNT, INDEX_ACCOUNT, GetActiveSnapshot());
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		Checkpoint ckpt;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(row_memory);
		if (checkpoint_read(&ckpt, lookup.slot) == NULL)
			add_years(&years, &ckpt.archived);
		if (!has_user(&accounts, slot_text(lookup.slot, ACC_USER_ID)))
			findings_report(findings, "credit_checkpoint", slot_text(lookup.slot, ACC_USER_ID),
							0, "the checkpoint has no account");
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_memory);
	}
	lookup_end(&accounts);
	lookup_end(&lookup);
	verify_years(findings, &years);
}

/* Goes from one user to the next in each partition's index. */
static void
verify_users(Findings *findings, MemoryContext row_memory)
{
	Archived archived;
	Lookup checkpoints;
	StringInfoData user_id;
	MemoryContext old = CurrentMemoryContext;

	initStringInfo(&user_id);
	archived_open(&archived, GetActiveSnapshot());
	lookup_begin(&checkpoints, TABLE_CHECKPOINT, INDEX_CHECKPOINT, GetActiveSnapshot());
	for (int i = 0; i < archived.n_parts; i++)
	{
		Lookup *rows = &archived.parts[i].rows;
		bool first = true;

		for (;;)
		{
			CHECK_FOR_INTERRUPTS();
			MemoryContextSwitchTo(row_memory);
			lookup_again(rows);
			lookup_after_key(rows, 1, first ? NULL : user_id.data);
			if (!lookup_next(rows, ForwardScanDirection))
				break;
			resetStringInfo(&user_id);
			appendStringInfoString(&user_id, slot_text(rows->slot, HIST_USER_ID));
			first = false;
			if (!has_user(&checkpoints, user_id.data))
				findings_report(findings, RelationGetRelationName(rows->heap), user_id.data, 0,
								"archived rows have no checkpoint");
			MemoryContextSwitchTo(old);
			MemoryContextReset(row_memory);
		}
		MemoryContextSwitchTo(old);
	}
	lookup_end(&checkpoints);
	archived_close(&archived);
}

/*
 * Checks the archive itself and its partitions.  A partition in another schema has no
 * guard.  A partition with another name is no year that rows can be archived to, or that
 * can be dropped.
 */
static void
verify_tables(Findings *findings)
{
	ListCell *cell;

	foreach(cell, lcons_oid(archive_parent(), archive_partitions()))
	{
		Relation rel = table_open(lfirst_oid(cell), AccessShareLock);
		const char *problem = archive_problem(rel);

		if (problem == NULL && rel->rd_rel->relispartition &&
			!archive_is_year(lfirst_oid(cell)))
			problem =
				"the partition is not credit_history_archive_YYYY of the extension's schema";
		if (problem)
			findings_report(findings, RelationGetRelationName(rel), NULL, 0, problem);
		table_close(rel, AccessShareLock);
	}
}

void
verify_archive(Findings *findings)
{
	MemoryContext row_memory = AllocSetContextCreate(CurrentMemoryContext,
													 "credits verify row",
													 ALLOCSET_DEFAULT_SIZES);

	verify_tables(findings);
	verify_checkpoints(findings, row_memory);
	verify_users(findings, row_memory);
	MemoryContextDelete(row_memory);
}
