/*
 * state.h
 *		An account as it stands at a time, for reading.
 */
#ifndef CREDITS_STATE_H
#define CREDITS_STATE_H

#include "postgres.h"

#include "plans.h"

extern const CrPlanVersion *state_bring_up_to(CrAccount *acc, Plans *plans, CrTime at);
extern Datum state_object(const CrAccount *acc, const CrPlanVersion *plan, CrTime as_of);

#endif
