/*
 * verify_structure.h
 *		Verifying everything that does not belong to one account.
 */
#ifndef CREDITS_VERIFY_VERIFY_STRUCTURE_H
#define CREDITS_VERIFY_VERIFY_STRUCTURE_H

#include "postgres.h"

#include "verify/filter.h"
#include "verify/findings.h"

extern void verify_base(Findings *findings);
extern char *verify_payments(Findings *findings, const char *after, int64 limit,
							 const Share *share);
extern void verify_orphans(Findings *findings, const char *after, const char *upto);
extern void verify_structure(Findings *findings, const Totals *known);

#endif
