/*
 * state.h
 *		The state of an account at a given time, for calls that read.
 */
#ifndef CREDITS_LEDGER_STATE_H
#define CREDITS_LEDGER_STATE_H

#include "postgres.h"

#include "core/core.h"
#include "tables/plan_versions.h"

/*
 * state_bring_up_to changes the account itself.  This has the other facts about the
 * state.
 */
typedef struct State
{
	/* the time asked for; if the reset waits, the time just before it */
	CrTime as_of;
	bool waits_for_zone;	   /* the reset, and what is due after it, was not applied */
	const CrPlanVersion *plan; /* NULL: none */
} State;

extern State state_bring_up_to(CrAccount *acc, Plans *plans, CrTime at);
extern State state_now(CrAccount *acc, Plans *plans);
extern bool state_preview(const char *user_id, Plans *plans, CrAccount *acc);
extern State state_of_user(const char *user_id, Plans *plans, CrAccount *acc);
extern Datum state_object(const CrAccount *acc, const State *state);

#endif
