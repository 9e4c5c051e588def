/*
 * plan_versions.h
 *		Plans as the core asks for them: a CrEnv over the plan table.
 */
#ifndef CREDITS_TABLES_PLAN_VERSIONS_H
#define CREDITS_TABLES_PLAN_VERSIONS_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/snapshot.h"

#include "base/json.h"
#include "core/core.h"

/*
 * The plans that were asked for so far.  Written for, a plan's versions are
 * read with the latest snapshot under a shared lock that keeps new versions
 * out until the transaction ends; read for, with the given snapshot.
 */
typedef struct Plans
{
	Snapshot	snapshot;		/* NULL: lock, and read the latest */
	List	   *loaded;			/* of LoadedPlan */
	MemoryContext memory;
	bool		lenient;		/* verification reports bad plans itself */
	const char **busy;			/* not NULL: a plan that is being defined is not
								 * waited for, but is 55P03, its name left here */
	void		(*emit) (void *ctx, const CrRow *row);
	void	   *emit_ctx;
} Plans;

extern void plans_init(Plans *plans, Snapshot snapshot);
extern CrEnv plans_env(Plans *plans);
extern const CrPlanVersion *plans_in_force(Plans *plans, const char *plan, CrTime at);
extern const CrPlanVersion *plans_newest(Plans *plans, const char *plan);
extern void plan_put_facts(Object *object, const CrPlanVersion *plan);
extern Datum plan_facts(const CrPlanVersion *plan);

#endif
