/*
 * event_kinds.c
 *		The names of the kinds of events.
 */
#include "postgres.h"

#include "base/event_kinds.h"

static const char *const names[EVENT_KIND_COUNT] = {
#define X(name, text) text,
	EVENT_KINDS(X)
#undef X
};

const char *
event_kind_name(int kind)
{
	return names[kind];
}

/* The kind with this name; -1: there is none. */
int
event_kind_find(const char *name)
{
	for (int i = 0; i < EVENT_KIND_COUNT; i++)
	{
		if (strcmp(names[i], name) == 0)
			return i;
	}
	return -1;
}
