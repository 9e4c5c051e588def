/*
 * lots_random_test.c
 *		Random histories of all commands, with grants and holds open.
 *
 * They are compared with a model that does everything in the plainest way: it
 * keeps the source of every credit, and looks at everything to find the next event.
 * An account must end in the same state whether it is swept at random times, at
 * every event or never.
 */
#include "unit.h"

#define START utc(2026, 1, 1, 0, 0, 0)
#define RUNS  1500
#define CALLS 40
#define MANY  128

typedef struct Unit
{
	int64_t		source; /* as in an allocation; a grant's is its place */
	int64_t		credits;
	int64_t		period; /* of monthly credits */
} Unit;

typedef struct Units
{
	int			n;
	Unit		unit[32];
} Units;

typedef struct ModelGrant
{
	CrTime		end;
	int64_t		left;
	bool		over;
	bool		paid;
	int64_t		expired;   /* of a paid one: what ended unused, and covers a chargeback */
	int64_t		elsewhere; /* what a chargeback took from purchased credits for it */
} ModelGrant;

typedef struct ModelHold
{
	CrTime		end;
	Units		parts;
	bool		open;
	bool		late;		/* a late capture can come */
	Units		expired;	/* what it has first */
	int64_t		given_back; /* and what it held besides that */
} ModelHold;

typedef struct Spending
{
	Units		parts;
	int64_t		amount;
	int64_t		refunded;
} Spending;

typedef struct Payment
{
	int64_t		amount;
	int64_t		revoked;
	int64_t		reported;
	ModelGrant *grant; /* NULL: a purchase */
} Payment;

typedef struct Model
{
	int64_t		monthly;
	int64_t		purchased;
	int64_t		owed_monthly;
	int64_t		owed_purchased;
	int64_t		overdraft;
	bool		frozen;
	int64_t		period;
	CrTime		end;
	int64_t		left;	 /* at the last boundary, with what came back since */
	int64_t		limit;
	int64_t		expired; /* sums over the history */
	int64_t		forfeited;
	ModelGrant	grants[MANY];
	ModelHold	holds[MANY];
	Spending	spendings[MANY];
	Payment		payments[MANY];
	int			n_grants;
	int			n_holds;
	int			n_spendings;
	int			n_payments;
} Model;

static World sleeper;
static World swept;
static World stepwise;
static Model model;

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void
credit(int64_t *balance, int64_t *owed, int64_t credits)
{
	int64_t		paid = least(*owed, credits);

	*owed -= paid;
	*balance += credits - paid;
}

static int64_t
granted(void)
{
	int64_t		sum = 0;

	for (int i = 0; i < model.n_grants; i++)
		sum += model.grants[i].left;
	return sum;
}

static void
add_unit(Units *units, int64_t source, int64_t credits)
{
	if (credits > 0)
		units->unit[units->n++] = (Unit){source, credits, model.period};
}

/*
 * The grant that is spent next: the one that ends first, and of several the oldest.
 * -1: nothing is left of any.
 */
static int
next_grant(void)
{
	int			best = -1;

	for (int i = 0; i < model.n_grants; i++)
	{
		if (model.grants[i].left > 0 &&
			(best < 0 || model.grants[i].end < model.grants[best].end))
			best = i;
	}
	return best;
}

static void
burn(int64_t credits, Units *units)
{
	while (credits > 0)
	{
		ModelGrant *grant = &model.grants[next_grant()];
		int64_t		taken = least(grant->left, credits);

		add_unit(units, next_grant() + 1, taken);
		grant->left -= taken;
		credits -= taken;
	}
}

static void
spend(int64_t credits, Units *units)
{
	int64_t		part = least(credits, model.monthly);

	model.monthly -= part;
	add_unit(units, CR_FROM_MONTHLY, part);
	credits -= part;
	part = least(credits, granted());
	burn(part, units);
	credits -= part;
	add_unit(units, CR_FROM_PURCHASED, credits);
	part = least(credits, model.purchased);
	model.purchased -= part;
	model.owed_purchased += credits - part;
}

static int64_t
carried(int64_t left)
{
	return left < 0 ? 0 : least(left, model.limit);
}

static int64_t
put_back_to_grant(ModelGrant *grant, int64_t credits, CrTime at, bool at_its_end)
{
	int64_t		made_good = least(credits, grant->elsewhere);

	grant->elsewhere -= made_good;
	credit(&model.purchased, &model.owed_purchased, made_good);
	credits -= made_good;
	if (grant->over || (at_its_end ? grant->end < at : grant->end <= at))
	{
		if (grant->paid)
			grant->expired += credits;
		return credits;
	}
	grant->left += credits;
	return 0;
}

/* How much of a unit cannot go back, because its period or grant has ended. */
static int64_t
put_back(const Unit *unit, int64_t credits, CrTime at, bool at_its_end)
{
	if (unit->source > 0)
		return put_back_to_grant(&model.grants[unit->source - 1], credits, at, at_its_end);
	if (unit->source == CR_FROM_PURCHASED)
		credit(&model.purchased, &model.owed_purchased, credits);
	else if (unit->source == CR_FROM_MONTHLY && unit->period == model.period)
		credit(&model.monthly, &model.owed_monthly, credits);
	else if (unit->source == CR_FROM_MONTHLY && unit->period == model.period - 1)
	{
		int64_t		back = carried(model.left + credits) - carried(model.left);

		model.left += credits;
		credit(&model.monthly, &model.owed_monthly, back);
		return credits - back;
	}
	else
		return credits;
	return 0;
}

static int64_t
sum_of(const Units *units)
{
	int64_t		sum = 0;

	for (int i = 0; i < units->n; i++)
		sum += units->unit[i].credits;
	return sum;
}

/* Puts all back, and leaves in the list what expired of it. */
static void
put_all_back(Units *units, CrTime at, bool at_its_end)
{
	for (int i = 0; i < units->n; i++)
	{
		Unit	   *unit = &units->unit[i];

		unit->credits = put_back(unit, unit->credits, at, at_its_end);
		model.expired += unit->credits;
	}
}

/* Applies the events one by one.  At one instant: holds, then grants, then the period. */
static void
model_fold(CrTime at)
{
	for (;;)
	{
		CrTime		first = CR_NEVER;
		int			rank = 0;
		int			which = 0;

		for (int i = 0; i < model.n_holds; i++)
		{
			if (model.holds[i].open && model.holds[i].end < first)
				first = model.holds[i].end, rank = 1, which = i;
		}
		for (int i = 0; i < model.n_grants; i++)
		{
			if (model.grants[i].left > 0 && model.grants[i].end < first)
				first = model.grants[i].end, rank = 2, which = i;
		}
		if (model.end < first)
			first = model.end, rank = 3;
		if (first > at)
			return;
		if (rank == 1)
		{
			ModelHold  *hold = &model.holds[which];

			hold->given_back = sum_of(&hold->parts);
			put_all_back(&hold->parts, first, true);
			hold->given_back -= sum_of(&hold->parts);
			hold->expired = hold->parts;
			hold->open = false;
			hold->late = true;
		}
		else if (rank == 2)
		{
			ModelGrant *grant = &model.grants[which];

			model.expired += grant->left;
			if (grant->paid)
				grant->expired += grant->left;
			grant->left = 0;
			grant->over = true;
		}
		else
		{
			const CrPlanVersion *plan = world_plan_at(&sleeper, "free", first);
			int64_t		kept;

			model.left = model.monthly - model.owed_monthly;
			model.limit = plan->rollover_limit;
			kept = carried(model.left);
			model.expired += model.monthly - kept;
			model.monthly = kept + plan->monthly_credits;
			model.owed_monthly = 0;
			model.period++;
			model.end = boundary_from(CR_CALENDAR, "UTC", 0, first + 1);
		}
	}
}

static CrVerdict
may_spend(int64_t credits, bool owes)
{
	int64_t		there = model.monthly + granted() + model.purchased;

	if (model.frozen)
		return CR_IS_FROZEN;
	if (!owes && credits > there && model.owed_purchased + credits - there > model.overdraft)
		return CR_INSUFFICIENT;
	return CR_OK;
}

static Spending *
new_spending(int64_t amount)
{
	Spending   *spending = &model.spendings[model.n_spendings++];

	memset(spending, 0, sizeof(*spending));
	spending->amount = amount;
	return spending;
}

static CrVerdict
model_hold(const Command *cmd)
{
	ModelHold  *hold = &model.holds[model.n_holds];

	if (model.frozen)
		return CR_IS_FROZEN;
	if (cmd->amount > model.monthly + granted() + model.purchased)
		return CR_INSUFFICIENT;
	memset(hold, 0, sizeof(*hold));
	hold->end = cmd->ends_at;
	hold->open = true;
	spend(cmd->amount, &hold->parts);
	model.n_holds++;
	return CR_OK;
}

/* What expired of a paid grant can be used only if no chargeback has used it. */
static int64_t
usable(const Unit *unit)
{
	if (unit->source > 0 && model.grants[unit->source - 1].paid)
		return least(unit->credits, model.grants[unit->source - 1].expired);
	return unit->credits;
}

static int64_t
usable_in_all(const Units *units)
{
	int64_t		sum = 0;

	for (int i = 0; i < units->n; i++)
		sum += usable(&units->unit[i]);
	return sum;
}

/* Takes as much as is wanted from the units, and adds it to what was spent. */
static int64_t
take_units(Units *units, int64_t wanted, Units *spent, bool expired)
{
	for (int i = 0; i < units->n; i++)
	{
		Unit		taken = units->unit[i];

		taken.credits = least(expired ? usable(&taken) : taken.credits, wanted);
		units->unit[i].credits -= taken.credits;
		wanted -= taken.credits;
		if (expired && taken.source > 0 && model.grants[taken.source - 1].paid)
			model.grants[taken.source - 1].expired -= taken.credits;
		if (expired && taken.source == CR_FROM_MONTHLY && taken.period == model.period - 1)
			model.left -= taken.credits;
		if (expired)
			taken.source = CR_FROM_EXPIRED;
		if (taken.credits > 0)
			spent->unit[spent->n++] = taken;
	}
	return wanted;
}

static CrVerdict
model_capture(const Command *cmd)
{
	ModelHold  *hold = &model.holds[cmd->target];
	Units	   *units = hold->open ? &hold->parts : &hold->expired;
	int64_t		has = hold->open ? sum_of(units) : usable_in_all(units);
	int64_t		amount = cmd->amount;
	Spending   *spending;

	if (cmd->target >= model.n_holds || (!hold->open && !hold->late))
		return CR_HOLD_CLOSED;
	if (amount == 0 && !cmd->exact)
		amount = sum_of(units) + (hold->open ? 0 : hold->given_back);
	if (amount > has && may_spend(amount - has, cmd->owes) != CR_OK)
		return may_spend(amount - has, cmd->owes);
	spending = new_spending(amount);
	spend(take_units(units, amount, &spending->parts, !hold->open), &spending->parts);
	hold->late = false;
	if (hold->open && !(cmd->keep_open && amount < has))
	{
		put_all_back(&hold->parts, cmd->at, false);
		hold->open = false;
	}
	return CR_OK;
}

static CrVerdict
model_refund(const Command *cmd)
{
	Spending   *spending = &model.spendings[cmd->target];
	int64_t		left = spending->amount - spending->refunded;
	int64_t		amount = cmd->amount ? cmd->amount : left;

	if (cmd->target >= model.n_spendings)
		return CR_HOLD_CLOSED;
	if (amount > left || amount == 0)
		return CR_MORE_THAN_SPENT;
	spending->refunded += amount;
	/* what is refunded is cut off the end of what was spent */
	while (amount > 0)
	{
		Unit	   *last = &spending->parts.unit[spending->parts.n - 1];
		int64_t		back = least(amount, last->credits);

		model.forfeited += put_back(last, back, cmd->at, false);
		amount -= back;
		last->credits -= back;
		if (last->credits == 0)
			spending->parts.n--;
	}
	return CR_OK;
}

static CrVerdict
model_revoke(const Command *cmd)
{
	Payment	   *payment = &model.payments[cmd->target];
	ModelGrant *grant = payment->grant;
	int64_t		left = payment->amount - payment->revoked;
	int64_t		amount = cmd->amount ? cmd->amount : left;
	int64_t		taken;

	if (cmd->target >= model.n_payments)
		return CR_HOLD_CLOSED;
	if (cmd->total > 0)
	{
		if (cmd->total > payment->amount || cmd->total <= payment->reported)
			return CR_MORE_THAN_SPENT;
		amount = least(cmd->total - payment->reported, left);
		payment->reported = cmd->total;
	}
	else if (amount > left || left == 0)
		return CR_MORE_THAN_SPENT;
	payment->revoked += amount;
	if (grant)
	{
		taken = least(amount, grant->left);
		grant->left -= taken;
		amount -= taken;
		taken = least(amount, grant->expired);
		grant->expired -= taken;
		amount -= taken;
		grant->elsewhere += amount;
	}
	taken = least(amount, model.purchased);
	model.purchased -= taken;
	model.owed_purchased += amount - taken;
	return CR_OK;
}

static CrVerdict
model_reinstate(const Command *cmd)
{
	Payment	   *payment = &model.payments[cmd->target];
	ModelGrant *grant = payment->grant;
	int64_t		amount = cmd->amount ? cmd->amount : payment->revoked;
	int64_t		elsewhere = grant ? least(amount, grant->elsewhere) : amount;

	if (cmd->target >= model.n_payments)
		return CR_HOLD_CLOSED;
	if (amount == 0 || amount > payment->revoked)
		return CR_MORE_THAN_REVOKED;
	payment->revoked -= amount;
	credit(&model.purchased, &model.owed_purchased, elsewhere);
	if (grant)
	{
		grant->elsewhere -= elsewhere;
		model.forfeited += put_back_to_grant(grant, amount - elsewhere, cmd->at, false);
	}
	return CR_OK;
}

static CrVerdict
model_adjust(const Command *cmd)
{
	int64_t	   *balance = cmd->bucket == CR_MONTHLY ? &model.monthly : &model.purchased;
	int64_t *owed =
		cmd->bucket == CR_MONTHLY ? &model.owed_monthly : &model.owed_purchased;

	if (cmd->bucket == CR_GRANTED)
	{
		if (-cmd->amount > granted())
			return CR_INSUFFICIENT;
		burn(-cmd->amount, &(Units){0});
	}
	else if (cmd->amount > 0)
		credit(balance, owed, cmd->amount);
	else if (*balance + cmd->amount < 0)
		return CR_INSUFFICIENT;
	else
		*balance += cmd->amount;
	return CR_OK;
}

static CrVerdict
model_run(const Command *cmd)
{
	CrVerdict	verdict;

	model_fold(cmd->at);
	switch (cmd->op)
	{
		case OP_DEDUCT:
			verdict = may_spend(cmd->amount, false);
			if (verdict == CR_OK)
				spend(cmd->amount, &new_spending(cmd->amount)->parts);
			return verdict;
		case OP_PURCHASE:
			model.payments[model.n_payments++] = (Payment){.amount = cmd->amount};
			credit(&model.purchased, &model.owed_purchased, cmd->amount);
			return CR_OK;
		case OP_ADJUST:
			return model_adjust(cmd);
		case OP_GRANT:
			model.grants[model.n_grants] = (ModelGrant){
				.end = cmd->ends_at, .left = cmd->amount, .paid = cmd->paid};
			if (cmd->paid)
				model.payments[model.n_payments++] = (Payment){
					.amount = cmd->amount, .grant = &model.grants[model.n_grants]};
			model.n_grants++;
			return CR_OK;
		case OP_HOLD:
			return model_hold(cmd);
		case OP_CAPTURE:
			return model_capture(cmd);
		case OP_RELEASE:
			if (cmd->target >= model.n_holds || !model.holds[cmd->target].open)
				return CR_HOLD_CLOSED;
			put_all_back(&model.holds[cmd->target].parts, cmd->at, false);
			model.holds[cmd->target].open = false;
			return CR_OK;
		case OP_REFUND:
			return model_refund(cmd);
		case OP_REVOKE:
			return model_revoke(cmd);
		case OP_REINSTATE:
			return model_reinstate(cmd);
		case OP_SET_OVERDRAFT:
			model.overdraft = cmd->amount;
			return CR_OK;
		case OP_SET_LOW_THRESHOLD:
			return CR_OK;
		case OP_FREEZE:
		case OP_UNFREEZE:
			model.frozen = cmd->op == OP_FREEZE;
			return CR_OK;
		default:
			return CR_OK;
	}
}

static const char *
model_differs(const CrAccount *acc)
{
	CrBuckets	held = {0, 0, 0};

	if (acc->balance.monthly != model.monthly ||
		acc->balance.purchased != model.purchased)
		return "monthly or purchased differ from the model's";
	if (acc->owed_monthly != model.owed_monthly ||
		acc->owed_purchased != model.owed_purchased)
		return "what is owed differs from the model";
	if (acc->period != model.period || acc->next_reset_at != model.end)
		return "the period differs from the model's";
	if (acc->facts.last_left != model.left || acc->facts.last_limit != model.limit)
		return "what was left differs from the model";
	if (acc->lots->n_grants != model.n_grants || acc->lots->n_holds != model.n_holds)
		return "there are not as many grants or holds as in the model";
	for (int i = 0; i < model.n_grants; i++)
	{
		const CrGrant *grant = &acc->lots->grants[i];
		int			older = 0;

		/* the model's are in the order made, which that of the numbers is */
		for (int k = 0; k < model.n_grants; k++)
			older += acc->lots->grants[k].seq < grant->seq;
		if (grant->left != model.grants[older].left ||
			grant->ends_at != model.grants[older].end ||
			grant->expired != model.grants[older].expired ||
			grant->elsewhere != model.grants[older].elsewhere)
			return "a grant differs from the model's";
	}
	for (int i = 0; i < model.n_holds; i++)
	{
		const ModelHold *hold = &model.holds[i];

		if ((acc->lots->holds[i].state == CR_HOLD_OPEN) != hold->open)
			return "a hold is open, or is not, unlike the model's";
		if (hold->late &&
			cr_hold_left(&acc->lots->holds[i]) != sum_of(&hold->expired) + hold->given_back)
			return "what a late capture has differs from the model";
		for (int k = 0; hold->open && k < hold->parts.n; k++)
		{
			int64_t		source = hold->parts.unit[k].source;

			*(source > 0	? &held.granted
			  : source == 0 ? &held.monthly
							: &held.purchased) += hold->parts.unit[k].credits;
		}
	}
	if (memcmp(&held, &acc->held, sizeof(held)) != 0)
		return "what is held differs from the model";
	return NULL;
}

/* How many credits the row's allocations say of a source. */
static int64_t
part_of(const CrRow *row, int64_t source)
{
	int64_t		sum = 0;

	for (int i = 0; i < row->n_allocations; i++)
		sum += row->allocations[i].source == source ? row->allocations[i].credits : 0;
	return sum;
}

/* No credit appears or vanishes: each kind of row moves what it says. */
static const char *
credits_leak(const World *w)
{
	int64_t		before = 0;
	int64_t		owed_monthly = 0;

	for (int i = 0; i < w->n_rows; i++)
	{
		const CrRow *row = &w->rows[i];
		int64_t		worth = row->balance.monthly + row->balance.granted +
						row->balance.purchased + row->held.monthly + row->held.granted +
						row->held.purchased - row->owed_monthly - row->owed_purchased;
		int64_t		gained = 0;

		switch (row->kind)
		{
			case CR_KIND_OPEN:
			case CR_KIND_PURCHASE:
			case CR_KIND_ADJUST:
			case CR_KIND_SET_PLAN:
			case CR_KIND_GRANT:
				gained = row->amount;
				break;
			case CR_KIND_DEDUCT:
				gained = -row->amount;
				break;
			case CR_KIND_REVOKE:
				gained = part_of(row, CR_FROM_ENDED) - row->amount;
				break;
			case CR_KIND_RESET:
			case CR_KIND_RESTART:
				gained = row->amount - row->expired + owed_monthly;
				break;
			case CR_KIND_GRANT_END:
			case CR_KIND_HOLD_END:
			case CR_KIND_RELEASE:
				gained = -row->expired;
				break;
			case CR_KIND_CAPTURE:
				gained = part_of(row, CR_FROM_EXPIRED) - row->amount - row->expired;
				break;
			case CR_KIND_REFUND:
			case CR_KIND_REINSTATE:
				gained = row->amount - row->forfeited;
				break;
			default:
				break;
		}
		if (worth != before + gained)
			return "credits came from nowhere, or went there";
		if (i > 0 && row->effective_at < row[-1].effective_at)
			return "time went back";
		before = worth;
		owed_monthly = row->owed_monthly;
	}
	return NULL;
}

static void
sums(const World *w, int64_t *expired, int64_t *forfeited)
{
	*expired = *forfeited = 0;
	for (int i = 0; i < w->n_rows; i++)
	{
		*expired += w->rows[i].expired;
		*forfeited += w->rows[i].kind == CR_KIND_RESET ? 0 : w->rows[i].forfeited;
	}
}

/* Folds in steps to random times, some of them the very time of an event. */
static void
sweep(CrTime from, CrTime to)
{
	while (from < to && one_in(2))
	{
		from += random_between(0, (to - from) / 2);
		world_fold(&swept, from);
		if (one_in(3) && swept.acc.next_event_at < to)
			world_fold(&swept, swept.acc.next_event_at);
	}
}

static void
step(CrTime to)
{
	while (stepwise.acc.next_event_at <= to)
		world_fold(&stepwise, stepwise.acc.next_event_at);
	world_fold(&stepwise, to);
}

static const char *
compare(void)
{
	if (sleeper.broken || swept.broken || stepwise.broken)
		return sleeper.broken ? sleeper.broken
			   : swept.broken ? swept.broken
							  : stepwise.broken;
	if (!same_account(&sleeper.acc, &swept.acc) ||
		!same_lists(sleeper.acc.lots, swept.acc.lots))
		return "swept and sleeping accounts differ";
	if (!same_account(&sleeper.acc, &stepwise.acc) ||
		!same_lists(sleeper.acc.lots, stepwise.acc.lots))
		return "accounts taken to every event and sleeping ones differ";
	return lists_break(&sleeper.acc);
}

static Command
next_command(CrTime at, int n_plans, bool with_plans)
{
	Command		cmd = {.op = OP_SET_PLAN};

	if (one_in(8))
		at = boundary_from(CR_CALENDAR, "UTC", 0, at + 1) + random_between(-1, 1);
	else if (one_in(8) && sleeper.acc.next_event_at < at + 40 * DAY &&
			 sleeper.acc.next_event_at > at)
		at = sleeper.acc.next_event_at - random_between(0, 1);
	else if (!one_in(4))
		at += random_between(0, one_in(10) ? 90 * DAY : 6 * DAY);
	while (cmd.op == OP_SET_PLAN ||
		   (!with_plans && (cmd.op == OP_CANCEL || cmd.op == OP_SCHEDULE ||
							cmd.op == OP_SCHEDULE_CANCEL || cmd.op == OP_SET_CYCLE ||
							cmd.op == OP_RESTART)))
	{
		cmd = world_random_open_command(&sleeper, at, n_plans);
		if (with_plans)
			break;
	}
	return cmd;
}

static const char *
run_once(bool with_plans)
{
	CrTime		at = START + random_between(0, 40 * DAY);
	int			n_plans = 1;
	const char *wrong = NULL;
	const char *plan = "free";
	int64_t		expired;
	int64_t		forfeited;

	world_init(&sleeper);
	if (with_plans)
	{
		n_plans = world_random_plans(&sleeper, START, START + 500 * DAY, true);
		plan = one_in(8) ? NULL : sleeper.versions[0].plan;
	}
	else
	{
		world_plan(&sleeper, "free", START, 100, CR_CALENDAR, one_in(2) ? 0 : 50);
		if (one_in(2))
			world_plan(&sleeper, "free", START + random_between(1, 200 * DAY), 60,
					   CR_CALENDAR, one_in(2) ? 0 : 30);
	}
	for (int i = 0; i < 3; i++)
	{
		World	   *w = i == 0 ? &sleeper : i == 1 ? &swept : &stepwise;

		if (i > 0)
		{
			world_init(w);
			memcpy(w->versions, sleeper.versions, sizeof(w->versions));
			w->n_versions = sleeper.n_versions;
		}
		w->strict = true;
		world_open(w, at, plan, 0, "UTC");
	}
	memset(&model, 0, sizeof(model));
	model.monthly = sleeper.acc.balance.monthly;
	model.period = 1;
	model.end = boundary_from(CR_CALENDAR, "UTC", 0, at + 1);

	for (int call = 0; call < CALLS && wrong == NULL; call++)
	{
		Command		cmd = next_command(at, n_plans, with_plans);
		CrVerdict	verdict;

		sweep(at, cmd.at);
		step(cmd.at);
		at = cmd.at;
		verdict = world_run(&sleeper, &cmd);
		if (world_run(&swept, &cmd) != verdict || world_run(&stepwise, &cmd) != verdict)
			wrong = "another verdict when events were applied at another time";
		if (wrong == NULL)
			wrong = compare();
		if (wrong == NULL && !with_plans)
			wrong = model_run(&cmd) != verdict ? "the model has another verdict"
											   : model_differs(&sleeper.acc);
		if (wrong != NULL)
			note("call %d: %d of %" PRId64 " about %d at %s, verdict %d", call,
				 (int) cmd.op, cmd.amount, cmd.target, show_time(at), (int) verdict);
	}
	if (wrong == NULL)
	{
		CrTime		end = at + random_between(0, 100 * DAY);

		sweep(at, end);
		at = end;
		world_fold(&sleeper, at);
		world_fold(&swept, at);
		step(at);
		wrong = compare();
	}
	if (wrong == NULL)
		wrong = credits_leak(&sleeper);
	if (wrong == NULL)
		wrong = credits_leak(&swept);
	if (wrong == NULL && !with_plans)
	{
		model_fold(at);
		wrong = model_differs(&sleeper.acc);
		sums(&stepwise, &expired, &forfeited);
		if (wrong == NULL && (expired != model.expired || forfeited != model.forfeited))
			wrong = "not as much expired or was forfeited as in the model";
	}
	return wrong;
}

static void
test_any_history(bool with_plans, const char *name)
{
	const char *wrong = NULL;
	int			kinds[CR_KIND_COUNT] = {0};
	int			missing = 0;

	for (int i = 0; i < RUNS && wrong == NULL; i++)
	{
		wrong = run_once(with_plans);
		for (int k = 0; k < sleeper.n_rows; k++)
			kinds[sleeper.rows[k].kind]++;
		if (wrong != NULL)
		{
			note("run %d: %s", i, wrong);
			note("sleeping: %s", show_account(&sleeper.acc));
			note("swept:    %s", show_account(&swept.acc));
			note("stepwise: %s", show_account(&stepwise.acc));
		}
	}
	ok(wrong == NULL, "%s", name);
	for (int k = 0; k < CR_KIND_COUNT; k++)
	{
		if (kinds[k] == 0 && (with_plans || k >= CR_KIND_GRANT) &&
			k != CR_KIND_CLOCK_REPAIR && !world_never_makes((CrKind) k))
			missing++;
	}
	is_int(missing, 0, "with rows of every kind");
}

/* It must not matter when events are applied, also near the cap. */
static void
test_near_the_cap(void)
{
	const char *wrong = NULL;

	for (int i = 0; i < RUNS && wrong == NULL; i++)
	{
		CrTime		at = START + random_between(0, 20 * DAY);

		world_init(&sleeper);
		world_plan(&sleeper, "free", START, 100, CR_CALENDAR, one_in(2) ? 0 : 50);
		for (int k = 0; k < 3; k++)
		{
			World	   *w = k == 0 ? &sleeper : k == 1 ? &swept : &stepwise;

			if (k > 0)
			{
				world_init(w);
				memcpy(w->versions, sleeper.versions, sizeof(w->versions));
				w->n_versions = sleeper.n_versions;
			}
			w->strict = true;
			world_open(w, at, "free", 0, "UTC");
			world_purchase(w, at, CR_MAX_CREDITS - 260);
		}
		for (int call = 0; call < 20 && wrong == NULL; call++)
		{
			Command		cmd = next_command(at, 1, false);
			CrVerdict	verdict;

			sweep(at, cmd.at);
			step(cmd.at);
			at = cmd.at;
			verdict = world_run(&sleeper, &cmd);
			if (world_run(&swept, &cmd) != verdict ||
				world_run(&stepwise, &cmd) != verdict)
				wrong = "another verdict when events were applied at another time";
			if (wrong == NULL)
				wrong = compare();
		}
		if (wrong == NULL)
			wrong = credits_leak(&sleeper);
		if (wrong != NULL)
			note("run %d: %s", i, wrong);
	}
	ok(wrong == NULL, "near the cap it does not matter when events are applied either");
}

void
test_lists_random(void)
{
	test_any_history(false, "random histories with grants and holds: as in the model");
	test_any_history(true,
					 "and with changes of plan and cycle: whenever events are applied");
	test_near_the_cap();
}
