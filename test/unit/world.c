/*
 * world.c
 *		A ledger in memory: plan versions, one account and its rows.
 *
 * It does around the core what the real ledger does: gives a call the greater
 * of the clock and the account's time, applies what is due first, and numbers
 * the rows.  row_breaks() and account_breaks() are what must hold for any row
 * and any account.
 */
#include <stdlib.h>

#include "unit.h"

static CrTime
env_local_to_utc(void *ctx, const char *zone, CrLocal local)
{
	((World *) ctx)->zone_calls++;
	return zone_to_utc(zone, local);
}

static CrLocal
env_utc_to_local(void *ctx, const char *zone, CrTime at)
{
	((World *) ctx)->zone_calls++;
	return zone_to_local(zone, at);
}

static const CrPlanVersion *
env_plan_at(void *ctx, const char *plan, CrTime at)
{
	return world_plan_at(ctx, plan, at);
}

static const CrPlanVersion *
env_plan_version(void *ctx, const char *plan, int32_t version)
{
	World	   *w = ctx;

	for (int i = 0; i < w->n_versions; i++)
	{
		if (same_text(w->versions[i].plan, plan) && w->versions[i].version == version)
			return &w->versions[i];
	}
	return NULL;
}

static void
env_emit(void *ctx, const CrRow *row)
{
	World	   *w = ctx;
	CrRow	   *kept = &w->rows[w->n_rows];

	if (w->n_rows == MAX_ROWS)
		return;
	*kept = *row;
	kept->user_id = w->acc.user_id;
	kept->seq = ++w->n_rows;
	kept->created_at = row->effective_at;
	kept->actor = "app";
}

static void *
take_memory(void *ctx, size_t size)
{
	World	   *w = ctx;
	void	   *taken = w->memory + w->used;

	w->used += (size + 15) & ~(size_t) 15;
	if (w->used > sizeof(w->memory))
		abort();
	return taken;
}

/* Empty lists of grants and holds; those that were given before are gone. */
CrOpen *
world_lists(World *w)
{
	memset(&w->open, 0, sizeof(w->open));
	w->used = 0;
	w->open.alloc = take_memory;
	w->open.ctx = w;
	return &w->open;
}

void
world_init(World *w)
{
	memset(w, 0, sizeof(*w));
	w->env.ctx = w;
	w->env.local_to_utc = env_local_to_utc;
	w->env.utc_to_local = env_utc_to_local;
	w->env.plan_at = env_plan_at;
	w->env.plan_version = env_plan_version;
	w->env.emit = env_emit;
	cr_account_init(&w->acc, "user_2abc");
}

const CrPlanVersion *
world_plan(World *w, const char *plan, CrTime from, int64_t monthly, CrCycle cycle,
		   int64_t rollover)
{
	CrPlanVersion *v = &w->versions[w->n_versions];

	v->version = 1;
	for (int i = 0; i < w->n_versions; i++)
	{
		if (same_text(w->versions[i].plan, plan))
			v->version = w->versions[i].version + 1;
	}
	v->plan = plan;
	v->effective_from = from;
	v->created_at = from;
	v->monthly_credits = monthly;
	v->cycle = cycle;
	v->rollover_limit = rollover;
	w->n_versions++;
	return v;
}

const CrPlanVersion *
world_plan_at(const World *w, const char *plan, CrTime at)
{
	const CrPlanVersion *found = NULL;

	for (int i = 0; i < w->n_versions; i++)
	{
		const CrPlanVersion *v = &w->versions[i];

		if (same_text(v->plan, plan) && v->effective_from <= at)
			found = v;
	}
	return found;
}

static void
append(World *w, const CrRow *row)
{
	env_emit(w, row);
	w->acc.history_seq = w->n_rows;
}

CrVerdict
world_open(World *w, CrTime at, const char *plan, CrLocal anchor, const char *zone)
{
	CrRow		row = {0};
	const CrPlanVersion *v = plan ? world_plan_at(w, plan, at) : NULL;
	CrVerdict	verdict = cr_open(&w->acc, &w->env, at, v, anchor, zone, &row);

	if (verdict == CR_OK)
		append(w, &row);
	return verdict;
}

int
world_fold(World *w, CrTime at)
{
	int			before = w->n_rows;

	cr_fold_due(&w->acc, &w->env, at);
	w->acc.history_seq = w->n_rows;
	return w->n_rows - before;
}

CrVerdict
world_run(World *w, const Command *cmd)
{
	CrAccount  *acc = &w->acc;
	CrRow		row = {0};
	CrVerdict	verdict = CR_OK;
	CrTime		at = cmd->at;

	if (cmd->op != OP_REPAIR_CLOCK)
	{
		if (at < acc->effective_at)
			at = acc->effective_at;
		world_fold(w, at);
	}
	switch (cmd->op)
	{
		case OP_DEDUCT:
			verdict = cr_deduct(acc, at, cmd->amount, &row);
			break;
		case OP_PURCHASE:
			verdict = cr_purchase(acc, at, cmd->amount, &row);
			break;
		case OP_ADJUST:
			verdict = cr_adjust(acc, at, cmd->bucket, cmd->amount, &row);
			break;
		case OP_SET_PLAN:
			verdict = cr_set_plan(acc, &w->env, at, world_plan_at(w, cmd->plan, at), &row);
			break;
		case OP_CANCEL:
			verdict = cr_set_plan(acc, &w->env, at, NULL, &row);
			break;
		case OP_SCHEDULE:
			verdict = cr_schedule_plan(acc, at, cmd->plan, &row);
			break;
		case OP_SCHEDULE_CANCEL:
			verdict = cr_schedule_plan(acc, at, NULL, &row);
			break;
		case OP_FREEZE:
			verdict = cr_set_status(acc, at, CR_FROZEN, &row);
			break;
		case OP_UNFREEZE:
			verdict = cr_set_status(acc, at, CR_ACTIVE, &row);
			break;
		case OP_REPAIR_CLOCK:
			verdict = cr_repair_clock(acc, at, &row);
			break;
	}
	if (verdict == CR_OK)
		append(w, &row);
	return verdict;
}

CrVerdict
world_deduct(World *w, CrTime at, int64_t amount)
{
	Command		cmd = {OP_DEDUCT, at, amount, CR_MONTHLY, NULL};

	return world_run(w, &cmd);
}

CrVerdict
world_purchase(World *w, CrTime at, int64_t amount)
{
	Command		cmd = {OP_PURCHASE, at, amount, CR_MONTHLY, NULL};

	return world_run(w, &cmd);
}

/* A plan of NULL cancels. */
CrVerdict
world_set_plan(World *w, CrTime at, const char *plan)
{
	Command		cmd = {plan ? OP_SET_PLAN : OP_CANCEL, at, 0, CR_MONTHLY, plan};

	return world_run(w, &cmd);
}

/* A plan of NULL cancels. */
CrVerdict
world_schedule(World *w, CrTime at, const char *plan)
{
	Command		cmd = {plan ? OP_SCHEDULE : OP_SCHEDULE_CANCEL, at, 0, CR_MONTHLY, plan};

	return world_run(w, &cmd);
}

static const char *const plan_names[] = {"free", "pro", "team", "max"};

/*
 * Up to four plans, each with a version from the start and more later, some
 * of them in force from the very instant of a boundary.  Returns how many.
 */
int
world_random_plans(World *w, CrTime from, CrTime to, bool cycles)
{
	int			n_plans = (int) random_between(1, lengthof(plan_names));

	for (int p = 0; p < n_plans; p++)
	{
		CrTime		at = from;

		do
		{
			int64_t		rollover = one_in(2) ? 0 : random_between(1, 150);
			CrCycle		cycle = cycles && one_in(3) ? CR_ANNIVERSARY : CR_CALENDAR;

			world_plan(w, plan_names[p], at, random_between(0, 20) * 10, cycle, rollover);
			at += random_between(1, 100 * DAY);
			if (one_in(2))
				at = boundary_from(CR_CALENDAR, one_in(2) ? "UTC" : random_zone(), 0, at);
		} while (at < to && one_in(2));
	}
	return n_plans;
}

Command
world_random_command(CrTime at, int n_plans)
{
	Command		cmd = {OP_DEDUCT, at, random_between(1, 120), CR_MONTHLY, NULL};

	cmd.plan = plan_names[random_between(0, n_plans - 1)];
	switch (random_between(1, 20))
	{
		case 1:
		case 2:
			cmd.op = OP_PURCHASE;
			break;
		case 3:
			cmd.op = OP_ADJUST;
			cmd.bucket = one_in(2) ? CR_MONTHLY : CR_PURCHASED;
			cmd.amount = random_between(1, 40) * (one_in(2) ? 1 : -1);
			break;
		case 4:
		case 5:
			cmd.op = OP_SET_PLAN;
			break;
		case 6:
			cmd.op = OP_CANCEL;
			break;
		case 7:
		case 8:
			cmd.op = OP_SCHEDULE;
			break;
		case 9:
			cmd.op = OP_SCHEDULE_CANCEL;
			break;
		case 10:
			cmd.op = OP_FREEZE;
			break;
		case 11:
		case 12:
			cmd.op = OP_UNFREEZE;
			break;
		default:
			cmd.op = OP_DEDUCT;
			break;
	}
	return cmd;
}

bool
buckets_are(const CrBuckets *got, int64_t monthly, int64_t granted, int64_t purchased)
{
	if (got->monthly == monthly && got->granted == granted && got->purchased == purchased)
		return true;
	note("got %" PRId64 " monthly, %" PRId64 " granted, %" PRId64 " purchased", got->monthly,
		 got->granted, got->purchased);
	return false;
}

static bool
same_buckets(const CrBuckets *a, const CrBuckets *b)
{
	return a->monthly == b->monthly && a->granted == b->granted &&
		a->purchased == b->purchased;
}

/* Does cr_facts_equal() notice every difference?  This one does. */
static bool
same_facts(const CrFacts *a, const CrFacts *b)
{
	return same_text(a->plan, b->plan) && a->plan_version == b->plan_version &&
		same_text(a->scheduled_plan, b->scheduled_plan) &&
		a->cycle_anchor == b->cycle_anchor && same_text(a->time_zone, b->time_zone) &&
		a->status == b->status && a->overdraft_limit == b->overdraft_limit &&
		a->period_granted == b->period_granted;
}

/* All of the state but its history and next_event_at, which may be early. */
bool
same_account(const CrAccount *a, const CrAccount *b)
{
	return same_text(a->user_id, b->user_id) && same_buckets(&a->balance, &b->balance) &&
		same_buckets(&a->held, &b->held) && a->owed_monthly == b->owed_monthly &&
		a->owed_purchased == b->owed_purchased && same_facts(&a->facts, &b->facts) &&
		a->period_start == b->period_start && a->next_reset_at == b->next_reset_at &&
		a->effective_at == b->effective_at;
}

const char *
account_breaks(const CrAccount *acc)
{
	const CrBuckets *b = &acc->balance;
	const CrBuckets *h = &acc->held;
	uint64_t	total = 0;

	if (b->monthly < 0 || b->granted < 0 || b->purchased < 0)
		return "a balance below 0";
	if (h->monthly < 0 || h->granted < 0 || h->purchased < 0)
		return "a held amount below 0";
	if (acc->owed_monthly < 0 || acc->owed_purchased < 0)
		return "an owed amount below 0";
	total = (uint64_t) b->monthly + (uint64_t) b->granted + (uint64_t) b->purchased +
		(uint64_t) h->monthly + (uint64_t) h->granted + (uint64_t) h->purchased;
	if (total > (uint64_t) CR_MAX_CREDITS)
		return "a total above the cap";
	if ((b->monthly > 0 && acc->owed_monthly > 0) ||
		(b->purchased > 0 && acc->owed_purchased > 0))
		return "credits in a bucket that owes";
	if ((acc->facts.plan == NULL) != (acc->facts.plan_version == 0))
		return "a plan without a version, or a version without a plan";
	if (acc->facts.plan != NULL && acc->next_reset_at == CR_NEVER)
		return "a plan without an end of the period";
	if (acc->next_event_at > acc->next_reset_at)
		return "next_event_at later than the boundary";
	if (acc->period_start >= acc->next_reset_at)
		return "a period that does not end after its start";
	if (acc->facts.period_granted < 0)
		return "period_granted below 0";
	return NULL;
}

/* What must hold for any one row between two states. */
const char *
row_breaks(const CrAccount *before, const CrAccount *after, const CrRow *row)
{
	if (!same_buckets(&row->balance, &after->balance))
		return "balances differ from the account's";
	if (!same_buckets(&row->held, &after->held))
		return "held amounts differ from the account's";
	if (row->delta.monthly != after->balance.monthly - before->balance.monthly ||
		row->delta.granted != after->balance.granted - before->balance.granted ||
		row->delta.purchased != after->balance.purchased - before->balance.purchased)
		return "deltas are not the change";
	if (row->owed_monthly != after->owed_monthly || row->owed_purchased != after->owed_purchased)
		return "owed amounts differ from the account's";
	if (row->effective_at != after->effective_at)
		return "effective_at differs from the account's";
	if (row->period_start != after->period_start || row->next_reset_at != after->next_reset_at)
		return "the period differs from the account's";
	if (row->plan_version != after->facts.plan_version)
		return "the plan version differs from the account's";
	if (!row->has_facts && !same_facts(&before->facts, &after->facts))
		return "changed facts are not in the row";
	if (row->has_facts && !same_facts(&row->facts, &after->facts))
		return "the row's facts differ from the account's";
	if (row->expired < 0 || row->forfeited < 0 || row->skipped < 0)
		return "expired, forfeited or skipped below 0";
	if (row->kind < CR_KIND_GRANT && (row->has_ref_seq || row->has_ends_at ||
									  (row->n_allocations != 0) != (row->delta.granted < 0)))
		return "a reference, an end or allocations that this kind does not have";
	return NULL;
}

const char *
show_account(const CrAccount *acc)
{
	static char text[4][640];
	static int	next = 0;
	char	   *buf = text[next++ % 4];

	snprintf(buf, sizeof(text[0]),
			 "monthly %" PRId64 " granted %" PRId64 " purchased %" PRId64 " held %" PRId64
			 " owed %" PRId64 "+%" PRId64 " plan %s v%d then %s granted in period %" PRId64
			 " %s from %s to %s last row %s",
			 acc->balance.monthly, acc->balance.granted, acc->balance.purchased, cr_held(acc),
			 acc->owed_monthly, acc->owed_purchased, acc->facts.plan ? acc->facts.plan : "-",
			 (int) acc->facts.plan_version,
			 acc->facts.scheduled_plan ? acc->facts.scheduled_plan : "-",
			 acc->facts.period_granted, acc->facts.status == CR_FROZEN ? "frozen" : "active",
			 show_time(acc->period_start), show_time(acc->next_reset_at),
			 show_time(acc->effective_at));
	return buf;
}
