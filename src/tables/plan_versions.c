/*
 * plan_versions.c
 *		Plan versions for the core: a CrEnv that reads the plan table.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "base/json.h"
#include "base/zone.h"
#include "store/columns.h"
#include "store/locks.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/find.h"
#include "tables/plan_versions.h"
#include "tables/rows.h"

typedef struct LoadedPlan
{
	const char *name;
	int count;
	CrPlanVersion *versions; /* newest first */
	bool *is_after_snapshot; /* of each version: using it raises 40001 */
} LoadedPlan;

void
plans_init(Plans *plans, Snapshot snapshot)
{
	plans->snapshot = snapshot;
	plans->loaded = NIL;
	plans->memory = CurrentMemoryContext;
	plans->lenient = false;
	plans->busy = NULL;
	plans->emit = NULL;
	plans->emit_ctx = NULL;
}

/* A call for many accounts does not wait for a plan. */
static void
lock_versions(Plans *plans, const char *name)
{
	if (plans->busy == NULL)
		lock_name(LOCK_PLAN, name, ShareLock);
	else if (!try_lock_name(LOCK_PLAN, name, ShareLock))
	{
		*plans->busy = name;
		error_busy("plan", name);
	}
}

static LoadedPlan *
load(Plans *plans, const char *name)
{
	LoadedPlan *plan = palloc(sizeof(LoadedPlan));
	int room = 4;
	Lookup lookup;
	const char *complaint;
	bool was_there = false;

	plan->name = pstrdup(name);
	if (plans->snapshot == NULL)
		lock_versions(plans, plan->name);
	plan->count = 0;
	plan->versions = palloc(sizeof(CrPlanVersion) * room);
	plan->is_after_snapshot = palloc(sizeof(bool) * room);
	if (plans->snapshot == NULL)
		note_plan_read(name);
	lookup_begin(&lookup, TABLE_PLAN, INDEX_PLAN,
				 plans->snapshot ? plans->snapshot : SnapshotSelf);
	lookup_text_key(&lookup, 1, name);
	while (lookup_next(&lookup, BackwardScanDirection))
	{
		if (plan->count == room)
		{
			room *= 2;
			plan->versions = repalloc(plan->versions, sizeof(CrPlanVersion) * room);
			plan->is_after_snapshot = repalloc(plan->is_after_snapshot, sizeof(bool) * room);
		}
		plan->is_after_snapshot[plan->count] = plans->snapshot == NULL &&
			lookup_is_after_snapshot(&lookup);
		was_there |= !plan->is_after_snapshot[plan->count];
		complaint = plan_read(&plan->versions[plan->count++], lookup.slot);
		if (complaint && !plans->lenient)
			error_corrupted("credit_plan", complaint);
	}
	lookup_end(&lookup);
	if (was_there && !IsolationIsSerializable())
		memset(plan->is_after_snapshot, false, sizeof(bool) * plan->count);
	return plan;
}

static const LoadedPlan *
find(Plans *plans, const char *name)
{
	ListCell *cell;
	MemoryContext old;
	LoadedPlan *plan;

	foreach(cell, plans->loaded)
	{
		plan = lfirst(cell);
		if (strcmp(plan->name, name) == 0)
			return plan;
	}
	old = MemoryContextSwitchTo(plans->memory);
	plan = load(plans, name);
	plans->loaded = lappend(plans->loaded, plan);
	MemoryContextSwitchTo(old);
	return plan;
}

/*
 * Gives a version that the answer depends on.  Earlier statements of the transaction may
 * depend on the version not being there.  So above READ COMMITTED this raises 40001 if
 * the transaction's snapshot does not see the plan at all.  At SERIALIZABLE it also
 * raises 40001 if the snapshot does not see the version.  At REPEATABLE READ a new
 * version of a known plan is used: a boundary always uses the version in force, whichever
 * transaction applies it.
 */
static const CrPlanVersion *
use(const LoadedPlan *plan, int i)
{
	if (plan->is_after_snapshot[i])
		error_serialization();
	return &plan->versions[i];
}

/* The version in force at a time, or NULL. */
const CrPlanVersion *
plans_in_force(Plans *plans, const char *name, CrTime at)
{
	const LoadedPlan *plan = find(plans, name);

	for (int i = 0; i < plan->count; i++)
	{
		if (plan->versions[i].effective_from <= at)
			return use(plan, i);
	}
	return NULL;
}

const CrPlanVersion *
plans_newest(Plans *plans, const char *name)
{
	const LoadedPlan *plan = find(plans, name);

	return plan->count > 0 ? use(plan, 0) : NULL;
}

static const CrPlanVersion *
env_plan_at(void *ctx, const char *name, CrTime at)
{
	return plans_in_force(ctx, name, at);
}

static const CrPlanVersion *
env_plan_version(void *ctx, const char *name, int32_t version)
{
	const LoadedPlan *plan = find(ctx, name);

	for (int i = 0; i < plan->count; i++)
	{
		if (plan->versions[i].version == version)
			return &plan->versions[i];
	}
	return NULL;
}

static void
env_emit(void *ctx, const CrRow *row)
{
	Plans *plans = ctx;

	if (plans->emit)
		plans->emit(plans->emit_ctx, row);
}

CrEnv
plans_env(Plans *plans)
{
	CrEnv env = {
		.ctx = plans,
		.local_to_utc = zone_local_to_utc,
		.utc_to_local = zone_utc_to_local,
		.knows_zone = zone_is_known,
		.plan_at = env_plan_at,
		.plan_version = env_plan_version,
		.emit = env_emit,
	};

	return env;
}

void
plan_put_facts(Object *object, const CrPlanVersion *plan)
{
	object_text(object, "plan", plan->plan);
	object_int(object, "version", plan->version);
	object_time(object, "created_at", plan->created_at);
	object_time(object, "effective_from", plan->effective_from);
	object_int(object, "monthly_credits", plan->monthly_credits);
	object_text(object, "cycle", cr_cycle_name(plan->cycle));
	object_int(object, "rollover_limit", plan->rollover_limit);
	object_int(object, "low_balance_threshold", plan->low_balance_threshold);
}

/* A version as the audit log records it.  Verification compares the two. */
Datum
plan_facts(const CrPlanVersion *plan)
{
	Object object;

	object_begin(&object);
	plan_put_facts(&object, plan);
	return object_end(&object);
}
