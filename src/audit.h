/*
 * audit.h
 *		The log of administrative acts.
 */
#ifndef CREDITS_AUDIT_H
#define CREDITS_AUDIT_H

#include "postgres.h"

#include "executor/tuptable.h"

#include "core/core.h"

extern void audit_append(const char *action, const char *subject, Datum before, Datum after);
extern char *jsonb_text(Datum value);
extern void audit_from_slot(CrAuditRow *row, TupleTableSlot *slot);

#endif
