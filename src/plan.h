/*
 * plan.h
 *		What defining a plan leaves in the audit log.
 */
#ifndef CREDITS_PLAN_H
#define CREDITS_PLAN_H

#include "postgres.h"

#include "core/core.h"

extern Datum plan_facts(const CrPlanVersion *plan);

#endif
