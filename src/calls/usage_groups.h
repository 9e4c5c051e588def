/*
 * usage_groups.h
 *		Usage, grouped by day, hour, kind, reason, spender or user.
 */
#ifndef CREDITS_CALLS_USAGE_GROUPS_H
#define CREDITS_CALLS_USAGE_GROUPS_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/hsearch.h"

#include "core/core.h"

typedef enum UsageBy
{
	USAGE_DAY,
	USAGE_HOUR,
	USAGE_KIND,
	USAGE_REASON,
	USAGE_SPENDER,
	USAGE_ALL,
	USAGE_USER /* only of all users */
} UsageBy;

/* What history rows come to. */
typedef struct Usage
{
	int64 rows;
	int64 operations; /* deductions and captures */
	int64 spent;	  /* by these */
	int64 monthly_spent;
	int64 granted_spent;
	int64 refunded;
	int64 purchased;
	int64 granted;
	int64 delta; /* what the rows did to available */
} Usage;

/* The rows of which times are wanted, and how they are grouped. */
typedef struct UsageGroups
{
	UsageBy by;
	CrTime from;
	CrTime to; /* not included; CR_NEVER: up to now */
	CrTime now;
	const char *zone;
	int count;		 /* of days or hours */
	CrTime *starts;	 /* when they start, in UTC */
	Usage *of_times; /* their usage */
	HTAB *of_names;	 /* the usage of all other groups, by name */
} UsageGroups;

extern UsageBy usage_by(FunctionCallInfo fcinfo, int arg, bool of_all_users);
extern void usage_window(UsageGroups *groups, FunctionCallInfo fcinfo, int first_arg);
extern void usage_start(UsageGroups *groups, const char *default_zone);
extern void usage_add(UsageGroups *groups, CrTime at, const char *name, const Usage *usage);
extern void usage_put(UsageGroups *groups, FunctionCallInfo fcinfo);

#endif
