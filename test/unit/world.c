/*
 * world.c
 *		A ledger in memory: plan versions, one account and its rows.
 *
 * It calls the core as the real ledger does: a call gets the later of the clock and
 * the account's time, what is due is applied first, and rows are numbered.  What must
 * be true of every row and account is in checks.c.
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

static bool
env_knows_zone(void *ctx, const char *zone)
{
	return !same_text(((World *) ctx)->hidden_zone, zone);
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
	w->stored = w->acc;
	w->stored.history_seq = kept->seq;
	kept->created_at = row->effective_at;
	kept->actor = "app";
	if (row->n_allocations > 0)
	{
		size_t		size = sizeof(CrPart) * (size_t) row->n_allocations;

		kept->allocations = memcpy(take_memory(w, size), row->allocations, size);
	}
}

/* Empty lists of grants and holds.  Lists that were given before are gone. */
CrLots *
world_lists(World *w)
{
	memset(&w->lots, 0, sizeof(w->lots));
	w->used = 0;
	w->lots.alloc = take_memory;
	w->lots.ctx = w;
	return &w->lots;
}

/* Makes the world's lists a copy of other ones. */
CrLots *
world_copy_lists(World *w, const CrLots *from)
{
	CrLots	   *lots = world_lists(w);

	for (int i = 0; i < from->n_grants; i++)
		*cr_lots_add_grant(lots, from->grants[i].seq, from->grants[i].ends_at) =
			from->grants[i];
	for (int i = 0; i < from->n_holds; i++)
	{
		const CrHold *hold = &from->holds[i];
		CrHold	   *copy = cr_lots_add_hold(lots, hold->seq, hold->n_parts);
		CrPart	   *parts = copy->parts;

		*copy = *hold;
		copy->parts = parts;
		if (hold->n_parts > 0)
			memcpy(parts, hold->parts, sizeof(CrPart) * (size_t) hold->n_parts);
	}
	return lots;
}

void
world_init(World *w)
{
	memset(w, 0, offsetof(World, rows));
	w->env.ctx = w;
	w->env.local_to_utc = env_local_to_utc;
	w->env.utc_to_local = env_utc_to_local;
	w->env.knows_zone = env_knows_zone;
	w->env.plan_at = env_plan_at;
	w->env.plan_version = env_plan_version;
	w->env.emit = env_emit;
	cr_account_init(&w->acc, "user_2abc");
	w->acc.lots = world_lists(w);
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

/* Can a bulk run have written the row, so that it can be undone? */
static bool
is_undoable(const CrRow *row)
{
	return row->kind == CR_KIND_RESET || row->kind == CR_KIND_SET_PLAN ||
		row->kind == CR_KIND_IMPORT ||
		(row->kind == CR_KIND_GRANT && row->payment_ref == NULL);
}

static bool
can_name(Op op, const CrRow *row)
{
	switch (op)
	{
		case OP_REFUND:
			return row->kind == CR_KIND_DEDUCT || row->kind == CR_KIND_CAPTURE;
		case OP_REVOKE:
		case OP_REINSTATE:
			return row->payment_ref != NULL;
		case OP_UNDO:
			return is_undoable(row);
		default:
			return row->kind == CR_KIND_HOLD;
	}
}

/* The target-th row that a command of this kind can name, or NULL. */
const CrRow *
world_nth(const World *w, Op op, int target)
{
	for (int i = 0; i < w->n_rows; i++)
	{
		if (can_name(op, &w->rows[i]) && target-- == 0)
			return &w->rows[i];
	}
	return NULL;
}

/* How much of a row the first so many rows refunded, revoked or reinstated. */
static int64_t
sum_about(const World *w, CrKind kind, int64_t seq, int n_rows)
{
	int64_t		sum = 0;

	for (int i = 0; i < n_rows; i++)
	{
		if (w->rows[i].kind == kind && w->rows[i].ref_seq == seq)
			sum += w->rows[i].amount;
	}
	return sum;
}

/* The same of one source in their allocations; largest: not the sum, but the largest. */
static int64_t
source_about(const World *w, CrKind kind, int64_t seq, int n_rows, int64_t source,
			 bool largest)
{
	int64_t		sum = 0;

	for (int i = 0; i < n_rows; i++)
	{
		const CrRow *row = &w->rows[i];

		for (int k = 0; k < row->n_allocations; k++)
		{
			int64_t		part = row->allocations[k].credits;

			if (row->kind != kind || row->ref_seq != seq ||
				row->allocations[k].source != source)
				continue;
			if (!largest)
				sum += part;
			else if (part > sum)
				sum = part;
		}
	}
	return sum;
}

/* How much adjustments between two rows gave the monthly bucket in earlier periods. */
static int64_t
monthly_adjusted(const World *w, const CrRow *from, int n_rows, int64_t period)
{
	int64_t		sum = 0;

	for (int i = (int) from->seq; i < n_rows && w->rows[i].period < period; i++)
		sum += cr_monthly_adjusted(&w->rows[i - 1], &w->rows[i]);
	return sum;
}

/* What a row spent, and how much of it the first so many rows refunded. */
bool
world_spent(const World *w, int64_t seq, int n_rows, CrSpent *spent)
{
	if (seq < 1 || seq > w->n_rows || !cr_spent(spent, &w->rows[seq - 1]))
		return false;
	spent->refunded = sum_about(w, CR_KIND_REFUND, seq, n_rows);
	return true;
}

/* A payment, as the first so many rows left it.  Its grant is one of the account's. */
bool
world_paid(const World *w, const CrAccount *acc, int64_t seq, int n_rows, CrPaid *paid)
{
	const CrRow *row;

	if (seq < 1 || seq > w->n_rows || w->rows[seq - 1].payment_ref == NULL)
		return false;
	row = &w->rows[seq - 1];
	memset(paid, 0, sizeof(*paid));
	paid->seq = seq;
	paid->amount = row->amount;
	paid->revoked = sum_about(w, CR_KIND_REVOKE, seq, n_rows) -
		sum_about(w, CR_KIND_REINSTATE, seq, n_rows);
	for (int i = 0; row->kind == CR_KIND_GRANT && i < acc->lots->n_grants; i++)
	{
		if (acc->lots->grants[i].seq == seq)
			paid->grant = &acc->lots->grants[i];
	}
	return true;
}

/* How often the first so many rows undid a row. */
static int
times_undone(const World *w, int64_t seq, int n_rows)
{
	int			n = 0;

	for (int i = 0; i < n_rows; i++)
		n += w->rows[i].kind == CR_KIND_UNDO && w->rows[i].ref_seq == seq;
	return n;
}

/* What a call asks of a row or hold before it gives back what that says. */
static const char *
misfit(const CrAccount *acc, const CrRow *row)
{
	CrSpent		spent;

	if ((cr_spent(&spent, row) && !cr_spent_fits(row)) ||
		(is_undoable(row) && !cr_undone_fits(row)))
		return "its amount does not fit";
	for (int i = 0; acc->lots && i < acc->lots->n_holds; i++)
	{
		if (!cr_hold_fits(&acc->lots->holds[i]))
			return "a hold does not fit";
	}
	return NULL;
}

/* Replays a row after the first so many, with the row that it refers to. */
const char *
world_replay(const World *w, CrAccount *acc, const CrRow *row, int n_rows)
{
	CrReplayed	about = {0};
	CrSpent		spent;
	CrPaid		paid;
	const char *complaint;

	if (row->has_ref_seq && row->ref_seq >= 1 && row->ref_seq <= n_rows)
		about.target = &w->rows[row->ref_seq - 1];
	if (about.target && world_paid(w, acc, row->ref_seq, n_rows, &paid))
		about.paid = &paid;
	if (about.target && row->kind == CR_KIND_UNDO)
	{
		about.used = times_undone(w, row->ref_seq, n_rows);
		about.adjusted = monthly_adjusted(w, about.target, n_rows, row->period);
	}
	else if (about.target && world_spent(w, row->ref_seq, n_rows, &spent))
		about.used = spent.refunded;
	complaint = cr_replay(acc, &w->env, row, &about);
	return complaint ? complaint : misfit(acc, row);
}

/*
 * Is the account, to which the rows lead, not the world's?  Boundaries without a row may have
 * come after the last row.
 */
const char *
world_head_differs(World *w, CrAccount *acc)
{
	const char *complaint;

	if (w->acc.is_ahead)
	{
		int			n_rows = w->n_rows;

		cr_fold_due(acc, &w->env, w->acc.facts.period_start);
		if (w->n_rows != n_rows)
			return "there was more due than boundaries without a row";
	}
	complaint = cr_compare_head(&w->acc, acc);
	if (complaint == NULL && !same_account(acc, &w->acc))
		complaint = "it differs in what is not compared with the head";
	if (complaint == NULL && !same_lists(acc->lots, w->acc.lots))
		complaint = "the lists differ";
	if (complaint)
	{
		note("replayed %s", show_account(acc));
		note("account  %s", show_account(&w->acc));
	}
	return complaint;
}

static CrVerdict
run_undo(World *w, const Command *cmd, const CrRow *target, CrTime at, CrRow *row)
{
	const char *plan = w->acc.facts.plan;
	const CrPlanVersion *regrant = NULL;

	if (cmd->regrant && target->kind == CR_KIND_RESET && plan)
		regrant = world_plan_at(w, plan, at);
	return cr_undo(&w->acc, at, target, times_undone(w, target->seq, w->n_rows) > 0, regrant,
				   monthly_adjusted(w, target, w->n_rows, w->acc.period), row);
}

static CrVerdict
run_import(World *w, const Command *cmd, CrTime at, CrRow *row)
{
	CrImport	import = {.plan = cmd->plan ? world_plan_at(w, cmd->plan, at) : NULL,
						  .anchor = cmd->anchor,
						  .zone = cmd->zone,
						  .period_start = cmd->period_start,
						  .next_reset_at = CR_NEVER,
						  .monthly = cmd->amount,
						  .purchased = cmd->purchased};
	CrVerdict	verdict;

	if (!cr_can_import(&w->acc))
		return CR_NOT_UNDOABLE;
	if (import.plan)
		import.next_reset_at =
			cr_next_boundary(&w->env, import.plan->cycle, cmd->zone, cmd->anchor, at);
	verdict = cr_import(&w->acc, at, &import, row);
	if (verdict == CR_OK && row->n_allocations > 0)
	{
		size_t		size = sizeof(CrPart) * (size_t) row->n_allocations;

		row->allocations = memcpy(take_memory(w, size), row->allocations, size);
	}
	return verdict;
}

/* total: what was revoked in all, as a provider reports it; see docs/reference.md. */
static CrVerdict
run_revoke(World *w, const Command *cmd, const CrPaid *paid, CrTime at, CrRow *row)
{
	int64_t		left = paid->amount - paid->revoked;
	int64_t		amount = cmd->amount ? cmd->amount : left;
	int64_t		reported = source_about(w, CR_KIND_REVOKE, paid->seq, w->n_rows, CR_TOTAL, true);

	if (cmd->total > 0)
	{
		if (cmd->total > paid->amount || cmd->total <= reported)
			return CR_MORE_THAN_SPENT;
		amount = cmd->total - reported;
		amount = amount < left ? amount : left;
	}
	else if (left == 0 || amount > left)
		return CR_MORE_THAN_SPENT;
	return cr_revoke(&w->acc, at, amount, paid, cmd->total, row);
}

/* The last row of a kind that can be undone. */
static const CrRow *
last_of(const World *w, CrKind kind)
{
	for (int i = w->n_rows - 1; i >= 0; i--)
	{
		if (w->rows[i].kind == kind && is_undoable(&w->rows[i]))
			return &w->rows[i];
	}
	return NULL;
}

static CrVerdict
run_about_row(World *w, const Command *cmd, CrTime at, CrRow *row)
{
	CrAccount  *acc = &w->acc;
	const CrRow *about = cmd->last_of ? last_of(w, cmd->last_of)
		: world_nth(w, cmd->op, cmd->target);
	int64_t		amount = cmd->amount;
	CrCapture	capture = {amount, cmd->keep_open, cmd->owes};
	CrHold	   *hold;
	CrSpent		spent;
	CrPaid		paid;

	if (about == NULL)
		return CR_HOLD_CLOSED;
	if (cmd->op == OP_UNDO)
		return run_undo(w, cmd, about, at, row);
	if (cmd->op == OP_REFUND)
	{
		world_spent(w, about->seq, w->n_rows, &spent);
		if (amount == 0)
			amount = spent.amount - spent.refunded;
		return cr_refund(acc, at, &spent, amount ? amount : 1, row);
	}
	if (world_paid(w, acc, about->seq, w->n_rows, &paid))
	{
		if (cmd->op == OP_REVOKE)
			return run_revoke(w, cmd, &paid, at, row);
		if (amount == 0)
			amount = paid.revoked;
		return cr_reinstate(acc, at, amount ? amount : 1, &paid, row);
	}
	hold = cr_find_hold(acc, about->seq);
	if (cmd->op == OP_RELEASE)
		return cr_release(acc, at, hold, row);
	if (amount == 0 && !cmd->exact)
		capture.amount = cr_hold_left(hold);
	return cr_capture(acc, at, hold, &capture, row);
}

/* Opens an account that never had a plan. */
static CrVerdict
run_open(World *w, const Command *cmd, CrTime at, CrRow *row)
{
	if (w->acc.facts.cycle != CR_NO_CYCLE)
		return CR_NOT_UNDOABLE;
	return cr_open(&w->acc, &w->env, at, cmd->plan ? world_plan_at(w, cmd->plan, at) : NULL,
				   cmd->anchor, cmd->zone, row);
}

static CrVerdict
run(World *w, const Command *cmd, CrTime at, CrRow *row)
{
	CrAccount  *acc = &w->acc;

	switch (cmd->op)
	{
		case OP_DEDUCT:
			return cr_deduct(acc, at, cmd->amount, row);
		case OP_PURCHASE:
			return cr_purchase(acc, at, cmd->amount, row);
		case OP_ADJUST:
			return cr_adjust(acc, at, cmd->bucket, cmd->amount, row);
		case OP_SET_PLAN:
			return cr_set_plan(acc, &w->env, at, world_plan_at(w, cmd->plan, at), row);
		case OP_CANCEL:
			return cr_set_plan(acc, &w->env, at, NULL, row);
		case OP_RESTART:
			return cr_restart(acc, &w->env, at, world_plan_at(w, cmd->plan, at),
							  cmd->keep_anchor, row);
		case OP_SCHEDULE:
			return cr_schedule_plan(acc, at, cmd->plan, row);
		case OP_SCHEDULE_CANCEL:
			return cr_schedule_plan(acc, at, NULL, row);
		case OP_FREEZE:
			return cr_set_status(acc, at, CR_FROZEN, row);
		case OP_UNFREEZE:
			return cr_set_status(acc, at, CR_ACTIVE, row);
		case OP_REPAIR_CLOCK:
			return cr_repair_clock(acc, at, row);
		case OP_GRANT:
			return cr_grant(acc, at, w->n_rows + 1, cmd->amount, cmd->ends_at, cmd->paid, row);
		case OP_HOLD:
			return cr_hold(acc, at, w->n_rows + 1, cmd->amount, cmd->ends_at, row);
		case OP_CAPTURE:
		case OP_RELEASE:
		case OP_REFUND:
		case OP_REVOKE:
		case OP_REINSTATE:
		case OP_UNDO:
			return run_about_row(w, cmd, at, row);
		case OP_SET_OVERDRAFT:
			return cr_set_overdraft(acc, at, cmd->amount, row);
		case OP_SET_LOW_THRESHOLD:
			return cr_set_low_threshold(acc, at, cmd->amount, row);
		case OP_SET_CYCLE:
			return cr_set_cycle(acc, &w->env, at, cmd->anchor, cmd->zone, row);
		case OP_IMPORTED:
			return cr_can_import(acc) ? cr_imported(acc, at, cmd->amount, row)
									  : CR_NOT_UNDOABLE;
		case OP_IMPORT:
			return run_import(w, cmd, at, row);
		case OP_TRANSFER_OUT:
			return cr_transfer_out(acc, at, cmd->amount, cmd->total, row);
		case OP_TRANSFER_IN:
			return cr_transfer_in(acc, at, cmd->amount, row);
		case OP_CLOSE:
			return cr_close(acc, at, w->n_rows + 1, row);
		case OP_OPEN:
			return run_open(w, cmd, at, row);
	}
	return CR_OK;
}

/* In a strict world: what the command, whichever it was, did wrong. */
static const char *
step_breaks(const World *w, const CrAccount *before, const CrLots *lists,
			CrVerdict verdict, const CrRow *row)
{
	const char *wrong = NULL;

	if (verdict == CR_OK)
		wrong = row_breaks(before, &w->acc, row);
	else if (memcmp(before, &w->acc, sizeof(*before)) != 0 ||
			 !same_lists(lists, w->acc.lots))
		wrong = "a refused command changed something";
	if (wrong == NULL)
		wrong = account_breaks(&w->acc);
	return wrong ? wrong : lists_break(&w->acc);
}

/* Runs a command as the ledger does: the time, what is due, the rule, the row. */
CrVerdict
world_run(World *w, const Command *cmd)
{
	static World lists_before;
	CrAccount	before;
	CrRow		row = {0};
	CrVerdict	verdict;
	CrTime		at = cmd->at;

	if (cmd->op == OP_REPAIR_CLOCK && w->acc.is_ahead)
		w->acc = w->stored;
	if (cmd->op != OP_REPAIR_CLOCK)
	{
		if (at < w->acc.effective_at)
			at = w->acc.effective_at;
		world_fold(w, at);
	}
	before = w->acc;
	if (w->strict)
		world_copy_lists(&lists_before, w->acc.lots);
	verdict = run(w, cmd, at, &row);
	if (verdict == CR_OK && (cmd->op == OP_PURCHASE || (cmd->op == OP_GRANT && cmd->paid)))
		row.payment_ref = "pi_1";
	if (w->strict && w->broken == NULL)
		w->broken = step_breaks(w, &before, &lists_before.lots, verdict, &row);
	if (verdict == CR_OK)
		append(w, &row);
	return verdict;
}

/* Kinds that the random commands of lots_random_test.c do not make. */
bool
world_never_makes(CrKind kind)
{
	return kind == CR_KIND_IMPORTED || kind == CR_KIND_IMPORT ||
		   kind == CR_KIND_TRANSFER_OUT || kind == CR_KIND_TRANSFER_IN ||
		   kind == CR_KIND_UNDO || kind == CR_KIND_CLOSE ||
		   kind == CR_KIND_ARCHIVE;
}

CrVerdict
world_deduct(World *w, CrTime at, int64_t amount)
{
	return world_run(w, &(Command){.op = OP_DEDUCT, .at = at, .amount = amount});
}

CrVerdict
world_purchase(World *w, CrTime at, int64_t amount)
{
	return world_run(w, &(Command){.op = OP_PURCHASE, .at = at, .amount = amount});
}

CrVerdict
world_grant(World *w, CrTime at, int64_t amount, CrTime ends_at)
{
	return world_run(
		w, &(Command){.op = OP_GRANT, .at = at, .amount = amount, .ends_at = ends_at});
}

CrVerdict
world_hold(World *w, CrTime at, int64_t amount, CrTime ends_at)
{
	return world_run(
		w, &(Command){.op = OP_HOLD, .at = at, .amount = amount, .ends_at = ends_at});
}

CrVerdict
world_capture(World *w, CrTime at, int hold, int64_t amount, bool keep_open)
{
	return world_run(w, &(Command){.op = OP_CAPTURE,
								   .at = at,
								   .target = hold,
								   .amount = amount,
								   .keep_open = keep_open});
}

CrVerdict
world_release(World *w, CrTime at, int hold)
{
	return world_run(w, &(Command){.op = OP_RELEASE, .at = at, .target = hold});
}

CrVerdict
world_refund(World *w, CrTime at, int spending, int64_t amount)
{
	return world_run(
		w, &(Command){.op = OP_REFUND, .at = at, .target = spending, .amount = amount});
}

CrVerdict
world_revoke(World *w, CrTime at, int purchase, int64_t amount)
{
	return world_run(
		w, &(Command){.op = OP_REVOKE, .at = at, .target = purchase, .amount = amount});
}

/* plan: NULL cancels. */
CrVerdict
world_set_plan(World *w, CrTime at, const char *plan)
{
	return world_run(
		w, &(Command){.op = plan ? OP_SET_PLAN : OP_CANCEL, .at = at, .plan = plan});
}

CrVerdict
world_restart(World *w, CrTime at, const char *plan, bool keep_anchor)
{
	return world_run(
		w, &(Command){.op = OP_RESTART, .at = at, .plan = plan, .keep_anchor = keep_anchor});
}

CrVerdict
world_set_cycle(World *w, CrTime at, CrLocal anchor, const char *zone)
{
	return world_run(
		w, &(Command){.op = OP_SET_CYCLE, .at = at, .anchor = anchor, .zone = zone});
}

/* plan: NULL cancels. */
CrVerdict
world_schedule(World *w, CrTime at, const char *plan)
{
	return world_run(w, &(Command){.op = plan ? OP_SCHEDULE : OP_SCHEDULE_CANCEL,
								   .at = at,
								   .plan = plan});
}

static const char *const plan_names[] = {"free", "pro", "team", "max"};

/*
 * Makes up to four plans and returns how many.  Each has a version from the start and
 * more later, some of them in force from the very instant of a boundary.
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
			CrCycle		cycle = !cycles || one_in(3) ? CR_CALENDAR
				: one_in(2) ? CR_ANNIVERSARY
				: (CrCycle) random_between(0, CR_CYCLE_COUNT - 1);

			world_plan(w, plan_names[p], at, random_between(0, 20) * 10, cycle, rollover);
			w->versions[w->n_versions - 1].low_balance_threshold = random_between(0, 3) * 20;
			at += random_between(1, 100 * DAY);
			if (one_in(2))
				at = boundary_from(CR_CALENDAR, one_in(2) ? "UTC" : random_zone(), 0, at);
		} while (at < to && one_in(2));
	}
	return n_plans;
}

/* Another anchor or zone, or both. */
static void
random_cycle(Command *cmd, const World *w)
{
	cmd->op = OP_SET_CYCLE;
	cmd->zone = one_in(2) ? w->acc.facts.time_zone : random_zone();
	cmd->anchor = one_in(2) ? w->acc.facts.cycle_anchor
							: cmd->at + random_between(-40 * DAY, 40 * DAY);
}

/* Any command that is not about grants, holds and earlier rows. */
Command
world_random_command(const World *w, CrTime at, int n_plans)
{
	Command		cmd = {.op = OP_DEDUCT, .at = at, .amount = random_between(1, 120)};

	cmd.plan = plan_names[random_between(0, n_plans - 1)];
	switch (random_between(1, 22))
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
		case 13:
			cmd.op = OP_RESTART;
			cmd.keep_anchor = one_in(2);
			break;
		case 14:
		case 15:
			random_cycle(&cmd, w);
			break;
		default:
			cmd.op = OP_DEDUCT;
			break;
	}
	return cmd;
}

static int
count_rows(const World *w, Op op)
{
	int			n = 0;

	while (world_nth(w, op, n) != NULL)
		n++;
	return n;
}

/* Any command, also one about grants, holds and earlier rows. */
Command
world_random_open_command(const World *w, CrTime at, int n_plans)
{
	static const Op about[] = {OP_CAPTURE, OP_CAPTURE, OP_RELEASE,	 OP_REFUND,
							   OP_REFUND,  OP_REVOKE,  OP_REINSTATE};
	Command		cmd = world_random_command(w, at, n_plans);
	int			n;

	if (one_in(3))
		return cmd;
	cmd.amount = random_between(1, 80);
	switch (random_between(1, 12))
	{
		case 1:
		case 2:
			cmd.op = OP_GRANT;
			cmd.paid = one_in(3);
			/* often the same end as another's, or a boundary */
			cmd.ends_at = one_in(3) ? at + random_between(1, 40 * DAY)
									: boundary_from(CR_CALENDAR, "UTC", 0, at + 1) +
										  random_between(0, 2) * 10 * DAY;
			break;
		case 3:
		case 4:
			cmd.op = OP_HOLD;
			cmd.ends_at = at + random_between(1, 31 * DAY);
			if (one_in(2) &&
				boundary_from(CR_CALENDAR, "UTC", 0, at + 1) - at <= 21 * DAY)
				cmd.ends_at = boundary_from(CR_CALENDAR, "UTC", 0, at + 1) +
							  random_between(0, 1) * 10 * DAY;
			break;
		case 5:
			cmd.op = one_in(3) ? OP_SET_OVERDRAFT : one_in(4) ? OP_SET_LOW_THRESHOLD : OP_ADJUST;
			cmd.bucket = CR_GRANTED;
			if (cmd.op == OP_SET_LOW_THRESHOLD)
				cmd.amount = random_between(CR_NO_THRESHOLD, 60);
			if (cmd.op == OP_ADJUST)
				cmd.amount = -random_between(1, 30);
			break;
		case 6:
			cmd.op = OP_UNFREEZE;
			break;
		default:
			cmd.op = about[random_between(0, lengthof(about) - 1)];
			n = count_rows(w, cmd.op);
			/* the last ones more often: they are still open */
			cmd.target =
				n == 0 ? 0
					   : n - 1 - (int) random_between(0, one_in(3) || n < 3 ? n - 1 : 2);
			if (one_in(4))
				cmd.amount = 0;
			if (cmd.op == OP_CAPTURE)
			{
				cmd.keep_open = cmd.amount > 0 && one_in(2);
				cmd.exact = one_in(8);
				cmd.owes = one_in(8);
			}
			else if (cmd.op == OP_REVOKE && one_in(3))
				cmd.total = random_between(1, 80);
			break;
	}
	return cmd;
}
