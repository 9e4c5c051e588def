/*
 * unknown_zones.c
 *		credits_unknown_zones: the accounts whose time zone the server does not know.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/zone.h"
#include "store/columns.h"
#include "store/relations.h"
#include "tables/rows.h"

PG_FUNCTION_INFO_V1(credits_unknown_zones);

/*
 * The next reset of these accounts will have to wait, and a DBA wants to know that before
 * it is due.  It is not damage, so verification does not report it.
 */
Datum
credits_unknown_zones(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	static const AttrNumber columns[] = {ACC_USER_ID, ACC_TIME_ZONE, ACC_NEXT_RESET_AT};
	MemoryContext old = CurrentMemoryContext;
	MemoryContext row_memory = AllocSetContextCreate(old, "credits unknown zones row",
													 ALLOCSET_DEFAULT_SIZES);
	Relation rel;
	TableScanDesc scan;
	TupleTableSlot *slot;

	store_attach(fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	rel = table_open(store_table(TABLE_ACCOUNT), AccessShareLock);
	slot = table_slot_create(rel, NULL);
	scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		Datum values[lengthof(columns)];
		bool nulls[lengthof(columns)];

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(row_memory);
		if (!zone_is_known(NULL, slot_text(slot, ACC_TIME_ZONE)))
		{
			for (int i = 0; i < (int) lengthof(columns); i++)
				values[i] = slot_getattr(slot, columns[i], &nulls[i]);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_memory);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	MemoryContextDelete(row_memory);
	return (Datum) 0;
}
