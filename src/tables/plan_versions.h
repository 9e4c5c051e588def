/*
 * plan_versions.h
 *		Plan versions for the core: a CrEnv that reads the plan table.
 */
#ifndef CREDITS_TABLES_PLAN_VERSIONS_H
#define CREDITS_TABLES_PLAN_VERSIONS_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/snapshot.h"

#include "base/json.h"
#include "core/core.h"

/*
 * The plans that were read so far.  A call that writes sets snapshot to NULL.  Then a
 * plan is read with the latest snapshot, under a shared lock that keeps new versions out
 * until the transaction ends.  A call that only reads gives its snapshot, and takes no
 * lock.
 */
typedef struct Plans
{
	Snapshot snapshot; /* NULL: lock the plan, and read the latest */
	List *loaded;	   /* list of LoadedPlan */
	MemoryContext memory;
	/* accept bad plans, because verification reports them itself */
	bool lenient;
	/*
	 * If not NULL: do not wait for a plan that is being defined.  Raise 55P03 and leave
	 * the plan's name here.
	 */
	const char **busy;
	void (*emit)(void *ctx, const CrRow *row);
	void *emit_ctx;
} Plans;

extern void plans_init(Plans *plans, Snapshot snapshot);
extern CrEnv plans_env(Plans *plans);
extern const CrPlanVersion *plans_in_force(Plans *plans, const char *plan, CrTime at);
extern const CrPlanVersion *plans_newest(Plans *plans, const char *plan);
extern void plan_put_facts(Object *object, const CrPlanVersion *plan);
extern Datum plan_facts(const CrPlanVersion *plan);

#endif
