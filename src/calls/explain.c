/*
 * explain.c
 *		credits_explain: how a user's balance came about.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/sums.h"
#include "ledger/request.h"
#include "ledger/state.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/checkpoint.h"
#include "tables/find.h"
#include "tables/lot_rows.h"
#include "tables/plan_versions.h"
#include "tables/rows.h"

PG_FUNCTION_INFO_V1(credits_explain);

/* What the rows of one kind did to a bucket. */
typedef struct Flow
{
	int64 in;
	int64 out;
} Flow;

typedef struct Flows
{
	Flow monthly[CR_KIND_COUNT]; /* in the current period */
	Flow granted[CR_KIND_COUNT];
	Flow purchased[CR_KIND_COUNT];
} Flows;

static void
flow(Flow *flows, CrKind kind, int64 delta)
{
	if (delta > 0)
		sum_add(&flows[kind].in, delta);
	else
		sum_subtract(&flows[kind].out, delta);
}

/*
 * Events that are due but not written are not counted: the numbers of a bucket explain
 * what its last written row says.
 */
static void
sum_flows(Flows *flows, const char *user_id, CrTime period_start)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext memory = AllocSetContextCreate(old, "credits explain row",
												 ALLOCSET_DEFAULT_SIZES);
	Lookup lookup;
	Checkpoint ckpt;

	memset(flows, 0, sizeof(*flows));
	if (checkpoint_find(user_id, GetActiveSnapshot(), &ckpt))
	{
		/* the sum of the archived rows */
		if (ckpt.acc.period_start == period_start)
			flow(flows->monthly, CR_KIND_ARCHIVE, ckpt.acc.balance.monthly);
		flow(flows->granted, CR_KIND_ARCHIVE, ckpt.acc.balance.granted);
		flow(flows->purchased, CR_KIND_ARCHIVE, ckpt.acc.balance.purchased);
	}
	lookup_begin(&lookup, TABLE_HISTORY, INDEX_HISTORY, GetActiveSnapshot());
	lookup_text_key(&lookup, 1, user_id);
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		CrRow row;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(memory);
		row_from_slot(&row, lookup.slot);
		if (row.period_start == period_start)
			flow(flows->monthly, row.kind, row.delta.monthly);
		flow(flows->granted, row.kind, row.delta.granted);
		flow(flows->purchased, row.kind, row.delta.purchased);
		MemoryContextSwitchTo(old);
		MemoryContextReset(memory);
	}
	lookup_end(&lookup);
	MemoryContextDelete(memory);
}

static void
put_key(StringInfo buf, const char *key)
{
	if (buf->data[buf->len - 1] != '{' && buf->data[buf->len - 1] != '[')
		appendStringInfoString(buf, ", ");
	if (key)
	{
		escape_json(buf, key);
		appendStringInfoString(buf, ": ");
	}
}

static void
open_object(StringInfo buf, const char *key)
{
	put_key(buf, key);
	appendStringInfoChar(buf, '{');
}

static void
put_flows(StringInfo buf, const Flow *flows)
{
	open_object(buf, "came_from");
	for (int kind = 0; kind < CR_KIND_COUNT; kind++)
	{
		if (flows[kind].in > 0)
			json_int(buf, cr_kind_name(kind), flows[kind].in);
	}
	appendStringInfoChar(buf, '}');
	open_object(buf, "taken_by");
	for (int kind = 0; kind < CR_KIND_COUNT; kind++)
	{
		if (flows[kind].out > 0)
			json_int(buf, cr_kind_name(kind), flows[kind].out);
	}
	appendStringInfoChar(buf, '}');
}

static int64
held_of_grant(const CrAccount *acc, int64 seq)
{
	int64 held = 0;

	for (int i = 0; i < acc->lots->n_holds; i++)
	{
		const CrHold *hold = &acc->lots->holds[i];

		for (int j = 0; hold->state == CR_HOLD_OPEN && j < hold->n_parts; j++)
		{
			if (hold->parts[j].source == seq)
				sum_add(&held, hold->parts[j].credits);
		}
	}
	return held;
}

static void
put_grants(StringInfo buf, const CrAccount *acc, CrTime now)
{
	put_key(buf, "grants");
	appendStringInfoChar(buf, '[');
	for (int i = 0; i < acc->lots->n_grants; i++)
	{
		const CrGrant *grant = &acc->lots->grants[i];
		int64 held = held_of_grant(acc, grant->seq);

		if ((grant->left == 0 && held == 0) || grant->ends_at <= now)
			continue;
		open_object(buf, NULL);
		json_int(buf, "seq", grant->seq);
		json_int(buf, "amount", grant->amount);
		json_int(buf, "remaining", grant->left);
		json_int(buf, "held", held);
		json_int(buf, "spent", grant->amount - grant->left - held);
		json_time(buf, "ends_at", grant->ends_at);
		appendStringInfoChar(buf, '}');
	}
	appendStringInfoChar(buf, ']');
}

static void
put_holds(StringInfo buf, const CrAccount *acc)
{
	put_key(buf, "holds");
	appendStringInfoChar(buf, '[');
	for (int i = 0; i < acc->lots->n_holds; i++)
	{
		const CrHold *hold = &acc->lots->holds[i];

		if (hold->state != CR_HOLD_OPEN)
			continue;
		open_object(buf, NULL);
		json_int(buf, "seq", hold->seq);
		json_int(buf, "amount", hold->amount);
		json_int(buf, "held", cr_hold_left(hold));
		json_int(buf, "monthly", hold->monthly);
		json_int(buf, "granted", cr_hold_left(hold) - hold->monthly - hold->purchased);
		json_int(buf, "purchased", hold->purchased);
		json_time(buf, "ends_at", hold->ends_at);
		json_bool(buf, "period_ended", hold->period_start != acc->period_start);
		appendStringInfoChar(buf, '}');
	}
	appendStringInfoChar(buf, ']');
}

/* What the next reset does if nothing is spent until then and no plan is changed. */
static void
put_next_reset(StringInfo buf, const CrAccount *acc, Plans *plans)
{
	const char *name = acc->facts.scheduled_plan ? acc->facts.scheduled_plan : acc->facts.plan;
	const CrPlanVersion *plan = NULL;
	int64 kept;

	put_key(buf, "next_reset");
	if (acc->next_reset_at == CR_NEVER)
	{
		appendStringInfoString(buf, "null");
		return;
	}
	if (name && name[0] != '\0')
		plan = plans_in_force(plans, name, acc->next_reset_at);
	kept = Min(acc->balance.monthly, plan ? plan->rollover_limit : 0);
	appendStringInfoChar(buf, '{');
	json_time(buf, "at", acc->next_reset_at);
	json_text(buf, "plan", plan ? plan->plan : NULL);
	json_int(buf, "credits", plan ? plan->monthly_credits : 0);
	json_int(buf, "rolls_over", kept);
	json_int(buf, "expires", acc->balance.monthly - kept);
	appendStringInfoChar(buf, '}');
}

Datum
credits_explain(PG_FUNCTION_ARGS)
{
	char *user_id;
	CrAccount acc;
	CrTime now;
	CrTime written_period;
	State state;
	CrBuckets written;
	Flows flows;
	Plans plans;
	StringInfoData buf;

	store_attach(fcinfo);
	user_id = arg_name(fcinfo, 0, "user_id");
	if (!find_account(user_id, GetActiveSnapshot(), &acc))
		error_account_not_found(user_id);
	now = Max(clock_statement(), acc.effective_at);
	written = acc.balance;
	written_period = acc.period_start;
	plans_init(&plans, GetActiveSnapshot());
	lots_load(&acc, GetActiveSnapshot());
	state = state_bring_up_to(&acc, &plans, now);
	sum_flows(&flows, user_id, written_period);

	json_begin(&buf);
	json_text(&buf, "user_id", user_id);
	json_int(&buf, "available", cr_available(&acc));
	json_int(&buf, "held", cr_held(&acc));
	json_int(&buf, "owed", cr_owed(&acc));
	json_text(&buf, "plan", acc.facts.plan);
	json_text(&buf, "status", cr_status_name(acc.facts.status));
	json_time(&buf, "as_of", state.as_of);
	if (state.waits_for_zone)
		json_bool(&buf, "time_zone_unknown", true);
	open_object(&buf, "monthly");
	json_int(&buf, "balance", acc.balance.monthly);
	json_int(&buf, "held", acc.held.monthly);
	json_int(&buf, "owed", acc.owed_monthly);
	json_int(&buf, "due", acc.balance.monthly - written.monthly);
	json_time(&buf, "period_start", acc.period_start);
	json_int(&buf, "period_granted", acc.facts.period_granted);
	put_flows(&buf, flows.monthly);
	appendStringInfoChar(&buf, '}');
	open_object(&buf, "granted");
	json_int(&buf, "balance", acc.balance.granted);
	json_int(&buf, "held", acc.held.granted);
	json_int(&buf, "due", acc.balance.granted - written.granted);
	put_grants(&buf, &acc, state.as_of);
	put_flows(&buf, flows.granted);
	appendStringInfoChar(&buf, '}');
	open_object(&buf, "purchased");
	json_int(&buf, "balance", acc.balance.purchased);
	json_int(&buf, "held", acc.held.purchased);
	json_int(&buf, "owed", acc.owed_purchased);
	json_int(&buf, "due", acc.balance.purchased - written.purchased);
	json_int(&buf, "overdraft_limit", acc.facts.overdraft_limit);
	put_flows(&buf, flows.purchased);
	appendStringInfoChar(&buf, '}');
	put_holds(&buf, &acc);
	put_next_reset(&buf, &acc, &plans);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json_end(&buf)));
}
