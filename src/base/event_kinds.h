/*
 * event_kinds.h
 *		The kinds of events that credits.events can name.
 */
#ifndef CREDITS_BASE_EVENT_KINDS_H
#define CREDITS_BASE_EVENT_KINDS_H

#define EVENT_KINDS(X)              \
	X(LOW, "low")                   \
	X(EMPTY, "empty")               \
	X(RECOVERED, "recovered")       \
	X(PURCHASE, "purchase")         \
	X(REVOKE, "revoke")             \
	X(REINSTATE, "reinstate")       \
	X(REFUND, "refund")             \
	X(RESET, "reset")               \
	X(HOLD_EXPIRED, "hold_expired") \
	X(PLAN_CHANGE, "plan_change")   \
	X(FREEZE, "freeze")             \
	X(UNFREEZE, "unfreeze")         \
	X(CLOSE, "close")               \
	X(GRANT_ENDING, "grant_ending") \
	X(HOLD_ENDING, "hold_ending")

typedef enum EventKind
{
#define X(name, text) EVENT_##name,
	EVENT_KINDS(X)
#undef X
	EVENT_KIND_COUNT
} EventKind;

#define EVENT_BIT(kind) (1 << (kind))

extern const char *event_kind_name(int kind);
extern int event_kind_find(const char *name);

#endif
