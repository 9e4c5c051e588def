/*
 * names.c
 *		The names under which the values of the core's enumerations are stored.
 *
 * History rows have these names and are hashed with them, so a name never changes.
 * The names of cycles are in cycle.c.
 */
#include <string.h>

#include "core/core.h"

static const char *const kind_names[CR_KIND_COUNT] = {
	[CR_KIND_OPEN] = "open",
	[CR_KIND_DEDUCT] = "deduct",
	[CR_KIND_PURCHASE] = "purchase",
	[CR_KIND_ADJUST] = "adjust",
	[CR_KIND_SET_PLAN] = "set_plan",
	[CR_KIND_SCHEDULE_PLAN] = "schedule_plan",
	[CR_KIND_PLAN_CHANGE] = "plan_change",
	[CR_KIND_RESET] = "reset",
	[CR_KIND_FREEZE] = "freeze",
	[CR_KIND_UNFREEZE] = "unfreeze",
	[CR_KIND_CLOCK_REPAIR] = "clock_repair",
	[CR_KIND_GRANT] = "grant",
	[CR_KIND_GRANT_END] = "grant_end",
	[CR_KIND_HOLD] = "hold",
	[CR_KIND_HOLD_END] = "hold_end",
	[CR_KIND_CAPTURE] = "capture",
	[CR_KIND_RELEASE] = "release",
	[CR_KIND_REFUND] = "refund",
	[CR_KIND_REVOKE] = "revoke",
	[CR_KIND_UNDO] = "undo",
	[CR_KIND_IMPORTED] = "imported",
	[CR_KIND_IMPORT] = "import",
	[CR_KIND_TRANSFER_OUT] = "transfer_out",
	[CR_KIND_TRANSFER_IN] = "transfer_in",
	[CR_KIND_CLOSE] = "close",
	[CR_KIND_ARCHIVE] = "archive",
	[CR_KIND_SET_OVERDRAFT] = "set_overdraft",
	[CR_KIND_SET_CYCLE] = "set_cycle",
	[CR_KIND_SET_LOW_THRESHOLD] = "set_low_threshold",
	[CR_KIND_RESTART] = "restart",
	[CR_KIND_REINSTATE] = "reinstate",
};

static const char *const status_names[] = {
	[CR_ACTIVE] = "active",
	[CR_FROZEN] = "frozen",
	[CR_CLOSED] = "closed",
};

static const char *const bucket_names[] = {
	[CR_MONTHLY] = "monthly",
	[CR_GRANTED] = "granted",
	[CR_PURCHASED] = "purchased",
};

/* clang-format off */
static const char *const hold_state_names[] = {
	[CR_HOLD_OPEN] = "open",
	[CR_HOLD_CAPTURED] = "captured",
	[CR_HOLD_RELEASED] = "released",
	[CR_HOLD_EXPIRED] = "expired",
	[CR_HOLD_SETTLED] = "settled",
};

static const char *const level_names[CR_LEVEL_COUNT] = {
	[CR_LEVEL_OK] = "ok",
	[CR_LEVEL_LOW] = "low",
	[CR_LEVEL_EMPTY] = "empty",
};

static const char *const crossing_names[CR_CROSSING_COUNT] = {
	[CR_CROSSED_NOTHING] = "nothing",
	[CR_CROSSED_LOW] = "low",
	[CR_CROSSED_EMPTY] = "empty",
	[CR_CROSSED_RECOVERED] = "recovered",
};
/* clang-format on */

#define LENGTH(names) ((int) (sizeof(names) / sizeof((names)[0])))

static int
find(const char *const *names, int count, const char *name)
{
	for (int i = 0; i < count; i++)
	{
		if (strcmp(names[i], name) == 0)
			return i;
	}
	return -1;
}

/* Defines the function that finds the value with a name; false if there is none. */
#define DEFINE_PARSE(function, pointer, names)     \
	bool function(const char *name, pointer value) \
	{                                              \
		int i = find(names, LENGTH(names), name);  \
                                                   \
		if (i >= 0)                                \
			*value = i;                            \
		return i >= 0;                             \
	}

DEFINE_PARSE(cr_kind_parse, CrKind *, kind_names)
DEFINE_PARSE(cr_status_parse, CrStatus *, status_names)
DEFINE_PARSE(cr_bucket_parse, CrBucket *, bucket_names)
DEFINE_PARSE(cr_hold_state_parse, CrHoldState *, hold_state_names)
DEFINE_PARSE(cr_level_parse, CrLevel *, level_names)
DEFINE_PARSE(cr_crossing_parse, CrCrossing *, crossing_names)

const char *
cr_kind_name(CrKind kind)
{
	return kind < CR_KIND_COUNT ? kind_names[kind] : "unknown";
}

const char *
cr_status_name(CrStatus status)
{
	return status_names[status];
}

const char *
cr_hold_state_name(CrHoldState state)
{
	return hold_state_names[state];
}

const char *
cr_level_name(CrLevel level)
{
	return level_names[level];
}

const char *
cr_crossing_name(CrCrossing crossing)
{
	return crossing_names[crossing];
}
