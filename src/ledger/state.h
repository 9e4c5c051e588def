/*
 * state.h
 *		An account as it stands at a time, for reading.
 */
#ifndef CREDITS_LEDGER_STATE_H
#define CREDITS_LEDGER_STATE_H

#include "postgres.h"

#include "core/core.h"
#include "tables/plan_versions.h"

/* An account is changed to be as it stands; this is what else there is to say. */
typedef struct State
{
	CrTime		as_of;			/* the time asked for, or if the reset waits, just before that */
	bool		waits_for_zone; /* the reset, and what is due after it, is not applied */
	const CrPlanVersion *plan;	/* NULL: none */
} State;

extern State state_bring_up_to(CrAccount *acc, Plans *plans, CrTime at);
extern Datum state_object(const CrAccount *acc, const State *state);

#endif
