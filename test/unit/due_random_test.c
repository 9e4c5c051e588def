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

/* What the end of a period was worked out from. */
typedef struct MadeFrom
{
	CrCycle		cycle;			/* CR_NO_CYCLE: of nothing, it is no boundary */
	CrLocal		anchor;
	const char *zone;
} MadeFrom;

typedef struct Model
{
	int64_t		monthly;
	int64_t		purchased;
	int64_t		owed_monthly;
	int64_t		owed_purchased;
	int64_t		overdraft_limit;
	int64_t		period_granted;
	const CrPlanVersion *version;
	CrCycle		cycle;			/* of the plan, or of the last one */
	const char *scheduled;
	bool		frozen;
	int64_t		period;
	int64_t		share;
	CrTime		start;
	CrTime		end;
	MadeFrom	end_from;
	int64_t		left;			/* at the last boundary */
	int64_t		limit;
	CrLocal		anchor;
	const char *zone;
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

static int64_t
model_allowance(const CrPlanVersion *version)
{
	return version ? version->monthly_credits * model.share / 1000000 : 0;
}

/* The end of the period is a boundary of the account's cycle. */
static void
model_end_at(CrTime end)
{
	model.end = end;
	model.end_from = (MadeFrom) {model.cycle, model.anchor, model.zone};
}

static void
model_open(const CrPlanVersion *version, CrTime at, CrLocal anchor, const char *zone)
{
	memset(&model, 0, sizeof(model));
	model.anchor = anchor;
	model.zone = zone;
	model.version = version;
	model.monthly = model.period_granted = version ? version->monthly_credits : 0;
	model.period = 1;
	model.share = 1000000;
	model.start = at;
	model.cycle = version ? version->cycle : CR_NO_CYCLE;
	model.end = CR_NEVER;
	if (version)
		model_end_at(boundary_from(version->cycle, zone, anchor, at + 1));
}

/* A period begins, in which nothing was granted yet.  What rolls over is there. */
static void
model_begin(CrTime at)
{
	model.left = model.monthly - model.owed_monthly;
	model.limit = model.version ? model.version->rollover_limit : 0;
	model.monthly = model.left < 0 ? 0 : least(model.left, model.limit);
	model.owed_monthly = 0;
	model.period++;
	model.start = at;
}

static void
model_grant(void)
{
	model.period_granted = model_allowance(model.version);
	model.monthly += model.period_granted;
}

/* Does the period that ends now end at a boundary of the cycle that counts now? */
static bool
model_goes_on(void)
{
	return model.end_from.cycle == model.cycle && model.end_from.anchor == model.anchor &&
		same_text(model.end_from.zone, model.zone);
}

static void
model_fold(CrTime at)
{
	while (model.end <= at)
	{
		const char *plan = model.version ? model.version->plan : NULL;
		CrTime		start = model.end;
		CrTime		full_start;

		if (model.scheduled != NULL)
			plan = model.scheduled[0] != '\0' ? model.scheduled : NULL;
		model.scheduled = NULL;
		model.version = plan ? world_plan_at(&sleeper, plan, start) : NULL;
		if (model.version)
			model.cycle = model.version->cycle;
		model_begin(start);
		full_start = boundary_upto(model.cycle, model.zone, model.anchor, start);
		model.share = 1000000;
		if (!model_goes_on() && full_start < start)
		{
			CrTime		end = boundary_from(model.cycle, model.zone, model.anchor, start + 1);

			model.share = (int64_t) ((__int128) (end - start) * 1000000 / (end - full_start));
		}
		model_end_at(boundary_from(model.cycle, model.zone, model.anchor, start + 1));
		model_grant();
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

static void
model_change_granted(int64_t granted)
{
	int64_t		less = model.period_granted - granted;
	int64_t		taken = least(less, model.monthly);

	model.period_granted = granted;
	if (less < 0)
		model_credit(&model.monthly, &model.owed_monthly, -less);
	else
	{
		model.monthly -= taken;
		model.owed_monthly += less - taken;
	}
}

static bool
of_one_length(CrCycle a, CrCycle b)
{
	bool		months = a == CR_CALENDAR || a == CR_ANNIVERSARY;

	return a == b || (months && (b == CR_CALENDAR || b == CR_ANNIVERSARY));
}

static CrVerdict
model_set_plan(const CrPlanVersion *version, CrTime at)
{
	bool		is_first = version && model.cycle == CR_NO_CYCLE;

	if (version && !is_first && !of_one_length(version->cycle, model.cycle))
		return CR_OTHER_LENGTH;
	model_change_granted(model_allowance(version));
	if (version != NULL)
		model.cycle = version->cycle;
	if (is_first)
		model_end_at(boundary_from(model.cycle, model.zone, model.anchor, at + 1));
	model.version = version;
	model.scheduled = NULL;
	return CR_OK;
}

static CrVerdict
model_restart(const CrPlanVersion *version, CrTime at, bool keep_anchor)
{
	static const int months[CR_CYCLE_COUNT] = {1, 1, 0, 0, 12};
	static const int days[CR_CYCLE_COUNT] = {0, 0, 1, 7, 0};
	CrLocal		now = zone_to_local(model.zone, at);
	int			n = 1;

	model.version = version;
	model_begin(at);
	model.share = 1000000;
	model.cycle = version->cycle;
	model_grant();
	model.scheduled = NULL;
	do
	{
		CrLocal		end = add_months(now, n * months[model.cycle]) + n * days[model.cycle] * DAY;

		model.end = zone_to_utc(model.zone, end);
		n++;
	} while (model.end <= at);
	if (!keep_anchor)
		model.anchor = now;
	model.end_from = (MadeFrom) {model.cycle, model.anchor, model.zone};
	if (keep_anchor || model.cycle == CR_CALENDAR || model.cycle == CR_DAILY)
		model.end_from.cycle = CR_NO_CYCLE;
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
		case OP_RESTART:
			return model_restart(world_plan_at(&sleeper, cmd->plan, cmd->at), cmd->at,
								 cmd->keep_anchor);
		case OP_SET_CYCLE:
			model.anchor = cmd->anchor;
			model.zone = cmd->zone;
			return CR_OK;
		case OP_OPEN:
			model.anchor = cmd->anchor;
			model.zone = cmd->zone;
			return cmd->plan == NULL ? CR_OK
				: model_set_plan(world_plan_at(&sleeper, cmd->plan, cmd->at), cmd->at);
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
	if (acc->period != model.period)
		return "period";
	if (acc->facts.period_start != model.start)
		return "period_start";
	if (acc->facts.period_share != model.share)
		return "period_share";
	if (acc->facts.cycle != model.cycle)
		return "cycle";
	if (acc->next_reset_at != model.end)
		return "next_reset_at";
	if (acc->facts.last_left != model.left || acc->facts.last_limit != model.limit)
		return "what was left";
	return NULL;
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

/* A longer time, but not one with hundreds of boundaries. */
static CrTime
long_time(CrTime longest)
{
	return random_between(0, model.cycle == CR_DAILY ? longest / 10 : longest);
}

static CrTime
step(CrTime at)
{
	switch (random_between(1, 8))
	{
		case 5:
		case 6:
			if (model.end != CR_NEVER && model.end < at + 400 * DAY)
				return model.end + random_between(-1, 1) < at ? at : model.end + random_between(0, 1);
			return at;
		case 1:
			return at;
		case 2:
			return at + long_time(200 * DAY);
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
			Command		cmd = world_random_command(&sleeper, step(at), n_plans);

			if (model.cycle == CR_NO_CYCLE && one_in(4))
			{
				cmd.op = OP_OPEN;
				cmd.anchor = cmd.at - random_between(0, 60 * DAY);
				cmd.zone = random_zone();
				if (one_in(2))
					cmd.plan = NULL;
			}
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
		at += long_time(400 * DAY);
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
		total += model.period - 1;
	}
	if (ok(wrong == NULL, "%s", name))
		note("%" PRId64 " boundaries and restarts in %d histories", total, RUNS);
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
			 " plan %s v%d, period %" PRId64 " share %" PRId64 " from %s to %s",
			 model.monthly, model.purchased, model.period_granted,
			 model.version ? model.version->plan : "-",
			 model.version ? model.version->version : 0, model.period, model.share,
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
	test_any_history(true, "and with plans of every cycle, which differ or change");
	test_near_the_cap();
}
