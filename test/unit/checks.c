/*
 * checks.c
 *		What must be true of every account, every row and all grants and holds.
 */
#include "unit.h"

bool
buckets_are(const CrBuckets *got, int64_t monthly, int64_t granted, int64_t purchased)
{
	if (got->monthly == monthly && got->granted == granted && got->purchased == purchased)
		return true;
	note("got %" PRId64 " monthly, %" PRId64 " granted, %" PRId64 " purchased",
		 got->monthly, got->granted, got->purchased);
	return false;
}

static bool
same_buckets(const CrBuckets *a, const CrBuckets *b)
{
	return a->monthly == b->monthly && a->granted == b->granted &&
		   a->purchased == b->purchased;
}

/* Like cr_facts_equal(), which is tested, so it cannot be used here. */
static bool
same_facts(const CrFacts *a, const CrFacts *b)
{
	return same_text(a->plan, b->plan) && a->plan_version == b->plan_version &&
		   same_text(a->scheduled_plan, b->scheduled_plan) &&
		   a->cycle_anchor == b->cycle_anchor && same_text(a->time_zone, b->time_zone) &&
		   a->status == b->status && a->overdraft_limit == b->overdraft_limit &&
		   a->period_granted == b->period_granted && a->period_start == b->period_start &&
		   a->period_share == b->period_share && a->cycle == b->cycle &&
		   a->last_left == b->last_left && a->last_limit == b->last_limit &&
		   a->last_undone == b->last_undone && a->low_threshold == b->low_threshold;
}

static bool
same_end(const CrEndFrom *a, const CrEndFrom *b)
{
	if (!a->differs || !b->differs)
		return a->differs == b->differs;
	return a->anchor == b->anchor && same_text(a->zone, b->zone) && a->cycle == b->cycle;
}

/*
 * Compares two states, except for the history and next_event_at, which may be early.  The
 * row that closed the account can have another number, because of the events before it.
 */
bool
same_account(const CrAccount *a, const CrAccount *b)
{
	return same_text(a->user_id, b->user_id) && same_buckets(&a->balance, &b->balance) &&
		   same_buckets(&a->held, &b->held) && a->owed_monthly == b->owed_monthly &&
		   a->owed_purchased == b->owed_purchased && same_facts(&a->facts, &b->facts) &&
		   a->period == b->period && a->next_reset_at == b->next_reset_at &&
		   same_end(&a->end_from, &b->end_from) && a->is_ahead == b->is_ahead &&
		   (a->closed_seq == 0) == (b->closed_seq == 0) && a->forfeited == b->forfeited &&
		   a->plan_threshold == b->plan_threshold && a->flags == b->flags && a->charged_monthly == b->charged_monthly &&
		   a->charged_purchased == b->charged_purchased &&
		   a->effective_at == b->effective_at;
}

/* Do the account's boundaries change nothing?  Like cr_is_silent(), which is tested. */
static bool
is_silent(const CrAccount *acc)
{
	return acc->facts.plan == NULL && acc->facts.scheduled_plan == NULL &&
		   acc->balance.monthly == 0 && acc->held.monthly == 0 && acc->owed_monthly == 0;
}

static const char *
period_breaks(const CrAccount *acc)
{
	const CrFacts *facts = &acc->facts;

	if ((facts->cycle == CR_NO_CYCLE) != (acc->next_reset_at == CR_NEVER))
		return "a period without an end and with a cycle, or the other way round";
	if (facts->cycle == CR_NO_CYCLE && (facts->plan != NULL || acc->end_from.differs))
		return "an open-ended period with a plan, or with an end";
	if (facts->period_start >= acc->next_reset_at)
		return "a period that does not end after its start";
	if (acc->period < 1 || facts->period_share < 0 || facts->period_share > CR_FULL_SHARE)
		return "a period with a wrong number or share";
	if (facts->period_granted < 0)
		return "period_granted below 0";
	if (facts->last_limit < 0)
		return "last_limit below 0";
	if (acc->end_from.differs && acc->end_from.anchor == facts->cycle_anchor &&
		same_text(acc->end_from.zone, facts->time_zone) && acc->end_from.cycle == facts->cycle)
		return "end_* say what the account has now";
	return NULL;
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
	if (acc->next_event_at > acc->next_reset_at && !is_silent(acc))
		return "next_event_at later than the boundary";
	if (acc->forfeited < 0)
		return "forfeited out of range";
	return period_breaks(acc);
}

/* Are the grants and holds the same, except for their numbers? */
bool
same_lists(const CrLots *a, const CrLots *b)
{
	if (a->n_grants != b->n_grants || a->n_holds != b->n_holds)
		return false;
	for (int i = 0; i < a->n_grants; i++)
	{
		const CrGrant *g = &a->grants[i];
		const CrGrant *h = &b->grants[i];

		if (g->ends_at != h->ends_at || g->amount != h->amount || g->left != h->left ||
			g->closed != h->closed || g->paid != h->paid || g->expired != h->expired ||
			g->elsewhere != h->elsewhere)
			return false;
	}
	for (int i = 0; i < a->n_holds; i++)
	{
		const CrHold *g = &a->holds[i];
		const CrHold *h = &b->holds[i];

		if (g->ends_at != h->ends_at || g->period != h->period || g->amount != h->amount ||
			g->monthly != h->monthly || g->purchased != h->purchased ||
			g->given_back != h->given_back || g->state != h->state ||
			g->n_parts != h->n_parts)
			return false;
		for (int k = 0; k < g->n_parts; k++)
		{
			if (g->parts[k].credits != h->parts[k].credits)
				return false;
		}
	}
	return true;
}

/* The lists must agree with the account's sums. */
const char *
lists_break(const CrAccount *acc)
{
	const CrLots *lots = acc->lots;
	CrBuckets	held = {0, 0, 0};
	int64_t		granted = 0;
	CrTime		next = is_silent(acc) ? CR_NEVER : acc->next_reset_at;

	for (int i = 0; i < lots->n_grants; i++)
	{
		const CrGrant *grant = &lots->grants[i];

		if (grant->left < 0 || grant->left > grant->amount)
			return "more or less left of a grant than it had";
		if (grant->closed && grant->left > 0)
			return "credits in a grant that has ended";
		if (grant->expired < 0 || grant->elsewhere < 0 ||
			grant->left + grant->expired + grant->elsewhere > grant->amount ||
			(!grant->paid && grant->expired + grant->elsewhere > 0))
			return "more expired or was taken elsewhere than the grant had";
		if (grant->left > 0 && grant->ends_at < next)
			next = grant->ends_at;
		granted += grant->left;
		if (i > 0 &&
			(grant->ends_at < grant[-1].ends_at ||
			 (grant->ends_at == grant[-1].ends_at && grant->seq < grant[-1].seq)))
			return "grants out of order";
	}
	if (granted != acc->balance.granted)
		return "what is left of the grants is not the granted balance";
	for (int i = 0; i < lots->n_holds; i++)
	{
		const CrHold *hold = &lots->holds[i];
		int64_t		left = hold->monthly + hold->purchased + hold->given_back;

		if (hold->monthly < 0 || hold->purchased < 0 || hold->given_back < 0)
			return "less than nothing held";
		for (int k = 0; k < hold->n_parts; k++)
		{
			if (hold->parts[k].credits < 0)
				return "less than nothing held";
			left += hold->parts[k].credits;
		}
		if (left > hold->amount)
			return "more held than was asked for";
		if (hold->state == CR_HOLD_OPEN ? left == 0
										: hold->state != CR_HOLD_EXPIRED && left > 0)
			return "an open hold with nothing, or a closed one with something";
		if (hold->state == CR_HOLD_OPEN ? hold->given_back > 0 : hold->purchased > 0)
			return "an open hold that gave back, or an ended one that has purchased credits";
		if (hold->state != CR_HOLD_OPEN)
			continue;
		held.monthly += hold->monthly;
		held.purchased += hold->purchased;
		held.granted += left - hold->monthly - hold->purchased;
		if (hold->ends_at < next)
			next = hold->ends_at;
	}
	if (!same_buckets(&held, &acc->held))
		return "what the holds hold is not what the account holds";
	if (acc->next_event_at > next)
		return "next_event_at later than the next end";
	return NULL;
}

/* What must be true of any row and the states before and after it. */
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
	if (row->owed_monthly != after->owed_monthly ||
		row->owed_purchased != after->owed_purchased)
		return "owed amounts differ from the account's";
	if (row->effective_at != after->effective_at)
		return "effective_at differs from the account's";
	if (row->period != after->period || row->next_reset_at != after->next_reset_at)
		return "the period differs from the account's";
	if (row->period != before->period && !row->has_facts)
		return "a period begins without facts";
	if (row->plan_version != after->facts.plan_version)
		return "the plan version differs from the account's";
	if (!row->has_facts && !same_facts(&before->facts, &after->facts))
		return "changed facts are not in the row";
	if (row->has_facts && !same_facts(&row->facts, &after->facts))
		return "the row's facts differ from the account's";
	if (row->expired < 0 || row->forfeited < 0 || row->skipped < 0)
		return "expired, forfeited or skipped below 0";
	if (row->kind < CR_KIND_GRANT &&
		(row->has_ref_seq || row->has_ends_at ||
		 (row->kind != CR_KIND_IMPORT &&
		  (row->n_allocations != 0) != (row->delta.granted < 0))))
		return "a reference, an end or allocations that this kind does not have";
	return NULL;
}

const char *
show_account(const CrAccount *acc)
{
	static char text[4][800];
	static int next = 0;
	char	   *buf = text[next++ % 4];
	const CrFacts *facts = &acc->facts;

	snprintf(
		buf, sizeof(text[0]),
		"monthly %" PRId64 " granted %" PRId64 " purchased %" PRId64 " held %" PRId64
		" owed %" PRId64 "+%" PRId64 " plan %s v%d then %s %s period %" PRId64 " %s share %d"
		" granted %" PRId64 " from %s to %s%s last %" PRId64 " of %" PRId64
		" forfeited %" PRId64 " last row %s",
		acc->balance.monthly, acc->balance.granted, acc->balance.purchased, cr_held(acc),
		acc->owed_monthly, acc->owed_purchased, facts->plan ? facts->plan : "-",
		(int) facts->plan_version, facts->scheduled_plan ? facts->scheduled_plan : "-",
		cr_status_name(facts->status), acc->period,
		facts->cycle == CR_NO_CYCLE ? "-" : cr_cycle_name(facts->cycle),
		(int) facts->period_share, facts->period_granted, show_time(facts->period_start),
		show_time(acc->next_reset_at), acc->end_from.differs ? " (of another cycle)" : "",
		facts->last_left, facts->last_undone ? -1 - facts->last_limit : facts->last_limit,
		acc->forfeited, show_time(acc->effective_at));
	return buf;
}

/* pairs: sources and their credits; the last pair has 0 credits. */
static bool
allocations_are(const CrRow *row, const int64_t *pairs)
{
	int			n = 0;

	while (pairs[2 * n + 1] != 0)
		n++;
	for (int i = 0; i < row->n_allocations; i++)
	{
		if (i >= n || row->allocations[i].source != pairs[2 * i] ||
			row->allocations[i].credits != pairs[2 * i + 1])
		{
			note("allocation %d: %" PRId64 " of %" PRId64, i, row->allocations[i].credits,
				 row->allocations[i].source);
			return false;
		}
	}
	return row->n_allocations == n;
}

/* Tests that the last row is this one. */
void
row_is(const World *w, CrKind kind, int64_t amount, CrBuckets delta, CrBuckets held,
	   const int64_t *pairs, const char *name)
{
	const CrRow *row = &w->rows[w->n_rows - 1];

	if (!ok(row->kind == kind && row->amount == amount && allocations_are(row, pairs) &&
				buckets_are(&row->delta, delta.monthly, delta.granted, delta.purchased) &&
				buckets_are(&row->held, held.monthly, held.granted, held.purchased) &&
				w->broken == NULL,
			"%s", name))
		note("%s of %" PRId64 ", %s: %s", cr_kind_name(row->kind), row->amount,
			 w->broken ? w->broken : "not what was expected", show_account(&w->acc));
}

void
balance_is(const World *w, int64_t monthly, int64_t granted, int64_t purchased,
		   const char *name)
{
	ok(buckets_are(&w->acc.balance, monthly, granted, purchased) && w->broken == NULL,
	   "%s", name);
	if (w->broken)
		note("%s", w->broken);
}
