/*
 * explain.c
 *		credits_explain, credits_my_explain: how a user's balance came about.
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
#include "calls/current_user_id.h"
#include "ledger/request.h"
#include "ledger/state.h"
#include "live/counted.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/checkpoint.h"
#include "tables/find.h"
#include "tables/lot_rows.h"
#include "tables/plan_versions.h"
#include "tables/rows.h"

PG_FUNCTION_INFO_V1(credits_explain);
PG_FUNCTION_INFO_V1(credits_my_explain);

/*
 * What a user has of a bucket is its balance and what is held, minus what is owed.  For each
 * bucket, what came in less what was taken is exactly that.
 */
typedef struct Amounts
{
	int64 monthly;
	int64 granted;
	int64 purchased;
} Amounts;

/* What the rows of one kind did to a bucket. */
typedef struct Flow
{
	int64 in;
	int64 out;
} Flow;

typedef struct Flows
{
	Amounts has;   /* after the rows so far */
	int64 period;  /* the flows of the monthly bucket are of this period */
	int64 carried; /* what the monthly bucket had at the beginning of the period */
	Flow monthly[CR_KIND_COUNT];
	Flow granted[CR_KIND_COUNT];
	Flow purchased[CR_KIND_COUNT];
} Flows;

static void
flow(Flow *flows, CrKind kind, int64 change)
{
	if (change > 0)
		sum_add(&flows[kind].in, change);
	else
		sum_subtract(&flows[kind].out, change);
}

/*
 * A new period begins with what is carried over, and with the allowance.  What was left and
 * expired belongs to the period before.
 */
static void
begin_period(Flows *flows, const CrRow *row, const Amounts *has)
{
	bool grants = row->kind == CR_KIND_RESET || row->kind == CR_KIND_RESTART;
	int64 granted = grants ? row->amount : 0;

	memset(flows->monthly, 0, sizeof(flows->monthly));
	flows->period = row->period;
	flows->carried = grants ? has->monthly - granted : 0;
	flows->has.monthly = flows->carried;
}

static void
add_row(void *ctx, const CrRow *row)
{
	Flows *flows = ctx;
	Amounts has = {row->balance.monthly + row->held.monthly - row->owed_monthly,
				   row->balance.granted + row->held.granted,
				   row->balance.purchased + row->held.purchased - row->owed_purchased};

	if (row->period != flows->period)
		begin_period(flows, row, &has);
	flow(flows->monthly, row->kind, has.monthly - flows->has.monthly);
	flow(flows->granted, row->kind, has.granted - flows->has.granted);
	flow(flows->purchased, row->kind, has.purchased - flows->has.purchased);
	flows->has = has;
}

/* Begins with what the archived rows come to, as if they were one row. */
static void
begin_flows(Flows *flows, const char *user_id)
{
	Checkpoint ckpt;
	CrRow archived = {.kind = CR_KIND_ARCHIVE};

	memset(flows, 0, sizeof(*flows));
	flows->period = 1;
	if (!checkpoint_find(user_id, GetActiveSnapshot(), &ckpt))
		return;
	flows->period = archived.period = ckpt.acc.period;
	archived.balance = ckpt.acc.balance;
	archived.held = ckpt.acc.held;
	archived.owed_monthly = ckpt.acc.owed_monthly;
	archived.owed_purchased = ckpt.acc.owed_purchased;
	add_row(flows, &archived);
}

/* Adds the written rows. */
static void
sum_flows(Flows *flows, const char *user_id)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext memory = AllocSetContextCreate(old, "credits explain row",
												 ALLOCSET_DEFAULT_SIZES);
	Lookup lookup;

	begin_flows(flows, user_id);
	lookup_begin(&lookup, TABLE_HISTORY, INDEX_HISTORY, GetActiveSnapshot());
	lookup_text_key(&lookup, 1, user_id);
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		CrRow row;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(memory);
		row_from_slot(&row, lookup.slot);
		add_row(flows, &row);
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

/* carried: what the bucket had at the beginning. */
static void
put_flows(StringInfo buf, const Flow *flows, int64 carried)
{
	open_object(buf, "came_from");
	if (carried > 0)
		json_int(buf, "carried_over", carried);
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

/*
 * What chargebacks took of each grant that is paid for.  What they took elsewhere, because it
 * was held or spent, is not among it.
 */
static int64 *
revoked_of_grants(const CrAccount *acc)
{
	const CrLots *lots = acc->lots;
	int64 *revoked = palloc0(sizeof(int64) * Max(lots->n_grants, 1));
	Lookup lookup;

	lookup_begin(&lookup, TABLE_PAYMENT, INDEX_PAYMENT_USER, GetActiveSnapshot());
	lookup_text_key(&lookup, 1, acc->user_id);
	while (lookup_next(&lookup, ForwardScanDirection))
	{
		Payment payment;
		const char *problem = payment_read(&payment, lookup.slot);
		const CrGrant *grant;

		CHECK_FOR_INTERRUPTS();
		if (problem)
			error_corrupted("credit_payment", problem);
		grant = payment.granted ? cr_find_grant(acc, payment.seq) : NULL;
		if (grant)
			revoked[grant - lots->grants] = payment.revoked - grant->elsewhere;
	}
	lookup_end(&lookup);
	return revoked;
}

static void
put_grants(StringInfo buf, const CrAccount *acc, CrTime now)
{
	const int64 *revoked = revoked_of_grants(acc);

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
		json_int(buf, "spent", grant->amount - grant->left - held - revoked[i]);
		json_int(buf, "revoked", revoked[i]);
		json_time(buf, "ends_at", grant->ends_at);
		json_bool(buf, "paid", grant->paid);
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
		json_bool(buf, "period_ended", hold->period != acc->period);
		appendStringInfoChar(buf, '}');
	}
	appendStringInfoChar(buf, ']');
}

/* Keeps the reset among the rows that are due. */
static void
keep_reset(void *ctx, const CrRow *row)
{
	if (row->kind == CR_KIND_RESET)
		*(CrRow *) ctx = *row;
}

/*
 * What the next reset does if no call comes before it.  Applies it in memory, so this is the
 * last use of the account.
 */
static void
put_next_reset(StringInfo buf, CrAccount *acc, Plans *plans, CrRow *reset)
{
	CrTime at = acc->next_reset_at;

	memset(reset, 0, sizeof(*reset));
	put_key(buf, "next_reset");
	plans->emit = keep_reset;
	plans->emit_ctx = reset;
	if (at == CR_NEVER || state_bring_up_to(acc, plans, at).waits_for_zone)
	{
		appendStringInfoString(buf, "null");
		return;
	}
	appendStringInfoChar(buf, '{');
	json_time(buf, "at", at);
	json_text(buf, "plan", acc->facts.plan);
	json_int(buf, "credits", reset->amount);
	json_int(buf, "rolls_over", acc->balance.monthly - reset->amount);
	json_int(buf, "expires", reset->expired);
	json_int(buf, "period_share", acc->facts.period_share);
	appendStringInfoChar(buf, '}');
}

static Datum
explain(const char *user_id)
{
	CrAccount acc;
	CrTime now;
	State state;
	Flows flows;
	CrRow reset;
	Plans plans;
	StringInfoData buf;

	if (!find_account(user_id, GetActiveSnapshot(), &acc))
		error_account_not_found(user_id);
	now = Max(clock_statement(), acc.effective_at);
	sum_flows(&flows, user_id);
	plans_init(&plans, GetActiveSnapshot());
	plans.emit = add_row;
	plans.emit_ctx = &flows;
	lots_load(&acc, CR_NEVER, GetActiveSnapshot());
	state = state_bring_up_to(&acc, &plans, now);
	if (flows.period != acc.period) /* boundaries that make no row */
	{
		memset(flows.monthly, 0, sizeof(flows.monthly));
		flows.carried = 0;
	}

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
	json_int(&buf, "period", acc.period);
	json_time(&buf, "period_start", acc.facts.period_start);
	json_int(&buf, "period_share", acc.facts.period_share);
	json_int(&buf, "period_granted", acc.facts.period_granted);
	put_flows(&buf, flows.monthly, flows.carried);
	appendStringInfoChar(&buf, '}');
	open_object(&buf, "granted");
	json_int(&buf, "balance", acc.balance.granted);
	json_int(&buf, "held", acc.held.granted);
	put_grants(&buf, &acc, state.as_of);
	put_flows(&buf, flows.granted, 0);
	appendStringInfoChar(&buf, '}');
	open_object(&buf, "purchased");
	json_int(&buf, "balance", acc.balance.purchased);
	json_int(&buf, "held", acc.held.purchased);
	json_int(&buf, "owed", acc.owed_purchased);
	json_int(&buf, "overdraft_limit", acc.facts.overdraft_limit);
	put_flows(&buf, flows.purchased, 0);
	appendStringInfoChar(&buf, '}');
	put_holds(&buf, &acc);
	put_next_reset(&buf, &acc, &plans, &reset);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json_end(&buf)));
}

COUNTED_FUNCTION(credits_explain, CALL_EXPLAIN)
{
	store_attach(fcinfo);
	return explain(arg_name(fcinfo, 0, "user_id"));
}

COUNTED_FUNCTION(credits_my_explain, CALL_MY_EXPLAIN)
{
	char *user_id = current_user_id();

	if (user_id == NULL)
		PG_RETURN_NULL();
	store_attach(fcinfo);
	return explain(user_id);
}
