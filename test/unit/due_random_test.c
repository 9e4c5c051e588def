/*
 * due_random_test.c
 *		The state at a time depends only on the history and on that time.
 *
 * The same random calls are made on three accounts and on a model.  One account is
 * swept at random times, one at every boundary, one never; the model applies
 * boundaries one by one in the plainest way.  All must end in the same state, and
 * every call must have the same verdict on all of them.
 */
#include "unit.h"

#define START utc(2026, 1, 1, 0, 0, 0)
#define RUNS 1000
#define CALLS 24

typedef struct Model
{
	int64_t		monthly;
	int64_t		purchased;
	int64_t		owed_monthly;
	int64_t		owed_purchased;
	int64_t		overdraft_limit;
	int64_t		period_granted;
	const CrPlanVersion *version;
	CrCycle		cycle;			/* of the period, also after its plan was cancelled */
	const char *scheduled;
	bool		frozen;
	CrTime		start;
	CrTime		end;
	CrLocal		anchor;
	const char *zone;
	int64_t		boundaries;
} Model;

static World swept;
static World sleeper;
static World woken;
static Model model;

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static CrTime
model_boundary(CrCycle cycle, CrTime from)
{
	return boundary_from(cycle, model.zone, model.anchor, from);
}

static void
model_open(const CrPlanVersion *version, CrTime at, CrLocal anchor, const char *zone)
{
	memset(&model, 0, sizeof(model));
	model.anchor = anchor;
	model.zone = zone;
	model.version = version;
	model.monthly = model.period_granted = version ? version->monthly_credits : 0;
	model.start = at;
	model.cycle = version ? version->cycle : CR_CALENDAR;
	model.end = version ? model_boundary(version->cycle, at + 1) : CR_NEVER;
}

static void
model_fold(CrTime at)
{
	while (model.end <= at)
	{
		const char *plan = model.version ? model.version->plan : NULL;
		CrTime		boundary = model.end;
		CrTime		end;

		if (model.scheduled != NULL)
			plan = model.scheduled[0] != '\0' ? model.scheduled : NULL;
		model.scheduled = NULL;
		model.version = plan ? world_plan_at(&sleeper, plan, boundary) : NULL;
		model.owed_monthly = 0;
		model.monthly = least(model.monthly, model.version ? model.version->rollover_limit : 0);
		model.period_granted = model.version ? model.version->monthly_credits : 0;
		model.monthly += model.period_granted;
		model.start = boundary;
		model.boundaries++;
		if (model.version == NULL)
		{
			model.end = CR_NEVER;
			continue;
		}
		end = model_boundary(model.cycle, boundary + 1);
		model.end = model_boundary(model.version->cycle, end);
		model.cycle = model.version->cycle;
	}
}

static void
model_credit(int64_t *balance, int64_t *owed, int64_t amount)
{
	int64_t		paid = least(*owed, amount);

	*owed -= paid;
	*balance += amount - paid;
}

static CrVerdict
model_deduct(int64_t amount)
{
	int64_t		part = least(model.monthly, amount);
	int64_t		rest = amount - part;
	int64_t		short_of = rest > model.purchased ? rest - model.purchased : 0;

	if (model.frozen)
		return CR_IS_FROZEN;
	if (short_of > 0 && model.owed_purchased + short_of > model.overdraft_limit)
		return CR_INSUFFICIENT;
	model.monthly -= part;
	model.purchased -= rest - short_of;
	model.owed_purchased += short_of;
	return CR_OK;
}

static CrVerdict
model_adjust(CrBucket bucket, int64_t delta)
{
	int64_t    *balance = bucket == CR_MONTHLY ? &model.monthly : &model.purchased;
	int64_t    *owed = bucket == CR_MONTHLY ? &model.owed_monthly : &model.owed_purchased;

	if (delta > 0)
		model_credit(balance, owed, delta);
	else if (*balance + delta < 0)
		return CR_INSUFFICIENT;
	else
		*balance += delta;
	return CR_OK;
}

static CrVerdict
model_set_plan(const CrPlanVersion *version, CrTime at)
{
	int64_t		allowance = version ? version->monthly_credits : 0;

	if (allowance > model.period_granted)
	{
		model_credit(&model.monthly, &model.owed_monthly, allowance - model.period_granted);
		model.period_granted = allowance;
	}
	else
	{
		int64_t		taken = least(model.monthly, model.period_granted - allowance);

		model.monthly -= taken;
		model.period_granted -= taken;
	}
	if (version != NULL && model.end == CR_NEVER)
	{
		model.start = at;
		model.end = model_boundary(version->cycle, at + 1);
	}
	else if (version != NULL)
		model.end = model_boundary(version->cycle, model.end);
	if (version != NULL)
		model.cycle = version->cycle;
	model.version = version;
	model.scheduled = NULL;
	return CR_OK;
}

/* Scheduling what the account has, a plan or none, takes back what was scheduled. */
static CrVerdict
model_schedule(const char *plan)
{
	if (model.end == CR_NEVER)
		return CR_NO_PERIOD;
	if (same_text(plan, model.version ? model.version->plan : NULL))
		model.scheduled = NULL;
	else
		model.scheduled = plan ? plan : "";
	return CR_OK;
}

static CrVerdict
model_run(const Command *cmd)
{
	model_fold(cmd->at);
	switch (cmd->op)
	{
		case OP_DEDUCT:
			return model_deduct(cmd->amount);
		case OP_PURCHASE:
			model_credit(&model.purchased, &model.owed_purchased, cmd->amount);
			return CR_OK;
		case OP_ADJUST:
			return model_adjust(cmd->bucket, cmd->amount);
		case OP_SET_PLAN:
			return model_set_plan(world_plan_at(&sleeper, cmd->plan, cmd->at), cmd->at);
		case OP_CANCEL:
			return model_set_plan(NULL, cmd->at);
		case OP_SCHEDULE:
		case OP_SCHEDULE_CANCEL:
			return model_schedule(cmd->op == OP_SCHEDULE ? cmd->plan : NULL);
		case OP_FREEZE:
		case OP_UNFREEZE:
			model.frozen = cmd->op == OP_FREEZE;
			return CR_OK;
		default:
			break;				/* lots_random_test.c */
	}
	return CR_OK;
}

static const char *
model_differs(const CrAccount *acc)
{
	if (acc->balance.monthly != model.monthly)
		return "monthly";
	if (acc->balance.purchased != model.purchased || acc->balance.granted != 0)
		return "purchased or granted";
	if (acc->owed_monthly != model.owed_monthly || acc->owed_purchased != model.owed_purchased)
		return "owed";
	if (acc->facts.period_granted != model.period_granted)
		return "period_granted";
	if (!same_text(acc->facts.plan, model.version ? model.version->plan : NULL) ||
		acc->facts.plan_version != (model.version ? model.version->version : 0))
		return "plan";
	if (!same_text(acc->facts.scheduled_plan, model.scheduled))
		return "scheduled plan";
	if ((acc->facts.status == CR_FROZEN) != model.frozen)
		return "status";
	if (acc->period_start != model.start)
		return "period_start";
	if (acc->next_reset_at != model.end)
		return "next_reset_at";
	return NULL;
}

static int64_t
boundaries_in(const World *w)
{
	int64_t		n = 0;

	for (int i = 0; i < w->n_rows; i++)
	{
		if (w->rows[i].kind == CR_KIND_RESET)
			n += 1 + w->rows[i].skipped;
	}
	return n;
}

/* The sum of all deltas must be the balance. */
static const char *
sums_differ(const World *w)
{
	int64_t		monthly = 0;
	int64_t		purchased = 0;

	for (int i = 0; i < w->n_rows; i++)
	{
		const CrRow *row = &w->rows[i];

		monthly += row->delta.monthly;
		purchased += row->delta.purchased;
		if (row->balance.monthly != monthly || row->balance.purchased != purchased)
			return "the rows' deltas do not add up to their balances";
		if (row->kind == CR_KIND_RESET && row->delta.monthly != row->amount - row->expired)
			return "a reset's change is not what it granted less what expired";
		if (i > 0 && row->effective_at < w->rows[i - 1].effective_at)
			return "effective_at goes back";
	}
	if (w->n_rows == MAX_ROWS)
		return "too many rows for the test";
	return NULL;
}

/* Brings one account to a time in several steps. */
static void
sweep(World *w, CrTime from, CrTime to)
{
	while (from < to && one_in(2))
	{
		from += random_between(0, (to - from) / 2);
		world_fold(w, from);
		if (one_in(3))
			world_fold(w, w->acc.next_reset_at < to ? w->acc.next_reset_at : from);
	}
}

static CrTime
step(CrTime at)
{
	switch (random_between(1, 6))
	{
		case 1:
			return at;
		case 2:
			return at + random_between(0, 200 * DAY);
		case 3:
			return boundary_from(CR_CALENDAR, model.zone, model.anchor, at + 1);
		case 4:
			return boundary_from(CR_ANNIVERSARY, model.zone, model.anchor, at + 2) - 1;
		default:
			return at + random_between(0, 20 * DAY);
	}
}

static const char *
verdicts(const Command *cmd)
{
	bool		was_due = sleeper.acc.next_reset_at <= cmd->at;
	CrVerdict	want = model_run(cmd);

	if (was_due && !cr_is_due(&sleeper.acc, cmd->at))
		return "something was due and the account did not know";
	if (world_run(&swept, cmd) != want)
		return "the swept account's verdict differs";
	if (world_run(&sleeper, cmd) != want)
		return "the sleeping account's verdict differs";
	if (world_run(&woken, cmd) != want)
		return "the verdict of the account folded at every boundary differs";
	return NULL;
}

static const char *
compare(void)
{
	const char *wrong = model_differs(&sleeper.acc);

	if (wrong == NULL && !same_account(&sleeper.acc, &swept.acc))
		wrong = "swept and sleeping accounts differ";
	if (wrong == NULL && !same_account(&sleeper.acc, &woken.acc))
		wrong = "accounts folded at once and at every boundary differ";
	if (wrong == NULL)
		wrong = account_breaks(&sleeper.acc);
	if (wrong == NULL && (boundaries_in(&sleeper) != model.boundaries ||
						  boundaries_in(&swept) != model.boundaries))
		wrong = "rows do not count every boundary";
	return wrong;
}

static void
test_any_history(bool cycles, const char *name)
{
	const char *wrong = NULL;
	int64_t		total = 0;

	for (int run = 0; run < RUNS && wrong == NULL; run++)
	{
		int			n_plans;
		CrTime		at = START + random_between(0, 40 * DAY);
		CrTime		before = at;
		const char *zone = one_in(2) ? "UTC" : random_zone();
		CrLocal		anchor = zone_to_local(zone, at - random_between(0, 80 * DAY));
		const char *plan;

		world_init(&sleeper);
		n_plans = world_random_plans(&sleeper, START, START + 700 * DAY, cycles);
		plan = one_in(10) ? NULL : sleeper.versions[0].plan;
		for (int i = 0; i < 2; i++)
		{
			World	   *w = i ? &swept : &woken;

			world_init(w);
			memcpy(w->versions, sleeper.versions, sizeof(w->versions));
			w->n_versions = sleeper.n_versions;
		}
		world_open(&sleeper, at, plan, anchor, zone);
		world_open(&swept, at, plan, anchor, zone);
		world_open(&woken, at, plan, anchor, zone);
		model_open(plan ? world_plan_at(&sleeper, plan, at) : NULL, at, anchor, zone);
		if (one_in(4))
		{
			sleeper.acc.facts.overdraft_limit = 60;
			swept.acc.facts.overdraft_limit = 60;
			woken.acc.facts.overdraft_limit = 60;
			model.overdraft_limit = 60;
		}

		for (int call = 0; call < CALLS && wrong == NULL; call++)
		{
			Command		cmd = world_random_command(step(at), n_plans);

			before = at;
			at = cmd.at;
			sweep(&swept, before, at);
			while (woken.acc.next_reset_at <= at)
				world_fold(&woken, woken.acc.next_reset_at);
			wrong = verdicts(&cmd);
			if (wrong == NULL)
				wrong = compare();
			if (wrong != NULL)
				note("run %d, call %d (%d, %" PRId64 ", %s) at %s, the one before at %s", run,
					 call, (int) cmd.op, cmd.amount, cmd.plan, show_time(at), show_time(before));
		}
		before = at;
		at += random_between(0, 400 * DAY);
		if (wrong == NULL)
		{
			sweep(&swept, before, at);
			world_fold(&swept, at);
			while (woken.acc.next_reset_at <= at)
				world_fold(&woken, woken.acc.next_reset_at);
			world_fold(&sleeper, at);
			model_fold(at);
			wrong = compare();
			if (wrong == NULL)
				wrong = sums_differ(&swept);
			if (wrong == NULL)
				wrong = sums_differ(&sleeper);
			if (wrong != NULL)
				note("run %d, folded to %s", run, show_time(at));
		}
		total += model.boundaries;
	}
	if (ok(wrong == NULL, "%s", name))
		note("%" PRId64 " boundaries in %d histories", total, RUNS);
	else
	{
		note("%s, in %s from anchor %s", wrong, model.zone, show_time(model.anchor));
		for (int i = 0; i < sleeper.n_versions; i++)
		{
			const CrPlanVersion *v = &sleeper.versions[i];

			note("plan %s v%d: %" PRId64 " %s rollover %" PRId64 " from %s", v->plan,
				 (int) v->version, v->monthly_credits, cr_cycle_name(v->cycle),
				 v->rollover_limit, show_time(v->effective_from));
		}
		note("model:    monthly %" PRId64 " purchased %" PRId64 " granted in period %" PRId64
			 " plan %s v%d, from %s to %s",
			 model.monthly, model.purchased, model.period_granted,
			 model.version ? model.version->plan : "-", model.version ? model.version->version : 0,
			 show_time(model.start), show_time(model.end));
		note("sleeping: %s", show_account(&sleeper.acc));
		note("swept:    %s", show_account(&swept.acc));
		note("stepwise: %s", show_account(&woken.acc));
	}
}

/*
 * It must not matter when an account is folded, also if it reaches the cap and has
 * holds, grants and debts.
 */
static void
test_near_the_cap(void)
{
	const char *wrong = NULL;

	for (int run = 0; run < RUNS && wrong == NULL; run++)
	{
		CrTime		at = START + random_between(0, 40 * DAY);
		CrTime		end = at + random_between(0, 300 * DAY);
		CrAccount	start;
		int64_t		room;

		world_init(&sleeper);
		world_random_plans(&sleeper, START, START + 300 * DAY, false);
		world_open(&sleeper, at, sleeper.versions[0].plan, START, "UTC");
		start = sleeper.acc;
		start.held.monthly = random_between(0, 50);
		start.held.granted = random_between(0, 50);
		start.held.purchased = random_between(0, 50);
		start.balance.monthly = random_between(0, 300);
		start.balance.granted = random_between(0, 50);
		room = random_between(0, 400);
		start.balance.purchased = CR_MAX_CREDITS - cr_held(&start) - start.balance.monthly -
			start.balance.granted - room;
		if (one_in(3))
		{
			start.balance.monthly = 0;
			start.owed_monthly = random_between(0, 100);
		}
		swept = sleeper;
		swept.env.ctx = &swept;
		sleeper.acc = swept.acc = start;
		world_fold(&sleeper, end);
		sweep(&swept, at, end);
		world_fold(&swept, end);
		if (!same_account(&sleeper.acc, &swept.acc))
			wrong = "swept and sleeping accounts differ";
		if (wrong == NULL)
			wrong = account_breaks(&sleeper.acc);
		if (wrong == NULL && memcmp(&sleeper.acc.held, &start.held, sizeof(CrBuckets)) != 0)
			wrong = "held credits changed";
		if (wrong == NULL && (sleeper.acc.balance.granted != start.balance.granted ||
							  sleeper.acc.balance.purchased != start.balance.purchased))
			wrong = "granted or purchased credits changed";
		if (wrong != NULL)
		{
			note("run %d, folded to %s: %s", run, show_time(end), wrong);
			note("start:    %s", show_account(&start));
			note("sleeping: %s", show_account(&sleeper.acc));
			note("swept:    %s", show_account(&swept.acc));
		}
	}
	ok(wrong == NULL, "near the cap it does not matter when an account is folded either");
}

void
test_due_random(void)
{
	test_any_history(false, "random histories: swept at random, stepwise, never, and the model");
	test_any_history(true, "and with plans whose cycle differs or changes");
	test_near_the_cap();
}
