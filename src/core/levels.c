/*
 * levels.c
 *		When an account becomes low or empty, and when it has recovered.
 *
 * An account is low while it has fewer credits available than its threshold, and empty while
 * it has none.  The row that takes it there says so, once: the account keeps the lowest level
 * that it reached, until something adds credits.  Credits of a hold that come back do not.
 * So many holds and releases around the threshold cross it once and not a hundred times.
 */
#include "core/private.h"

int64_t
cr_available(const CrAccount *acc)
{
	return acc->balance.monthly + acc->balance.granted + acc->balance.purchased;
}

/* 0: the account is never low, only empty. */
static int64_t
threshold(const CrAccount *acc)
{
	return acc->facts.low_threshold == CR_NO_THRESHOLD ? acc->plan_threshold
													   : acc->facts.low_threshold;
}

/* The view credit_balance says the same in SQL; sql/balance_view.sql compares them. */
bool
cr_is_low(const CrAccount *acc)
{
	return cr_available(acc) < threshold(acc);
}

int32_t
cr_flags(const CrAccount *acc)
{
	CrStatus status = acc->facts.status;

	return (cr_is_low(acc) ? CR_FLAG_LOW : 0) | (cr_available(acc) == 0 ? CR_FLAG_EMPTY : 0) |
		(acc->owed_purchased > 0 ? CR_FLAG_OWING : 0) |
		(status == CR_FROZEN ? CR_FLAG_FROZEN : 0) |
		(status == CR_CLOSED ? CR_FLAG_CLOSED : 0);
}

const char *
cr_flag_name(int32_t flag)
{
	switch (flag)
	{
		case CR_FLAG_LOW:
			return "low";
		case CR_FLAG_EMPTY:
			return "empty";
		case CR_FLAG_OWING:
			return "owing";
		case CR_FLAG_FROZEN:
			return "frozen";
		case CR_FLAG_CLOSED:
			return "closed";
		default:
			return "unknown";
	}
}

/* Does a row of the kind add credits, or change when there are enough of them? */
static bool
lets_recover(CrKind kind, int64_t amount)
{
	switch (kind)
	{
		case CR_KIND_ADJUST:
			return amount > 0;
		case CR_KIND_OPEN:
		case CR_KIND_IMPORT:
		case CR_KIND_PURCHASE:
		case CR_KIND_GRANT:
		case CR_KIND_TRANSFER_IN:
		case CR_KIND_REFUND:
		case CR_KIND_REINSTATE:
		case CR_KIND_UNDO:
		case CR_KIND_RESET:
		case CR_KIND_RESTART:
		case CR_KIND_SET_PLAN:
		case CR_KIND_SET_LOW_THRESHOLD:
			return true;
		default:
			return false;
	}
}

/*
 * Brings the level of the account to what a row leaves.  Returns what the row crosses.  The
 * row that opens an account crosses nothing.
 */
CrCrossing
cr_cross(CrAccount *after, CrKind kind, int64_t amount)
{
	CrLevel level = cr_available(after) == 0 ? CR_LEVEL_EMPTY
		: cr_is_low(after)					 ? CR_LEVEL_LOW
											 : CR_LEVEL_OK;
	CrLevel before = after->level;

	if (level == before || (level < before && !lets_recover(kind, amount)))
		return CR_CROSSED_NOTHING;
	after->level = level;
	if (kind == CR_KIND_OPEN || kind == CR_KIND_IMPORT)
		return CR_CROSSED_NOTHING;
	if (level > before)
		return level == CR_LEVEL_EMPTY ? CR_CROSSED_EMPTY : CR_CROSSED_LOW;
	return level == CR_LEVEL_OK ? CR_CROSSED_RECOVERED : CR_CROSSED_NOTHING;
}
