/*
 * cycle_args.h
 *		The arguments cycle_anchor and time_zone.
 */
#ifndef CREDITS_CALLS_CYCLE_ARGS_H
#define CREDITS_CALLS_CYCLE_ARGS_H

#include "postgres.h"

#include "fmgr.h"

#include "core/core.h"

typedef struct CycleArgs
{
	bool has_anchor;
	bool is_instant; /* the anchor came with an offset from UTC */
	/* if is_instant: that instant in UTC, until the zone is known */
	CrLocal anchor;
	const char *zone;
} CycleArgs;

extern void arg_cycle_anchor(CycleArgs *args, FunctionCallInfo fcinfo, int arg);
extern void arg_time_zone(CycleArgs *args, FunctionCallInfo fcinfo, int arg);
extern void make_anchor_local(CycleArgs *args, const char *zone);

#endif
