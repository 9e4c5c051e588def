/*
 * property_test.c
 *		What a user is entitled to, whatever is called, in any order, and whenever what is due is
 *		applied.  Random histories of all calls that change the plan, the period or credits.
 *
 * From the rows alone, the test works out for each period what was carried into it, what
 * corrections added, what the plan granted, and what was used:
 *
 *		left = carried in + corrections + granted - used - held
 *
 * must hold after every row.  The bucket has what is left, or owes it if it is less than
 * nothing.  So nobody uses more than what was carried in, corrections and the largest
 * allowance, and nobody loses anything of it either.
 *
 * The environment variable UNIT_RUNS multiplies the number of histories.
 */
#include <stdlib.h>

#include "unit.h"

#define START utc(2026, 1, 1, 0, 0, 0)
#define RUNS 400
#define CALLS 30

static World world;
static World swept;
static World stepwise;
static World replayed;

static int
runs(void)
{
	const char *times = getenv("UNIT_RUNS");

	return RUNS * (times ? atoi(times) : 1);
}

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
worth(const CrRow *row)
{
	return row->balance.monthly - row->owed_monthly;
}

/*
 * The property
 */

/* What the rows say of one period.  held is in the rows. */
typedef struct Period
{
	int64_t		carried;
	int64_t		corrected;
	int64_t		used;
	int64_t		passed_on;		/* carried into the next period */
	int64_t		largest;		/* sum of corrections and what was granted, at any time */
	int64_t		allowance;		/* the largest that it had, or what an undone boundary let expire */
} Period;

typedef struct Hold
{
	int64_t		period;
	int64_t		held;			/* monthly credits */
	int64_t		expired;		/* of them, when it ended by itself */
} Hold;

typedef struct Account
{
	const World *w;
	Period		periods[MAX_ROWS];	/* by number, modulo */
	Hold		holds[MAX_ROWS];	/* by the row's number */
	int64_t		refunded[MAX_ROWS];
	int64_t		granted;
	int64_t		left;			/* at the last boundary, with what came back since */
	int64_t		limit;
	bool		undone;			/* that boundary */
	int64_t		last_charged;	/* at the last boundary */
	int64_t		last_closed_seq;
	int64_t		closed_seq;
	int64_t		charged;		/* for the time before the account was closed */
} Account;

static Account account;

static Period *
period_at(int64_t number)
{
	return &account.periods[number % MAX_ROWS];
}

static int64_t
allowance(const CrFacts *facts)
{
	for (int i = 0; facts->plan && i < account.w->n_versions; i++)
	{
		const CrPlanVersion *v = &account.w->versions[i];

		if (same_text(v->plan, facts->plan) && v->version == facts->plan_version)
			return (int64_t) ((__int128) v->monthly_credits * facts->period_share / 1000000);
	}
	return 0;
}

static int64_t
rollover(const CrFacts *facts)
{
	for (int i = 0; facts->plan && i < account.w->n_versions; i++)
	{
		const CrPlanVersion *v = &account.w->versions[i];

		if (same_text(v->plan, facts->plan) && v->version == facts->plan_version)
			return v->rollover_limit;
	}
	return 0;
}

static int64_t
carried(int64_t left, int64_t limit)
{
	return left < 0 ? 0 : least(left, limit);
}

/* What of what was left at the last boundary does not roll over. */
static int64_t
beyond_limit(void)
{
	return carried(account.left, INT64_MAX) - carried(account.left, account.limit);
}

static int64_t
monthly_held(int64_t period)
{
	int64_t		held = 0;

	for (int i = 0; i < account.w->n_rows; i++)
		held += account.holds[i].period == period ? account.holds[i].held : 0;
	return held;
}

/* A period begins: what rolls over, and what does not. */
static const char *
begin(const CrRow *row, const CrRow *before)
{
	Period	   *period = period_at(row->period);
	int64_t		over;

	account.left = row->skipped > 0 ? row->amount : before ? worth(before) : 0;
	account.limit = rollover(&row->facts);
	account.undone = false;
	account.last_charged = row->skipped > 0 ? 0 : account.charged;
	account.last_closed_seq = account.closed_seq;
	account.charged = 0;
	over = carried(account.left, account.limit);
	for (int64_t p = row->period - row->skipped; p <= row->period; p++)
		memset(period_at(p), 0, sizeof(Period));
	period->carried = over;
	period_at(row->period - 1)->passed_on = over;
	if (row->balance.monthly != over + row->amount || row->owed_monthly != 0)
		return "another balance after the boundary";
	if (row->skipped == 0 && before && row->expired != before->balance.monthly - over)
		return "not what did not roll over expired";
	if (row->amount + row->forfeited != allowance(&row->facts))
		return "another allowance";
	account.granted = row->amount;
	return NULL;
}

/* From before a closing comes back what was charged for that time. */
static int64_t
from_before(int64_t *charged, int64_t credits)
{
	int64_t		back = least(credits, *charged);

	*charged -= back;
	return back;
}

/*
 * Credits of a period come back.  Returns how many of them the bucket gets.  If the boundary
 * was undone, what is beyond the limit counts as granted.
 */
static int64_t
comes_back(const CrRow *row, int64_t period, int64_t credits, int64_t spent_seq)
{
	Period	   *now = period_at(row->period);
	int64_t		left = account.left;
	int64_t		over;
	int64_t		gets;

	if (period == row->period)
		return spent_seq < account.closed_seq ? from_before(&account.charged, credits) : credits;
	if (period != row->period - 1)
		return 0;
	if (spent_seq < account.last_closed_seq)
		credits = from_before(&account.last_charged, credits);
	account.left += credits;
	gets = over = carried(account.left, account.limit) - carried(left, account.limit);
	if (account.undone)
		gets = carried(account.left, INT64_MAX) - carried(left, INT64_MAX);
	account.granted += gets - over;
	if (account.closed_seq > account.last_closed_seq && spent_seq < account.closed_seq)
		gets = over = from_before(&account.charged, gets);
	now->carried += over;
	period_at(period)->passed_on += over;
	return gets;
}

static const char *
hold_row(const CrRow *row, const CrRow *before)
{
	int64_t		got = worth(row) - worth(before);
	Hold	   *hold = &account.holds[row->has_ref_seq ? row->ref_seq - 1 : 0];
	int64_t		returns;

	if (row->kind == CR_KIND_HOLD)
	{
		account.holds[row->seq - 1] = (Hold) {row->period, -got, 0};
		return NULL;
	}
	if (row->kind == CR_KIND_CAPTURE)
	{
		for (int i = 0; i < row->n_allocations; i++)
		{
			const CrPart *part = &row->allocations[i];

			if (part->source == CR_FROM_EXPIRED)
			{
				int64_t		monthly = least(part->credits, hold->expired);

				period_at(hold->period)->used += monthly;
				account.left -= hold->period == row->period - 1 ? monthly : 0;
			}
			else if (part->source == CR_FROM_MONTHLY || part->source == CR_FROM_LAST ||
					 part->source == CR_FROM_OLDER)
			{
				bool		from_hold = hold->held > 0;
				int64_t		of_hold = from_hold ? least(hold->held, part->credits) : 0;

				period_at(from_hold ? hold->period : row->period)->used += part->credits;
				hold->held -= of_hold;
				if (!from_hold)
					got += part->credits;
				if (of_hold < (from_hold ? part->credits : 0))
					return "more monthly credits captured than were held";
			}
		}
		if (row->has_ends_at)
			return NULL;
	}
	returns = hold->held;
	hold->held = 0;
	if (comes_back(row, hold->period, returns, row->ref_seq) != got)
		return "another number of monthly credits comes back of a hold";
	if (row->kind == CR_KIND_HOLD_END)
		hold->expired = returns - got;
	return NULL;
}

/* Which of the credits that a row spent were monthly, and of which period. */
static const char *
refund_row(const CrRow *row, const CrRow *before)
{
	const CrRow *spent = &account.w->rows[row->ref_seq - 1];
	int64_t		skip = account.refunded[spent->seq - 1];
	int64_t		wanted = row->amount;
	int64_t		got = worth(row) - worth(before);
	CrPart		parts[64];
	int			n = 0;

	account.refunded[spent->seq - 1] += row->amount;
	if (spent->kind == CR_KIND_DEDUCT)
	{
		parts[n++] = (CrPart) {CR_FROM_MONTHLY, -spent->delta.monthly};
		for (int i = 0; i < spent->n_allocations; i++)
			parts[n++] = spent->allocations[i];
		parts[n++] = (CrPart) {CR_FROM_PURCHASED,
			spent->amount + spent->delta.monthly + spent->delta.granted};
	}
	else
		for (int i = 0; i < spent->n_allocations; i++)
			parts[n++] = spent->allocations[i];
	while (n-- > 0)
	{
		int64_t		skipped = least(skip, parts[n].credits);
		int64_t		back = least(parts[n].credits - skipped, wanted);
		int64_t		period = spent->period - (parts[n].source == CR_FROM_LAST);
		int64_t		gets;

		skip -= skipped;
		wanted -= back;
		if (back == 0 || (parts[n].source != CR_FROM_MONTHLY && parts[n].source != CR_FROM_LAST))
			continue;
		gets = comes_back(row, period, back, spent->seq);
		period_at(period)->used -= gets;
		got -= gets;
	}
	return got == 0 ? NULL : "another number of monthly credits comes back of what was spent";
}

/* An import of an earlier period: of what rolled over, only what corrections brought stays. */
static int64_t
take_rolled_over(const CrRow *row, const CrRow *import)
{
	int64_t		before = carried(account.left, account.limit);
	int64_t		corrected = 0;

	for (int64_t i = import->seq; i < row->seq - 1; i++)
	{
		const CrRow *adjust = &account.w->rows[i];

		if (adjust->kind == CR_KIND_ADJUST && adjust->amount > 0 &&
			adjust->period < row->period && worth(adjust) != worth(adjust - 1))
			corrected += adjust->amount;
	}
	account.limit = least(account.undone ? INT64_MAX : account.limit, corrected);
	return before - carried(account.left, account.limit);
}

static const char *
undo_row(const CrRow *row, const CrRow *before)
{
	const CrRow *target = &account.w->rows[row->ref_seq - 1];
	Period	   *period = period_at(row->period);
	int64_t		granted = account.granted;
	int64_t		brought = 0;

	switch (target->kind)
	{
		case CR_KIND_RESET:
			if (row->has_facts && row->facts.last_undone)
			{
				granted = beyond_limit();
				account.undone = true;
				for (int i = 0; i < account.w->n_rows; i++)
				{
					if (account.holds[i].period == row->period - 1)
						account.holds[i].expired = 0;
				}
			}
			else if (row->has_facts)
				granted = allowance(&row->facts);
			break;
		case CR_KIND_SET_PLAN:
			granted -= target->amount;
			break;
		case CR_KIND_IMPORT:
			if (target->period == row->period)
				brought = cr_brought(target, CR_FROM_MONTHLY) - target->facts.period_granted;
			else
				brought = take_rolled_over(row, target);
			period->corrected -= brought;
			account.undone = false;
			granted = 0;
			break;
		default:
			return worth(row) == worth(before) ? NULL : "the undo of a grant is in another bucket";
	}
	account.granted = granted;
	return NULL;
}

static const char *
close_row(const CrRow *row, const CrRow *before)
{
	int64_t		left = worth(before) - account.granted;

	account.closed_seq = row->seq;
	account.charged = row->owed_monthly;
	account.undone = false;
	if (left > 0)
		period_at(row->period)->corrected -= left;
	account.granted = 0;
	return NULL;
}

/* Boundaries that made no row: nothing was there. */
static void
pass(const CrRow *row)
{
	for (int64_t p = row->period; p > row->period - 2 && p > 0; p--)
		memset(period_at(p), 0, sizeof(Period));
	account.left = account.limit = account.granted = 0;
	account.last_charged = row->period > 1 ? account.charged : 0;
	account.charged = 0;
	account.last_closed_seq = account.closed_seq;
	account.undone = false;
}

/* What the row does to the period that it is in. */
static const char *
monthly_of(const CrRow *row, const CrRow *before)
{
	Period	   *period = period_at(row->period);
	int64_t		change = before ? worth(row) - worth(before) : worth(row);

	switch (row->kind)
	{
		case CR_KIND_RESET:
		case CR_KIND_RESTART:
			return begin(row, before);
		case CR_KIND_OPEN:
		case CR_KIND_SET_PLAN:
			account.undone = false;
			if (row->has_facts)
				account.granted = allowance(&row->facts);
			return NULL;
		case CR_KIND_IMPORT:
			account.granted = allowance(&row->facts);
			period->corrected += cr_brought(row, CR_FROM_MONTHLY) - account.granted;
			return NULL;
		case CR_KIND_ADJUST:
			period->corrected += change;
			return change == 0 || change == row->amount ? NULL : "another correction";
		case CR_KIND_DEDUCT:
			period->used -= change;
			return change <= 0 ? NULL : "a deduction that adds";
		case CR_KIND_HOLD:
		case CR_KIND_HOLD_END:
		case CR_KIND_CAPTURE:
		case CR_KIND_RELEASE:
			return hold_row(row, before);
		case CR_KIND_REFUND:
			return refund_row(row, before);
		case CR_KIND_UNDO:
			return undo_row(row, before);
		case CR_KIND_CLOSE:
			return close_row(row, before);
		default:
			return change == 0 ? NULL : "a row of this kind moves no monthly credits";
	}
}

static const char *
property_breaks(const World *w)
{
	memset(&account, 0, sizeof(account));
	account.w = w;
	for (int i = 0; i < w->n_rows; i++)
	{
		const CrRow *row = &w->rows[i];
		const CrRow *before = i > 0 ? row - 1 : NULL;
		int64_t		begun = row->kind == CR_KIND_RESET ? 1 + row->skipped
			: row->kind == CR_KIND_RESTART;
		Period	   *period;
		const char *wrong;

		if (before && row->period - begun > before->period)
			pass(row);
		wrong = monthly_of(row, before);
		period = period_at(row->period);
		if (period->corrected + account.granted > period->largest)
			period->largest = period->corrected + account.granted;
		if (row->has_facts && allowance(&row->facts) > period->allowance)
			period->allowance = allowance(&row->facts);
		if (account.undone && beyond_limit() > period->allowance)
			period->allowance = beyond_limit();
		if (wrong == NULL && account.granted > period->allowance)
			wrong = "more was granted than any allowance, and than an undone boundary let expire";
		for (int64_t p = row->period; p > 0 && p >= row->period - 1; p--)
		{
			const Period *of = period_at(p);

			if (wrong == NULL && of->used + of->passed_on > of->carried + of->largest)
				wrong = "more was used or passed on than was carried in, corrected and granted";
		}
		if (wrong == NULL && row->has_facts && row->facts.period_granted != account.granted)
			wrong = "period_granted is another number";
		if (wrong != NULL)
		{
			note("row %d, %s of %" PRId64 ": carried %" PRId64 " corrected %" PRId64
				 " granted %" PRId64 " used %" PRId64 " held %" PRId64 " left %" PRId64
				 " passed on %" PRId64, i + 1, cr_kind_name(row->kind), row->amount,
				 period->carried, period->corrected, account.granted, period->used,
				 monthly_held(row->period), worth(row), period->passed_on);
			return wrong;
		}
	}
	return NULL;
}

/*
 * What came less what went, for each bucket
 */

static int64_t
part_of(const CrRow *row, int64_t source)
{
	int64_t		sum = 0;

	for (int i = 0; i < row->n_allocations; i++)
	{
		int64_t		from = row->allocations[i].source;

		sum += (source > 0 ? from > 0 : from == source) ? row->allocations[i].credits : 0;
	}
	return sum;
}

/* What the row gave each bucket, or took; the last one is what it gave in all. */
static void
gave(const CrRow *row, const CrRow *before, int64_t change[4], bool known[4])
{
	int			bucket;

	memset(change, 0, 4 * sizeof(int64_t));
	for (int i = 0; i < 4; i++)
		known[i] = true;
	switch (row->kind)
	{
		case CR_KIND_OPEN:
		case CR_KIND_SET_PLAN:
			change[CR_MONTHLY] = row->amount;
			break;
		case CR_KIND_RESET:
		case CR_KIND_RESTART:
			change[CR_MONTHLY] = row->amount - row->expired + (before ? before->owed_monthly : 0);
			break;
		case CR_KIND_DEDUCT:
			change[CR_MONTHLY] = row->delta.monthly;
			change[CR_GRANTED] = -part_of(row, 1);
			change[CR_PURCHASED] = -row->amount - change[CR_MONTHLY] - change[CR_GRANTED];
			break;
		case CR_KIND_PURCHASE:
		case CR_KIND_TRANSFER_IN:
			change[CR_PURCHASED] = row->amount;
			break;
		case CR_KIND_TRANSFER_OUT:
			change[CR_PURCHASED] = -row->amount;
			break;
		case CR_KIND_ADJUST:
			bucket = row->delta.granted != 0 ? CR_GRANTED
				: row->delta.monthly != 0 || row->owed_monthly != before->owed_monthly ? CR_MONTHLY
				: CR_PURCHASED;
			change[bucket] = row->amount;
			break;
		case CR_KIND_GRANT:
			change[CR_GRANTED] = row->amount;
			break;
		case CR_KIND_GRANT_END:
			change[CR_GRANTED] = -row->expired;
			break;
		case CR_KIND_REVOKE:
			change[CR_GRANTED] = -part_of(row, 1);
			change[CR_PURCHASED] = -part_of(row, CR_FROM_PURCHASED) - part_of(row, CR_FROM_OWED);
			break;
		case CR_KIND_IMPORT:
			change[CR_MONTHLY] = cr_brought(row, CR_FROM_MONTHLY);
			change[CR_PURCHASED] = cr_brought(row, CR_FROM_PURCHASED);
			break;
		case CR_KIND_CLOSE:
			change[CR_GRANTED] = -part_of(row, 1);
			change[CR_PURCHASED] = -row->forfeited;
			known[CR_MONTHLY] = known[3] = false;	/* what the plan granted goes, too */
			break;
		case CR_KIND_HOLD_END:
		case CR_KIND_RELEASE:
			known[0] = known[1] = known[2] = false;
			change[3] = -row->expired;
			return;
		case CR_KIND_CAPTURE:
			known[0] = known[1] = known[2] = false;
			change[3] = part_of(row, CR_FROM_EXPIRED) - row->amount - row->expired;
			return;
		case CR_KIND_REFUND:
		case CR_KIND_REINSTATE:
			known[0] = known[1] = known[2] = false;
			change[3] = row->amount - row->forfeited;
			return;
		case CR_KIND_UNDO:
			known[0] = known[1] = known[2] = false;
			change[3] = row->amount;
			return;
		default:
			break;
	}
	change[3] = change[0] + change[1] + change[2];
}

static const char *
sums_break(const World *w)
{
	for (int i = 0; i < w->n_rows; i++)
	{
		const CrRow *row = &w->rows[i];
		const CrRow *before = i > 0 ? row - 1 : &(CrRow) {0};
		int64_t		change[4];
		bool		known[4];
		int64_t		got[4];

		gave(row, i > 0 ? before : NULL, change, known);
		got[CR_MONTHLY] = row->balance.monthly + row->held.monthly - row->owed_monthly -
			before->balance.monthly - before->held.monthly + before->owed_monthly;
		got[CR_GRANTED] = row->balance.granted + row->held.granted - before->balance.granted -
			before->held.granted;
		got[CR_PURCHASED] = row->balance.purchased + row->held.purchased -
			row->owed_purchased - before->balance.purchased - before->held.purchased +
			before->owed_purchased;
		got[3] = got[0] + got[1] + got[2];
		for (int k = 0; k < 4; k++)
		{
			if (!known[k] || got[k] == change[k])
				continue;
			note("row %d, %s of %" PRId64 ": bucket %d got %" PRId64 ", not %" PRId64, i + 1,
				 cr_kind_name(row->kind), row->amount, k, got[k], change[k]);
			return "what came less what went is not what is there";
		}
	}
	return NULL;
}

/*
 * Random histories
 */

static Command
any_command(CrTime at, int n_plans)
{
	static const Op life[] = {OP_CLOSE, OP_UNFREEZE, OP_UNFREEZE, OP_UNDO, OP_UNDO, OP_UNDO,
	OP_UNDO, OP_IMPORT, OP_OPEN, OP_RESTART, OP_SET_CYCLE, OP_CANCEL, OP_TRANSFER_IN};
	static const CrKind kinds[] = {CR_KIND_RESET, CR_KIND_RESET, CR_KIND_SET_PLAN,
	CR_KIND_GRANT, CR_KIND_IMPORT};
	Command		cmd = world_random_open_command(&world, at, n_plans);

	if (!one_in(3))
		return cmd;
	cmd = (Command) {.op = life[random_between(0, lengthof(life) - 1)],.at = at};
	cmd.plan = world.versions[random_between(0, n_plans - 1)].plan;
	cmd.amount = random_between(1, 90);
	cmd.purchased = random_between(0, 90);
	cmd.zone = random_zone();
	cmd.anchor = at + random_between(-60 * DAY, 20 * DAY);
	cmd.period_start = at - random_between(0, 20 * DAY);
	cmd.keep_anchor = one_in(2);
	cmd.regrant = one_in(2);
	cmd.last_of = kinds[random_between(0, lengthof(kinds) - 1)];
	return cmd;
}

static CrTime
any_time(CrTime at)
{
	CrTime		end = world.acc.next_reset_at;
	CrTime		far = world.acc.facts.cycle == CR_DAILY ? 12 * DAY : 80 * DAY;

	if (one_in(3))
		return at;
	if (one_in(4) && end != CR_NEVER && end < at + 40 * DAY && end > at)
		return end + random_between(-1, 1);
	return at + random_between(0, one_in(8) ? far : 6 * DAY);
}

static void
copy_versions(World *to, const World *from)
{
	world_init(to);
	to->strict = true;
	memcpy(to->versions, from->versions, sizeof(to->versions));
	to->n_versions = from->n_versions;
}

static CrTime
begin_history(int *n_plans)
{
	CrTime		at = START + random_between(0, 40 * DAY);

	world_init(&world);
	world.strict = true;
	*n_plans = world_random_plans(&world, START, START + 300 * DAY, true);
	return at;
}

static void
open_it(World *w, const Command *cmd)
{
	if (cmd->op == OP_IMPORT)
		(void) world_run(w, cmd);
	else
		(void) world_open(w, cmd->at, cmd->plan, cmd->anchor, cmd->zone);
}

static Command
any_opening(CrTime at, int n_plans)
{
	Command		cmd = any_command(at, n_plans);

	cmd.op = one_in(6) ? OP_IMPORT : OP_OPEN;
	cmd.plan = one_in(6) ? NULL : world.versions[0].plan;
	cmd.zone = one_in(2) ? "UTC" : random_zone();
	cmd.anchor = at - random_between(0, 60 * DAY);
	cmd.period_start = at - random_between(0, 20 * DAY);
	cmd.purchased = random_between(0, 90);
	cmd.amount = random_between(1, 90);
	return cmd;
}

/* Brings one world to a time in pieces, another one through every event. */
static void
sweep(CrTime from, CrTime to)
{
	while (from < to && one_in(2))
	{
		from += random_between(0, (to - from) / 2);
		world_fold(&swept, from);
	}
	while (cr_is_due(&stepwise.acc, to))
	{
		CrTime		next = stepwise.acc.next_event_at;

		if (stepwise.acc.next_reset_at < next)
			next = stepwise.acc.next_reset_at;
		world_fold(&stepwise, next);
	}
}

static const char *
worlds_differ(void)
{
	const char *broken = world.broken ? world.broken
		: swept.broken ? swept.broken : stepwise.broken;

	if (broken)
		return broken;
	if (!same_account(&world.acc, &swept.acc) || !same_lists(world.acc.lots, swept.acc.lots))
		return "it matters when the sweep ran";
	if (!same_account(&world.acc, &stepwise.acc) ||
		!same_lists(world.acc.lots, stepwise.acc.lots))
		return "it matters whether every event was applied at its time";
	return NULL;
}

static const char *
replay_breaks(void)
{
	CrAccount	acc;

	cr_account_init(&acc, world.acc.user_id);
	acc.lots = world_lists(&replayed);
	for (int i = 0; i < world.n_rows; i++)
	{
		const char *complaint = world_replay(&world, &acc, &world.rows[i], i);

		if (complaint)
		{
			note("row %d, %s", i + 1, cr_kind_name(world.rows[i].kind));
			return complaint;
		}
	}
	return world_head_differs(&world, &acc);
}

static void
show_history(const Command *commands, int n, const char *wrong)
{
	for (int i = 0; i < world.n_versions; i++)
	{
		const CrPlanVersion *v = &world.versions[i];

		note("plan %s v%d: %" PRId64 " %s rollover %" PRId64 " from %s", v->plan,
			 (int) v->version, v->monthly_credits, cr_cycle_name(v->cycle), v->rollover_limit,
			 show_time(v->effective_from));
	}
	for (int i = 0; i < n; i++)
		note("call %d: %d at %s amount %" PRId64 " plan %s about %d", i, (int) commands[i].op,
			 show_time(commands[i].at), commands[i].amount,
			 commands[i].plan ? commands[i].plan : "-", commands[i].target);
	for (int i = 0; i < world.n_rows; i++)
		note("row %d %s %s amount %" PRId64 " ref %" PRId64 " expired %" PRId64 " forfeited %"
			 PRId64 " skipped %d period %" PRId64 ": %" PRId64 "+%" PRId64 "+%" PRId64
			 " held %" PRId64 " owed %" PRId64 "+%" PRId64, i + 1,
			 show_time(world.rows[i].effective_at), cr_kind_name(world.rows[i].kind),
			 world.rows[i].amount, world.rows[i].ref_seq, world.rows[i].expired,
			 world.rows[i].forfeited, world.rows[i].skipped, world.rows[i].period,
			 world.rows[i].balance.monthly, world.rows[i].balance.granted,
			 world.rows[i].balance.purchased, world.rows[i].held.monthly,
			 world.rows[i].owed_monthly, world.rows[i].owed_purchased);
	note("%s", wrong);
	note("slept:    %s", show_account(&world.acc));
	note("swept:    %s", show_account(&swept.acc));
	note("stepwise: %s", show_account(&stepwise.acc));
}

static const char *
run_history(int64_t *rows)
{
	static Command commands[CALLS + 1];
	const char *wrong = NULL;
	int			n_plans;
	int			n = 0;
	CrTime		at = begin_history(&n_plans);

	commands[n++] = any_opening(at, n_plans);
	copy_versions(&swept, &world);
	copy_versions(&stepwise, &world);
	open_it(&world, &commands[0]);
	open_it(&swept, &commands[0]);
	open_it(&stepwise, &commands[0]);
	while (n <= CALLS && wrong == NULL)
	{
		CrTime		from = at;
		Command		cmd;
		CrVerdict	verdict;

		at = any_time(at);
		cmd = commands[n++] = any_command(at, n_plans);
		sweep(from, at);
		verdict = world_run(&world, &cmd);
		if (world_run(&swept, &cmd) != verdict || world_run(&stepwise, &cmd) != verdict)
			wrong = "another verdict when events were applied at another time";
		if (wrong == NULL)
			wrong = worlds_differ();
	}
	if (wrong == NULL)
	{
		sweep(at, at + 70 * DAY);
		at += 70 * DAY;
		world_fold(&world, at);
		world_fold(&swept, at);
		world_fold(&stepwise, at);
		wrong = worlds_differ();
	}
	if (wrong == NULL)
		wrong = property_breaks(&world);
	if (wrong == NULL)
		wrong = property_breaks(&stepwise);
	if (wrong == NULL)
		wrong = sums_break(&world);
	if (wrong == NULL)
		wrong = replay_breaks();
	if (wrong)
		show_history(commands, n, wrong);
	*rows += world.n_rows;
	return wrong;
}

static void
test_histories(void)
{
	const char *wrong = NULL;
	int64_t		rows = 0;

	for (int run = 0; run < runs() && wrong == NULL; run++)
	{
		wrong = run_history(&rows);
		if (wrong)
			note("run %d: %s", run, wrong);
	}
	if (ok(wrong == NULL, "what a user is entitled to, in random histories"))
		note("%" PRId64 " rows in %d histories", rows, runs());
}

/*
 * Order: a release or refund gives the same before and after anything else in the period.
 */

#define MAX_CHANGES 6

typedef struct Case
{
	Command		prefix[CALLS];
	int			n_prefix;
	Command		giving;			/* a release or a refund */
	Command		changes[MAX_CHANGES];
	int			n_changes;
	CrVerdict	verdicts[MAX_CHANGES + 1];	/* of the changes, and of the giving */
} Case;

/* Runs the history, with the giving after so many changes, and then to a time. */
static void
run_case(World *w, Case *c, int after, CrTime to)
{
	copy_versions(w, &world);
	open_it(w, &c->prefix[0]);
	for (int i = 1; i < c->n_prefix; i++)
		(void) world_run(w, &c->prefix[i]);
	for (int i = 0; i <= c->n_changes; i++)
	{
		if (i == after)
			c->verdicts[MAX_CHANGES] = world_run(w, &c->giving);
		if (i < c->n_changes)
			c->verdicts[i] = world_run(w, &c->changes[i]);
	}
	world_fold(w, to);
}

static int
count_named(Op op)
{
	int			n = 0;

	while (world_nth(&world, op, n) != NULL)
		n++;
	return n;
}

/* A random history, and then a time before the next event. */
static bool
begin_case(Case *c, CrTime *at)
{
	int			n_plans;
	int			length = (int) random_between(2, CALLS - 1);
	Op			op = one_in(2) ? OP_RELEASE : OP_REFUND;
	bool		closes = one_in(2);
	int			n;
	CrTime		next;

	*at = begin_history(&n_plans);
	c->n_prefix = 0;
	c->prefix[c->n_prefix++] = any_opening(*at, n_plans);
	open_it(&world, &c->prefix[0]);
	while (c->n_prefix < length)
	{
		*at = any_time(*at);
		c->prefix[c->n_prefix] = any_command(*at, n_plans);
		(void) world_run(&world, &c->prefix[c->n_prefix++]);
	}
	next = cr_next_event(&world.acc);
	if (world.acc.next_reset_at < next)
		next = world.acc.next_reset_at;
	if (next <= *at + DAY)
		return false;
	*at += random_between(1, DAY - 1);
	n = count_named(op);
	if (n == 0)
		return false;
	c->giving = (Command) {.op = op,.at = *at,.target = n - 1 - (int) random_between(0, n < 3 ? n - 1 : 2),
		.amount = one_in(2) ? 0 : random_between(1, 60)};
	c->n_changes = (int) random_between(1, MAX_CHANGES);
	for (int i = 0; i < c->n_changes; i++)
	{
		static const Op ops[] = {OP_SET_PLAN, OP_SET_PLAN, OP_CANCEL, OP_SCHEDULE, OP_SET_CYCLE,
		OP_CLOSE, OP_UNFREEZE, OP_ADJUST, OP_UNDO, OP_UNDO, OP_PURCHASE, OP_REVOKE, OP_REINSTATE};
		static const Op around_closing[] = {OP_CLOSE, OP_CLOSE, OP_UNFREEZE, OP_UNFREEZE, OP_PURCHASE,
		OP_REVOKE, OP_REVOKE, OP_REINSTATE, OP_SET_PLAN, OP_ADJUST};
		static const CrKind kinds[] = {CR_KIND_RESET, CR_KIND_RESET, CR_KIND_SET_PLAN,
		CR_KIND_IMPORT};
		Command    *cmd = &c->changes[i];

		*cmd = any_command(*at, n_plans);
		cmd->op = closes ? around_closing[random_between(0, lengthof(around_closing) - 1)]
			: ops[random_between(0, lengthof(ops) - 1)];
		cmd->at = *at;
		cmd->bucket = CR_MONTHLY;
		cmd->amount = random_between(1, 90);
		cmd->plan = world.versions[random_between(0, world.n_versions - 1)].plan;
		cmd->zone = "Asia/Tokyo";
		cmd->anchor = START;
		cmd->target = (int) random_between(0, 3);
		cmd->regrant = one_in(2);
		cmd->last_of = cmd->op == OP_UNDO ? kinds[random_between(0, lengthof(kinds) - 1)] : 0;
	}
	return true;
}

/* Does a row after a closing make a debt that is not for the time before the closing? */
static bool
is_new_debt(const CrRow *row, const CrRow *before, const CrRow *closing)
{
	if (row->kind == CR_KIND_CLOSE || (row->kind == CR_KIND_REVOKE && row->ref_seq < closing->seq))
		return false;
	return row->owed_monthly > before->owed_monthly || row->owed_purchased > before->owed_purchased;
}

/*
 * Where the order matters by the rules themselves:
 *
 * A plan change after an undone boundary, if it is undone itself, does not give what came back
 * in between from the period before.
 *
 * A second closing can leave more owed than the one before.  What was spent before both pays that,
 * but is forfeited if it comes back just before the second.
 *
 * What was spent before a closing also pays a debt that is made after it.  If a purchase pays that
 * first, it is forfeited.
 */
static bool
is_known(const World *w)
{
	bool		reset_undone = false;
	const CrRow *closing = NULL;
	int64_t		first = 0;		/* the closing before one that leaves more owed */
	int64_t		in_debt = 0;	/* the closing after which a debt is made */

	for (int i = 0; i < w->n_rows; i++)
	{
		const CrRow *row = &w->rows[i];
		CrKind		undone = row->kind == CR_KIND_UNDO ? w->rows[row->ref_seq - 1].kind : 0;

		reset_undone |= undone == CR_KIND_RESET;
		if (undone == CR_KIND_SET_PLAN && reset_undone)
			return true;
		if (closing && is_new_debt(row, row - 1, closing))
			in_debt = closing->seq;
		if (row->kind != CR_KIND_CLOSE)
			continue;
		if (closing && row->owed_monthly > closing->owed_monthly)
			first = closing->seq;
		closing = row;
	}
	for (int i = 0; i < w->n_rows; i++)
	{
		if (w->rows[i].kind == CR_KIND_REFUND &&
			(w->rows[i].ref_seq < first || w->rows[i].ref_seq < in_debt))
			return true;
	}
	return false;
}

static const char *
order_matters(Case *c, CrTime at)
{
	CrVerdict	verdicts[MAX_CHANGES + 1];
	CrTime		until[] = {at, at + 45 * DAY};

	for (int k = 0; k < lengthof(until); k++)
	{
		run_case(&swept, c, 0, until[k]);
		memcpy(verdicts, c->verdicts, sizeof(verdicts));
		for (int after = 1; after <= c->n_changes; after++)
		{
			run_case(&stepwise, c, after, until[k]);
			if (memcmp(verdicts, c->verdicts, sizeof(verdicts)) != 0)
				continue;
			if (same_account(&swept.acc, &stepwise.acc) &&
				same_lists(swept.acc.lots, stepwise.acc.lots))
				continue;
			if (is_known(&stepwise) || is_known(&swept))
				continue;
			return "it matters when credits come back";
		}
	}
	return NULL;
}

/* Leaves out what the violation does not need. */
static void
shorten(Case *c, CrTime at)
{
	for (int i = c->n_prefix - 1; i > 0; i--)
	{
		Case		shorter = *c;

		memmove(&shorter.prefix[i], &shorter.prefix[i + 1],
				sizeof(Command) * (size_t) (c->n_prefix - i - 1));
		shorter.n_prefix--;
		for (int more = 0; more < 4; more++)
		{
			Case		other = shorter;

			other.giving.target -= more;
			if (other.giving.target >= 0 && order_matters(&other, at))
			{
				*c = other;
				break;
			}
		}
	}
	for (int i = c->n_changes - 1; i >= 0; i--)
	{
		Case		shorter = *c;

		memmove(&shorter.changes[i], &shorter.changes[i + 1],
				sizeof(Command) * (size_t) (c->n_changes - i - 1));
		shorter.n_changes--;
		if (order_matters(&shorter, at))
			*c = shorter;
	}
}

static void
test_order(void)
{
	const char *wrong = NULL;
	static Case c;
	int			n = 0;

	for (int run = 0; run < 8 * runs() && wrong == NULL; run++)
	{
		CrTime		at;

		if (!begin_case(&c, &at))
			continue;
		n++;
		wrong = order_matters(&c, at);
		if (wrong == NULL)
			continue;
		note("run %d", run);
		shorten(&c, at);
		(void) order_matters(&c, at);
		note("first:");
		world.n_rows = swept.n_rows;
		memcpy(world.rows, swept.rows, sizeof(world.rows));
		show_history(c.changes, c.n_changes, wrong);
		note("later:");
		memcpy(world.rows, stepwise.rows, sizeof(world.rows));
		world.n_rows = stepwise.n_rows;
		show_history(&c.giving, 1, wrong);
	}
	if (ok(wrong == NULL, "it does not matter when in a period credits come back"))
		note("%d histories", n);
}

void
test_property(void)
{
	test_histories();
	test_order();
}
