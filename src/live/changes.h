/*
 * changes.h
 *		The accounts that a transaction changes.
 */
#ifndef CREDITS_LIVE_CHANGES_H
#define CREDITS_LIVE_CHANGES_H

#include "postgres.h"

/* An account, and the newest of the history rows that it gets. */
typedef struct Change
{
	struct Change *older;
	int64 seq;
	uint16 length;
	char user_id[FLEXIBLE_ARRAY_MEMBER];
} Change;

typedef struct Changes
{
	Change *newest;
	int count;
	bool too_many; /* more than are kept, so none is; then count has all rows */
} Changes;

extern void changes_add(Changes *changes, const char *user_id, int64 seq);
extern void changes_join(Changes *changes, Changes *later);

#endif
